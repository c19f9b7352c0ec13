"""Kill everything that trains, run the same command again, and compare the weights with an uninterrupted run's.

    python -m tests.campaigns.kill --kills 200 --seed 0 [--verbs pretrain-lm fit-tagger] [--keep FOLDER]

Each kill is one of four endings (kill -9; SIGTERM; Ctrl-C; two Ctrl-C 30 ms apart) at a random moment of the run, or at one
of its changes of the file system: every opening of a file for writing, rename, link, removal and new folder is counted in the
child, which ends itself just before number N, or just after. Then the same command is run to its end. Counted are

    different   tensors that are not bitwise those of an uninterrupted run
    lost        runs over an earlier complete model (--overwrite) after whose kill no model can be loaded, or the user's own file
                in the folder is gone
    leftovers   files in the output, beside it or in the temporary folder that an uninterrupted run does not leave
    failed      reruns with an exit status other than 0

What was begun by one version has to be resumed by the next one: `--leave --keep FOLDER` at the earlier commit leaves an
interrupted and a whole run of each verb in FOLDER, and `--resume --keep FOLDER` at the later one goes on from there.

Runs are bounded by steps, in fp32, with one worker, one thread and one core. Everything is made from --seed and the number
of the kill; `--only NUMBER` with the same --seed and --verbs does that one alone and leaves its folder.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.forked import Ended, import_everything, run, start, use_one_core, wait
from tests.campaigns.golden import RENAMED, translated_words
from tests.campaigns.golden_steps import make_data
from tests.commands.toy_images import write_images

_FP32 = "--precision fp32 --checkpoint-minutes 0"
_LM = f"--batch-size 8 --bptt 25 --epochs 1 --min-count 2 {_FP32}"
_SIZES = "--preset tiny --embedding-size 8 --hidden-size 8"
_WORDS = f"--hidden-size 6 --characters 4 {_FP32}"
VERBS = {
    "pretrain-ngram": "pretrain ngram --corpus small.txt --order 2",
    "pretrain-word2vec": "pretrain word2vec --corpus small.txt --size 8 --epochs 3 --min-count 2 --workers 1 "
    "--checkpoint-minutes 0",
    "pretrain-phrases": "pretrain word2vec --corpus small.txt --size 6 --epochs 2 --min-count 2 --workers 1 --phrases 1 "
    "--phrase-threshold 3 --architecture cbow --checkpoint-minutes 0",
    "pretrain-glove": "pretrain glove --corpus small.txt --size 6 --epochs 4 --min-count 2 --workers 1",
    "pretrain-elmo": "pretrain elmo --corpus small.txt --preset tiny --size 6 --cells 6 --batch-size 8 --bptt 12 --epochs 1 "
    f"--min-count 2 {_FP32}",
    "pretrain-cove": f"pretrain cove --pairs pairs.tsv {_SIZES} --batch-size 8 --epochs 2 --dropout 0.1 {_FP32}",
    "pretrain-lm": f"pretrain lm --corpus small.txt {_SIZES} {_LM}",
    "pretrain-lm-both": f"pretrain lm --corpus small.txt {_SIZES} --direction both --cell qrnn --optimizer nt-asgd {_LM}",
    "pretrain-lm-vectors": f"pretrain lm --corpus small.txt {_SIZES} --word-vectors w2v {_LM}",
    "adapt-lm": f"adapt lm --corpus more.txt {_LM}",
    "adapt-elmo": f"adapt elmo --corpus more.txt {_LM}",
    "adapt-word2vec": "adapt w2v --corpus more.txt --epochs 2 --min-count 2",
    "fit-classifier": f"fit classifier --train train.csv --validation test.csv --encoder lm --epochs 2 {_FP32}",
    "fit-solved": f"fit classifier --train train.csv --encoder lm --transfer frozen {_FP32}",
    "fit-scratch": "fit classifier --train train.csv --validation test.csv --encoder none --epochs 2 --embedding-size 6 "
    f"--hidden-size 6 {_FP32}",
    "fit-bilstm": f"fit classifier --train train.csv --encoder w2v --body bilstm --epochs 2 --hidden-size 6 {_FP32}",
    "fit-elmo": "fit classifier --train train.csv --encoder elmo --word-vectors w2v --epochs 2 --hidden-size 6 "
    f"{_FP32}",
    "fit-images": "fit classifier --train pictures --validation pictures --image-size 16 --width 4 --depths 1 1 --batch-size 8 "
    f"--epochs 2 --jitter 0.1 {_FP32}",
    "fit-tagger": f"fit tagger --train train.conll --validation test.conll --encoder elmo --epochs 2 {_WORDS}",
    "fit-answerer": f"fit answerer --train train.json --validation test.json --encoder lm --epochs 2 {_WORDS}",
}
"""What is killed, under the names of options that golden_steps.py has too; --output comes behind."""

STARTS = {
    "lm": f"pretrain lm --corpus small.txt {_SIZES} {_LM} --seed 1 --output lm",
    "elmo": f"{VERBS['pretrain-elmo']} --seed 1 --output elmo",
    "w2v": f"{VERBS['pretrain-word2vec']} --seed 1 --output w2v",
}
"""What they start from."""

ENDINGS = ("SIGKILL", "SIGTERM", "SIGINT", "two SIGINTs")
OUTPUT, MINE = "model", "notes.txt"
"""The output, and a file of the user's in it."""


