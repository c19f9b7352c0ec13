"""What the whole command line computes, recorded at one commit and compared at another.

    python -m tests.campaigns.golden --write FILE          record
    python -m tests.campaigns.golden --add FILE            record the steps that FILE does not have, in FILE
    python -m tests.campaigns.golden --compare FILE        do the same now, and say what differs; FILE is golden.json.gz
    python -m tests.campaigns.golden --compare FILE --models FOLDER    with the models that --write --scratch FOLDER left:
                                                           what was saved then has to load, and completed runs to be known

A few minutes on one core. Each command line of `golden_steps.STEPS` runs in a process of its own, with one thread, in fp32,
bounded by epochs or steps. Recorded are its exit status, its `--json` lines without times, and of all that it saved the
configuration, metrics, and a digest and a few values of every tensor. On one machine everything has to be equal to the last
bit; another processor adds numbers up in another order, for which there is `--tolerance 1e-4`.

`renamed.json` translates the recording into today's names: `options` ("--rate": "--learning-rate"; "fit tagger --rate" where
it is one verb's, "fit tagger --rate 1" where the value goes with it; null where it is gone), `keys` of JSON lines and metrics, `config` for keys of config.json, `tensors` for
the beginnings of tensors' names.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from tests.campaigns.forked import import_everything, run, use_one_core
from tests.campaigns.golden_steps import STEPS, make_data

RENAMED = Path(__file__).with_name("renamed.json")
FORGOTTEN = {"unused_days", "path"}
"""Keys of JSON lines that depend on the time or the place, besides those of seconds."""
TRAINS = ("pretrain", "adapt", "fit")
N_VALUES = 5
NOT_DETERMINISTIC: dict[str, str] = {}
"""Steps that are not compared, and why."""

Value = Any
"""What JSON knows."""


# Recording


def record(scratch: Path, renamed: dict[str, Any], known: Container[str] = ()) -> dict[str, Value]:
    """Run all steps that are not known, which must not need the known ones; returns what each of them gave."""
    found = {}
    for name, line in STEPS.items():
        if name in known:
            continue
        words = translated_words(shlex.split(line), renamed["options"])
        began = time.monotonic()
        ended = run([*words, "--json", "--quiet"], scratch)
        output = words[words.index("--output") + 1] if "--output" in words else None
        if ended.status == 0 and output == "elmo-files":
            output = None  # HDF5 holds the time; elmo-back has the tensors
        found[name] = {
            "status": ended.status,
            "rows": [without_places(json.loads(row), str(scratch)) for row in ended.out.splitlines()],
            "saved": saved(scratch / output) if output and ended.status == 0 else {},
        }
        if ended.status not in (0, 2):
            print(f"{name}: status {ended.status}: {ended.err[-2000:]}", file=sys.stderr)
        print(f"{time.monotonic() - began:6.2f} s  {name}", file=sys.stderr, flush=True)
    return found


def translated_words(words: list[str], options: dict[str, str | None]) -> list[str]:
    """A command line with today's options."""
    verb = " ".join(words[:2] if words[0] in ("pretrain", "fit") else words[:1])
    result: list[str] = []
    gone = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if not word.startswith("--"):
            if not gone:
                result.append(word)
            continue
        with_value = f"{verb} {word} {following}"  # an option whose value has become part of its name
        new = options.get(with_value, options.get(f"{verb} {word}", options.get(word, word)))
        gone = new is None or with_value in options
        result += [] if new is None else shlex.split(new)
    return result


def without_places(value: Value, scratch: str) -> Value:
    """JSON without times, and with paths as seen from the scratch folder."""
    if isinstance(value, dict):
        kept = {
            key: each
            for key, each in value.items()
            if key not in FORGOTTEN and not key.endswith(("seconds", "per_second"))
        }
        return {key: without_places(each, scratch) for key, each in kept.items()}
    if isinstance(value, list):
        return [without_places(each, scratch) for each in value]
    return value.replace(scratch, ".") if isinstance(value, str) else value


