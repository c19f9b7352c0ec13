"""Character n-grams of a word and their buckets, hashed exactly as in fastText.

The n-grams are those of `<word>`, including the borders, of `minn` to `maxn` UTF-8 characters, without the borders alone
(Bojanowski et al. 2017; fastText's Dictionary::computeSubwords). The hash is 32-bit FNV-1a over the UTF-8 bytes, each of which is
widened as a signed char, an error that models depend on. The buckets of a word are in the order of fastText's loops (by first
character, then by length), because float32 sums depend on it; a bucket may occur twice.

fastText computes no n-grams of `</s>`; here it is an ordinary word, and callers have to exclude it. `ngram_buckets` is for
single words, `ngram_buckets_of` for some hundreds at once, in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BASIS, _PRIME = 2_166_136_261, 16_777_619
_LOW_32 = 0xFFFF_FFFF

Numbers = NDArray[np.int64]


def ngram_buckets(word: str | bytes, minn: int, maxn: int, buckets: int) -> list[int]:
    """The buckets of the n-grams of a word, each in [0, buckets); none if `maxn` or `buckets` is 0.

    Args:
        word: a string, or UTF-8 bytes; a stray continuation byte belongs to the character before it.
    """
    if buckets < 1:
        return []
    characters = _characters(_bordered(word))
    found = []
    for first in range(len(characters)):
        value = _BASIS
        for n, character in enumerate(characters[first : first + maxn], start=1):
            value = _hash(character, value)
            is_border = n == 1 and first in (0, len(characters) - 1)
            if n >= minn and not is_border:
                found.append(value % buckets)
    return found


def ngram_buckets_of(
    words: Sequence[str | bytes], minn: int, maxn: int, buckets: int
) -> tuple[Numbers, Numbers]:
    """`ngram_buckets` of many words at once.

    Returns:
        The concatenated buckets of all words, and the number of buckets of each word, (len(words),).
    """
    if buckets < 1 or maxn < 1 or not words:
        return np.zeros(0, np.int64), np.zeros(len(words), np.int64)
    bordered = [_bordered(word) for word in words]
    data = np.frombuffer(b"".join(bordered), np.uint8)
    starts = np.cumsum([0, *map(len, bordered[:-1])])
    is_head = (data & 0xC0) != 0x80  # the first byte of a character; every word has one, its border
    heads = np.flatnonzero(is_head)
    per_word = np.add.reduceat(is_head, starts, dtype=np.int64)
    ends = np.repeat(np.cumsum(per_word), per_word)  # of the word of each character
    left = ends - np.arange(len(heads))
    n = np.arange(1, maxn + 1)
    taken = (n <= left[:, None]) & (n >= minn)  # (characters, maxn)
    taken[:, 0] &= (left > 1) & (left < np.repeat(per_word, per_word))
    values = _hashes(data, heads, left, maxn)
    counts = np.add.reduceat(taken.sum(axis=1), np.cumsum(per_word) - per_word)
    return (values[taken] % np.uint32(buckets)).astype(np.int64), counts.astype(np.int64)


def _hashes(data: NDArray[np.uint8], heads: Numbers, left: Numbers, maxn: int) -> NDArray[np.uint32]:
    """Hashes (characters, maxn) of the n-grams that begin at each character; beyond the end of a word they are undefined."""
    signed = data.view(np.int8).astype(np.int32).view(np.uint32)
    lengths = np.diff(heads, append=len(data))
    value = np.full(len(heads), _BASIS, np.uint32)
    values = np.empty((len(heads), maxn), np.uint32)
    for n in range(maxn):
        character = np.minimum(np.arange(len(heads)) + n, len(heads) - 1)
        for byte in range(int(lengths.max())):
            inside = (n < left) & (byte < lengths[character])
            place = heads[character[inside]] + byte
            value[inside] = (value[inside] ^ signed[place]) * np.uint32(_PRIME)
        values[:, n] = value
    return values


def _bordered(word: str | bytes) -> bytes:
    return b"<" + (word.encode("utf-8", "surrogatepass") if isinstance(word, str) else word) + b">"


def _characters(data: bytes) -> list[bytes]:
    heads = [place for place, byte in enumerate(data) if byte & 0xC0 != 0x80]
    return [data[head:end] for head, end in zip(heads, [*heads[1:], len(data)], strict=True)]


def _hash(data: bytes, value: int) -> int:
    for byte in data:
        signed = byte | 0xFFFF_FF00 if byte & 0x80 else byte
        value = ((value ^ signed) * _PRIME) & _LOW_32
    return value