# In the child: end at a change of the file system


@dataclass
class Watch:
    """Counts changes of the file system below a folder, and ends its process at one of them."""

    root: str
    at: int | None = None
    """Which change, from 1; None only counts."""
    after: bool = False
    """Whether the change is made before the end."""
    ending: str = "SIGKILL"
    count: int = 0
    places: list[str] = field(default_factory=list)
    process: int = 0

    def begin(self) -> None:
        """Watch this process from now on."""
        self.process = os.getpid()
        for name in "rename replace link symlink unlink remove mkdir rmdir truncate".split():
            setattr(os, name, self._watched(name, getattr(os, name)))
        opened = self._watched_open(builtins.open)
        builtins.open = opened
        io.open = opened
        os.open = self._watched("open", os.open)
        torch_save, save_file = _writers()
        import safetensors.torch
        import torch

        torch.save = self._watched("torch.save", torch_save)
        safetensors.torch.save_file = self._watched("save_file", save_file)

    def _watched(self, name: str, made: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return made(*arguments, **options)
            return self._change(name, lambda: made(*arguments, **options), arguments)

        return change

    def _watched_open(self, made: Callable[..., Any]) -> Callable[..., Any]:
        def change(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if isinstance(file, int) or not set(mode) & set("wax+"):
                return made(file, mode, *arguments, **options)
            return self._change(f"open {mode}", lambda: made(file, mode, *arguments, **options), (file,))

        return change

    def _change(self, name: str, make: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        paths = [os.fspath(each) for each in arguments if isinstance(each, (str, os.PathLike))]
        inside = any(self._is_inside(path) for path in paths) or (
            name in ("unlink", "rmdir", "mkdir") and not paths
        )
        if os.getpid() != self.process or not inside:
            return make()
        self.count += 1
        self.places.append(f"{name} {' '.join(map(str, paths))}")
        if self.count != self.at:
            return make()
        if not self.after:
            end(os.getpid(), self.ending)
            return make()
        try:
            return make()
        finally:  # also after removing a file that is not there
            end(os.getpid(), self.ending)

    def _is_inside(self, path: Any) -> bool:
        path = os.fsdecode(path)
        return not path.endswith((".out", ".err", "/changes")) and os.path.abspath(path).startswith(self.root)


def _writers() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import safetensors.torch
    import torch

    return torch.save, safetensors.torch.save_file


def end(process: int, ending: str) -> None:
    """Send the signal or signals."""
    if ending == "two SIGINTs":
        if process == os.getpid():  # the second one comes while the first is served
            if os.fork() == 0:
                time.sleep(0.03)
                _send(process, signal.SIGINT)
                os._exit(0)
            os.kill(process, signal.SIGINT)
            return
        _send(process, signal.SIGINT)
        time.sleep(0.03)
        _send(process, signal.SIGINT)
    else:
        _send(process, getattr(signal, ending))


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        os.kill(process, number)


# One kill


@dataclass
class Whole:
    """What an uninterrupted run of a verb leaves, and how long it takes."""

    files: set[str]
    tensors: dict[str, bytes]
    seconds: float
    places: list[str]
    """Its changes of the file system."""


@dataclass
class Found:
    """What came of one kill."""

    number: int
    verb: str
    what: str
    faults: dict[str, str] = field(default_factory=dict)


class Campaign:
    """A folder of data and starting models that all kills share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.wholes: dict[tuple[str, bool], Whole] = {}
        if not (self.data / "w2v").is_dir():
            shutil.rmtree(self.data, ignore_errors=True)
            self.data.mkdir(parents=True)
            make_data(self.data)
            lines = (self.data / "texts.txt").read_text(encoding="utf-8").splitlines(keepends=True)
            (self.data / "small.txt").write_text("".join(lines[:100]), encoding="utf-8")
            backwards = (
                f"{line.strip()}\t{' '.join(line.split()[::-1])}\n" for line in lines if line.strip()
            )
            (self.data / "pairs.tsv").write_text("".join(backwards), encoding="utf-8")
            write_images(self.data / "pictures", 24, seed=9)
            for line in STARTS.values():
                ended = run([*words_of(line), "--quiet"], self.data)
                assert ended.status == 0, ended.err

    def place(self, name: str) -> Path:
        """A new folder with links to the data, and an empty folder for temporary files and the cache."""
        place = self.root / name
        shutil.rmtree(place, ignore_errors=True)
        (place / "tmp").mkdir(parents=True)
        for entry in self.data.iterdir():
            if not entry.name.startswith("."):
                (place / entry.name).symlink_to(entry)
        return place

    def whole(self, verb: str, over: bool) -> Whole:
        """The uninterrupted run, made once."""
        if (verb, over) not in self.wholes:
            place = self.prepared(verb, over, f"whole-{verb}-{over}")
            watch = Watch(str(place))

            def first() -> None:
                set_place(place)
                watch.begin()
                write_changes(watch, place)

            began = time.monotonic()
            ended = wait(start(command(verb, over), place, first), place)
            assert ended.status == 0, ended.err
            seconds = time.monotonic() - began
            places = (place / "changes").read_text(encoding="utf-8").splitlines()
            (place / "changes").unlink()
            self.wholes[verb, over] = Whole(files_of(place), tensors_of(place / OUTPUT), seconds, places)
        return self.wholes[verb, over]

    def prepared(self, verb: str, over: bool, name: str) -> Path:
        """A place, with an earlier complete model of the verb's and a file of the user's where `over`."""
        place = self.place(name)
        if over:
            earlier = self.root / f"earlier-{verb}"
            if not earlier.is_dir():
                made = self.place(f"earlier-making-{verb}")
                ended = run_in(
                    [*command(verb, False), "--seed", "7"] if has_seed(verb) else other(verb), made
                )
                assert ended.status == 0, ended.err
                (made / OUTPUT / MINE).write_text("mine\n", encoding="utf-8")
                shutil.move(made / OUTPUT, earlier)
                shutil.rmtree(made)
            shutil.copytree(earlier, place / OUTPUT)
        return place

    def kill(self, number: int, seed: int, verbs: list[str]) -> Found:
        """Do the kill of this number."""
        chosen = random.Random(f"{seed}/{number}")
        verb, over = chosen.choice(verbs), chosen.random() < 0.4
        whole = self.whole(verb, over)
        place = self.prepared(verb, over, f"kill-{number}")
        what, how = self._interrupt(chosen, whole)
        found = Found(number, verb, f"{what}{', over an earlier model' if over else ''}")
        for _ in range(chosen.choice([1, 1, 2])):  # now and then the rerun is killed as well
            interrupted = how(place, command(verb, over))
            if interrupted.status == 0:
                break
            if over and (lost := what_is_lost(place)):
                found.faults["lost"] = f"{lost}, status {interrupted.status}"
                break
            if interrupted.status not in (-9, -15, 130, -2):
                last = (interrupted.err.strip().splitlines() or [""])[-1]
                found.faults["ending"] = f"status {interrupted.status}: {last[:300]}"
        again = run_in(command(verb, over), place)
        if again.status != 0:
            last = (again.err.strip().splitlines() or [""])[-1]
            found.faults["failed"] = f"rerun ends with status {again.status}: {last[:300]}"
            return found
        tensors = tensors_of(place / OUTPUT)
        if wrong := [
            name for name in {**tensors, **whole.tensors} if tensors.get(name) != whole.tensors.get(name)
        ]:
            found.faults["different"] = f"{len(wrong)} of {len(whole.tensors)} tensors, {wrong[0]} among them"
        if over and not (place / OUTPUT / MINE).is_file():
            found.faults["lost"] = "the user's own file in the output"
        if left := sorted(files_of(place) - whole.files):
            found.faults["leftovers"] = ", ".join(left[:5])
        return found

    def leave(self, verb: str) -> None:
        """Leave an interrupted run of a verb, for `resume`, beside its whole run."""
        whole = self.whole(verb, False)
        place = self.prepared(verb, False, f"left-{verb}")
        checkpoints = [n for n, change in enumerate(whole.places, 1) if "checkpoint" in change]
        at = checkpoints[len(checkpoints) // 2] if checkpoints else len(whole.places) // 2
        watch = Watch(str(place), at, True)

        def first() -> None:
            set_place(place)
            watch.begin()

        ended = wait(start(command(verb, False), place, first), place)
        print(f"{verb}: killed after {whole.places[at - 1]}, status {ended.status}", flush=True)

    def resume(self, verb: str) -> str:
        """Go on from what `leave` left; returns what is wrong, "" for nothing."""
        place = self.root / f"resumed-{verb}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.root / f"left-{verb}", place, symlinks=True)
        ended = run_in(command(verb, False), place)
        if ended.status != 0:
            return f"status {ended.status}: {ended.err.strip()[-300:]}"
        found, wanted = (tensors_of(folder / OUTPUT) for folder in (place, self.root / f"whole-{verb}-False"))
        wrong = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
        return f"{len(wrong)} of {len(wanted)} tensors differ, {wrong[0]} among them" if wrong else ""

    def _interrupt(
        self, chosen: random.Random, whole: Whole
    ) -> tuple[str, Callable[[Path, list[str]], Ended]]:
        """How a run is ended, in words and as a function."""
        ending = chosen.choice(ENDINGS)
        if chosen.random() < 0.6:
            at, after = chosen.randint(1, len(whole.places)), chosen.random() < 0.5
            what = f"{ending} {'after' if after else 'before'} change {at} ({whole.places[at - 1]})"

            def at_change(place: Path, words: list[str]) -> Ended:
                watch = Watch(str(place), at, after, ending)

                def first() -> None:
                    set_place(place)
                    watch.begin()

                return wait(start(words, place, first), place)

            return what, at_change
        seconds = chosen.random() * whole.seconds

        def at_moment(place: Path, words: list[str]) -> Ended:
            process = start(words, place, lambda: set_place(place))
            time.sleep(seconds)
            end(process, ending)
            return wait(process, place)

        return f"{ending} after {seconds:.3f} s of {whole.seconds:.2f}", at_moment


def set_place(place: Path) -> None:
    """Temporary files and the cache of this process are in `place`."""
    os.environ |= {"TMPDIR": str(place / "tmp"), "UNFREEZE_CACHE": str(place / "cache")}
    tempfile.tempdir = None


def write_changes(watch: Watch, place: Path) -> None:
    """At the end of this process, write its changes into a file."""
    import atexit

    atexit.register(lambda: (place / "changes").write_text("\n".join(watch.places), encoding="utf-8"))


def run_in(words: list[str], place: Path) -> Ended:
    """A command line to its end, in a place."""
    return wait(start(words, place, lambda: set_place(place)), place)


def command(verb: str, over: bool) -> list[str]:
    """The words of a verb."""
    return [*words_of(VERBS[verb]), "--output", OUTPUT, "--quiet", *["--overwrite"] * over]


def has_seed(verb: str) -> bool:
    """Whether another seed makes another run of it."""
    return verb != "pretrain-ngram"


def other(verb: str) -> list[str]:
    """Another run of a verb without a seed."""
    return [*words_of(VERBS[verb].replace("--order 2", "--order 3")), "--output", OUTPUT, "--quiet"]


def words_of(line: str) -> list[str]:
    """A command line in today's options, or with --leave in those of the commit at which golden.py's recording was made."""
    options = {} if "--leave" in sys.argv else json.loads(RENAMED.read_text(encoding="utf-8"))["options"]
    return translated_words(shlex.split(line), options)


def files_of(place: Path) -> set[str]:
    """What is there, without the data; the names of what is cached are digests."""
    return {
        str(path.relative_to(place))
        for path in place.rglob("*")
        if not path.is_symlink()
        and path.name not in (".out", ".err", "changes")
        and not path.name.endswith(".lock")
    }


def tensors_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every saved tensor; of an n-gram model those of its files of counts."""
    from safetensors.numpy import load_file

    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        if "training" not in path.relative_to(folder).parts:
            found |= {
                f"{path.relative_to(folder)}/{name}": each.tobytes() for name, each in load_file(path).items()
            }
    assert found, folder
    return found


def what_is_lost(place: Path) -> str:
    """What of an earlier complete model and the user's file in it is not there any more, "" if all is."""
    output = place / OUTPUT
    if not output.is_dir():
        return "no output is there"
    if not (output / MINE).is_file():
        return "the user's own file in the output"
    if not ((output / "config.json").is_file() and (output / "model.safetensors").is_file()):
        return "the model"
    from unfreeze.folders import load_tensors

    try:
        load_tensors(output / "model.safetensors")
    except Exception as error:  # noqa: BLE001  (whatever keeps it from being loaded)
        return f"the model ({error})"
    return ""


def main() -> int:
    """Kill, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--verbs", nargs="*", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--keep", type=Path, help="work in this folder, whose data is used again")
    parser.add_argument("--leave", action="store_true", help="leave interrupted runs in --keep")
    parser.add_argument("--resume", action="store_true", help="go on from those")
    arguments = parser.parse_args()
    root = (arguments.keep or Path(tempfile.mkdtemp(prefix="kill-"))).resolve()
    use_one_core(root)
    import_everything()
    campaign = Campaign(root)
    if arguments.leave or arguments.resume:
        wrong = {
            verb: campaign.resume(verb) if arguments.resume else campaign.leave(verb)
            for verb in arguments.verbs
        }
        for verb, said in wrong.items():
            print(f"{verb}: {said or 'ok'}")
        return any(wrong.values())
    numbers = range(arguments.first, arguments.first + arguments.kills)
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for number in numbers:
        found = campaign.kill(number, arguments.seed, arguments.verbs)
        counts.update(found.faults.keys())
        print(
            f"{number} {found.verb}: {found.what}: {', '.join(found.faults) or 'ok'}",
            file=sys.stderr,
            flush=True,
        )
        for fault, said in found.faults.items():
            print(f"{number} {found.verb}: {found.what}: {fault}: {said}", flush=True)
        if arguments.only is None:
            shutil.rmtree(root / f"kill-{number}")
    names = ("different", "lost", "leftovers", "failed", "ending")
    print(
        f"{len(numbers)} kills, seed {arguments.seed}, {time.monotonic() - began:.0f} s: "
        + ", ".join(f"{counts[name]} {name}" for name in names)
    )
    if arguments.keep is None and arguments.only is None:
        shutil.rmtree(root)
    return sum(counts.values()) > 0


if __name__ == "__main__":
    sys.exit(main())
