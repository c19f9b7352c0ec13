"""Files as streams of lines: plain or compressed, decoded, with errors that name the line and the byte.

Memory is bounded by the longest line, or by a part of it. One core reads about 0.25 GB of plain UTF-8 text a second.
"""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import lzma
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

from unfreeze.checked import shown
from unfreeze.errors import UserError, import_extra, setting

_log = logging.getLogger(__name__)

COMPRESSIONS = (".gz", ".xz", ".zst")

_MAGIC = {
    b"\x1f\x8b": "is compressed by gzip: give it a name that ends in .gz",
    b"\xfd7zXZ\0": "is compressed by xz: give it a name that ends in .xz",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: give it a name that ends in .zst",
    b"BZh": "is compressed by bzip2: decompress it first",
    b"PK\x03\x04": "is a ZIP archive or a document of an office program: save what it holds as a plain file first",
}
"""First bytes of compressed files, and the message if the file name has another suffix."""
_BZIP2_BLOCK = b"1AY&SY"
_HEAD = 10
"""Number of bytes that identify a compression."""
_MARK = "\ufeff"
_NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_MAX_KINDS = 5
_FARTHEST_SPACE = 1000
"""Number of characters before a cut that are searched for white space; words have at most 100."""
_LONGEST_READ = 1 << 18
"""Number of characters of a line that are read at a time."""


def plain_suffix(path: Path) -> str:
    """The suffix in lower case, without that of a compression: `.csv` for `reviews.CSV.gz`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, such as those that operating systems and editors create."""
    return name.startswith(".")


def warn_of_ignored_files(folder: Path, files: Sequence[Path]) -> None:
    """Log in one line how many files of a folder are ignored: hidden ones, and those of other kinds."""
    hidden = sum(is_hidden(file.name) for file in files)
    others = sorted({file.suffix or file.name for file in files if not is_hidden(file.name)})
    ignored = [f"{hidden} hidden"] if hidden else []
    if others:
        more = ", ..." if len(others) > _MAX_KINDS else ""
        ignored.append(f"{len(files) - hidden} of other kinds ({', '.join(others[:_MAX_KINDS])}{more})")
    if ignored:
        _log.warning("%s: files that are not read: %s", folder, ", ".join(ignored))


def existing_file(path: Path) -> Path:
    """Return `path` if it is a file or a pipe; raise UserError otherwise."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    return path


def read_lines(
    path: Path, encoding: str = "utf-8", *, longest: int | None = None, warning: str = ""
) -> Iterator[str]:
    r"""Yield the lines of a text file with their end (always `\n`), without byte order marks.

    Byte order marks are removed from every line: concatenated files have several.

    Args:
        longest: longer lines are yielded in parts of at most this number of characters, which bounds memory. All but the
            last part lack the `\n`, and they are cut after white space where there is any.
        warning: end of the warning about such a line, such as "is read in parts"; empty means no warning.

    Raises UserError if the file cannot be read, is not in `encoding` (with line and byte), is compressed under another
    name, or holds a NUL.
    """
    codec_name(encoding)  # raises for names that are not encodings of text
    most = _LONGEST_READ if longest is None else min(_LONGEST_READ, longest)
    try:
        with _open_binary(path) as stream:
            if (compressed := hidden_compression(stream.peek(_HEAD))) is not None:
                raise UserError(f"{path} {compressed}")
            with io.TextIOWrapper(stream, encoding=encoding) as text:
                reads = iter(partial(text.readline, most), "")
                for number, line in enumerate(reads, 1):
                    if len(line) == most or line[0] == _MARK or "\0" in line:
                        yield from _odd_line(line, reads, most, f"{path}:{number}", longest, warning)
                    else:
                        yield line
    except UnicodeError:
        raise _undecodable(path, encoding) from None
    except _read_errors() as error:
        raise unreadable(path, error) from None


def standard_lines(encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of standard input with their line ends, without byte order marks, whatever the terminal's encoding.

    Args:
        encoding: None reads UTF-8, and messages then name no setting that would change it.

    Raises:
        UserError: standard input is closed, compressed, not in this encoding, or holds a NUL.
    """
    if sys.stdin is None:
        raise UserError("standard input is closed: name the texts, or a file of them")
    codec_name(encoding or "utf-8")  # raises for names that are not encodings of text
    if isinstance(sys.stdin, io.TextIOWrapper):
        head = sys.stdin.buffer.peek() if isinstance(sys.stdin.buffer, io.BufferedReader) else b""
        if (compressed := hidden_compression(head)) is not None:
            raise UserError(f"standard input {compressed.partition(':')[0]}: decompress it first")
        sys.stdin.reconfigure(encoding=encoding or "utf-8", errors="strict")
    count = 0
    try:
        for count, line in enumerate(sys.stdin, 1):
            if "\0" in line:
                advice = "" if encoding is None else f", or one that needs {setting('encoding', 'utf-16')}"
                raise UserError(f"standard input, line {count}: a NUL byte: not a text{advice}")
            yield line.lstrip(_MARK)
    except UnicodeError as error:
        place, what, likely = "standard input", f"not {encoding or 'utf-8'}", ""
        if isinstance(error, UnicodeDecodeError):
            n_good = error.object[: error.start].count(b"\n")
            place += f", line {count + 1 + n_good}"
            what += f": byte 0x{error.object[error.start]:02x}"
            likely = likely_encoding(error.object, encoding or "utf-8")
        such = f", such as {setting('encoding', likely)}" if likely else f" with {setting('encoding')}"
        advice = "convert it" if encoding is None else f"name its encoding{such}"
        raise UserError(f"{place}: {what}; {advice}") from None


