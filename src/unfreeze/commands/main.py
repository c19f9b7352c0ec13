"""`unfreeze VERB ...`: find the verb, parse its arguments, run it, and turn its outcome into an exit status.

| outcome | exit status | standard error |
|---|---|---|
| success | 0 | |
| a user's mistake: `UserError`, an unknown verb or option, a file that cannot be read or written | 2 | one line |
| Ctrl-C | 130 | one line that says how to resume (`unfreeze.errors.Interrupted` carries it) |
| the reader of standard output closed it (`| head`) | 141 | |
| a bug | 1 | one line |

`--debug` adds the traceback. CONTRIBUTING.md says how to add a verb or an option. `--help` imports the file of a verb, so
neither torch nor numba may be imported at its top (tested). The example of each verb is parsed by a test.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from unfreeze import __doc__ as PACKAGE_SUMMARY
from unfreeze import __version__
from unfreeze.commands.arguments import (
    COMMON_HELP,
    HELP,
    CommonOptions,
    as_option,
    parse,
    split_common_options,
)
from unfreeze.commands.console import Console, make_console
from unfreeze.display import did_you_mean, printable
from unfreeze.errors import UserError
from unfreeze.interrupts import ignore_interrupts, raise_at_interrupts

VERBS = {
    "demo": "show transfer learning on generated reviews, offline, in about two minutes",
    "pretrain ngram": "count the n-grams of unlabeled text: the baseline of language models",
    "pretrain lm": "train a language model on unlabeled text",
    "pretrain word2vec": "train word vectors on unlabeled text",
    "pretrain glove": "train GloVe's word vectors on unlabeled text",
    "pretrain elmo": "train a bidirectional language model that reads characters",
    "pretrain cove": "train a translator and its encoder on pairs of texts",
    "pretrain convnet": "train a ConvNet on labeled images",
    "adapt": "continue training a language model or word vectors on the target's text",
    "fit classifier": "train a classifier on labeled texts or images",
    "fit tagger": "train a tagger of words: names, parts of speech",
    "fit answerer": "train a question answerer on questions and their contexts",
    "fit locator": "train a locator of objects on images with boxes",
    "ladder": "compare every kind of transfer on your task, for rising numbers of labels",
    "find-rate": "find a learning rate for adapt or fit",
    "evaluate": "measure a model on held-out data",
    "predict": "classify texts or images, tag words, or answer questions",
    "suggest": "suggest which texts to label next",
    "translate": "translate texts",
    "score": "compute the log-probability of a text and of each of its tokens",
    "fill": "predict words for the gap ___ in a text",
    "generate": "continue a text from a prompt",
    "embed": "write the vectors of words or texts to a file",
    "neighbors": "find the nearest words to a word or images to an image, or solve analogies",
    "picture": "draw what a ConvNet has learned",
    "similarity": "compute the similarity of two words",
    "contextuality": "measure how contextual the layers of encoders are",
    "senses": "find the senses of a word in a text, without labels",
    "convert": "convert models of other libraries",
    "export": "write a model in the format of another library",
    "cache": "list or delete cached files",
}
"""Verbs and their summaries. `fit classifier` is the class FitClassifier and the function run in fit_classifier.py."""

OTHER_NAMES = {
    "train": "fit",
    "finetune": "adapt",
    "fine-tune": "adapt",
    "classify": "predict",
    "test": "evaluate",
    "perplexity": "evaluate",
    "complete": "generate",
    "import": "convert",
    "nearest": "neighbors",
    "analogy": "neighbors",
}

ALWAYS_WITH_TORCH = set(
    "pretrain adapt fit find-rate predict suggest score fill generate embed contextuality senses picture ladder demo".split()
)
"""Verbs that need torch whatever they are given; others read files of vectors without it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit status."""
    try:
        status = _status(argv)
    except SystemExit as end:  # raised by a library, or so that one of several processes ends quietly
        if argv is None and isinstance(end.code, int):
            _end_among_others(end.code)
        raise
    if argv is None:
        _end_among_others(status)
    return status


def _end_among_others(status: int) -> None:
    """End one of several processes before the interpreter shuts down: torch.distributed's threads sometimes abort it then,
    after all work is done (two of ten runs on a busy machine)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        _give_up_unwritable_output()
        sys.stderr.flush()
        os._exit(status)


def _status(argv: Sequence[str] | None) -> int:
    common, tokens = split_common_options(sys.argv[1:] if argv is None else argv)
    _replace_closed_streams()
    _accept_any_character()
    try:
        _run(tokens, common)
        sys.stdout.flush()
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the one place that explains every error)
        status, line = explain(error)
        # A second Ctrl-C does not cut off the report of the first one. Where standard error cannot be written, the exit
        # status is all there is.
        with ignore_interrupts(), suppress(OSError):
            if common.debug:
                traceback.print_exc()
            if line:
                print(f"unfreeze: {printable(' '.join(line.split()))}", file=sys.stderr)
        _give_up_unwritable_output()
        return status


