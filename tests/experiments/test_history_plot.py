"""Pictures of losses by length of history: what stands in them, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.history_plot import HistoryLine, plot_histories
from unfreeze.analysis.curves import STYLES
from unfreeze.errors import UserError

LINE = HistoryLine(name="LSTM", cut={1: 5.0, 2: 4.7, 256: 4.4}, shuffled={1: 5.1, 2: 4.8}, whole=4.39)
PLAIN = HistoryLine(name="QRNN", cut={1: 5.2, 256: 4.41}, shuffled={}, whole=4.4)


def test_pictures(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        plot_histories([LINE, PLAIN], {1: 4.7, 2: 4.5}, tmp_path / f"a{suffix}", title="two")
        assert (tmp_path / f"a{suffix}").stat().st_size > 3000
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    words = ("LSTM", "QRNN", "2-gram", "whole", "256", "older tokens shuffled", "two")
    assert all(f"<!-- {word} -->" in svg for word in words)
    plot_histories([PLAIN], {}, tmp_path / "b.svg")
    svg = (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "older tokens cut away" in svg and "shuffled" not in svg


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"end in \.png, \.svg or \.pdf"):
        plot_histories([LINE], {}, tmp_path / "a.doc")
    with pytest.raises(UserError, match="at most 6 distinguishable models"):
        plot_histories([LINE] * (len(STYLES) + 1), {}, tmp_path / "b.png")
