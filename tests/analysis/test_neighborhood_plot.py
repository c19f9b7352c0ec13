"""The picture of a neighborhood: places by scikit-learn's PCA, labels that can be read, files of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from tests.analysis.tables import random_table, table_of
from unfreeze.analysis.neighborhood_plot import place_labels, plot_neighborhood, projected
from unfreeze.errors import UserError
from unfreeze.vectors.neighbors import NeighborIndex

BOUNDS = (0.0, 0.0, 1000.0, 800.0)


def boxes_of(centers: Any, sizes: Any) -> Any:
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)


def overlap(a: Any, b: Any) -> float:
    return float(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod())


@settings(max_examples=30)
@given(st.integers(1, 25), st.integers(0, 1000))
def test_labels_are_apart_inside_and_beside_their_points(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform((100, 60), (900, 740), (count, 2))
    sizes = np.stack([random.uniform(20, 110, count), np.full(count, 18.0)], axis=1)
    boxes = boxes_of(place_labels(points, sizes, BOUNDS), sizes)
    covered = sum(overlap(a, b) for n, a in enumerate(boxes) for b in boxes[:n])
    assert covered <= 0.02 * sizes.prod(axis=1).sum()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= BOUNDS[2:]).all()
    outside = np.maximum(boxes[:, :2] - points, points - boxes[:, 2:]).max(axis=1)
    assert (outside > 0).all() and (outside < 12 * 15).all()


def test_a_free_label_stands_at_the_right_of_its_point() -> None:
    point, size = np.array([[500.0, 400.0]]), np.array([[60.0, 20.0]])
    assert place_labels(point, size, BOUNDS).tolist() == [[542.0, 400.0]]
    at_the_edge = place_labels(np.array([[990.0, 400.0]]), size, BOUNDS)
    assert at_the_edge[0, 0] < 970


def test_points_on_one_place_have_labels_on_several() -> None:
    sizes = np.full((8, 2), (50.0, 16.0))
    boxes = boxes_of(place_labels(np.full((8, 2), 400.0), sizes, BOUNDS), sizes)
    assert sum(overlap(a, b) for n, a in enumerate(boxes) for b in boxes[:n]) == 0


def test_pca_is_scikit_learns() -> None:
    vectors = random_table(12, 5, seed=0).matrix.astype(np.float64)
    places, (first, second) = projected(vectors, "pca")
    pca = PCA(2).fit(vectors)
    assert np.allclose(np.abs(places), np.abs(pca.transform(vectors)))
    assert (places[0] <= 0).all()
    shares = pca.explained_variance_ratio_
    assert first == f"first component, {100 * shares[0]:.0f} % of the variance"
    assert second == f"second component, {100 * shares[1]:.0f} % of the variance"


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (5, 1)])
def test_few_points_and_few_numbers(shape: tuple[int, int]) -> None:
    places, _ = projected(np.random.default_rng(0).standard_normal(shape), "pca")
    assert places.shape == (shape[0], 2) and np.isfinite(places).all()


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")]
)
def test_every_kind_of_file(suffix: str, magic: bytes, tmp_path: Path) -> None:
    index = NeighborIndex(random_table(30, 6, seed=1))
    path = tmp_path / f"plot{suffix}"
    found = index.nearest(["w1", "w2"], ["w3"], top=5)
    plot_neighborhood(index, found, ["w1", "w2"], ["w3"], path)
    assert path.read_bytes().startswith(magic)


def test_svg_holds_the_words_where_they_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    index = NeighborIndex(table_of(**{"$x$": (1, 0, 0), "a_b": (1, 1, 0), "木": (0, 1, 1), "c": (1, 0, 1)}))
    path = tmp_path / "plot.svg"
    plot_neighborhood(index, index.nearest("$x$"), ["$x$"], [], path)
    text = path.read_text(encoding="utf-8")
    for word in ("nearest neighbors of $x$", ">a_b<", ">木<", ">c<", "cosine with the query"):
        assert word in text


@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_t_sne_and_its_least_number_of_words(measure: Any, tmp_path: Path) -> None:
    index = NeighborIndex(random_table(30, 6, seed=1), measure=measure)
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for path in (first, second):
        plot_neighborhood(index, index.nearest("w1", top=9), ["w1"], [], path, projection="tsne", seed=3)
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(UserError, match="t-SNE needs at least 10 words, not 9"):
        plot_neighborhood(index, index.nearest("w1", top=8), ["w1"], [], first, projection="tsne")


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    index = NeighborIndex(random_table(300, 4, seed=1))
    with pytest.raises(UserError, match="cannot draw"):
        plot_neighborhood(index, index.nearest("w1"), ["w1"], [], tmp_path / "plot.xyz")
    with pytest.raises(UserError, match="plot at most 200"):
        plot_neighborhood(index, index.nearest("w1", top=200), ["w1"], [], tmp_path / "plot.png")
    alone = NeighborIndex(table_of(a=(1, 0), nothing=(0, 0)))
    plot_neighborhood(alone, alone.nearest("a"), ["a"], [], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000 and len(list(tmp_path.iterdir())) == 1
