"""What several verbs share: texts from the command line, standard input or a file, and the kind of a model."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unfreeze import checked
from unfreeze.errors import UserError
from unfreeze.pictures import picture_format
from unfreeze.text.lines import codec_name, hidden_compression, likely_encoding, plain_suffix

LANGUAGE_MODEL = "language model"
CLASSIFIER = "text_classifier"
TAGGER = "sequence_tagger"
ANSWERER = "question_answerer"
TASK_MODELS = {CLASSIFIER: "classifier", TAGGER: "tagger", ANSWERER: "answerer"}
WORD_VECTORS = "word_vectors"
FITS = "`unfreeze fit classifier`, `unfreeze fit tagger` or `unfreeze fit answerer`"


def given_texts(texts: Sequence[str], file: Path | None, **reading: Any) -> Iterator[str]:
    """The texts of TEXT..., where "-" stands for the lines of standard input, or those of --file.

    Args:
        reading: keyword arguments of `stream_texts`.

    Raises:
        UserError: immediately if there are no texts, or both kinds; later if a file cannot be read.
    """
    from unfreeze.text.examples import stream_texts

    if texts and file is not None:
        raise UserError("texts come from the command line or from --file, not from both")
    if file is not None and str(file) != "-":
        return stream_texts(file, **reading)
    if not texts and file is None:
        raise UserError('no text was given: add "a text", - for standard input, or --file FILE')
    if texts.count("-") > 1:
        raise UserError("- stands for standard input, which can be read once")
    return _spoken_texts(texts or ["-"], reading.get("encoding", "utf-8"))


def _spoken_texts(texts: Sequence[str], encoding: str) -> Iterator[str]:
    for text in texts:
        if text == "-":
            yield from (line.rstrip("\r\n") for line in standard_lines(encoding))
        else:
            yield text


def standard_lines(encoding: str | None = None) -> Iterator[str]:
    """The lines of standard input with their line ends, without byte order marks; the terminal's encoding is ignored.

    Args:
        encoding: the value of --encoding, or None for UTF-8 if the verb has no such option.

    Raises:
        UserError: standard input is closed, compressed, not in this encoding, or holds a NUL.
    """
    if sys.stdin is None:
        raise UserError("standard input is closed: name the texts, or a file of them")
    codec_name(encoding or "utf-8")  # raises UserError unless it is an encoding of text
    if isinstance(sys.stdin, io.TextIOWrapper):
        head = sys.stdin.buffer.peek() if isinstance(sys.stdin.buffer, io.BufferedReader) else b""
        if (compressed := hidden_compression(head)) is not None:
            raise UserError(f"standard input {compressed.partition(':')[0]}: decompress it first")
        sys.stdin.reconfigure(encoding=encoding or "utf-8", errors="strict")
    count = 0
    try:
        for count, line in enumerate(sys.stdin, 1):
            if "\0" in line:
                mend = "" if encoding is None else ", or one that needs --encoding utf-16"
                raise UserError(f"standard input, line {count}: a NUL byte: not a text{mend}")
            yield line.lstrip("\ufeff")
    except UnicodeError as error:
        raise _undecodable(error, count, encoding) from None


def _undecodable(error: UnicodeError, count: int, encoding: str | None) -> UserError:
    """The UserError for standard input in another encoding, of which `count` lines could be read."""
    place, what = "standard input", f"not {encoding or 'utf-8'}"
    likely = ""
    if isinstance(error, UnicodeDecodeError):
        n_good = error.object[: error.start].count(b"\n")
        place += f", line {count + 1 + n_good}"
        what += f": byte 0x{error.object[error.start]:02x}"
        likely = likely_encoding(error.object, encoding or "utf-8")
    if encoding is None:
        return UserError(f"{place}: {what}; convert it")
    such = f", such as --encoding {likely}" if likely else " with --encoding"
    return UserError(f"{place}: {what}; name its encoding{such}")


def need_positive(arguments: object, *names: str) -> None:
    """Check options that are numbers above 0, and the seed if the verb has one.

    Raises:
        UserError: one is not.
    """
    checked.need_positive(arguments, *names)
    checked.need_seed(getattr(arguments, "seed", 0))


def need_one_process(verb: str) -> None:
    """Raise UserError if several processes were started: each would do all the work of this verb."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{verb} is one process with threads: start it without accelerate launch or torchrun")


def need_picture(path: Path | None, *, overwrite: bool) -> None:
    """Raise UserError, before any work, if no picture can be drawn there or a file exists already."""
    if path is not None:
        picture_format(path)
        need_new(path, overwrite=overwrite, option="--plot")


def need_new(path: Path | None, *, overwrite: bool, option: str = "--output") -> None:
    """Raise UserError for an output that exists already, unless it may be replaced."""
    if path is not None and path.exists() and not overwrite:
        raise UserError(f"{option} {path} exists: take another name, or add --overwrite")


def model_kind(model: str) -> str:
    """The kind in a model's config.json, or `LANGUAGE_MODEL` for any language model.

    Raises:
        UserError: there is no such model, or its config.json is damaged or newer.
    """
    from unfreeze.folders import read_config
    from unfreeze.registry import find_model, is_language_model

    config = read_config(find_model(model))
    return LANGUAGE_MODEL if is_language_model(config) else str(config["kind"])


def need_task_model(model: str, verb: str) -> str:
    """The kind of a task model; raises the UserError that names the right verb if `model` is none."""
    kind = model_kind(model)
    if kind in TASK_MODELS:
        return kind
    if kind == LANGUAGE_MODEL:
        from unfreeze.language_models.base import verbs_of
        from unfreeze.language_models.model import language_model_class
        from unfreeze.registry import find_model

        found = language_model_class(find_model(model), model)
        what, mend = found.described, f"use {verbs_of(found)}, or make one with {FITS}"
    else:
        what, mend = f"a {kind} encoder", f"make one with {FITS}"
    raise UserError(f"{model} is {what}; {verb} needs a classifier, a tagger or an answerer: {mend}")


def need_vector_file(output: Path) -> None:
    """Raise UserError for a file name whose suffix is no format of word vectors."""
    known = (".txt", ".vec", ".bin", ".npz")
    if plain_suffix(output) not in known:
        raise UserError(
            f"--output {output}: the name of a file of vectors ends in {', '.join(known)}, or in .gz behind it"
        )