def hidden_compression(head: bytes) -> str | None:
    """The message if a file that is read as plain text begins like a compressed one; otherwise None."""
    if head.startswith(b"BZh") and head[4:_HEAD] != _BZIP2_BLOCK:
        return None
    return next((message for magic, message in _MAGIC.items() if head.startswith(magic)), None)


def unreadable(path: Path, error: Exception) -> UserError:
    """Return the UserError that says why a file cannot be read."""
    if isinstance(error, OSError) and error.errno:
        return UserError(f"{path}: cannot be read: {error.strerror}")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path}: cannot be read: {reason} (damaged, cut off, or not a {path.suffix} file?)")


def _odd_line(
    first: str, reads: Iterator[str], most: int, place: str, longest: int | None, warning: str
) -> Iterator[str]:
    """A line that begins with a byte order mark, contains a NUL, or is so long that it takes several `reads`.

    Iterating over the file itself would take twice the size of a long line.
    """
    line = ""
    for part in chain([first], reads):
        if "\0" in part:
            advice = f"not a text file, or one that needs {setting('encoding', 'utf-16')}"
            raise UserError(f"{place}: a NUL byte: {advice}")
        line += part if line else part.lstrip(_MARK)  # CPython appends in place, without a copy
        while longest is not None and len(line) - line.endswith("\n") > longest:
            if warning:
                _log.warning(
                    "%s: this line has more than %s characters and %s", place, f"{longest:,}", warning
                )
                warning = ""
            cut = _place_to_cut(line, longest)
            yield line[:cut]
            line = line[cut:]
        if len(part) < most or part.endswith("\n"):
            break
    if line:
        yield line


def _place_to_cut(line: str, longest: int) -> int:
    """The index after the last white space in the first `longest` characters; `longest` if there is none nearby."""
    for place in range(longest, max(longest - _FARTHEST_SPACE, 0), -1):
        if line[place - 1].isspace():
            return place
    return longest


def _open_binary(path: Path) -> io.BufferedReader:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(io.BufferedReader, gzip.open(path))
    if suffix == ".xz":
        return cast(io.BufferedReader, lzma.open(path))
    if suffix == ".zst":
        return io.BufferedReader(_ZstandardFile(path))
    return path.open("rb")


class _ZstandardFile(io.RawIOBase):
    """A decompressed .zst file; a truncated one raises EOFError, where zstandard's own reader just ends."""

    def __init__(self, path: Path) -> None:
        self._package = import_extra("zstandard", "data")
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


def codec_name(encoding: str) -> str:
    """Return Python's name of a text encoding; raise UserError if there is none."""
    with suppress(LookupError, ValueError):  # no such codec, or one that codes nothing, such as undefined
        "".encode(encoding)  # codecs such as hex are found too, but are none of text
        name = codecs.lookup(encoding).name
        if name not in ("idna", "punycode"):  # of the names of hosts
            return name
    advice = "name one such as utf-8, latin-1, cp1252, utf-16"
    raise UserError(f"unknown encoding {shown(encoding)}: {advice}")


def _read_errors() -> tuple[type[Exception], ...]:
    zstandard = sys.modules.get("zstandard")
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *([zstandard.ZstdError] if zstandard else []))


def _undecodable(path: Path, encoding: str) -> UserError:
    """Read the file again to find the first wrong byte, because the decoder knows only its index in a chunk."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line, column, likely, doubt = 0, 1, 1, "", ""
    with _open_binary(path) as stream:
        for chunk in chain(iter(lambda: stream.read(1 << 20), b""), [b""]):
            if not offset and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                likely = "utf-16"
            elif b"\0" in chunk and not likely:
                likely, doubt = "utf-16", ", if it is a text file at all"
            pending = len(decoder.getstate()[0])
            try:
                line, column = _advanced(line, column, decoder.decode(chunk, final=not chunk))
            except UnicodeDecodeError as error:
                good = decoder.decode(chunk[: max(0, error.start - pending)])
                line, column = _advanced(line, column, good)
                byte, place = error.object[error.start], offset - pending + error.start
                what = f"not {encoding}: byte 0x{byte:02x} at byte offset {place}"
                likely = likely or likely_encoding(error.object, encoding)
                such = (
                    f", such as {setting('encoding', likely)}{doubt}"
                    if likely
                    else f" with {setting('encoding')}"
                )
                return UserError(f"{path}:{line}:{column}: {what}; name the file's encoding{such}")
            except UnicodeError:
                break
            offset += len(chunk)
    return UserError(f"{path}: not {encoding}; name the file's encoding with {setting('encoding')}")


def likely_encoding(data: bytes, tried: str) -> str:
    """A likely encoding of text that is not in the one tried; empty if none is likely.

    In latin-1 the bytes 0x80 to 0x9f are control characters, which do not occur in text; in cp1252 all but five of them
    are quotation marks, dashes and the like.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    name = codecs.lookup(tried).name
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(data)
    wrong = {ord(each) - 0xDC00 for each in set(text) if "\udc80" <= each <= "\udcff"}
    if not wrong:
        return "" if name == "utf-8" else "utf-8"
    if name == "cp1252" or not wrong.isdisjoint(_NOT_IN_CP1252):
        return ""
    return "cp1252" if min(wrong) < 0xA0 else "latin-1"


def _advanced(line: int, column: int, text: str) -> tuple[int, int]:
    """Line and column (from 1) after `text`, which begins at `line` and `column`."""
    _, end, last = text.rpartition("\n")
    return line + text.count("\n"), (1 if end else column) + len(last)
