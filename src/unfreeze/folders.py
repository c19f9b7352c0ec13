"""Saved models are folders: config.json and model.safetensors, written completely or not at all.

A folder or file is written under a temporary name in the same parent folder and takes its place when complete, so that
a crash or a full disk leaves the earlier one intact. Weights are safetensors: no pickle is ever loaded.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.checked import need_fields, read_json_file, shown
from unfreeze.errors import CannotWrite, UserError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
TERMS, MEMBERS = "terms.json", "members"
"""The terms of TF-IDF, and the folder of the members of an ensemble."""
OWN = {CONFIG, WEIGHTS, METRICS, TERMS, MEMBERS, "README.md", "training"}
OWN |= {"tokenizer.json", "counts.json", "preprocessor_config.json"}  # processors
"""Names of the files of a saved model; all other files in its folder belong to the user and stay there."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The part of config.json about an encoder."""

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor, which checks their types."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """config.json of anything that is saved; the classes of some kinds have further fields."""

    format_version: int
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    encoder: EncoderConfig | None = None
    """The encoder of a task model."""
    output: dict[str, Any] | None = None
    """Arguments of a language model's output layer."""
    trained: dict[str, Any] | None = None
    """Settings of word2vec, if training can be continued."""
    word_vectors: bool = False
    """Whether a task model has static vectors in a folder of their own."""
    digests: dict[str, str] = field(default_factory=dict)
    """File of tensors -> its `checksum`; models of earlier versions have none."""


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block ends without an error.

    The file has the permissions of the one that it replaces, or those that the umask leaves. If `path` is a link, its
    target is written.

    Raises:
        UserError: the disk is full or the place cannot be written; an earlier `path` is intact.
    """
    if path.is_symlink():
        path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()
            mode = _mode(path if path.is_file() else temporary)
            temporary.chmod(mode | stat.S_IWUSR)  # before it contains anything that others must not read
            yield temporary
            temporary.chmod(mode)  # safetensors creates the file again, readable only by its owner
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _mode(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


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
    """Yield a temporary folder next to `path`; it takes the place of `path` when the block ends without an error.

    Entries of an earlier `path` that do not belong to a saved model, and those of the model whose names are in `keep`, are
    carried over as hard links, because they may be gigabytes of token ids. The new folder has the permissions of the
    earlier one, or those that the umask leaves. If `path` is a link, its target is written.

    Raises:
        UserError: the disk is full or the place cannot be written; an earlier `path` is intact.
    """
    if path.is_symlink():
        path = path.resolve()
    need_own_place(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            mode = _mode(path) if path.is_dir() else _new_folder_mode(temporary)
            yield temporary
            _keep_modes(temporary, path)
            _carry_over(path, temporary, keep)
            temporary.chmod(mode)
            take_place(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # after an exchange, this is the earlier folder


def _new_folder_mode(inside: Path) -> int:
    """The permissions of a new folder under the umask, which a process can read only by changing it."""
    probe = inside / ".new"
    probe.mkdir()
    mode = _mode(probe)
    probe.rmdir()
    return mode


def _keep_modes(new: Path, path: Path) -> None:
    """Give the files in `new` the permissions of those in `path` that they replace."""
    for file in new.rglob("*"):
        earlier = path / file.relative_to(new)
        if file.is_file() and earlier.is_file():
            file.chmod(_mode(earlier))


def need_own_place(path: Path) -> None:
    """Raise UserError for a folder that cannot be replaced: a mount point, the current folder and its parents."""
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"{path} is the folder you are in, or above it: name one for the model alone")
    if os.path.ismount(path):
        raise UserError(f"{path} is a mount point, which cannot be replaced: name a folder inside it")


def _carry_over(path: Path, new: Path, keep: Container[str]) -> None:
    for entry in path.iterdir() if path.exists() else ():
        if (entry.name in keep or entry.name not in OWN) and not (new / entry.name).exists():
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, new / entry.name, symlinks=True, copy_function=_link)
            else:
                _link(entry, new / entry.name)


def take_place(new: Path, path: Path) -> None:
    """Move the folder `new` to `path`; an earlier `path` is removed, or is at `new` afterwards.

    Raises:
        OSError: the file system refuses; an earlier `path` is intact.
    """
    if not path.exists():
        new.rename(path)
        return
    if _exchange(new, path):
        return
    # A process that is killed between these two renames leaves no `path`: `restore_folder` puts the earlier one back.
    earlier = path.with_name(f".{path.name}.{os.getpid()}.earlier")
    path.rename(earlier)
    try:
        new.rename(path)
    except OSError:
        earlier.rename(path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, where the system can (Linux's renameat2); returns whether it did."""
    current_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(current_folder, os.fsencode(one), current_folder, os.fsencode(other), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):  # an old kernel, or a file system without it
        return False
    raise OSError(number, os.strerror(number), str(other))


