"""Changed histories: what is cut and shuffled, and losses against the equations, ordinary scores and other look-ups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from experiments import history
from experiments.history import (
    clustered_error,
    cut_windows,
    history_losses,
    ngram_losses,
    sample_positions,
    shuffled_beyond,
    whole_losses,
)
from tests.language_models.models import TEXTS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.ngram import NgramModel
from unfreeze.text.token_store import TokenStore

TOKENIZER = word_tokenizer()
DOCUMENTS = TOKENIZER.encode_ids([" ".join(TEXTS), TEXTS[0], TEXTS[1] + TEXTS[2], "so"])
LENGTHS = [len(document) for document in DOCUMENTS]
WINDOW = 6
POSITIONS = sample_positions(LENGTHS, 40, WINDOW, 0)
CELLS: list[CellKind] = ["lstm", "qrnn"]


def model_of(cell: CellKind) -> AwdLstmLanguageModel:
    if cell == "lstm":
        return random_model(TOKENIZER)
    torch.manual_seed(0)
    model = AwdLstmLanguageModel(AwdLstm(TOKENIZER, embedding_size=7, hidden_size=11, n_layers=2, cell=cell))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.7)
    return model.eval()


def ordinary(model: AwdLstmLanguageModel, documents: list[list[int]]) -> list[list[float]]:
    """The losses of `unfreeze.language_models.score`, all but the begin symbol's."""
    return [[-p for p in row] for row in model.id_log_probabilities("forward", documents)]


def test_positions_are_different_and_have_their_window_behind_the_begin_symbol() -> None:
    possible = [(n, place) for n, length in enumerate(LENGTHS) for place in range(WINDOW + 1, length)]
    everything = sample_positions(LENGTHS, len(possible), WINDOW, 3)
    assert everything.tolist() == [list(pair) for pair in possible]
    some = {tuple(pair) for pair in sample_positions(LENGTHS, 10, WINDOW, 3).tolist()}
    assert len(some) == 10 and some <= set(possible)
    assert (
        sample_positions(LENGTHS, 10, WINDOW, 4).tolist() != sample_positions(LENGTHS, 10, WINDOW, 3).tolist()
    )
    with pytest.raises(UserError, match="only 0 stand behind 200 tokens"):
        sample_positions(LENGTHS, 1, 200, 0)


def test_windows_end_before_their_targets() -> None:
    contexts, targets = cut_windows(DOCUMENTS, POSITIONS, WINDOW)
    for (document, place), context, target in zip(
        POSITIONS.tolist(), contexts.tolist(), targets.tolist(), strict=True
    ):
        assert [*context, target] == DOCUMENTS[document][place - WINDOW : place + 1]
        assert TOKENIZER.bos_id not in context


