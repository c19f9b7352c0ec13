"""Settings of recurrent layers, in a module of their own so that the command line can read them without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unfreeze.errors import UserError, setting

CellKind = Literal["lstm", "qrnn"]


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """The kind of recurrent layers in a stack.

    Raises:
        UserError: a value is out of range, or LSTMs were given settings that only QRNNs have.
    """

    kind: CellKind = "lstm"
    """`lstm`, or `qrnn`, which has no recurrent matrix product and trains faster (docs/results.md)."""
    windows: tuple[int, ...] = (2,)
    """QRNN: number of inputs that a step sees, for each of the first layers; 1 for the others."""
    zoneout: float = 0.0
    """QRNN: probability of setting a forget gate to 1 in training."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(CellKind):
            raise UserError(f"unknown cell {self.kind!r}: use {' or '.join(get_args(CellKind))}")
        if self.kind == "lstm" and (self.windows != (2,) or self.zoneout):
            raise UserError(
                f"{setting('windows')} and {setting('zoneout')} are for QRNNs: add {setting('cell', 'qrnn')}, or leave them out"
            )
        # Checked here already, because layers are created only after all text has been read.
        if any(window < 1 for window in self.windows):
            raise UserError(
                f"{setting('windows')} must be at least 1, not {' '.join(map(str, self.windows))}"
            )
        need_qrnn(1, self.zoneout)


def need_qrnn(window: int, zoneout: float) -> None:
    """Raise UserError for a QRNN layer whose settings are out of range."""
    if window < 1:
        raise UserError(f"window must be at least 1, got {window}")
    if not 0.0 <= zoneout < 1.0:
        raise UserError(f"{setting('zoneout')} must be at least 0 and below 1, got {zoneout}")


def need_layers(n_layers: int, cells: CellSettings | None = None) -> None:
    """Raise UserError for a stack without layers, or with windows for more layers than it has."""
    if n_layers < 1:
        raise UserError(f"at least one recurrent layer is needed, got {n_layers}")
    if cells is not None and len(cells.windows) > n_layers:
        raise UserError(f"{len(cells.windows)} windows are given for {n_layers} layers")
