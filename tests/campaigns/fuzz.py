"""A seeded fuzzer over readers, the files of saved models, and options: whatever comes in, one line goes out.

    python -m tests.campaigns.fuzz --inputs 2000 --seed 0

An input is a command line over a copy of good data of which something was damaged: a file that is read, a file of a saved
model, or an option's value. It must end with status 0 (all well), 2 (one line says what is wrong), 130 or 141, without a
traceback, within 30 seconds, and no file that was there before may have changed. Every input is made from its number and the
seed alone; `--only NUMBER` runs one and prints its command line and what it said. A process runs many inputs one after the
other, since starting Python takes a second; where it dies or hangs, that input is to blame and another process goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import io
import json
import lzma
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import typing
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.commands.calls import succeed
from tests.commands.toy import plain_documents, reviews, write_corpus, write_table
from tests.vectors.test_fasttext import MODEL

GOOD_ENDINGS = (0, 2, 130, 141)
SECONDS, MEMORY = 30.0, 6 << 30
"""Of one input; of one process, in bytes of its address space beyond what it has at its start."""
SENTINEL = b"this was here before\n"

NUMBERS: list[Any] = [0, -1, 1, 2.5, 10**7, 10**9, 10**30, -(10**18), 1e308, float("nan"), float("inf"), True]
VALUES: list[Any] = [
    *NUMBERS,
    None,
    "",
    "x",
    "\x00",
    "\ud800",
    "é",
    [],
    {},
    [[]],
    ["a", 1],
    {"kind": {}},
    "no",
    "1",
]
TOKENS = [
    b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x92", b"\r", b"\r\n", b"\n\n", b"\t", b"\t\t", b",", b";", b'"',
    b'""', b"'", b" ", b"\xc2\xa0", b"#", b"__label__", b"-DOCSTART-", b"nan", b"inf", b"-1", b"1e400", b"9" * 5000,
    b"[" * 5000, b'{"a":' * 5000, b"{", b"}", b"[", b"]", b":", b"null", b"true", b"\x1b[31m", b"=1+1", b"a" * 70_000,
    b"\xed\xa0\x80", b"\\ud800", b"\xf0\x9f\x98\x80", b"\x1f\x8b", b"PK\x03\x04", b"O", b"B-", b"I-PER", b"___",
]  # fmt: skip


# Good data and models, made once


def make_world(folder: Path) -> None:
    """Text and tiny models of every kind."""
    sizes = "--preset tiny --embedding-size 16 --hidden-size 16 --softmax full --batch-size 8 --bptt 20 --epochs 1"
    write_table(folder / "train.csv", reviews(24, seed=1))
    rows = "".join(f"{text}\t{label}\n" for text, label in reviews(24, seed=1))
    (folder / "train.tsv").write_text(rows, encoding="utf-8")
    records = [json.dumps({"text": text, "label": label}) for text, label in reviews(24, seed=1)]
    (folder / "train.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
    lines = "".join(f"__label__{label} {text}\n" for text, label in reviews(24, seed=1))
    (folder / "train.txt").write_text(lines, encoding="utf-8")
    (folder / "labels.txt").write_text(lines.replace("__label__", ""), encoding="utf-8")
    write_corpus(
        folder / "plain.txt", plain_documents(60, seed=2) + [text for text, _ in reviews(60, seed=3)]
    )
    write_corpus(folder / "few.txt", plain_documents(5, seed=4))
    words = [("Ada", "B-PER"), ("visits", "O"), ("New", "B-LOC"), ("York", "I-LOC"), (".", "O")]
    sentence = "".join(f"{word} X {tag}\n" for word, tag in words)
    (folder / "tags.conll").write_text(f"{sentence}\n" * 12, encoding="utf-8")
    tagged = json.dumps({"tokens": [word for word, _ in words], "tags": [tag for _, tag in words]})
    (folder / "tags.jsonl").write_text(f"{tagged}\n" * 12, encoding="utf-8")
    question = {"question": "Who sat?", "answers": [{"text": "Ada", "answer_start": 0}]}
    paragraphs = [{"context": "Ada sat there.", "qas": [{"id": str(n), **question}]} for n in range(8)]
    (folder / "squad.json").write_text(
        json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}), "utf-8"
    )
    table = [
        "cat 0.1 0.2 0.3 0.4",
        "mouse 0.2 0.2 0.1 0.4",
        "river -0.1 0.5 0.3 0.2",
        "bank 0.3 -0.2 0.3 0.4",
    ]
    (folder / "vectors.txt").write_text("\n".join(table) + "\n", encoding="utf-8")
    (folder / "pairs.tsv").write_text("cat\tmouse\t7.5\nriver\tbank\t6\ncat\tbank\t1\n", encoding="utf-8")
    translations = "".join(f"the cat sees {n} mice\tdie Katze sieht {n} Mäuse\n" for n in range(12))
    (folder / "translations.tsv").write_text(translations, encoding="utf-8")
    import torch

    torch.save(torch.nn.LSTM(4, 3, 2, bidirectional=True).state_dict(), folder / "mt-lstm.pth")
    cove = "--preset tiny --embedding-size 8 --hidden-size 8 --epochs 1"
    small = "--hidden-size 8 --epochs 1 --batch-size 4 --precision fp32"
    reader = f"--encoder none --characters 4 {small}"
    elmo = "--preset tiny --projection-size 16 --hidden-size 16 --batch-size 4 --epochs 1 --min-count 1"
    fit = "fit classifier --epochs 1 --precision fp32 --train"
    for label in ("pos", "neg"):
        (folder / "classes" / label).mkdir(parents=True)
        for number in range(4):
            (folder / "classes" / label / f"{number}.txt").write_text(
                f"a {label} film {number}", encoding="utf-8"
            )
    (folder / "fasttext.bin").write_bytes(MODEL)
    for line in (
        f"pretrain lm {sizes} --precision fp32 --direction both --corpus {folder}/plain.txt --output {folder}/lm",
        f"pretrain lm {sizes} --precision fp32 --cell qrnn --corpus {folder}/plain.txt --output {folder}/qrnn",
        f"pretrain ngram --order 3 --corpus {folder}/plain.txt --output {folder}/ngram",
        f"pretrain word2vec --size 8 --epochs 1 --min-count 1 --corpus {folder}/plain.txt --output {folder}/w2v",
        f"{fit} {folder}/train.csv --encoder {folder}/lm --output {folder}/classifier",
        f"fit tagger {reader} --train {folder}/tags.conll --output {folder}/tagger",
        f"pretrain elmo {elmo} --corpus {folder}/plain.txt --output {folder}/elmo",
        f"pretrain cove {cove} --pairs {folder}/translations.tsv --output {folder}/cove",
        f"pretrain glove --size 8 --epochs 1 --min-count 1 --corpus {folder}/plain.txt --output {folder}/glove",
        f"{fit} {folder}/train.csv --encoder {folder}/elmo --word-vectors {folder}/w2v --hidden-size 8 --output {folder}/layered",
        f"fit tagger {small} --encoder {folder}/lm --word-vectors {folder}/w2v --train {folder}/tags.conll --output {folder}/lm-tagger",
        f"fit answerer {reader} --train {folder}/squad.json --output {folder}/answerer",
        f"convert {folder}/vectors.txt --output {folder}/vectors.bin",
        f"convert {folder}/vectors.txt --output {folder}/vectors.npz",
        f"export {folder}/elmo --output {folder}/elmo-files",
    ):
        succeed(*line.split(), "--quiet")
    shutil.rmtree(folder / "lm" / "training", ignore_errors=True)
    for name, opened in (("train.csv.gz", gzip.open), ("train.csv.xz", lzma.open)):
        with opened(folder / name, "wb") as file:
            file.write((folder / "train.csv").read_bytes())


READERS = {
    "train.csv": ("fit classifier --encoder {w}/lm --train {f} --output {o}", "evaluate {w}/classifier {f}",
                  "predict {w}/classifier --file {f}", "predict {w}/classifier --file {f} --output {o}.csv"),
    "train.csv.gz": ("evaluate {w}/classifier {f}",),
    "train.csv.xz": ("evaluate {w}/classifier {f}",),
    "train.tsv": ("fit classifier --encoder {w}/lm --text-column 1 --label-column 2 --train {f} --output {o}",
                  "predict {w}/classifier --text-column 1 --file {f} --output {o}.tsv"),
    "train.jsonl": ("fit classifier --encoder {w}/lm --train {f} --output {o}", "evaluate {w}/classifier {f}",
                    "score {w}/lm --file {f}"),
    "train.txt": ("fit classifier --encoder {w}/lm --train {f} --output {o}",),
    "labels.txt": ("evaluate {w}/classifier {f}", "fit classifier --encoder {w}/lm --train {f} --output {o}"),
    "few.txt": ("pretrain ngram --corpus {f} --output {o}", "pretrain word2vec --epochs 1 --size 8 --corpus {f} --output {o}",
                "evaluate {w}/lm {f}", "evaluate {w}/ngram {f}", "predict {w}/tagger --file {f} --output {o}.conll",
                "embed {w}/lm {f} --output {o}.npz", "score {w}/ngram --file {f}", "predict {w}/classifier --file {f}"),
    "tags.conll": ("fit tagger --encoder none --hidden-size 8 --epochs 1 --train {f} --output {o}", "evaluate {w}/tagger {f}",
                   "predict {w}/tagger --file {f}"),
    "tags.jsonl": ("evaluate {w}/tagger {f}", "predict {w}/tagger --file {f} --tokenized"),
    "squad.json": ("evaluate {w}/answerer {f}", "predict {w}/answerer --file {f} --output {o}.jsonl"),
    "vectors.txt": ("neighbors {f} cat", "similarity {f} cat mouse", "convert {f} --output {o}.npz",
                    "fit classifier --encoder none --word-vectors {f} --train {w}/train.csv --output {o}"),
    "vectors.bin": ("neighbors {f} cat", "convert {f} --output {o}.txt"),
    "fasttext.bin": ("neighbors {f} wein", "convert {f} --output {o}.txt", "similarity {f} wein brot"),
    "vectors.npz": ("neighbors {f} cat", "convert {f} --output {o}.txt"),
    "translations.tsv": ("pretrain cove --preset tiny --epochs 1 --pairs {f} --output {o}", "evaluate {w}/cove {f}",
                         "translate {w}/cove --file {f} --text-column 1"),
    "mt-lstm.pth": ("convert {f} --word-vectors {w}/vectors.txt --output {o}",),
    "pairs.tsv": ("evaluate {w}/vectors.txt {f}",),
}  # fmt: skip
"""Files that are read, and command lines that read them: {f} the damaged file, {w} the world, {o} a new name."""

MODELS = {
    "lm": ("score {m} hello", "fill {m} 'a ___'", "generate {m} the --tokens 3", "evaluate {m} {w}/few.txt"),
    "qrnn": ("score {m} hello", "generate {m} the --tokens 3", "embed {m} {w}/few.txt --output {o}.npz"),
    "ngram": ("score {m} hello", "generate {m} the --tokens 3"),
    "w2v": ("neighbors {m} river", "similarity {m} river bank"),
    "classifier": ("predict {m} hello", "evaluate {m} {w}/train.csv"),
    "tagger": ("predict {m} hello", "evaluate {m} {w}/tags.conll"),
    "answerer": ("predict {m} who --context 'Ada sat.'",),
    "glove": ("neighbors {m} river",),
    "elmo": (
        "score {m} hello",
        "fill {m} 'a ___'",
        "neighbors {m} river --sentence 'the river' --corpus {w}/few.txt",
    ),
    "cove": ("translate {m} 'the cat'", "embed {m} {w}/few.txt --output {o}.npz", "convert {m} --output {o}"),
    "layered": ("predict {m} hello", "evaluate {m} {w}/train.csv"),
    "lm-tagger": ("predict {m} hello", "evaluate {m} {w}/tags.conll"),
    "classes": ("fit classifier --encoder {w}/lm --train {m} --output {o}",),
    "elmo-files": ("convert {m} --output {o}",),
}
"""Saved models and folders of others, and command lines that load them: {m} the damaged model."""

OPTIONS = (
    "fit classifier --encoder {w}/lm --train {w}/train.csv --output {o}",
    "fit tagger --encoder none --hidden-size 8 --epochs 1 --train {w}/tags.conll --output {o}",
    "fit answerer --encoder none --hidden-size 8 --epochs 1 --train {w}/squad.json --output {o}",
    "pretrain ngram --corpus {w}/few.txt --output {o}",
    "pretrain word2vec --epochs 1 --size 8 --corpus {w}/few.txt --output {o}",
    "pretrain glove --epochs 1 --size 8 --corpus {w}/few.txt --output {o}",
    "pretrain lm --preset tiny --epochs 1 --corpus {w}/few.txt --output {o}",
    "pretrain cove --preset tiny --epochs 1 --pairs {w}/translations.tsv --output {o}",
    "translate {w}/cove hello",
    "adapt {w}/lm --epochs 1 --corpus {w}/few.txt --output {o}",
    "predict {w}/classifier hello",
    "predict {w}/tagger hello",
    "predict {w}/answerer who --context 'Ada sat.'",
    "evaluate {w}/classifier {w}/train.csv",
    "evaluate {w}/lm {w}/few.txt",
    "score {w}/lm hello",
    "fill {w}/lm 'a ___'",
    "generate {w}/lm the",
    "embed {w}/lm {w}/few.txt --output {o}.npz",
    "neighbors {w}/vectors.txt cat",
    "similarity {w}/vectors.txt cat mouse",
    "find-rate {w}/lm --steps 3 --corpus {w}/few.txt",
    "export {w}/elmo --output {o}",
    "convert {w}/vectors.txt --output {o}.bin",
)


# One input


@dataclasses.dataclass(frozen=True)
class Input:
    """A command line over damaged data."""

    number: int
    what: str
    words: list[str]


def make_input(number: int, seed: int, world: Path, place: Path) -> Input:
    """Write the damaged data into `place`, and say what to call; the same for the same number and seed."""
    chosen = random.Random(f"{seed}/{number}")
    places = {"w": str(world), "o": str(place / "new"), "f": "", "m": ""}
    kind = chosen.choice(["file", "file", "model", "option"])
    if kind == "file":
        name = chosen.choice(sorted(READERS))
        content = damaged(chosen, (world / name).read_bytes())
        suffix = "".join(Path(name).suffixes)
        path = (
            place
            / f"damaged{chosen.choice([suffix] * 9 + ['.csv', '.json', '.gz', '.txt', '.parquet', '.bin'])}"
        )
        path.write_bytes(content)
        places["f"], what = str(path), name
        line = chosen.choice(READERS[name])
    elif kind == "model":
        name = chosen.choice(sorted(MODELS))
        shutil.copytree(world / name, place / "model", symlinks=True)
        files = sorted(path for path in (place / "model").rglob("*") if path.is_file())
        path = chosen.choice(files + [each for each in files if each.suffix == ".json"] * 2)
        damage = damaged_json if path.suffix == ".json" and chosen.random() < 0.7 else damaged
        path.write_bytes(damage(chosen, path.read_bytes()))
        places["m"], what = str(place / "model"), f"{name}/{path.relative_to(place / 'model')}"
        line = chosen.choice(MODELS[name])
    else:
        line = chosen.choice(OPTIONS)
        what = "options"
    words = [word.format(**places) for word in _split(line)]
    if kind == "option" or chosen.random() < 0.2:
        words = with_options(chosen, words)
    if chosen.random() < 0.3:
        (place / "new").write_bytes(SENTINEL)
        for suffix in (".npz", ".csv", ".tsv", ".jsonl", ".conll", ".txt", ".bin"):
            (place / f"new{suffix}").write_bytes(SENTINEL)
    return Input(number, what, words + ["--json"] * chosen.choice([False, True]))


def _split(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


def damaged(chosen: random.Random, content: bytes) -> bytes:
    """Bytes with one to four faults."""
    found = bytearray(content)
    for _ in range(chosen.randint(1, 4)):
        at = chosen.randint(0, len(found))
        end = min(len(found), at + chosen.choice([1, 2, 8, 100]))
        fault = chosen.choice(["flip", "cut", "delete", "repeat", "token", "token", "token", "empty", "swap"])
        if fault == "flip" and at < len(found):
            found[at] ^= 1 << chosen.randint(0, 7)
        elif fault == "cut" and chosen.random() < 0.5:
            del found[at:]
        elif fault == "delete":
            del found[at:end]
        elif fault == "repeat":
            found[at:at] = found[at:end] * chosen.choice([1, 3, 500])
        elif fault == "token":
            found[at:end] = chosen.choice(TOKENS)
        elif fault == "swap":
            other = chosen.randint(0, len(found))
            found[at:end], found[other : other + end - at] = found[other : other + end - at], found[at:end]
        elif fault == "empty" and chosen.random() < 0.1:
            found.clear()
    return bytes(found)


def damaged_json(chosen: random.Random, content: bytes) -> bytes:
    """JSON in which a value is another, a key is missing, or a new one is there."""
    value = json.loads(content)
    for _ in range(chosen.randint(1, 2)):
        parents: list[tuple[Any, Any]] = []
        _collect(value, parents)
        if not parents:
            break
        parent, key = chosen.choice(parents)
        fault = chosen.choice(["value", "value", "value", "delete", "add"])
        if fault == "delete":
            del parent[key]
        elif fault == "add" and isinstance(parent, dict):
            parent[chosen.choice(["kind", "labels", "x", "format_version"])] = chosen.choice(VALUES)
        else:
            parent[key] = chosen.choice(VALUES)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _collect(value: Any, found: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for number, (key, inner) in enumerate(items):
        if number < 50:  # of a vocabulary the beginning
            found.append((value, key))
            _collect(inner, found)


def with_options(chosen: random.Random, words: list[str]) -> list[str]:
    """One or two of the verb's options more, with values of all kinds."""
    from unfreeze.commands.main import find_verb, load_verb

    name, _ = find_verb(words)
    kind, _ = load_verb(name)
    hints = typing.get_type_hints(kind, include_extras=True)
    options = [
        field.name for field in dataclasses.fields(kind) if "Positional" not in repr(hints[field.name])
    ]
    for _ in range(chosen.randint(1, 2)):
        option = chosen.choice(options)
        values = list(typing.get_args(hints[option])) if "Literal" in repr(hints[option]) else []
        flag = f"--{option.replace('_', '-')}"
        if hints[option] is bool and chosen.random() < 0.8:
            words = [*words, flag]
            continue
        value = chosen.choice(
            [
                *map(str, values * 4), str(chosen.choice(NUMBERS)), str(chosen.choice(NUMBERS)), "9" * 5000, "", "x", "auto",
                "utf-16", "undefined", "a,b", "1", "2", "3", "0.5", "text", "é", "\udcff", "--", "-", "/", "/dev/null", ".",
                "a" * 5000, "cat",
            ]
        )  # fmt: skip
        words = [*words, *([flag] if chosen.random() < 0.05 else [flag, value])]
    return [word.replace("\x00", "") for word in words]


