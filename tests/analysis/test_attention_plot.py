"""The plot of the attention: its file, its labels, and fonts for scripts that matplotlib's own font lacks."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from matplotlib.font_manager import fontManager

from unfreeze.analysis.attention_plot import MOST_LABELS, plot_attention
from unfreeze.errors import UserError
from unfreeze.pictures import families_for

TAMIL = "நான்"


def tamil_font(path: Path) -> None:
    """A font with a box for each letter of `TAMIL`, and no other."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (500, 700), (500, 0)):
        pen.lineTo(point)
    pen.closePath()
    letters = {ord(letter): f"letter{number}" for number, letter in enumerate(sorted(set(TAMIL)))}
    names = [".notdef", *letters.values()]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(letters)
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Toy Tamil", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_words_and_tokens_are_its_labels(suffix: str, tmp_path: Path) -> None:
    weights = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32)
    path = tmp_path / f"a.{suffix}"
    plot_attention(weights, ["$man", "rides"], ["▁Mann", "▁fähr", "t"], path)
    assert path.stat().st_size > 1000
    if suffix == "svg":
        text = path.read_text(encoding="utf-8")
        assert all(f"<!-- {label} -->" in text for label in ("$man", "rides", "Mann", "fähr", "t"))


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no attention to draw"):
        plot_attention(np.zeros((0, 0), np.float32), [], [], tmp_path / "a.png")
    many = ["a"] * (MOST_LABELS + 1)
    with pytest.raises(UserError, match=f"at most {MOST_LABELS} can be read"):
        plot_attention(np.zeros((1, len(many)), np.float32), many, ["b"], tmp_path / "a.png")
    with pytest.raises(UserError, match="has to end in .png"):
        plot_attention(np.ones((1, 1), np.float32), ["a"], ["b"], tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_an_installed_font_is_used_for_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fontManager, "ttflist", [f for f in fontManager.ttflist if "DejaVu" in f.name])
    with caplog.at_level(logging.WARNING, logger="unfreeze"):
        assert "Toy Tamil" not in families_for(TAMIL)
    assert "U+0BA9" in caplog.text or "U+0BA8" in caplog.text  # which are drawn as boxes
    caplog.clear()
    tamil_font(tmp_path / "tamil.ttf")
    fontManager.addfont(tmp_path / "tamil.ttf")
    with caplog.at_level(logging.WARNING, logger="unfreeze"):
        assert families_for(f"film {TAMIL}")[-1] == "Toy Tamil"
        assert "Toy Tamil" not in families_for("film")
        plot_attention(np.ones((1, 1), np.float32), ["film"], [f"▁{TAMIL}"], tmp_path / "a.png")
    assert not caplog.text
