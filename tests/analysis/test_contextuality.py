"""Contextuality of small encoders against loops over occurrences that were encoded one sentence at a time."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.disk import files_of
from tests.encoders.elmos import WORDS, small_elmo
from tests.language_models.models import TEXTS, random_model, word_tokenizer
from unfreeze.analysis import contextuality as module
from unfreeze.analysis import contextuality_files
from unfreeze.analysis.contextuality import Contextuality, contextuality, shared_words
from unfreeze.analysis.contextuality_files import KeptPieces
from unfreeze.analysis.contextuality_settings import ContextualitySettings, Estimator
from unfreeze.analysis.geometry import explained_variance, similarity_to_mean
from unfreeze.encoders.features import words_of
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.vectors.table import VectorTable

ELMO = small_elmo()
SETTINGS = ContextualitySettings(sample=40, draws=50, least_contexts=3)


def some_sentences(count: int, seed: int = 0) -> list[str]:
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(1, 8))) for _ in range(count)]


SENTENCES = some_sentences(60)


@torch.no_grad()
def occurrences(encoder: TextEncoder, sentences: list[str]) -> list[tuple[str, str, list[np.ndarray]]]:
    """Sentence, word, and vectors of all layers of each occurrence, encoded alone."""
    found = []
    for text in dict.fromkeys(sentences):
        batch = encoder.prepare([text])
        layers, _ = encoder.word_layers(batch)
        for number, word in enumerate(words_of(batch.words[0], batch.offsets[0], text)):
            found.append((text, word, [each[0, number].double().numpy() for each in layers]))
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.fixture(scope="module")
def report() -> Contextuality:
    return contextuality(ELMO, SENTENCES, SETTINGS)


def test_figures_are_those_of_loops(report: Contextuality) -> None:
    every = occurrences(ELMO, SENTENCES)
    contexts, vectors, inside = defaultdict(set), defaultdict(list), defaultdict(list)
    for text, word, layers in every:
        contexts[word].add(text)
        vectors[word].append(layers)
        inside[text].append(layers)
    words = sorted(word for word in contexts if len(contexts[word]) >= 3)
    assert report.words == words and report.n_sentences == len(inside) and report.n_without_vector == 0
    assert report.counts.tolist() == [len(vectors[word]) for word in words]
    for layer, figures in enumerate(report.figures()):
        similar = [
            np.mean([cosine(a[layer], b[layer]) for a, b in combinations(vectors[word], 2)]) for word in words
        ]
        explained = [explained_variance(np.stack([each[layer] for each in vectors[word]])) for word in words]
        of_sentences = []
        for own in inside.values():
            if len(own) > 1:
                mean = np.mean([each[layer] for each in own], axis=0)
                of_sentences.append(np.mean([cosine(each[layer], mean) for each in own]))
        np.testing.assert_allclose(report.self_similarities[layer], similar, rtol=0, atol=1e-5)
        np.testing.assert_allclose(report.explained[layer], explained, rtol=0, atol=1e-5)
        assert figures.intra_sentence.value == pytest.approx(np.mean(of_sentences), abs=1e-5)
        baseline = [
            cosine(a.astype(float), b.astype(float)) for a, b in combinations(report.sample[layer], 2)
        ]
        assert figures.anisotropy.value == pytest.approx(np.mean(baseline), abs=1e-6)
        for name in ("self_similarity", "intra_sentence"):
            raw, adjusted = getattr(figures, name).value, getattr(figures, f"{name}_adjusted").value
            assert adjusted == pytest.approx(raw - np.mean(baseline), abs=1e-6)
        share = figures.explained.value - figures.explained_adjusted.value
        assert share == pytest.approx(explained_variance(report.sample[layer]), abs=1e-6)


@pytest.mark.parametrize("estimator", ["uncentered", "centered"])
def test_the_interval_of_an_isotropic_baseline_has_its_figure(
    report: Contextuality, estimator: Estimator
) -> None:
    """One vector explains more of a draw with replacement, which repeats some of the sampled vectors, than of all of these."""
    isotropic = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    settings = replace(SETTINGS, explained=estimator, draws=200)
    (figures,) = replace(report, settings=settings, sample=[isotropic]).figures()
    baseline = figures.explained_baseline
    assert baseline.value == pytest.approx(explained_variance(isotropic, centered=estimator == "centered"))
    assert baseline.low < baseline.value < baseline.high < 1.3 * baseline.value


def test_sampled_words_are_of_different_sentences(report: Contextuality) -> None:
    every = occurrences(ELMO, SENTENCES)
    assert len(report.sample[0]) == 40
    texts = []
    for x in report.sample[2]:
        (same,) = [text for text, _, layers in every if np.abs(layers[2] - x).max() < 1e-5]
        texts.append(same)
    assert len(set(texts)) == 40


def test_batches_do_not_matter(report: Contextuality, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_WORDS", 9)
    other = contextuality(ELMO, SENTENCES, SETTINGS)
    np.testing.assert_allclose(other.self_similarities, report.self_similarities, atol=1e-5)
    np.testing.assert_allclose(other.intra_sentence, report.intra_sentence, atol=1e-5)
    np.testing.assert_allclose(np.stack(other.sample), np.stack(report.sample), atol=1e-5)


def test_sentences_that_occur_again_are_no_other_context(report: Contextuality) -> None:
    again = contextuality(ELMO, [*SENTENCES, "", *SENTENCES[:20], " "], SETTINGS)
    assert again.n_repeated == 20 + report.n_repeated and again.n_sentences == report.n_sentences
    assert [str(each) for each in again.figures()] == [str(each) for each in report.figures()]


def test_a_seed_gives_the_same_sample_of_occurrences() -> None:
    few = replace(SETTINGS, most_occurrences=5)
    first, same, other = (contextuality(ELMO, SENTENCES, replace(few, seed=seed)) for seed in (1, 1, 2))
    assert first.counts.max() == 5
    np.testing.assert_array_equal(first.self_similarities, same.self_similarities)
    assert np.abs(first.self_similarities[1] - other.self_similarities[1]).max() > 1e-4


def static(words: list[str], sizes: int = 6) -> WordVectors:
    matrix = np.random.default_rng(0).normal(size=(len(words), sizes)).astype(np.float32)
    return WordVectors.from_table(VectorTable(words, matrix))


def test_a_static_vector_is_the_same_in_every_context_and_words_without_one_are_left_out() -> None:
    known = sorted({word.lower() for word in WORDS})[:-3]
    report = contextuality(static(known), SENTENCES, SETTINGS)
    (figures,) = report.figures()
    assert figures.self_similarity.value == pytest.approx(1) == figures.explained.value
    assert report.n_without_vector > 0
    assert all(word.lower() in known for word in report.words)
    assert abs(figures.anisotropy.value) < 0.2, "random vectors"
    centered = contextuality(static(known), SENTENCES, replace(SETTINGS, explained="centered"))
    assert centered.figures()[0].explained.value == 1


def test_layers_of_different_widths() -> None:
    encoder = random_model(word_tokenizer()).encoder
    sentences = [" ".join(text.split()[start:]) for text in TEXTS for start in range(6)]
    report = contextuality(encoder, sentences, SETTINGS)
    assert [each.width for each in report.figures()] == encoder.widths
    assert len(set(encoder.widths)) > 1


def test_encoders_are_compared_on_the_words_that_both_have(report: Contextuality) -> None:
    other = contextuality(static(sorted({word.lower() for word in WORDS})[:-3]), SENTENCES, SETTINGS)
    words = list(shared_words([report, other]))
    assert set(words) == set(report.words) & set(other.words) and len(words) < len(report.words)
    few = report.figures(words)[1].self_similarity.value
    rows = [report.words.index(word) for word in words]
    assert few == pytest.approx(report.self_similarities[1, rows].mean(), abs=1e-6)
    with pytest.raises(UserError, match="no word in common"):
        report.figures(["elsewhere"])


def test_layers_are_compared_on_the_same_draws(report: Contextuality) -> None:
    """The difference of a layer and itself is 0 in each draw, and that of two is more certain than the two alone."""
    same = report.difference("anisotropy", 1, 1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    upper, lower = report.figures()[2].explained_adjusted, report.figures()[1].explained_adjusted
    found = report.difference("explained_adjusted", 2, 1)
    assert found.value == pytest.approx(upper.value - lower.value)
    assert found.low < found.value < found.high
    assert found.high - found.low < (upper.high - upper.low) + (lower.high - lower.low)


@pytest.mark.parametrize(
    ("sentences", "changes", "message"),
    [
        (SENTENCES[:3], {"least_contexts": 50}, "no word occurs in 50 different sentences"),
        ([], {}, "no word occurs in 3"),
        (["cat"] * 10, {"least_contexts": 2}, "the most frequent one in 1 of 1"),
        ("one text", {}, "sentences"),
    ],
)
def test_too_few_sentences(sentences: list[str], changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        contextuality(ELMO, sentences, replace(SETTINGS, **changes))


def test_words_that_are_all_unknown() -> None:
    with pytest.raises(UserError, match="unknown to the encoder"):
        contextuality(static(["elsewhere", "nowhere"]), SENTENCES, SETTINGS)


@pytest.mark.parametrize(
    "values", [{"least_contexts": 1}, {"sample": 1}, {"draws": 0}, {"explained": "both"}, {"seed": -1}]
)
def test_settings_that_cannot_work(values: dict[str, int]) -> None:
    with pytest.raises(UserError):
        ContextualitySettings(**values)  # type: ignore[arg-type]


def test_a_full_disk_is_said() -> None:
    with files_of(1000), pytest.raises(UserError, match="cannot write"):
        contextuality(ELMO, SENTENCES, SETTINGS)


def test_a_smaller_number_format_is_that_of_the_encoder_alone() -> None:
    random = torch.Generator().manual_seed(0)
    x, mask = (
        torch.randn(3, 6, 50, generator=random),
        torch.tensor([[True] * n + [False] * (6 - n) for n in (6, 3, 1)]),
    )
    exact = module._intra_sentence(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module._intra_sentence(x, mask), exact, rtol=0, atol=1e-6, equal_nan=True)
    wanted = [similarity_to_mean(own[real].numpy()) for own, real in zip(x, mask, strict=True)]
    assert exact[:2].tolist() == pytest.approx(wanted[:2], abs=1e-6) and exact[2].isnan()


@given(st.lists(st.text("ab, é", max_size=20), min_size=1, max_size=12), st.integers(0, 40))
def test_kept_pieces_are_those_of_the_tokenizer(texts: list[str], together: int) -> None:
    tokenizer = WordTokenizer([*SPECIAL_TOKENS, "a", "b", ","])
    with tempfile.TemporaryFile(buffering=0) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(contextuality_files, "WRITTEN_TOGETHER", together)
        kept = KeptPieces(file)
        for text in texts:
            kept.append(tokenizer.encode(text))
        for number in reversed(range(len(texts))):
            assert kept[number] == tokenizer.encode(texts[number])
