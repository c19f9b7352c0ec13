"""Scores against the equations in NumPy float64, and what they must not depend on."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.language_models.models import CELLS, TEXTS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.language_models import awd_lstm
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.score import score_texts

CUTOFFS = [(), (12, 25)]
UNSEEN = "The unseen zebra SAT on the bank."


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("cutoffs", CUTOFFS, ids=["full", "adaptive"])
def test_scores_are_those_of_the_equations(
    cell: CellKind, direction: Direction, cutoffs: tuple[int, ...], tmp_path: Path
) -> None:
    model = random_model(word_tokenizer(), direction, cutoffs, cell=cell)
    model.save_pretrained(tmp_path / "model")
    oracle = NumpyLanguageModel(tmp_path / "model")
    texts = [*TEXTS, UNSEEN]
    for text, score in zip(texts, score_texts(model, texts), strict=True):
        ids = model.tokenizer.encode(text).ids
        assert list(score.directions) == model.encoder.directions
        for name, found in score.directions.items():
            expected = oracle.token_log_probabilities(name, ids)
            assert [token.log_probability for token in found.tokens] == pytest.approx(expected, abs=1e-4)
            assert found.log_probability == pytest.approx(sum(expected), abs=1e-3)
            assert found.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("piece", [1, 7])
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_text_of_many_pieces_carries_its_state(
    cell: CellKind, piece: int, name: Direction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awd_lstm, "PIECE", piece)
    model = random_model(word_tokenizer(), name, cell=cell)
    model.save_pretrained(tmp_path / "model")
    text = " ".join(TEXTS)
    expected = NumpyLanguageModel(tmp_path / "model").token_log_probabilities(
        name, model.tokenizer.encode(text).ids
    )
    found = score_texts(model, [text])[0].directions[name]
    assert [token.log_probability for token in found.tokens] == pytest.approx(expected, abs=1e-4)


MODELS: dict[CellKind, AwdLstmLanguageModel] = {
    cell: random_model(word_tokenizer(), "both", CUTOFFS[1], cell=cell) for cell in CELLS
}
WORDS = sorted({word for text in TEXTS for word in text.split()})


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=8)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), min_size=1, max_size=9),
    seed=st.integers(0, 99),
)
def test_a_score_depends_on_its_text_alone(cell: CellKind, texts: list[str], seed: int) -> None:
    order = list(range(len(texts)))
    Random(seed).shuffle(order)
    together = score_texts(MODELS[cell], [texts[n] for n in order])
    for number, score in zip(order, together, strict=True):
        alone = score_texts(MODELS[cell], [texts[number]])[0]
        assert score.text == texts[number]
        for name, found in score.directions.items():
            tokens = alone.directions[name].tokens
            assert [(t.token, t.start, t.end) for t in found.tokens] == [
                (t.token, t.start, t.end) for t in tokens
            ]
            assert [t.log_probability for t in found.tokens] == pytest.approx(
                [t.log_probability for t in tokens], abs=1e-5
            )


def test_batches_are_bounded_and_hold_every_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awd_lstm, "BATCH_TOKENS", 20)
    lengths = [1, 50, 3, 7, 7, 2, 19, 4]
    batches = list(awd_lstm.batches_of_similar_length(lengths))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= 20 for batch in batches)


def test_tokens_know_their_places() -> None:
    text = "A mouse  sat on the HIGH bank!"
    for found in score_texts(MODELS["lstm"], [text])[0].directions.values():
        words = [text[t.start : t.end].lower() for t in found.tokens if not t.token.startswith("xx")]
        assert words == "a mouse sat on the high bank !".split()


def test_an_empty_text_has_no_token() -> None:
    for score in score_texts(MODELS["lstm"], ["", "the river", "  "])[::2]:
        for found in score.directions.values():
            assert (found.log_probability, found.tokens) == (0.0, [])
            assert math.isnan(found.perplexity)
