"""GloVe: the kernel against the paper's formulas in NumPy float64, and what training must do to vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pretraining.numbered_texts import (
    BOS,
    NumberTokenizer,
    Recorder,
    make_store,
    topic_contrast,
    two_topics,
)
from unfreeze.errors import UserError
from unfreeze.pretraining.glove import train as glove
from unfreeze.pretraining.glove.cooccurrence import Cooccurrences, count_cooccurrences
from unfreeze.pretraining.glove.kernel import (
    CONTEXT,
    SQUARES,
    VALUE,
    WORD,
    grouped_order,
    make_parameters,
    train_pairs,
)
from unfreeze.pretraining.glove.settings import GloveSettings
from unfreeze.pretraining.glove.train import fit_glove, train_glove, train_glove_vectors


class Reference:
    """Equation 8 of the paper and AdaGrad as in the authors' program, one entry at a time."""

    def __init__(self, words: np.ndarray, contexts: np.ndarray) -> None:
        self.words, self.contexts = words.astype(float), contexts.astype(float)
        self.word_biases, self.context_biases = np.zeros((2, len(words)))
        self.squares = [np.ones_like(a) for a in self._all()]

    def _all(self) -> list[np.ndarray]:
        return [self.words, self.contexts, self.word_biases, self.context_biases]

    def step(self, i: int, j: int, x: float, rate: float, x_max: float, alpha: float) -> float:
        weight = (x / x_max) ** alpha if x < x_max else 1.0
        w, c = self.words[i].copy(), self.contexts[j].copy()
        error = w @ c + self.word_biases[i] + self.context_biases[j] - np.log(x)
        scale = rate * weight * error
        for values, squares, row, step in zip(
            self._all(), self.squares, (i, j, i, j), (scale * c, scale * w, scale, scale), strict=True
        ):
            values[row] -= step / np.sqrt(squares[row])
            squares[row] += step**2
        return 0.5 * weight * error**2