def saved(output: Path) -> dict[str, Value]:
    """By relative path what was written, without model cards and what is in training/."""
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    found: dict[str, Value] = {}
    for file in files:
        name = str(file.relative_to(output)) if output.is_dir() else file.name
        if not file.is_file() or file.name == "README.md" or "training" in file.relative_to(output).parts:
            continue
        if file.suffix == ".safetensors":
            found[name] = tensors_of(file)
        elif file.suffix == ".npz":
            found[name] = arrays_of(file)
        elif file.suffix == ".hdf5":
            found[name] = datasets_of(file)
        elif file.name in ("config.json", "metrics.json"):
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("digests", None)  # of the bytes of the file of tensors, which are compared one by one
            found[name] = without_places(content, "")
        else:
            found[name] = digest(file.read_bytes())
    return found


def tensors_of(path: Path) -> Value:
    """Of each tensor the type, the shape, a digest and a few values."""
    from safetensors.numpy import load_file

    return {f"tensor {name}": summary(tensor) for name, tensor in sorted(load_file(path).items())}


def arrays_of(path: Path) -> Value:
    """The same of an .npz."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return {name: summary(file[name]) for name in sorted(file.files)}


def datasets_of(path: Path) -> Value:
    """The same of HDF5."""
    import h5py
    import numpy as np

    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: summary(np.asarray(item))}) if hasattr(item, "shape") else None
            )
        )
    return found


def summary(array: Value) -> Value:
    """[type and shape, digest, a few values from the first to the last]."""
    import numpy as np

    array = np.ascontiguousarray(array)
    content = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
    about = [f"{array.dtype} {'x'.join(map(str, array.shape))}", digest(content)]
    if array.dtype.kind != "f" or not array.size:
        return [*about, []]
    places = np.linspace(0, array.size - 1, min(N_VALUES, array.size)).astype(int)
    return [*about, [float(f"{value:.7g}") for value in array.reshape(-1)[places]]]


def digest(content: bytes) -> str:
    """A short hash."""
    return f"digest {hashlib.blake2b(content, digest_size=6).hexdigest()}"


# Comparing


def translated(step: dict[str, Value], renamed: dict[str, Any]) -> dict[str, Value]:
    """What was recorded of a step, in today's names."""
    saved = {}
    for name, content in step["saved"].items():
        if name.endswith(".safetensors"):
            saved[name] = {
                f"tensor {with_prefix(key.removeprefix('tensor '), renamed['tensors'])}": each
                for key, each in content.items()
            }
        else:
            table = "keys" if name.endswith("metrics.json") else "config"
            saved[name] = with_keys(content, renamed[table]) if isinstance(content, dict) else content
    return {**step, "rows": with_keys(step["rows"], renamed["keys"]), "saved": saved}


def with_keys(value: Value, table: dict[str, str | None]) -> Value:
    """JSON whose keys have the names of a table; those whose name is null are left out."""
    if isinstance(value, dict):
        named = {table.get(key, key): with_keys(each, table) for key, each in value.items()}
        return {key: each for key, each in named.items() if key is not None}
    return [with_keys(each, table) for each in value] if isinstance(value, list) else value


