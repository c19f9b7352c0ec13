"""The tokens of a store in blocks, with the documents of each epoch in a new order, for the threads of word2vec.

A block is a pure function of (seed, epoch, place): its tokens and random numbers do not depend on the thread that works on it
or on the time. Windows never cross documents; they are also cut between blocks, which concerns about one word in 3,000.

Memory: 24 bytes per document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore

BLOCK_TOKENS = 32_768


@dataclass(frozen=True)
class Block:
    """Tokens [start, stop) of one epoch's stream of documents."""

    order: NDArray[np.int64]
    cumulative: NDArray[np.int64]
    start: int
    stop: int
    epoch: int
    seed: int

    def tokens(self, store: TokenStore) -> NDArray[Any]:
        """The ids of the block (stop - start,)."""
        return store.gather(self.order, self.cumulative, self.start, self.stop)

    def document_starts(self) -> NDArray[np.int64]:
        """(documents + 1,): where documents start within the block, and the end of the block."""
        first, last = np.searchsorted(self.cumulative, [self.start, self.stop], side="right")
        inside = self.cumulative[first:last]
        return np.unique(np.concatenate([[self.start], inside, [self.stop]])) - self.start

    def random_state(self) -> NDArray[Any]:
        """(1,): 64 random bits that are unique to this block."""
        return np.random.SeedSequence([self.seed, self.epoch, self.start]).generate_state(1, np.uint64)


class TokenBlocks:
    """The blocks of all epochs, by number."""

    def __init__(self, store: TokenStore, epochs: int, seed: int, *, shuffle: bool = True) -> None:
        self.store, self.epochs, self.seed, self.shuffle = store, epochs, seed, shuffle
        self.per_epoch = -(-store.n_tokens // BLOCK_TOKENS)
        self._epoch = -1
        self._order = self._cumulative = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def __iter__(self) -> Iterator[Block]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Block:
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._arrange(epoch)
        start = place * BLOCK_TOKENS
        stop = min(start + BLOCK_TOKENS, self.store.n_tokens)
        return Block(self._order, self._cumulative, start, stop, epoch, self.seed)

    def _arrange(self, epoch: int) -> None:
        lengths = self.store.lengths
        order = np.arange(len(lengths))
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        self._order, self._epoch = order, epoch
        self._cumulative = np.concatenate([[0], np.cumsum(lengths[order])])


def count_tokens(store: TokenStore, vocabulary_size: int) -> NDArray[np.int64]:
    """(V,) how often each id occurs in `store`, in one pass."""
    counts = np.zeros(vocabulary_size, np.int64)
    for block in TokenBlocks(store, epochs=1, seed=0, shuffle=False):
        counts += np.bincount(block.tokens(store), minlength=vocabulary_size)
    return counts
