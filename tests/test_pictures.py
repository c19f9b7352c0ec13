"""Pictures into files: labels are text and no formulas, and a full disk is said in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.history_plot import HistoryLine, plot_histories
from tests.disk import files_of
from unfreeze.analysis.confusion_plot import plot_confusion
from unfreeze.analysis.curves import Curve, plot_curves
from unfreeze.errors import UserError
from unfreeze.transfer.rate_finder import RateCurve

ODD = ("$\\foo$", "a_{b^", "5 $ or 6 $")
"""The first is no formula that matplotlib knows, the second is half of one, the third would lose its signs."""
RATES = RateCurve([0.1, 0.2, 0.3], [3.0, 2.0, 9.0], [3.0, 2.5, 6.0], 0.1, 0.02)


def confusion(path: Path) -> None:
    plot_confusion([[1, 0, 0]] * 3, ODD, path)


def curves(path: Path) -> None:
    plot_curves([Curve(name, {10: [0.5], 20: [0.6]}) for name in ODD], path, title=ODD[0], what=ODD[1])


def histories(path: Path) -> None:
    lines = [HistoryLine(name=name, cut={1: 5.0, 2: 4.7}, shuffled={}, whole=4.4) for name in ODD]
    plot_histories(lines, {}, path, title=ODD[0])


@pytest.mark.parametrize("draw", [confusion, curves, histories])
def test_labels_are_drawn_as_they_are_written(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in svg for name in ODD)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_full_disk_is_one_line_and_the_earlier_picture_stays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"before")
    with files_of(1000), pytest.raises(UserError) as caught:
        RATES.plot(path)
    assert str(caught.value) == f"cannot write {path}: File too large; what was there before is intact"
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"before"


def test_characters_that_the_font_lacks_are_no_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    plot_confusion([[1, 0], [0, 1]], ["好", "坏"], tmp_path / "a.png")
    assert not recwarn.list