# Running them


@dataclasses.dataclass
class Outcome:
    """How one input ended."""

    number: int
    status: int | str
    seconds: float
    said: str
    what: str
    words: list[str]
    faults: list[str] = dataclasses.field(default_factory=list)


def run_input(number: int, seed: int, world: Path) -> Outcome:
    """In this process."""
    from unfreeze.commands.main import main

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        place = Path(name)
        given = make_input(number, seed, world, place)
        before = contents(place)
        out, err = io.StringIO(), io.StringIO()
        started = time.monotonic()
        status: int | str
        os.chdir(place)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(given.words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else str(end.code)
        except BaseException:  # noqa: BLE001  (what gets through main is what is looked for)
            status = "raised"
            err.write(traceback.format_exc())
        finally:
            os.chdir(world)
        found = Outcome(number, status, time.monotonic() - started, err.getvalue(), given.what, given.words)
        found.faults = faults_of(found, before, contents(place))
        return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def faults_of(found: Outcome, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """What should not have been."""
    faults = []
    if found.status not in GOOD_ENDINGS:
        faults.append(f"status {found.status}")
    if "Traceback" in found.said:
        faults.append("a traceback")
    lines = [line for line in found.said.splitlines() if line.startswith("unfreeze: ")]
    if found.status == 2 and len(lines) != 1:
        faults.append(f"{len(lines)} lines say what is wrong")
    if found.seconds > SECONDS:
        faults.append(f"{found.seconds:.0f} s")
    if "--overwrite" not in found.words:
        faults += [f"{name} was touched" for name, content in before.items() if after.get(name) != content]
    faults += [f"{name} is left over" for name in after if name.endswith((".part", ".earlier"))]
    return faults


def work(link: Connection, seed: int, world: Path) -> None:
    """Run inputs by their numbers until there are no more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    while (number := link.recv()) is not None:
        link.send(run_input(number, seed, world))


def run_all(numbers: list[int], seed: int, world: Path, say: Callable[[Outcome], None]) -> list[Outcome]:
    """Run inputs in a process that is started anew where it dies or hangs."""
    outcomes, context = [], multiprocessing.get_context("spawn")
    process: Any = None
    for number in numbers:
        if process is None:
            link, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, seed, world), daemon=True)
            process.start()
            theirs.close()
        link.send(number)
        found = None
        if link.poll(4 * SECONDS):
            with contextlib.suppress(EOFError):
                found = link.recv()
        if found is None:
            process.kill()
            process.join()
            ending = "hangs" if process.exitcode == -9 else f"dies with {process.exitcode}"
            found = Outcome(number, ending, 0.0, "", "", [], [ending])
            process = None
        outcomes.append(found)
        say(found)
    if process is not None:
        link.send(None)
        process.join()
    return outcomes


def main() -> int:
    """Run the inputs, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run the input of this number here, and print what it says")
    parser.add_argument(
        "--world", type=Path, help="folder of good data and models, made where it is not there"
    )
    arguments = parser.parse_args()
    world = (arguments.world or Path(tempfile.mkdtemp(prefix="fuzz-world-"))).resolve()
    if not (world / "vectors.npz").exists():
        world.mkdir(parents=True, exist_ok=True)
        make_world(world)
    if arguments.only is not None:
        found = run_input(arguments.only, arguments.seed, world)
        print(
            " ".join(map(ascii, found.words)),
            f"\n{found.what}: status {found.status}, {found.faults}\n{found.said[-3000:]}",
        )
        return len(found.faults) > 0
    good = contents(world)

    def say(found: Outcome) -> None:
        for fault in found.faults:
            last = (found.said.strip().splitlines() or [""])[-1][:200]
            print(f"input {found.number} ({found.what}): {fault}: {last}", flush=True)

    numbers = list(range(arguments.first, arguments.first + arguments.inputs))
    outcomes = run_all(numbers, arguments.seed, world, say)
    touched = [name for name, content in contents(world).items() if good.get(name, content) != content]
    statuses = Counter(str(found.status) for found in outcomes)
    faulty = sum(bool(found.faults) for found in outcomes)
    print(
        f"{len(outcomes)} inputs, seed {arguments.seed}: "
        + ", ".join(f"{n} with status {s}" for s, n in sorted(statuses.items()))
    )
    print(
        f"{faulty} with a fault; slowest {max(found.seconds for found in outcomes):.1f} s; good files touched: {len(touched)}"
    )
    return faulty + len(touched) > 0


if __name__ == "__main__":
    sys.exit(main())
