"""Which recurrent layers a stack has, apart from the layers themselves: the command line reads it without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unfreeze.errors import UserError

CellKind = Literal["lstm", "qrnn"]


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """The kind of recurrent layers in a stack.

    Raises:
        UserError: a value is out of range, or LSTMs were given settings that only QRNNs have.
    """

    kind: CellKind = "lstm"
    """lstm, or qrnn, which has no recurrent product and trains faster (docs/results.md)."""
    windows: tuple[int, ...] = (2,)
    """QRNN: inputs that each of the first layers sees at a time step; layers beyond those named see 1."""
    zoneout: float = 0.0
    """QRNN: probability of forcing a forget gate to 1 in training."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(CellKind):
            raise UserError(f"cell {self.kind!r}: it is {' or '.join(get_args(CellKind))}")
        if self.kind == "lstm" and (self.windows != (2,) or self.zoneout):
            raise UserError("windows and zoneout belong to the cell qrnn; these are LSTMs")
        for window in (1, *self.windows):  # here already: the layers are made after the text was read
            need_qrnn(window, self.zoneout)


def need_qrnn(window: int, zoneout: float) -> None:
    """Raise UserError for a QRNN layer whose settings are out of range."""
    if window < 1:
        raise UserError(f"a window of {window} inputs: at least 1")
    if not 0.0 <= zoneout < 1.0:
        raise UserError(f"zoneout is {zoneout}: it is at least 0 and under 1")


def need_layers(n_layers: int, cells: CellSettings | None = None) -> None:
    """Raise UserError for a stack without layers, or with windows for more layers than it has."""
    if n_layers < 1:
        raise UserError(f"{n_layers} recurrent layers: at least one is needed")
    if cells is not None and len(cells.windows) > n_layers:
        raise UserError(f"{len(cells.windows)} windows are given for {n_layers} layers")
