"""Files as streams of lines: plain or compressed, decoded, with errors that name the line and the byte.

Memory is that of the longest line. Cost: about 0.25 GB of plain UTF-8 text a second on one core.
"""

from __future__ import annotations

import codecs
import gzip
import importlib
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from unfreeze.checked import shown
from unfreeze.errors import MissingExtra, UserError

COMPRESSIONS = (".gz", ".xz", ".zst")


def plain_suffix(path: Path) -> str:
    """The suffix in lower case, without that of a compression: `.csv` for `reviews.CSV.gz`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix


def existing_file(path: Path) -> Path:
    """`path`, where it is a file or a pipe; raises UserError otherwise."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    return path


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    r"""Yields the lines of a text file with their end (always `\n`), without a byte order mark.

    Raises UserError where the file cannot be read, is not in `encoding` (with line and byte), or holds a NUL.
    """
    codec = "utf-8-sig" if _codec_name(encoding) == "utf-8" else encoding
    try:
        with _open_binary(path) as stream, io.TextIOWrapper(stream, encoding=codec) as text:
            for number, line in enumerate(text, 1):
                if "\0" in line:
                    mend = "not a text file, or one that needs --encoding utf-16"
                    raise UserError(f"{path}:{number}: a NUL byte: {mend}")
                yield line
    except UnicodeError:
        raise _undecodable(path, encoding) from None
    except _read_errors() as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> UserError:
    """The UserError that says why a file cannot be read."""
    if isinstance(error, OSError) and error.errno:
        return UserError(f"{path}: cannot be read: {error.strerror}")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path}: cannot be read: {reason} (damaged, cut off, or not a {path.suffix} file?)")


def import_extra(package: str, module: str | None = None) -> ModuleType:
    """Imports an optional package; raises MissingExtra (extra `data`) where it is not installed."""
    try:
        return importlib.import_module(module or package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(package, "data") from None


def mend_surrogates(text: str) -> str:
    r"""Replaces halves of a character, which JSON can hold (`"\ud83d"`) and UTF-8 cannot, by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _open_binary(path: Path) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if suffix == ".xz":
        return cast(IO[bytes], lzma.open(path))
    if suffix == ".zst":
        return io.BufferedReader(_ZstandardFile(path))
    return path.open("rb")


class _ZstandardFile(io.RawIOBase):
    """A decompressed .zst file; one that breaks off raises, where zstandard's own reader just ends."""

    def __init__(self, path: Path) -> None:
        self._package = import_extra("zstandard")
        self._file = path.open("rb")
        self._chunks = self._decompressed()
        self._rest = b""

    def _decompressed(self) -> Iterator[bytes]:
        frame, inside = self._package.ZstdDecompressor().decompressobj(), False
        while data := self._file.read(1 << 16):
            while data:
                yield frame.decompress(data)
                data, inside = frame.unused_data, not frame.eof
                if frame.eof:  # another frame may follow
                    frame = self._package.ZstdDecompressor().decompressobj()
        if inside:
            raise EOFError("the last frame is not complete")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _codec_name(encoding: str) -> str:
    with suppress(LookupError, ValueError):  # no such codec, or one that codes nothing, such as undefined
        "".encode(encoding)  # codecs such as hex are found too, but are none of text
        name = codecs.lookup(encoding).name
        if name not in ("idna", "punycode"):  # of the names of hosts
            return name
    mend = "name one such as utf-8, latin-1, cp1252, utf-16"
    raise UserError(f"unknown encoding {shown(encoding)}: {mend}")


def _read_errors() -> tuple[type[Exception], ...]:
    zstandard = sys.modules.get("zstandard")
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *([zstandard.ZstdError] if zstandard else []))


def _undecodable(path: Path, encoding: str) -> UserError:
    """Reads the file again for the first wrong byte: the text layer knows only its place in a chunk."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line, column, mend = 0, 1, 1, "latin-1"
    with _open_binary(path) as stream:
        for chunk in chain(iter(lambda: stream.read(1 << 20), b""), [b""]):
            if not offset and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                mend = "utf-16"
            elif b"\0" in chunk and mend != "utf-16":
                mend = "utf-16, if it is a text file at all"
            pending = len(decoder.getstate()[0])
            try:
                line, column = _advanced(line, column, decoder.decode(chunk, final=not chunk))
            except UnicodeDecodeError as error:
                good = decoder.decode(chunk[: max(0, error.start - pending)])
                line, column = _advanced(line, column, good)
                byte, place = error.object[error.start], offset - pending + error.start
                what = f"not {encoding}: byte 0x{byte:02x} at byte offset {place}"
                return UserError(
                    f"{path}:{line}:{column}: {what}; name the file's encoding, such as --encoding {mend}"
                )
            except UnicodeError:
                break
            offset += len(chunk)
    return UserError(f"{path}: not {encoding}; name the file's encoding with --encoding")


def _advanced(line: int, column: int, text: str) -> tuple[int, int]:
    """Line and column, both from 1, behind `text` that begins at `line` and `column`."""
    _, end, last = text.rpartition("\n")
    return line + text.count("\n"), (1 if end else column) + len(last)
