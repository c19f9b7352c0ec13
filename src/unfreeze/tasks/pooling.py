"""Concat pooling: the last, the maximal and the mean state of the top layer (Howard & Ruder 2018, section 3.3).

Documents are read in pieces with carried state, so memory does not grow with their length: first in pieces of at most `PIECE`
tokens without gradients, then the last `GRADIENT_TOKENS` (and the rest of a piece) at once, with gradients. The gradient of a
document does not depend on the length of the others in its batch.

Legend: B batch, T pieces of text, W words, D width of the top layer, V words of a vocabulary, E width of static vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unfreeze.encoders.layers.recurrent import rows_of
from unfreeze.encoders.streaming import StackOutput, Stream
from unfreeze.tasks.settings import Pooling

GRADIENT_TOKENS = 1440
PIECE = 512
STEP = 32
"""A piece that is read without gradients is shorter than `PIECE` by a multiple of this number of tokens."""
ENDED_SHARE = 8
"""A new piece begins when one in this number of documents has ended, so that their padding is not computed."""


def mean_vectors(ids: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
    """The mean of static vectors over each document: (B, T), (B,), (V, E) -> (B, E)."""
    real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    pieces = zip(torch.split(ids, PIECE, dim=1), torch.split(real, PIECE, dim=1), strict=True)
    total = sum((F.embedding(part, vectors) * mask[:, :, None]).sum(1) for part, mask in pieces)
    assert isinstance(total, Tensor)
    return total / lengths[:, None]


@dataclass
class _Running:
    """The pooled states of the parts of documents that have been read."""

    total: Tensor  # (B, D)
    largest: Tensor  # (B, D)
    last: Tensor  # (B, D)
    vectors: Tensor  # (B, E)

    @classmethod
    def start(cls, batch: int, width: int, embedding: int, like: Tensor) -> _Running:
        zeros = like.new_zeros(batch, width)
        return cls(zeros, zeros - torch.inf, zeros, like.new_zeros(batch, embedding))

    def add(self, rows: Tensor, piece: StackOutput, remaining: Tensor) -> _Running:
        """Add a piece of the documents `rows`, whose numbers of tokens from its beginning are `remaining`."""
        top, vectors = piece.top.float(), piece.layers[0].float()  # (T, rows, D) and (T, rows, E)
        time = torch.arange(len(top), device=top.device)[:, None]
        real, ends = (time < remaining)[:, :, None], (time == remaining - 1)[:, :, None]
        largest = torch.maximum(self.largest[rows], top.masked_fill(~real, -torch.inf).amax(0))
        return _Running(
            self.total.index_add(0, rows, (top * real).sum(0)),
            self.largest.index_copy(0, rows, largest),
            self.last.index_add(0, rows, (top * ends).sum(0)),
            self.vectors.index_add(0, rows, (vectors * real).sum(0)),
        )


def pooled_width(widths: list[int], pooling: Pooling) -> int:
    """Number of features that `pool_documents` returns."""
    return 3 * widths[-1] + (widths[0] if pooling == "top+vectors" else 0)


def pool_documents(stack: Stream, ids: Tensor, lengths: Tensor, pooling: Pooling = "top") -> Tensor:
    """Read and pool whole documents.

    Args:
        ids: (T, B) in the reading order of the stack, padded at the end.
        lengths: (B,).

    Returns:
        (B, 3 D) or (B, 3 D + E): last, max, mean, and the mean of the word vectors.
    """
    batch, weight = len(lengths), next(stack.parameters())
    running = _Running.start(batch, stack.widths[-1], stack.widths[0], weight)
    state = stack.initial_state(batch)
    body = _read_without_gradients(lengths)
    with torch.no_grad():
        for start, stop in _pieces(body):
            rows = (body > start).nonzero()[:, 0]
            piece = stack(ids[start:stop, rows], rows_of(state, rows))
            running = running.add(rows, piece, lengths[rows] - start)
            for carried, new in zip(state, piece.state, strict=True):
                for whole, part in zip(carried, new, strict=True):
                    whole[:, rows] = part.to(whole.dtype)
    rest = lengths - body
    if int(rest.max()):
        time = torch.arange(int(rest.max()), device=ids.device)[:, None]
        piece = stack(ids.gather(0, (body + time).clamp(max=len(ids) - 1)), state)
        running = running.add(torch.arange(batch, device=ids.device), piece, rest)
    count = lengths[:, None].to(running.total.dtype)
    parts = [running.last, running.largest, running.total / count]
    if pooling == "top+vectors":
        parts.append(running.vectors / count)
    return torch.cat(parts, dim=1)


def pool_words(states: Tensor, lengths: Tensor) -> Tensor:
    """Concat pooling of states: (B, W, D), lengths (B,) of at least 1 -> last, maximal and mean state (B, 3 D)."""
    states = states.float()
    real = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, :, None]
    last = states[torch.arange(len(states), device=states.device), lengths - 1]
    largest = states.masked_fill(~real, -torch.inf).amax(1)
    return torch.cat([last, largest, mean_states(states, lengths)], dim=1)


def mean_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Mean states: (B, W, D), lengths (B,) of at least 1 -> (B, D)."""
    real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return (states.float() * real[:, :, None]).sum(1) / lengths[:, None]


def _pieces(lengths: Tensor) -> Iterator[tuple[int, int]]:
    """Beginning and end of each piece, until all documents have ended.

    Long pieces are faster; short ones avoid computing the padding of documents that have ended.
    """
    ends = lengths.sort().values.cpu()
    start, longest = 0, int(ends[-1])
    while start < longest:
        over = int((ends <= start).sum())
        enough = over + (len(ends) - over) // ENDED_SHARE  # a new piece begins when this many have ended
        steps = -(-(int(ends[enough]) - start) // STEP)
        stop = min(start + steps * STEP, start + PIECE, longest)
        yield start, stop
        start = stop


def _read_without_gradients(lengths: Tensor) -> Tensor:
    """Number of tokens at the beginning of each document that are read without gradients: (B,)."""
    if not torch.is_grad_enabled():
        return lengths
    return (lengths - GRADIENT_TOKENS).clamp_min(0) // PIECE * PIECE