def restore_folder(path: Path) -> None:
    """Restore the folder `path` if a process was killed after moving it away to replace it."""
    for earlier in moved_away(path):
        with writing(path):
            earlier.rename(path)


def moved_away(path: Path) -> list[Path]:
    """The folder, if any, that a process moved away from `path` to replace it, and is at another name now."""
    return [] if path.exists() else _left_beside(path, r"\d+\.earlier")[:1]


def remove_leftovers(path: Path) -> None:
    """Remove temporary files and folders of killed processes in the folder `path` and next to it.

    No other process may be writing `path`.
    """
    own = "|".join(re.escape(name) for name in OWN)
    half_written = re.compile(rf"\.({own})\.\d+\.part"), re.compile(r"\..+\.(\d+|\w{8})\.part")
    left = _left_beside(path, r"\w{8}\.part|\d+\.earlier")
    for folder, pattern in zip((path, path / "training"), half_written, strict=True):
        left += [entry for entry in _entries(folder) if pattern.fullmatch(entry.name)]
    with writing(path):
        for entry in left:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _left_beside(path: Path, endings: str) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.({endings})")
    return [entry for entry in _entries(path.parent) if pattern.fullmatch(entry.name)]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def cache_folder(name: str) -> Path:
    """The folder of one kind of cached results, in UNFREEZE_CACHE or ~/.cache/unfreeze.

    Raises:
        CannotWrite: UNFREEZE_CACHE is not set and there is no home folder.
    """
    if root := os.environ.get("UNFREEZE_CACHE"):
        return Path(root) / name
    try:
        return Path.home() / ".cache" / "unfreeze" / name
    except RuntimeError as error:
        raise CannotWrite("there is no home folder for the cache: set HOME or UNFREEZE_CACHE") from error


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config` with the format version as `folder`/config.json."""
    write_json(folder / CONFIG, {"format_version": FORMAT_VERSION, **config})


def read_config(
    folder: Path, kinds: Container[str] | None = None, form: type[Config] = Config
) -> dict[str, Any]:
    """Read and check `folder`/config.json.

    Args:
        kinds: accepted values of "kind" (default: all).
        form: the dataclass whose fields and types it must have.

    Raises:
        UserError: there is no such folder or file, or it is damaged, of a newer format or of another kind.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: a saved model is a folder with {CONFIG} in it")
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}: it is not a saved model, or was not written completely")
    config = read_json_file(path)
    if not isinstance(config, dict) or not isinstance(config.get("kind"), str):
        raise UserError(f"{path} names no kind of model: it was not written by unfreeze")
    version = config.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise UserError(
            f"{path} has format version {shown(version)}, this unfreeze reads {FORMAT_VERSION}: "
            "upgrade with pip install -U unfreeze"
        )
    if kinds is not None and config["kind"] not in kinds:
        wanted = f" ({' or '.join(map(repr, kinds))} is needed)" if isinstance(kinds, Iterable) else ""
        raise UserError(f"{folder} is of kind {config['kind']!r}, which cannot be used here{wanted}")
    need_fields(config, form, path)
    return config


def write_model(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write the tensors as `folder`/model.safetensors, and `config` with their digest as config.json."""
    save_tensors(folder / WEIGHTS, tensors)
    write_config(folder, {**config, "digests": {WEIGHTS: checksum(folder / WEIGHTS)}})


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read `folder`/metrics.json.

    Raises:
        UserError: it is missing or damaged.
    """
    metrics = read_json_file(folder / METRICS)
    if not isinstance(metrics, dict):
        raise UserError(f"{folder / METRICS} holds no metrics by name: the file is damaged")
    return metrics


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with written_file(path) as temporary:
        try:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(temporary)
            )
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, and compare its checksum with that in config.json, if there is one in its folder.

    Raises:
        UserError: the file is missing, truncated or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _need(path)
    _need_undamaged(path)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): the file is truncated or damaged") from error


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors in a safetensors file; only the header is read.

    Raises:
        UserError: the file is missing or truncated.
    """
    from safetensors import SafetensorError, safe_open

    _need(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): the file is truncated or damaged") from error


def _need_undamaged(path: Path) -> None:
    config = path.with_name(CONFIG)
    known = read_config(path.parent).get("digests", {}).get(path.name) if config.is_file() else None
    if known is not None and known != checksum(path):
        raise UserError(
            f"{path} is truncated or damaged, or is not the file that was saved: its digest differs from that in {CONFIG}; "
            f"copy or make the model again (if the file was changed on purpose, remove 'digests' from {CONFIG})"
        )


def checksum(path: Path) -> str:
    """A checksum that detects damaged files: CRC-32, which takes 0.07 s for 100 MB where `digest` takes 0.23 s."""
    value = 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            value = zlib.crc32(data, value)
    return f"crc32:{value:08x}"


def digest(path: Path) -> str:
    """A short hash of the content of a file.

    Raises:
        UserError: the file is missing.
    """
    _need(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


def _need(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing: the saved model is incomplete")
