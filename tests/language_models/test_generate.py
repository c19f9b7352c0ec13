"""Written text: drawn from the right distribution, greedy at temperature 0, the same for a seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tests.language_models.models import CELLS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.errors import UserError
from unfreeze.language_models import awd_lstm
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.generate import draw, draw_ids, stream_text
from unfreeze.language_models.settings import SamplingSettings

TOKENIZER = word_tokenizer()
NEVER = [TOKENIZER.unknown_id, TOKENIZER.pad_id]
PROMPT = "The mouse sat on"


def drawn(model: AwdLstmLanguageModel, count: int, **changes: float) -> list[int]:
    """The first ids that follow `PROMPT`."""
    return list(islice(draw_ids(model, PROMPT, SamplingSettings(**changes)), count))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cutoffs", [(), (12, 25)], ids=["full", "adaptive"])
def test_temperature_0_takes_the_likeliest_token_each_time(
    cell: CellKind, cutoffs: tuple[int, ...], tmp_path: Path
) -> None:
    model = random_model(TOKENIZER, "both", cutoffs, cell=cell)
    model.save_pretrained(tmp_path / "model")
    oracle = NumpyLanguageModel(tmp_path / "model")
    ids = TOKENIZER.encode(PROMPT).ids
    expected: list[int] = []
    for _ in range(15):
        scores = oracle.next_log_probabilities("forward", ids + expected)[-1]
        scores[[*NEVER, TOKENIZER.bos_id]] = -np.inf
        expected.append(int(scores.argmax()))
    assert drawn(model, 15, temperature=0, stop_at_document_end=False) == expected
    assert drawn(model, 15, temperature=1e-4, seed=5, stop_at_document_end=False) == expected
    assert drawn(model, 15, temperature=3.0, top_k=1, seed=5, stop_at_document_end=False) == expected


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.6, 0), (1.7, 6)])
def test_tokens_are_drawn_in_proportion(temperature: float, top_k: int, tmp_path: Path) -> None:
    """Chi-squared over 2,000 draws with as many seeds, against the distribution computed in NumPy."""
    model = random_model(TOKENIZER)
    model.save_pretrained(tmp_path / "model")
    ids = TOKENIZER.encode(PROMPT).ids
    scores = NumpyLanguageModel(tmp_path / "model").next_log_probabilities("forward", ids)[-1]
    scores[NEVER] = -np.inf
    if top_k:
        scores[scores < np.sort(scores)[-top_k]] = -np.inf
    expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    reader = model.reader("forward")
    reader.read(ids)
    found = reader.log_probabilities()
    found[NEVER] = -torch.inf
    counts = Counter(
        draw(found, temperature, top_k, torch.Generator().manual_seed(seed)) for seed in range(2000)
    )
    assert all(expected[number] > 0 for number in counts)
    common = np.flatnonzero(expected * 2000 >= 5)
    observed = np.array([counts[int(number)] for number in common] + [0.0])
    wanted = np.append(expected[common] * 2000, 0.0)
    observed[-1], wanted[-1] = 2000 - observed.sum(), 2000 - wanted.sum()
    keep = wanted > 1e-6
    assert observed[~keep].sum() == 0
    assert chisquare(observed[keep], wanted[keep] * observed[keep].sum() / wanted[keep].sum()).pvalue > 1e-3


def test_a_seed_writes_the_same_text_and_others_do_not() -> None:
    model = random_model(TOKENIZER)
    torch.manual_seed(1)
    first = model.generate(PROMPT, tokens=20, seed=3, stop_at_document_end=False)
    torch.manual_seed(2)
    assert model.generate(PROMPT, tokens=20, seed=3, stop_at_document_end=False) == first
    others = {model.generate(PROMPT, tokens=20, seed=seed, stop_at_document_end=False) for seed in range(5)}
    assert len(others) > 1


@pytest.mark.parametrize("prompt", [PROMPT, "", "The river was ", "So, THE bank (the", "so so so so"])
def test_pieces_joined_to_the_prompt_are_the_text(prompt: str) -> None:
    model = random_model(TOKENIZER)
    for seed in range(2):
        settings = SamplingSettings(tokens=30, seed=seed, stop_at_document_end=False)
        pieces = list(stream_text(model, prompt, settings))
        text = model.generate(prompt, tokens=30, seed=seed, stop_at_document_end=False)
        assert prompt + "".join(pieces) == text
        assert not any(mark in text for mark in ("xxunk", "xxpad", "xxbos", "xxmaj", "xxup"))


def test_the_text_reads_back_as_what_was_drawn() -> None:
    """Decoding is undone by encoding, up to marks that the rules would not have written."""
    model = random_model(TOKENIZER)
    ids = drawn(model, 25, stop_at_document_end=False)
    text = model.generate(PROMPT, tokens=25, stop_at_document_end=False)
    marks = {TOKENIZER.id(token) for token in ("xxmaj", "xxup", "xxrep", "xxwrep")}
    words = [TOKENIZER.token(number) for number in ids if number not in marks]
    assert text.startswith(PROMPT)
    assert sum(word in text.lower() for word in words) == len(words)


def test_unknown_and_padding_are_never_drawn() -> None:
    model = random_model(TOKENIZER)
    with torch.no_grad():
        model.output("forward").bias[NEVER] += 100.0
    assert not set(NEVER) & set(drawn(model, 30, stop_at_document_end=False))
    assert not set(NEVER) & set(drawn(model, 30, temperature=0, stop_at_document_end=False))


def test_the_document_ends_or_goes_on() -> None:
    model = random_model(TOKENIZER)
    with torch.no_grad():
        model.output("forward").bias[TOKENIZER.bos_id] += 100.0
    assert model.generate(PROMPT, tokens=30) == PROMPT
    going_on = drawn(model, 30, stop_at_document_end=False)
    assert len(going_on) == 30 and TOKENIZER.bos_id not in going_on


@pytest.mark.parametrize("cell", CELLS)
def test_a_long_prompt_is_read_in_pieces(cell: CellKind, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(TOKENIZER, cell=cell)
    ids = TOKENIZER.encode(PROMPT * 9).ids
    whole, parts = model.reader("forward"), model.reader("forward")
    whole.read(ids)
    monkeypatch.setattr(awd_lstm, "READER_PIECE", 4)
    parts.read(ids)
    assert parts.log_probabilities().tolist() == pytest.approx(whole.log_probabilities().tolist(), abs=1e-5)


def test_a_backward_model_cannot_write() -> None:
    with pytest.raises(UserError, match="backward only"):
        stream_text(random_model(TOKENIZER, "backward"), PROMPT)


@pytest.mark.parametrize(
    "changes", [{"tokens": 0}, {"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": -1}]
)
def test_numbers_that_cannot_work_are_refused_at_once(changes: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be"):
        random_model(TOKENIZER).generate(PROMPT, **changes)  # type: ignore[arg-type]
