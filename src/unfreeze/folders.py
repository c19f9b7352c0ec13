"""Saved things are folders: config.json beside model.safetensors, written whole or not at all.

A folder or file is written under a temporary name beside its place and renamed when complete, so that a crash or a
full disk leaves the earlier one intact. Weights are safetensors: no pickle is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.errors import CannotWrite, UserError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OWN = {CONFIG, WEIGHTS, "tokenizer.json", "counts.json", "README.md", "metrics.json", "training"}
"""What a saved model consists of; whatever else lies in its folder is the user's and stays there."""


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Raises:
        UserError: the disk is full or the place cannot be written; an earlier `path` is intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.chmod(0o644)  # safetensors writes files that only their owner can read
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block, errors of the file system say that `path` could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}; what was there before is intact"
        ) from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    with written_file(path) as temporary:
        # Names of files may hold bytes that are not UTF-8; what "backslashreplace" writes is JSON's escape of them.
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def written_folder(path: Path, keep: Container[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes the place of `path` when the block ends without an error.

    Of an earlier `path` the entries that are none of a saved model's are carried over, and those of its whose names are
    in `keep`: by links, for they may be gigabytes of ids.

    Raises:
        UserError: the disk is full or the place cannot be written; an earlier `path` is intact.
    """
    need_own_place(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            _replace_folder(temporary, path, keep)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def need_own_place(path: Path) -> None:
    """Raise the UserError for a folder that cannot be replaced by a new one: the current one, and those above it."""
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(
            f"{path} is the folder you are in, or above it: name one that a model can have for itself"
        )


def _replace_folder(new: Path, path: Path, keep: Container[str]) -> None:
    if not path.exists():
        new.rename(path)
        return
    for entry in path.iterdir():
        if (entry.name in keep or entry.name not in OWN) and not (new / entry.name).exists():
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, new / entry.name, symlinks=True, copy_function=_link)
            else:
                _link(entry, new / entry.name)
    earlier = path.with_name(f".{path.name}.{os.getpid()}.earlier")
    path.rename(earlier)
    try:
        new.rename(path)
    except OSError:
        earlier.rename(path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def cache_folder(name: str) -> Path:
    """Where one kind of things is kept that can be made again: in UNFREEZE_CACHE, else ~/.cache/unfreeze.

    Raises:
        CannotWrite: neither is there.
    """
    if root := os.environ.get("UNFREEZE_CACHE"):
        return Path(root) / name
    try:
        return Path.home() / ".cache" / "unfreeze" / name
    except RuntimeError as error:
        raise CannotWrite(
            "there is no home folder to keep the cache in: set HOME, or UNFREEZE_CACHE to a folder"
        ) from error


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config` with the format version as `folder`/config.json."""
    write_json(folder / CONFIG, {"format_version": FORMAT_VERSION, **config})


def read_config(
    folder: Path, kinds: Container[str] | None = None, needs: Iterable[str] = ()
) -> dict[str, Any]:
    """Read `folder`/config.json.

    Args:
        kinds: the values of "kind" that the caller can use; None accepts all.
        needs: names that the caller is going to read.

    Raises:
        UserError: there is no such folder or file, it is broken, of a newer format, or of another kind.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: a saved model is a folder with {CONFIG} in it")
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}: it is no saved model, or its writing never finished")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): the file is damaged") from error
    if not isinstance(config, dict) or "kind" not in config:
        raise UserError(f"{path} names no kind of model: it was not written by unfreeze")
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this unfreeze reads {FORMAT_VERSION}: upgrade with pip install -U unfreeze"
        )
    if kinds is not None and config["kind"] not in kinds:
        wanted = f" ({' or '.join(map(repr, kinds))} is needed)" if isinstance(kinds, Iterable) else ""
        raise UserError(f"{folder} is of kind {config['kind']!r}, which cannot be used here{wanted}")
    if missing := [name for name in needs if name not in config]:
        raise UserError(f"{path} lacks {missing[0]!r}: the file is damaged")
    return config


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with written_file(path) as temporary:
        try:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(temporary)
            )
        except SafetensorError as error:  # a full disk, in its words
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        UserError: the file is missing or truncated.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _need(path)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): the file is truncated or damaged") from error


def digest(path: Path) -> str:
    """A short hash of what is in a file.

    Raises:
        UserError: the file is missing.
    """
    _need(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


def _need(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing: the saved model is incomplete")
