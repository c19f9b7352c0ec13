"""Batches of token ids: language-model lanes with carried state, and padding.

Language-model lanes (Merity et al. 2018, section 5; https://arxiv.org/abs/1708.02182): the documents of an epoch, in a
new order, form one stream, which is cut into B contiguous lanes that are read in parallel, T tokens per batch, so that the
state of a recurrent model is carried from batch to batch. In this implementation:

- No token is dropped. The N - 1 targets of a stream of N tokens are distributed evenly over the lanes; a lane begins with the
  last token of the previous lane, so every token except the first of the stream is a target once.
- A batch is a pure function of (seed, epoch, number of the batch), so resuming in the middle of an epoch reads nothing twice.
- Tokens stay on disk. Memory: 12 bytes per document for the order of the epoch. A (64, 70) batch takes 0.2 (articles) to 0.8 ms
  (lines).

B batch (lanes), T time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore

IGNORE = -100
"""Marks positions without a target; the default `ignore_index` of PyTorch's losses."""

GRAIN = 4
"""Random lengths are multiples of this, because each new length increases memory (docs/lab-notes.md) and makes oneDNN compile
its products again."""
SHORTEST = 5
"""The shortest random length."""

_ORDER, _LENGTHS = 0, 1  # independent random streams of one (seed, epoch)


@dataclass(frozen=True)
class LaneBatch:
    """One step along the lanes."""

    inputs: Tensor
    """(B, T) int64 ids; the pad id after the end of a lane."""
    targets: Tensor
    """(B, T) int64: the token after each input; IGNORE after the end of a lane."""
    rate_scale: float
    """T / bptt: a factor on the learning rate, so that short batches do not have too much weight."""
    first: bool
    """Whether the lanes begin here, so that the carried state must be zero."""


@dataclass(eq=False)
class LanguageModelLanes:
    """The batches of every epoch over the documents of a store, in `batch_size` lanes over all processes.

    Raises:
        UserError: a size is not positive, or `batch_size` cannot be divided among the processes.
    """

    store: TokenStore
    _: KW_ONLY
    batch_size: int
    bptt: int = 70
    """Tokens per lane and batch; with `variable` the base of a random length."""
    variable: bool = True
    """Draw T for each batch (base `bptt` with probability .95, else half of it; normal, sd 5, a multiple of 4)."""
    direction: Literal["forward", "backward", "reversed"] = "forward"
    """How each document is read: "backward" is its first token (xxbos), then the rest from the end; "reversed" is from its
    last token to its first."""
    shuffle: bool = True
    """A new order of the documents in each epoch; otherwise the order of the store (or of `documents`)."""
    seed: int = 0
    rank: int = 0
    """Number of this process, which reads lanes [rank * B / W, (rank + 1) * B / W) of the B."""
    world_size: int = 1
    documents: NDArray[np.integer] | None = None
    """Numbers of the documents to read (default: all)."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.bptt < 1:
            raise UserError(f"batch size {self.batch_size} and bptt {self.bptt} must both be at least 1")
        lanes_here, left_over = divmod(self.batch_size, self.world_size)
        if left_over:
            raise UserError(
                f"batch size {self.batch_size} cannot be divided among {self.world_size} processes: "
                f"take a multiple of {self.world_size}"
            )
        self._lanes = np.arange(self.rank * lanes_here, (self.rank + 1) * lanes_here)
        chosen = self.documents
        self.n_tokens = self.store.n_tokens if chosen is None else int(self.store.lengths[chosen].sum())

    @property
    def n_targets(self) -> int:
        """Number of targets of an epoch over all processes: every token except the first of the stream."""
        return max(0, self.n_tokens - 1)

    def n_batches(self, epoch: int) -> int:
        """Number of batches of an epoch, which is the same in every process."""
        return len(self._cuts(epoch)) - 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[LaneBatch]:
        """Yield the batches of an epoch, beginning with batch number `start`."""
        order, cumulative = self._order(epoch)
        lane_begins, lane_ends = self._lane_bounds()
        cuts = self._cuts(epoch)
        for number in range(start, len(cuts) - 1):
            length = int(cuts[number + 1] - cuts[number])
            begins = lane_begins + cuts[number]
            tokens = self.store.rows(order, cumulative, begins, length + 1, direction=self.direction).astype(
                np.int64
            )
            ended = begins[:, None] + np.arange(length) >= lane_ends[:, None]
            inputs = np.where(ended, self.store.pad_id, tokens[:, :-1])
            targets = np.where(ended, IGNORE, tokens[:, 1:])
            yield LaneBatch(
                torch.from_numpy(inputs), torch.from_numpy(targets), length / self.bptt, first=number == 0
            )

    def _order(self, epoch: int) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """The documents of an epoch in order, and the start of each in the stream, followed by the end of the stream."""
        documents = self.documents
        if documents is None:
            smallest = np.uint32 if self.store.n_documents < 2**32 else np.int64
            documents = np.arange(self.store.n_documents, dtype=smallest)
        if self.shuffle:
            documents = np.random.default_rng([self.seed, epoch, _ORDER]).permutation(documents)
        cumulative = np.zeros(len(documents) + 1, dtype=np.int64)
        np.take(self.store.lengths, documents, out=cumulative[1:], mode="clip")  # the mode "raise" would copy
        np.cumsum(cumulative, out=cumulative)
        return documents, cumulative

    def _lane_bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places in the stream of the first input and the last target of each lane of this process."""
        share, longer = divmod(self.n_targets, self.batch_size)
        # The last `longer` lanes have one more target, so that a row of the length of the longest lane never leaves the stream.
        shorter = self.batch_size - longer
        begins = self._lanes * share + np.maximum(0, self._lanes - shorter)
        return begins, begins + share + (self._lanes >= shorter)

    def _cuts(self, epoch: int) -> NDArray[np.int64]:
        """The starts of the batches of an epoch in the longest lane, followed by its end."""
        total = -(-self.n_targets // self.batch_size)
        if not self.variable:
            return np.append(np.arange(0, total, self.bptt), total)
        shortest = min(SHORTEST, self.bptt)
        random = np.random.default_rng([self.seed, epoch, _LENGTHS])
        most = total // shortest + 1
        base = np.where(random.random(most) < 0.95, self.bptt, self.bptt / 2)
        drawn = GRAIN * np.rint(random.normal(base, 5.0) / GRAIN).astype(np.int64)
        lengths = np.maximum(shortest, drawn)
        cuts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        # A remainder shorter than the shortest batch is added to the batch before it.
        return np.append(cuts[(cuts == 0) | (cuts <= total - shortest)], total) if total else cuts[:1]


def pad_sequences(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Pad on the right to the longest.

    Returns:
        ids (B, T) int64, filled with `pad_id`; lengths (B,) int64.
    """
    lengths = [len(sequence) for sequence in sequences]
    ids = np.full((len(sequences), max(lengths, default=0)), pad_id, dtype=np.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(ids), torch.tensor(lengths, dtype=torch.int64)
