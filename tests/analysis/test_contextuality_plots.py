"""Pictures of contextuality: what is drawn and where, names with markup, what cannot be drawn, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from unfreeze.analysis.contextuality import Contextuality
from unfreeze.analysis.contextuality_plots import (
    SENSE_STYLES,
    draw_cone,
    draw_measures,
    draw_mixes,
    draw_occurrences,
    draw_space,
    plot_cone,
    plot_measures,
    plot_mixes,
    plot_occurrences,
    plot_space,
    uncentered_plane,
)
from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.analysis.curves import STYLES
from unfreeze.analysis.geometry import mean_cosine, unit
from unfreeze.errors import UserError

MARKUP = ["$x$", "<b>", "_hidden", "a^2_{"]


def report_of(layers: int, seed: int = 0) -> Contextuality:
    """A report of a few random words and sentences; higher layers have longer means."""
    generator = np.random.default_rng(seed)

    def shares(count: int) -> Any:
        return generator.random((layers, count), np.float32)

    return Contextuality(
        ContextualitySettings(draws=50, seed=seed),
        n_sentences=30,
        n_repeated=0,
        n_without_vector=0,
        words=list("abcdefghi"),
        counts=np.full(9, 5),
        self_similarities=shares(9),
        explained=shares(9),
        intra_sentence=shares(30),
        sample=[generator.standard_normal((20, 6)).astype(np.float32) + layer for layer in range(layers)],
    )


REPORTS = {"contextual": report_of(3), "static": report_of(1, seed=1)}
CLOUD = np.random.default_rng(2).standard_normal((20, 5))
PANELS = [("static", np.ones((20, 4))), ("contextual", CLOUD)]
SENSES = [n % 3 for n in range(20)]


def texts_of(figure: Figure) -> dict[str, bool]:
    """The texts that a figure shows, and whether markup in them is drawn as math."""
    from matplotlib.text import Text

    found: dict[str, bool] = {}
    for each in figure.findobj(Text):
        assert isinstance(each, Text)
        if each.get_visible():
            found[each.get_text()] = each.get_parse_math()
    return found


def test_measures_are_lines_with_intervals_and_a_layer_alone_is_a_point() -> None:
    figures = {name: each.figures() for name, each in REPORTS.items()}
    figure = draw_measures(figures)
    shown = [axes for axes in figure.axes if axes.containers]
    assert len(figure.axes) == 8 and len(shown) == 7
    for axes, field in zip(
        shown,
        "anisotropy self_similarity intra_sentence explained "
        "self_similarity_adjusted intra_sentence_adjusted explained_adjusted".split(),
        strict=True,
    ):
        for drawn, (layers, style) in zip(
            axes.containers, zip(figures.values(), STYLES, strict=False), strict=True
        ):
            line, caps, (bars,) = drawn  # type: ignore[misc]
            assert (line.get_color(), line.get_marker()) == (style.color, style.marker)
            # The markers do not hide the intervals.
            assert min(bars.get_zorder(), *(cap.get_zorder() for cap in caps)) > line.get_zorder()
            assert min(cap.get_markersize() for cap in caps) > line.get_markersize()
            estimates = [getattr(each, field) for each in layers]
            np.testing.assert_allclose(line.get_ydata(orig=False), [each.value for each in estimates])
            assert np.allclose(line.get_xdata(orig=False), range(len(layers)), atol=0.2)
            ends = [np.sort(each[:, 1]) for each in bars.get_segments()]
            np.testing.assert_allclose(ends, [(each.low, each.high) for each in estimates], atol=1e-12)
            low, high = axes.get_ylim()
            assert low < min(map(min, ends)) and max(map(max, ends)) < high
    assert len(shown[0].containers[1][0].get_xdata()) == 1  # type: ignore[index]
    assert {"contextual", "static"} <= texts_of(figure).keys()


def test_measures_on_chosen_words(tmp_path: Path) -> None:
    plot_measures(REPORTS, tmp_path / "a.png", words=["a", "b"])
    plot_measures(REPORTS, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    with pytest.raises(UserError, match="no word in common"):
        plot_measures(REPORTS, tmp_path / "c.png", words=["z"])


def test_the_cone_shows_quantiles_of_all_pairs() -> None:
    samples = {name: each.sample for name, each in REPORTS.items()}
    figure = draw_cone(samples)
    assert [axes.get_title() for axes in figure.axes] == ["contextual", "static"]
    for axes, layers in zip(figure.axes, samples.values(), strict=True):
        assert len(axes.patches) == len(layers)  # the boxes
        medians = [line for line in axes.lines if line.get_linewidth() == 2.2]
        for layer, (median, box, sample) in enumerate(zip(medians, axes.patches, layers, strict=True)):
            x = unit(sample)
            pairs = [float(x[n] @ x[m]) for n in range(len(x)) for m in range(n)]
            np.testing.assert_allclose(median.get_ydata(), np.median(pairs))
            heights = box.get_path().vertices[:, 1]  # type: ignore[index]
            np.testing.assert_allclose(
                [heights[:4].min(), heights.max()], np.quantile(pairs, [0.25, 0.75]), atol=1e-9
            )
            assert axes.texts[layer].get_text() == f"{mean_cosine(sample):.2f}"
        assert any(np.allclose(line.get_ydata(), 0) and line.get_linestyle() == "--" for line in axes.lines)
        low, high = axes.get_ylim()
        assert low < 0 and high > 1


def test_equal_vectors_have_a_box_without_a_violin() -> None:
    figure = draw_cone({"static": [np.ones((5, 3))]})
    assert len(figure.axes[0].patches) == 1 and not figure.axes[0].collections


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 99))
def test_the_plane_is_that_of_the_largest_moments_about_the_origin(n: int, width: int, seed: int) -> None:
    x = unit(np.random.default_rng(seed).standard_normal((n, width)))
    places = uncentered_plane(x)
    moments = np.sort(np.linalg.eigvalsh(x.T @ x))[::-1]
    kept = [*moments, 0.0][1::-1]
    np.testing.assert_allclose(places.T @ places, np.diag(kept), atol=1e-9)
    assert (places.mean(0) >= -1e-12).all()
    assert (np.linalg.norm(places, axis=1) <= 1 + 1e-9).all()


def test_a_cone_points_up_and_a_sphere_does_not() -> None:
    generator = np.random.default_rng(0)
    sphere = generator.standard_normal((2000, 3))
    cone = 0.2 * generator.standard_normal((2000, 3)) + [0, 0, -1]
    figure = draw_space([("sphere", sphere), ("cone", cone), ("nothing", np.zeros((2, 3)))])
    resultants = []
    for axes, vectors in zip(figure.axes, (sphere, cone, np.zeros((2, 3))), strict=True):
        (circle,) = axes.patches
        np.testing.assert_allclose(circle.get_path().vertices[0], (0, -1), atol=1e-9)  # type: ignore[index]
        (rays,) = axes.collections
        ends = np.array([each[1] for each in rays.get_segments()])  # type: ignore[attr-defined]
        assert len(ends) == min(500, len(vectors))
        assert all((each[0] == 0).all() for each in rays.get_segments())  # type: ignore[attr-defined]
        assert axes.get_aspect() == 1 and axes.get_xlim() == axes.get_ylim()
        (end,) = [each.xy for each in axes.texts] or [(0.0, 0.0)]  # type: ignore[attr-defined]
        resultants.append(float(np.hypot(*end)))
        assert resultants[-1] == pytest.approx(float(np.linalg.norm(unit(vectors).mean(0))))
    assert resultants[0] < 0.1 and resultants[1] > 0.9 and resultants[2] == 0
    assert (np.array([each[1] for each in figure.axes[1].collections[0].get_segments()])[:, 1] > 0).all()  # type: ignore[attr-defined]


def test_occurrences_that_coincide_are_one_point_with_their_number() -> None:
    figure = draw_occurrences(PANELS, SENSES, ["river", "money", "blood"])
    static, contextual = figure.axes
    drawn = [line for line in static.lines if len(np.atleast_1d(line.get_xdata()))]
    assert len(drawn) == 1 and to_hex(str(drawn[0].get_markerfacecolor())) == "#bbbbbb"
    assert [each.get_text() for each in static.texts] == ["20 occurrences"]
    assert [len(np.atleast_1d(line.get_xdata())) for line in contextual.lines] == [7, 7, 6]
    markers = [(line.get_color(), line.get_marker()) for line in contextual.lines]
    assert markers == list(SENSE_STYLES[:3]) and not contextual.texts
    points = np.concatenate([np.stack(line.get_data()) for line in contextual.lines], axis=1)
    np.testing.assert_allclose(points.mean(1), 0, atol=1e-9)  # centered
    assert {"river (7)", "money (7)", "blood (6)"} <= texts_of(figure).keys()


def test_two_forms_of_a_word_are_two_points_of_their_sense() -> None:
    vectors = np.repeat([[1.0, 0, 0], [0, 1, 0]], [3, 4], axis=0)
    figure = draw_occurrences([("static", vectors)], [0, 0, 0, 1, 1, 1, 0], ["a", "b"])
    texts = {each.get_text() for each in figure.axes[0].texts}
    assert texts == {"× 3", "× 4"}
    drawn = [line for line in figure.axes[0].lines if len(np.atleast_1d(line.get_xdata()))]
    assert {line.get_color() for line in drawn} == {SENSE_STYLES[0][0], "#222222"}


def test_mixes_are_groups_of_bars() -> None:
    mixes = {"tagging": [0.2, 0.5, 0.3], "entailment": [0.4, 0.6]}
    figure = draw_mixes(mixes)
    (axes,) = figure.axes
    heights = [[bar.get_height() for bar in group] for group in axes.containers]  # type: ignore[attr-defined]
    assert heights == [[0.2, 0.4], [0.5, 0.6], [0.3]]
    for task, layers in enumerate(([0, 1, 2], [0, 1])):
        bars = [list(axes.containers[layer])[task] for layer in layers]
        middle = np.mean([bar.get_x() + bar.get_width() / 2 for bar in bars])  # type: ignore[union-attr]
        assert middle == pytest.approx(task)
    assert [line.get_ydata()[0] for line in axes.lines] == [pytest.approx(1 / 3), 0.5]  # type: ignore[index]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(mixes)
    assert {"layer 0", "layer 2", "equal weights"} <= texts_of(figure).keys()


@pytest.mark.parametrize("name", MARKUP)
def test_names_with_markup_are_drawn_as_they_are(name: str) -> None:
    report = report_of(2)
    figures = [
        draw_measures({name: report.figures()}),
        draw_cone({name: report.sample}),
        draw_space([(name, CLOUD)]),
        draw_occurrences([("panel", CLOUD)], [0] * 20, [name]),
        draw_occurrences([(name, CLOUD)], [0] * 20, ["sense"]),
        draw_mixes({name: [0.5, 0.5]}),
    ]
    for number, figure in enumerate(figures):
        figure.draw_without_rendering()
        shown = name if number != 3 else f"{name} (20)"
        assert texts_of(figure)[shown] is False


def writers(encoders: int = 2, panels: int = 2, senses: int = 3) -> dict[str, Callable[[Path], None]]:
    reports = {f"encoder {n}": report_of(1 + n % 3) for n in range(encoders)}
    spaces = [(f"layer {n}", CLOUD) for n in range(panels)]
    labels, names = [n % senses for n in range(20)], [f"sense {n}" for n in range(senses)]
    return {
        "measures": lambda path: plot_measures(reports, path),
        "cone": lambda path: plot_cone(reports, path),
        "space": lambda path: plot_space(spaces, path),
        "occurrences": lambda path: plot_occurrences(spaces, labels, names, path),
        "mixes": lambda path: plot_mixes({"tagging": [0.3, 0.7]}, path),
    }


@pytest.mark.parametrize("name", list(writers()))
def test_every_kind_of_file(name: str, tmp_path: Path) -> None:
    write = writers()[name]
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        write(tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(magic)
    with pytest.raises(UserError, match=r"end in \.png, \.svg or \.pdf"):
        write(tmp_path / "a.doc")
    assert len(list(tmp_path.iterdir())) == 3


def test_more_than_can_be_told_apart(tmp_path: Path) -> None:
    many = {f"encoder {n}": report_of(2) for n in range(len(STYLES))}
    assert len(draw_cone({name: each.sample for name, each in many.items()}).axes) == len(STYLES)
    figure = draw_occurrences(PANELS[1:], [n % 8 for n in range(20)], list("abcdefgh"))
    assert len({line.get_marker() for line in figure.axes[0].lines}) == len(SENSE_STYLES)
    path = tmp_path / "more.png"
    for name, what in (("measures", "encoders"), ("cone", "encoders"), ("space", "panels")):
        with pytest.raises(UserError, match=f"7 {what} in one picture: at most 6 can be told apart"):
            writers(7, 7)[name](path)
    with pytest.raises(UserError, match="9 senses in one picture: at most 8"):
        writers(senses=9)["occurrences"](path)
    assert not path.exists()


@pytest.mark.parametrize(("count", "rows", "columns"), [(3, 1, 3), (4, 2, 2), (5, 2, 3), (6, 2, 3)])
def test_more_than_three_spaces_are_in_two_rows(count: int, rows: int, columns: int) -> None:
    figure = draw_space([(f"space {n}", CLOUD) for n in range(count)])
    assert [axes.get_title() for axes in figure.axes] == [f"space {n}" for n in range(count)]
    grid = figure.axes[0].get_subplotspec().get_gridspec()  # type: ignore[union-attr]
    assert (grid.nrows, grid.ncols) == (rows, columns)