def _run(tokens: list[str], common: CommonOptions) -> None:
    if tokens[:1] == ["help"]:
        tokens = [*tokens[1:], "--help"]
    if not tokens or tokens[0] in HELP:
        print(overview())
        return
    if tokens[0] == "--version":
        print(f"unfreeze {__version__}")
        return
    with _said_once():
        need_utf8(tokens)
        name, own = find_verb(tokens)
        if name not in VERBS:
            print(overview(name))
            return
        kind, run = load_verb(name)
        arguments = parse(kind, own, f"unfreeze {name}")
    if arguments is not None:
        raise_at_interrupts()
        if name.split()[0] in ALWAYS_WITH_TORCH:
            _import_torch()
        run(arguments, make_console(json=common.json, quiet=common.quiet, debug=common.debug))


def _import_torch() -> None:
    """Import torch without looking for garbage meanwhile, which takes half a second or more: all that it creates stays."""
    if "torch" in sys.modules:
        return
    gc.disable()
    try:
        import torch  # noqa: F401

        gc.freeze()
    finally:
        gc.enable()


@contextmanager
def _said_once() -> Iterator[None]:
    """Report a mistake once: processes that a launcher started together all get the same command line."""
    try:
        yield
    except UserError:
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(2) from None
        raise


def find_verb(tokens: Sequence[str]) -> tuple[str, list[str]]:
    """The verb's name in `VERBS` and the words after it; for "fit --help" the first word of the name, "fit".

    Raises:
        UserError: there is no such verb, or its second word is missing or unknown.
    """
    first, rest = tokens[0], list(tokens[1:])
    if first in VERBS:
        return first, rest
    seconds = [name.split()[1] for name in VERBS if name.startswith(f"{first} ")]
    if not seconds:
        raise UserError(f"unknown verb {first!r}{_suggest_verb(first)} (unfreeze --help lists the verbs)")
    if rest and rest[0] in seconds:
        return f"{first} {rest[0]}", rest[1:]
    if rest and rest[0] in HELP:
        return first, []
    choices = " or ".join(f"'unfreeze {first} {second}'" for second in seconds)
    if not rest or rest[0].startswith("-"):
        raise UserError(f"{first} what? say {choices}")
    if near := did_you_mean(rest[0], seconds):
        raise UserError(f"cannot {first} {rest[0]!r}{near} (unfreeze {first} --help lists them)")
    raise UserError(f"cannot {first} {rest[0]!r}; say {choices}")


def _suggest_verb(word: str) -> str:
    if word in OTHER_NAMES:
        return f"; did you mean {OTHER_NAMES[word]!r}?"
    whole = [name for name in VERBS if word in name.split()]
    firsts = {name.split()[0] for name in VERBS}
    return f"; did you mean {whole[0]!r}?" if whole else did_you_mean(word, firsts)


def load_verb(name: str) -> tuple[type[Any], Callable[[Any, Console], None]]:
    """A verb's dataclass and its `run`."""
    words = name.replace("-", " ").split()
    module = importlib.import_module(f"unfreeze.commands.{'_'.join(words)}")
    return getattr(module, "".join(word.capitalize() for word in words)), module.run


def overview(first: str | None = None) -> str:
    """The help that lists all verbs, or those that begin with the word `first`."""
    names = [name for name in VERBS if first is None or name.split()[0] == first]
    width = max(len(name) for name in names)
    verbs = "\n".join(f"  {name:{width}}  {VERBS[name]}" for name in names)
    summary = PACKAGE_SUMMARY.partition("\n")[0]
    return f"usage: unfreeze {first or 'VERB'} ...\n\n{summary}\n\nverbs:\n{verbs}\n\n{COMMON_HELP}"


def explain(error: BaseException) -> tuple[int, str]:
    """The exit status for an exception, and the line to print for it ("" prints none)."""
    if isinstance(error, KeyboardInterrupt):
        return 130, str(error) or "interrupted; rerun the command to start again or resume"
    if isinstance(error, BrokenPipeError):
        return 141, ""
    if isinstance(error, UserError):
        return 2, error.written(as_option)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return 2, f"{place}{error.strerror or error}"
    message = f"{type(error).__name__}: {error}".removesuffix(": ")
    return 1, f"internal error ({message}); run again with --debug to see where, and please report it"


def need_utf8(words: Sequence[str]) -> None:
    """Raise UserError for a word of the command line that is not UTF-8: it could not be saved as JSON."""
    for word in words:
        if found := re.search("[\ud800-\udfff]", word):
            byte = f"0x{ord(found[0]) & 0xFF:02x}"
            shown = word.encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")
            raise UserError(
                f"'{shown}' is not UTF-8 (byte {byte}): rename the file, or write the text in UTF-8"
            )


def _replace_closed_streams() -> None:
    """Open the null device for streams that the caller closed (`>&-`), so that no file gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the process ends)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _accept_any_character() -> None:
    """Write escapes for characters that the output's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _give_up_unwritable_output() -> None:
    """Drop output that cannot be written: it would fail again, with a traceback, when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
