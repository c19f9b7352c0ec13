"""Phrases: pairs of words that follow one another more often than by chance become one token ("new_york").

Mikolov et al. 2013 (https://arxiv.org/abs/1310.4546, equation 6): score(a, b) = (count(ab) - discount) / (count(a) count(b)).
As in gensim, the score is multiplied by the number of words, so that one threshold suits corpora of any size, and the
discount is the minimum count. Pairs above the threshold are joined from left to right; a second pass makes phrases of three
and four words.

Memory: pairs are counted in sorted arrays of 16 bytes per distinct pair; above `MAX_PAIRS`, pairs seen only once are dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unfreeze.language_models.ngram_counts import merged_counts
from unfreeze.pretraining.token_blocks import TokenBlocks
from unfreeze.text.store_builder import DocumentTokenizer
from unfreeze.text.token_store import TokenStore

JOINT = "_"
MAX_PAIRS = 20_000_000
Numbers = NDArray[np.int64]


class VocabularyTokenizer(DocumentTokenizer, Protocol):
    """A tokenizer that gives the token of each id."""

    @property
    def special_ids(self) -> frozenset[int]: ...

    def token(self, number: int, /) -> str: ...


class PhraseTokenizer:
    """A tokenizer that replaces pairs of ids by one new id; special tokens are left out, except the begin symbol.

    Args:
        base: a word-level tokenizer, or another one of phrases.
        pairs: (P, 2) ids of `base`; pair number p has the id len(base) + p.
    """

    def __init__(self, base: VocabularyTokenizer, pairs: Sequence[tuple[int, int]]) -> None:
        self.base, self.pairs = base, [(int(a), int(b)) for a, b in pairs]
        self._ids = {pair: len(base) + number for number, pair in enumerate(self.pairs)}
        self.pad_id, self.special_ids = base.pad_id, base.special_ids

    def __len__(self) -> int:
        return len(self.base) + len(self.pairs)

    def __reduce__(self) -> tuple[type[PhraseTokenizer], tuple[VocabularyTokenizer, list[tuple[int, int]]]]:
        return PhraseTokenizer, (self.base, self.pairs)

    def token(self, number: int) -> str:
        """The token of an id; the words of a phrase are joined by `_`."""
        if number < len(self.base):
            return self.base.token(number)
        return JOINT.join(self.base.token(part) for part in self.pairs[number - len(self.base)])

    def fingerprint(self) -> str:
        """A digest that is equal for tokenizers that give the same ids."""
        data = f"{self.base.fingerprint()} {self.pairs}"
        return hashlib.sha256(data.encode()).hexdigest()[:16]

    def encode_with_unknown_bytes(self, texts: list[str]) -> list[tuple[list[int], int]]:
        """For each text, its ids and the number of bytes in unknown words."""
        return [(self._join(ids), unknown) for ids, unknown in self.base.encode_with_unknown_bytes(texts)]

    def _join(self, ids: list[int]) -> list[int]:
        joined: list[int] = [ids[0]]
        before = None
        for number in ids[1:]:
            if number in self.special_ids:
                continue
            phrase = None if before is None else self._ids.get((before, number))
            if phrase is None:
                joined.append(number)
                before = number
            else:
                joined[-1] = phrase
                before = None  # a phrase ends here, so the next pair begins after it
        return joined


def learn_phrases(
    store: TokenStore,
    counts: Numbers,
    special_ids: frozenset[int],
    *,
    min_count: int = 5,
    threshold: float = 10.0,
) -> list[tuple[int, int]]:
    """The pairs of ids to join, best first.

    Args:
        counts: (V,) occurrences of each id in `store`.
        special_ids: ids that are skipped, so that "xxmaj new xxmaj york" contains the pair (new, york).
        min_count: pairs that are rarer are not joined; also the discount.
        threshold: smallest score of the pairs that are joined.
    """
    size = len(counts)
    keys, found = count_pairs(store, size, special_ids)
    left, right = np.divmod(keys, size)
    n_words = int(counts.sum() - counts[list(special_ids)].sum())
    chance = counts[left].astype(np.float64) * counts[right]
    scores = (found - min_count) * n_words / np.maximum(chance, 1.0)
    passed = np.flatnonzero((found >= min_count) & (scores > threshold))
    order = passed[np.argsort(-scores[passed], kind="stable")]
    return [(int(left[index]), int(right[index])) for index in order]


def count_pairs(store: TokenStore, size: int, special_ids: frozenset[int]) -> tuple[Numbers, Numbers]:
    """Count pairs of consecutive words within documents: return sorted keys, left * size + right, and counts."""
    keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for more in _pair_keys(store, size, special_ids):
        new, new_counts = np.unique(more, return_counts=True)
        keys, counts = merged_counts(keys, counts, new, new_counts)
        if len(keys) > MAX_PAIRS:
            keys, counts = keys[counts > 1], counts[counts > 1]
    return keys, counts


def _pair_keys(store: TokenStore, size: int, special_ids: frozenset[int]) -> Iterator[Numbers]:
    special = np.zeros(size, bool)
    special[list(special_ids)] = True
    pending: list[Numbers] = []
    for block in TokenBlocks(store, epochs=1, seed=0, shuffle=False):
        tokens = block.tokens(store).astype(np.int64)
        document = np.zeros(len(tokens), np.int64)
        document[block.document_starts()[1:-1]] = 1
        document, words = np.cumsum(document), ~special[tokens]
        tokens, document = tokens[words], document[words]
        pairs = tokens[:-1] * size + tokens[1:]
        pending.append(pairs[document[:-1] == document[1:]])
        if len(pending) == 128:  # merge rarely, because each merge is a pass over all pairs
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)