@pytest.mark.parametrize("size", [1, 7, 14, 30, 100])
@pytest.mark.parametrize("symmetric", [True, False])
def test_steps_and_loss_equal_float64(size: int, symmetric: bool) -> None:
    rng = np.random.default_rng(size)
    parameters = make_parameters(12, size, seed=1)
    parameters[:, :, VALUE, :size] = rng.normal(size=(12, 2, size)) / np.sqrt(size)
    reference = Reference(parameters[:, WORD, VALUE, :size], parameters[:, CONTEXT, VALUE, :size])
    i, j = rng.integers(0, 12, (2, 300)).astype(np.int32)
    x, order = rng.lognormal(2, 2, 300).astype(np.float32), rng.permutation(300)
    weights = np.minimum(1, (x / 20) ** 0.75).astype(np.float32)
    loss, entries = train_pairs(i, j, np.log(x), weights, order, symmetric, np.float32(0.05), parameters)
    expected = []
    for n in order.tolist():
        expected.append(reference.step(i[n], j[n], float(x[n]), 0.05, 20, 0.75))
        if symmetric and i[n] != j[n]:
            expected.append(reference.step(j[n], i[n], float(x[n]), 0.05, 20, 0.75))
    assert entries == len(expected) and loss == pytest.approx(sum(expected), rel=1e-5)
    for values, theirs in ((VALUE, reference._all()), (SQUARES, reference.squares)):
        ours = parameters[:, WORD, values], parameters[:, CONTEXT, values]
        np.testing.assert_allclose(ours[0][:, :size], theirs[0], rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(ours[1][:, :size], theirs[1], rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(ours[0][:, size], theirs[2], rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(ours[1][:, size + 1], theirs[3], rtol=1e-4, atol=2e-5)
    assert (parameters[:, WORD, VALUE, size + 1] == 1).all() and (
        parameters[:, CONTEXT, VALUE, size] == 1
    ).all()
    assert (parameters[:, :, VALUE, size + 2 :] == 0).all()


def test_each_position_is_visited_once_column_by_column() -> None:
    rng = np.random.default_rng(0)
    columns, ranks = rng.integers(0, 20, 500).astype(np.int32), rng.permutation(20)
    orders = [grouped_order(columns, ranks, np.array([seed], np.uint64)) for seed in (1, 1, 2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(500))
        assert (np.diff(ranks[columns[order]]) >= 0).all()
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    within = orders[0][ranks[columns[orders[0]]] == 0]
    assert (np.diff(within) < 0).any()


def topic_pairs(folder: Path) -> Cooccurrences:
    store = make_store(folder, two_topics(100), 21)
    return count_cooccurrences(store, folder / "pairs", keep=np.arange(21) > 0, window=5)


@pytest.mark.parametrize("workers", [1, 3])
def test_two_topics_come_apart_and_the_loss_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(glove, "BLOCK_PAIRS", 50)
    store, recorder = make_store(tmp_path, two_topics(), 21), Recorder()
    matrix = train_glove(
        store,
        GloveSettings(size=8, epochs=60, x_max=10),
        vocabulary_size=21,
        skip_ids=frozenset({BOS}),
        folder=tmp_path / "work",
        workers=workers,
        progress=recorder,
    )
    assert topic_contrast(matrix) > 0.3
    losses = [figures["loss"] for figures in recorder.figures if "loss" in figures]
    assert np.isfinite(losses).all() and losses[-1] < 0.1 * losses[0]
    assert list((tmp_path / "work").iterdir()) == []


def test_the_fit_predicts_the_logarithms(tmp_path: Path) -> None:
    pairs, recorder = topic_pairs(tmp_path), Recorder()
    factors = fit_glove(
        pairs,
        GloveSettings(size=20, epochs=600, x_max=10),
        vocabulary_size=21,
        workers=1,
        progress=recorder,
    )
    rows, columns, values = pairs.read(0, pairs.n_pairs)
    predicted = (factors.words[rows] * factors.contexts[columns]).sum(axis=1)
    predicted += factors.word_biases[rows] + factors.context_biases[columns]
    assert np.abs(predicted - np.log(values)).max() < 0.1
    assert sum(recorder.steps) == 600 * pairs.n_entries


def test_one_thread_and_a_seed_give_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glove, "BLOCK_PAIRS", 20)
    pairs = topic_pairs(tmp_path)

    def fit(seed: int) -> bytes:
        factors = fit_glove(pairs, GloveSettings(epochs=2, seed=seed), vocabulary_size=21, workers=1)
        return b"".join(part.tobytes() for part in factors)

    assert fit(1) == fit(1) != fit(2)


def test_skipped_ids_keep_their_start(tmp_path: Path) -> None:
    store = make_store(tmp_path, two_topics(20), 21)
    skipped = frozenset({BOS, 4, 5})
    matrix = train_glove(
        store, GloveSettings(size=16, epochs=2), vocabulary_size=21, skip_ids=skipped, workers=1
    )
    start = make_parameters(21, 16, 0)[:, :, VALUE, :16].sum(axis=1)
    changed = (matrix != start).any(axis=1)
    assert set(np.flatnonzero(~changed).tolist()) == skipped


def test_word_vectors_by_frequency(tmp_path: Path) -> None:
    store, tokenizer = make_store(tmp_path, [[3, 2, 3, 1], [3, 1, 3, 5]], 6), NumberTokenizer(6)
    settings = GloveSettings(size=8)
    vectors = train_glove_vectors(store, tokenizer, settings, workers=1)
    assert vectors.words == ["w3", "w1", "w2", "w5"]
    rows = train_glove(store, settings, vocabulary_size=6, skip_ids=frozenset({BOS}), workers=1)
    assert np.array_equal(vectors.matrix, rows[[3, 1, 2, 5]])
    with pytest.raises(UserError, match="another tokenizer"):
        train_glove_vectors(store, NumberTokenizer(7))


def test_words_that_never_meet_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[1], [2], [3]] * 5, 4)
    with pytest.raises(UserError, match="no two words of the vocabulary occur near each other") as raised:
        train_glove(store, vocabulary_size=4, skip_ids=frozenset({BOS}), folder=tmp_path / "work")
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_rate_that_diverges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverges at the learning rate 1e\\+30"):
        fit_glove(topic_pairs(tmp_path), GloveSettings(learning_rate=1e30), vocabulary_size=21, workers=1)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[1, 2, 3]], 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file"):
        train_glove(store, vocabulary_size=4, folder=tmp_path / "file")
