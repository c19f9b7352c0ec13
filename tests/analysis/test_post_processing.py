"""Centering, all-but-the-top and whitening against their definitions, written as loops or by another library."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from unfreeze.analysis.geometry import Numbers, mean_cosine
from unfreeze.analysis.post_processing import PostProcessing
from unfreeze.errors import UserError


def cone(shape: tuple[int, int] = (200, 12)) -> Numbers:
    """Most of the vectors' length is in two directions that all share."""
    random = np.random.default_rng(0)
    x = random.normal(size=shape) + 5
    return x + 4 * random.normal(size=(shape[0], 1)) * random.normal(size=shape[1])


def test_centering() -> None:
    x = cone()
    np.testing.assert_allclose(PostProcessing.fit("centered", x)(x), x - x.mean(0), atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_but_the_top_removes_the_components_of_scikit_learn(count: int) -> None:
    x = cone()
    expected = x - x.mean(0)
    for u in PCA(3).fit(x).components_[:count]:
        expected = expected - np.outer(expected @ u, u)
    found = PostProcessing.fit("all-but-the-top", x, components=count)(x)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_all_but_the_top_removes_a_hundredth_of_the_width() -> None:
    x = cone((500, 300))
    rank = np.linalg.matrix_rank(PostProcessing.fit("all-but-the-top", x)(x))
    assert rank == 297
    small = cone((50, 12))
    assert np.linalg.matrix_rank(PostProcessing.fit("all-but-the-top", small)(small)) == 11


def test_whitened_vectors_have_a_covariance_of_one() -> None:
    x = cone()
    white = PostProcessing.fit("whitened", x)(x)
    np.testing.assert_allclose(np.cov(white.T), np.eye(12), atol=1e-8)
    few = PostProcessing.fit("whitened", x[:5])(x[:5])
    assert few.shape == (5, 4), "five vectors around their mean have four components"
    np.testing.assert_allclose(np.cov(few.T), np.eye(4), atol=1e-8)


def test_all_three_mend_a_cone() -> None:
    x = cone()
    assert mean_cosine(x) > 0.5
    for method in ("centered", "all-but-the-top", "whitened"):
        assert abs(mean_cosine(PostProcessing.fit(method, x)(x))) < 0.05  # type: ignore[arg-type]


def test_what_cannot_be_learned_is_said() -> None:
    with pytest.raises(UserError, match="fewer than two"):
        PostProcessing.fit("centered", cone()[:1])
    with pytest.raises(UserError, match="do not have 13 components"):
        PostProcessing.fit("all-but-the-top", cone(), components=13)
    with pytest.raises(UserError, match="the methods are"):
        PostProcessing.fit("flattened", cone())  # type: ignore[arg-type]