def with_prefix(name: str, table: dict[str, str]) -> str:
    """A name of a tensor whose beginning has been renamed."""
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def differences(old: Value, new: Value, place: str = "") -> Iterator[tuple[str, str, float]]:
    """Where two values differ: the place, what is there, and by how much (infinity for what is no number)."""
    number = (int, float)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old or key not in new:
                yield f"{place}/{key}", "is new" if key in new else "is gone", float("inf")
            else:
                yield from differences(old[key], new[key], f"{place}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        tensors = len(old) == 3 and str(old[1]).startswith("digest ") and bool(old[2])
        if tensors and old[0] == new[0] and old[1] != new[1]:
            sizes = [abs(a - b) / (abs(a) + 1e-3) for a, b in zip(old[2], new[2], strict=True)]
            yield place, f"{old[0]}: {old[2]} -> {new[2]}", max(*sizes, 1e-12)
            return
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{place}/{index}")
    elif isinstance(old, number) and isinstance(new, number) and type(old) is type(new):
        if old != new:
            yield place, f"{old} -> {new}", abs(old - new) / (abs(old) + 1e-3)
    elif old != new:
        yield place, f"{str(old)[:100]} -> {str(new)[:100]}", float("inf")


def compare(old: dict[str, Value], new: dict[str, Value], renamed: dict[str, Any], tolerance: float) -> int:
    """Say what differs; returns the number of steps in which something does by more than the tolerance."""
    equal, close, different, largest = 0, 0, 0, 0.0
    for name in [*old, *(name for name in new if name not in old)]:
        if name in NOT_DETERMINISTIC:
            continue
        if name not in old or name not in new:
            print(f"{name}: {'not recorded' if name in new else 'not run'}")
            different += 1
            continue
        found = list(differences(translated(old[name], renamed), translated(new[name], renamed)))
        worst = max((size for *_, size in found), default=0.0)
        largest = max(largest, worst)
        equal += not found
        close += bool(found) and worst <= tolerance
        different += worst > tolerance
        for place, what, size in [each for each in found if each[2] > tolerance][:4]:
            print(f"{name}{place}: {what} (relative difference {size:.1e})")
    print(
        f"{equal} steps equal to the last bit, {close} within {tolerance:g}, {different} different; "
        f"largest relative difference {largest:.1e}; not compared: {', '.join(NOT_DETERMINISTIC) or 'none'}"
    )
    return different


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path)
    parser.add_argument("--add", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--save", type=Path, help="with --compare: keep what was found now in this file")
    parser.add_argument("--scratch", type=Path, help="work in this new folder, and leave it there")
    parser.add_argument("--models", type=Path, help="begin with the models of this scratch folder")
    parser.add_argument(
        "--old-names", action="store_true", help="with --write at the commit of the recording"
    )
    parser.add_argument("--tolerance", type=float, default=0.0)
    arguments = parser.parse_args()
    scratch = (arguments.scratch or Path(tempfile.mkdtemp(prefix="golden-"))).resolve()
    renamed = json.loads(RENAMED.read_text(encoding="utf-8"))
    if arguments.old_names:
        renamed["options"] = {}
    use_one_core(scratch)
    package = import_everything()
    if arguments.models is None:
        scratch.mkdir(parents=True, exist_ok=True)
        make_data(scratch)
    else:
        shutil.copytree(arguments.models, scratch, dirs_exist_ok=True)
        remove_results(scratch)
    recording = {"commit": commit(package), "steps": {}}
    if arguments.add is not None:
        with gzip.open(arguments.add, "rt", encoding="utf-8") as file:
            recording = json.load(file)
    try:
        found = record(scratch, renamed, known=recording["steps"])
    finally:
        if arguments.scratch is None:
            shutil.rmtree(scratch)
    for path in (arguments.write, arguments.save, arguments.add):
        if path is not None:
            write(path, {**recording, "steps": recording["steps"] | found})
    if arguments.compare is None:
        return 0
    if (
        arguments.models is not None
    ):  # saved files have their names of then, and nothing was cached for training
        found = {name: translated(step, renamed) for name, step in found.items() if name != "cache"}
        NOT_DETERMINISTIC["cache"] = "trained elsewhere"
    with gzip.open(arguments.compare, "rt", encoding="utf-8") as file:
        return compare(json.load(file)["steps"], found, renamed, arguments.tolerance) > 0


def remove_results(scratch: Path) -> None:
    """What was trained stays, everything else is made anew."""
    shutil.rmtree(scratch / "cache", ignore_errors=True)
    for line in STEPS.values():
        words = shlex.split(line)
        if words[0] not in TRAINS and "--output" in words:
            output = scratch / words[words.index("--output") + 1]
            if output.is_dir():
                shutil.rmtree(output)
            else:
                output.unlink(missing_ok=True)


def write(path: Path, recording: Value) -> None:
    """Compressed JSON, the same bytes for the same content."""
    content = json.dumps(recording, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(content.encode(), mtime=0))


def commit(package: Path) -> str:
    """That of the package."""
    asked = ["git", "-C", str(package), "rev-parse", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
