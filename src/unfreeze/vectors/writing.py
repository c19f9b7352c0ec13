"""Write word vectors in the formats of other libraries: word2vec text and binary, GloVe text, .npz; also as .gz."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.vectors.table import Floats, VectorTable

_FORBIDDEN = {
    "": (" \n\r", "a space or line break, which word2vec's formats cannot carry: write .npz"),
    ".npz": ("\0", "a NUL, which .npz cannot carry"),
}
"""Characters that a format cannot represent within a word, and the message about them."""


def write_word_vectors(path: str | Path, vectors: VectorTable, *, header: bool = True) -> None:
    """Write word2vec binary (.bin), .npz, or text (any other suffix), compressed by gzip if the name ends in .gz.

    Args:
        header: begin text with the header line of word2vec and fastText; GloVe files have none.

    Raises:
        UserError: a word is empty or contains a character that the format cannot represent, or the file cannot be written.
    """
    path = Path(path)
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if not header and (suffix in (".bin", ".npz") or vectors.size == 1):
        raise UserError(
            f"{path}: only text can be without a header, with vectors of two numbers or more (line 1 would look like one)"
        )
    words = _encoded(vectors.words, suffix)
    with written_file(path) as temporary, ExitStack() as stack:
        stream: BinaryIO = stack.enter_context(open(temporary, "wb"))
        if path.suffix == ".gz":
            # Without name and time, equal vectors give equal bytes.
            stream = cast(BinaryIO, stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0)))
        if suffix == ".npz":
            # zipfile seeks back to correct its headers, which gzip cannot: pack from memory.
            place = io.BytesIO() if path.suffix == ".gz" else stream
            np.savez(place, words=np.array(vectors.words), matrix=vectors.matrix)
            if isinstance(place, io.BytesIO):
                stream.write(place.getbuffer())
            return
        if header:
            stream.write(b"%d %d\n" % vectors.matrix.shape)
        to_bytes = _binary_row if suffix == ".bin" else _text_row
        for word, row in zip(words, vectors.matrix, strict=True):
            stream.write(to_bytes(word, row.astype("<f4", copy=False)))


def _binary_row(word: bytes, row: Floats) -> bytes:
    return word + b" " + row.tobytes() + b"\n"


def _text_row(word: bytes, row: Floats) -> bytes:
    # nine digits determine a float32 exactly
    return word + b"".join([b" %.9g" % number for number in row.tolist()]) + b"\n"


def _encoded(words: Iterable[str], suffix: str) -> list[bytes]:
    forbidden, message = _FORBIDDEN.get(suffix, _FORBIDDEN[""])
    encoded = []
    for number, word in enumerate(words, start=1):
        if not word or any(character in word for character in forbidden):
            raise UserError(f"word {number} ({word!r}) is empty or holds {message}")
        try:
            encoded.append(word.encode())
        except UnicodeEncodeError as error:
            raise UserError(f"word {number} ({word!r}) holds half a character, which is not UTF-8") from error
    return encoded
