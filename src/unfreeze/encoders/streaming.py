"""Encoders that can read a text piece by piece: memory is bounded by a piece, not by the length of the text.

An encoder reads in one direction or in two; each direction is a `Stream`, which carries its state from piece to piece.

Legend: T time, B batch, V vocabulary, D_l widths of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

State = list[tuple[Tensor, ...]]
"""What each layer carries to the next piece, tensors (k, B, D): an LSTM (h, c) with k = 1; a QRNN c with k = 1 and, if its window
is larger than 1, the inputs that the next steps see; a table of word vectors nothing."""


@dataclass(frozen=True)
class StackOutput:
    """The output of a direction for a piece of text."""

    layers: list[Tensor]
    """The embedded words and every layer's states, undropped: (T, B, D_l) each."""
    top: Tensor
    """The last layer's states after the output dropout: (T, B, D_L)."""
    state: State
    """To be carried to the text that follows."""


class Stream(Protocol):
    """One direction: ids of a piece of text and the state before it -> layers and the state after it."""

    widths: list[int]
    """D_l, bottom to top."""
    embedding: nn.Embedding
    """(V, D_0): layer 0 without its dropout, the same whatever was read before."""

    def initial_state(self, batch: int) -> State:
        """The state before the first piece."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters, as of any torch module."""

    def __call__(self, ids: Tensor, state: State | None = None) -> StackOutput:
        """Read ids (T, B), padded at the end, in the order in which the direction reads."""


@runtime_checkable
class Streaming(Protocol):
    """An encoder of text that reads piece by piece."""

    votes: bool
    """Whether a classifier has a head for each direction and averages their probabilities, as ULMFiT does (Howard & Ruder
    2018, section 4.1); else one head reads the directions side by side."""

    @property
    def directions(self) -> list[str]:
        """The names of the directions."""

    def stack(self, name: str) -> Stream:
        """The stream of a direction."""

    def stack_ids(self, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in the order of the text -> (T, B) in the order in which the direction reads."""