@given(
    rows=st.integers(1, 5),
    width=st.integers(1, 12),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_shuffling_keeps_the_last_tokens_and_all_words(
    rows: int, width: int, share: float, seed: int
) -> None:
    k = round(share * width)
    contexts = torch.randint(0, 4, (rows, width), generator=torch.Generator().manual_seed(seed))
    before = contexts.clone()
    found = shuffled_beyond(contexts, k, seed)
    assert torch.equal(contexts, before)
    assert torch.equal(found[:, width - k :], contexts[:, width - k :])
    assert torch.equal(found.sort(dim=1).values, contexts.sort(dim=1).values)
    assert torch.equal(found, shuffled_beyond(contexts, k, seed))


def test_every_row_is_shuffled_in_its_own_order() -> None:
    found = shuffled_beyond(torch.arange(50).repeat(20, 1), 10, 0)
    assert len({tuple(row) for row in found.tolist()}) == 20


@pytest.mark.parametrize("cell", CELLS)
def test_a_history_from_the_begin_symbol_on_is_the_ordinary_score(cell: CellKind) -> None:
    model = model_of(cell)
    for document, losses in zip(DOCUMENTS, ordinary(model, DOCUMENTS), strict=True):
        for place in range(1, len(document)):
            context, target = torch.tensor([document[:place]]), torch.tensor([document[place]])
            found = [history_losses(model, context, target, place)]
            if place > 1:  # without the begin symbol, and with it put there again
                found.append(history_losses(model, context[:, 1:], target, place - 1, begin=TOKENIZER.bos_id))
            for loss in found:
                assert loss.tolist() == pytest.approx([losses[place - 1]], abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_a_whole_history_is_the_ordinary_score(cell: CellKind) -> None:
    model = model_of(cell)
    losses = ordinary(model, DOCUMENTS)
    expected = [losses[document][place - 1] for document, place in POSITIONS.tolist()]
    for batch_size in (1, 2, 32):
        found = whole_losses(model, DOCUMENTS, POSITIONS, batch_size=batch_size)
        assert found.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_a_history_of_one_token_is_a_text_of_two(cell: CellKind) -> None:
    model = model_of(cell)
    contexts, targets = cut_windows(DOCUMENTS, POSITIONS, WINDOW)
    pairs = [
        [context[-1], target] for context, target in zip(contexts.tolist(), targets.tolist(), strict=True)
    ]
    expected = [loss for (loss,) in ordinary(model, pairs)]
    assert history_losses(model, contexts, targets, 1).tolist() == pytest.approx(expected, abs=1e-5)


def test_cut_histories_are_those_of_the_equations(tmp_path: Path) -> None:
    model = random_model(TOKENIZER, "both", (12, 25))
    model.save_pretrained(tmp_path / "model")
    oracle = NumpyLanguageModel(tmp_path / "model")
    contexts, targets = cut_windows(DOCUMENTS, POSITIONS, WINDOW)
    for k in (1, 3, WINDOW):
        texts = torch.cat([contexts[:, -k:], targets[:, None]], dim=1).tolist()
        expected = [-oracle.token_log_probabilities("forward", ids)[-1] for ids in texts]
        assert history_losses(model, contexts, targets, k).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_a_loss_depends_on_its_row_and_its_last_tokens_alone(
    cell: CellKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(cell)
    contexts, targets = cut_windows(DOCUMENTS, POSITIONS, WINDOW)
    expected = history_losses(model, contexts, targets, 3)
    monkeypatch.setattr(history, "BATCH_TOKENS", 10)  # rows in batches of three
    changed = torch.cat([torch.full_like(contexts[:, :3], TOKENIZER.unknown_id), contexts[:, 3:]], dim=1)

    def close(found: Tensor) -> bool:
        return torch.allclose(found, expected, atol=1e-5)

    assert close(history_losses(model, changed, targets, 3))
    assert close(history_losses(model, contexts.flip(0), targets.flip(0), 3).flip(0))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_ngrams_see_one_token_less_than_their_order(order: int, tmp_path: Path) -> None:
    model = NgramModel.fit(
        TokenStore.build(TEXTS, TOKENIZER, tmp_path / "store", workers=1), TOKENIZER, order
    )
    contexts, targets = cut_windows(DOCUMENTS, POSITIONS, WINDOW)
    expected = [
        -np.log(model.next_probabilities(context[len(context) - order + 1 :])[target])
        for context, target in zip(contexts.tolist(), targets.tolist(), strict=True)
    ]
    assert ngram_losses(model, contexts, targets).tolist() == pytest.approx(expected, rel=1e-5)
    if order > 2:
        with pytest.raises(UserError, match=f"order {order} needs {order - 1} tokens of history"):
            ngram_losses(model, contexts[:, : order - 2], targets)


def test_a_clustered_error_counts_groups() -> None:
    values = np.random.default_rng(0).normal(size=200)
    alone = clustered_error(values, np.arange(200))
    assert alone == pytest.approx(values.std() / np.sqrt(200))
    # Five copies of each value know no more than the value, if they are known to be of one group.
    copies, groups = np.repeat(values, 5), np.repeat(np.arange(200), 5)
    assert clustered_error(copies, groups) == pytest.approx(alone)
    assert clustered_error(copies, np.arange(1000)) == pytest.approx(alone / np.sqrt(5))
