"""Perplexity against an independent float64 computation over the saved weights; vocabulary transfer by word."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.language_models.models import CELLS, TEXTS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.language_models import awd_lstm, perplexity
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import train_tokenizer


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cutoffs", [(), (6, 12)])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_perplexity_equals_an_independent_computation(
    tmp_path: Path,
    cell: CellKind,
    direction: Direction,
    cutoffs: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = word_tokenizer()
    model = random_model(tokenizer, direction, cutoffs, cell=cell)
    model.save_pretrained(tmp_path / "model")
    reference = NumpyLanguageModel(tmp_path / "model")
    documents = [*TEXTS, "A wombat sat on the bank."]
    store = TokenStore.build(documents, tokenizer, tmp_path / "tokens", workers=1)
    values = [
        value
        for name in model.encoder.directions
        for ids in tokenizer.encode_ids(documents)
        for value in reference.token_log_probabilities(name, ids)
    ]
    loss = -sum(values) / len(values)
    n_tokens = len(values) // len(model.encoder.directions)
    n_bytes = sum(len(text.encode()) for text in documents)
    bits = (loss * n_tokens / math.log(2) + 8 * len("wombat")) / n_bytes
    for batch_size in (1, 3, 32):
        monkeypatch.setattr(perplexity, "BATCH_SIZE", batch_size)
        found = evaluate_perplexity(model, store)
        assert math.isclose(found.loss, loss, rel_tol=1e-5)
        assert math.isclose(found.perplexity, math.exp(loss), rel_tol=1e-4)
        assert math.isclose(found.bits_per_byte, bits, rel_tol=1e-5)
        assert found.n_tokens == n_tokens


@pytest.mark.parametrize("cell", CELLS)
def test_perplexity_does_not_depend_on_batches_pieces_or_the_order_of_documents(
    tmp_path: Path, cell: CellKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(word_tokenizer(), "both", (6, 12), cell=cell)
    documents = [*TEXTS, "A bank.", "I", " ".join(TEXTS), "The zebra sat."]
    store = TokenStore.build(documents, model.tokenizer, tmp_path / "a", workers=1)
    turned = TokenStore.build(documents[::-1], model.tokenizer, tmp_path / "b", workers=1)
    expected = evaluate_perplexity(model, store)
    assert expected.unknown_share == pytest.approx(5 / sum(len(text) for text in documents))
    settings = [(store, 3, 5, 1 << 21), (turned, 2, 7, 1 << 21), (turned, 32, 1, 40), (store, 1, 256, 1)]
    for documents_in_order, batch_size, chunk, most_ids in settings:
        monkeypatch.setattr(awd_lstm, "PIECE", chunk)
        monkeypatch.setattr(perplexity, "MAX_IDS", most_ids)
        monkeypatch.setattr(perplexity, "BATCH_SIZE", batch_size)
        found = evaluate_perplexity(model, documents_in_order)
        assert found.metrics() == pytest.approx(expected.metrics(), rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_vocabulary_transfer_keeps_known_words_and_gives_the_mean_to_new_ones(cell: CellKind) -> None:
    old = random_model(word_tokenizer(), cutoffs=(6, 12), cell=cell)
    tokenizer = train_tokenizer(["the mouse reads a brandnew book by the river"], min_count=1, workers=1)
    new = transfer_vocabulary(old, tokenizer)
    before, after = old.encoder.stack("forward"), new.encoder.stack("forward")
    for word in tokenizer.vocabulary:
        row, bias = after.embedding.weight[tokenizer.id(word)], new.output("forward").bias[tokenizer.id(word)]
        known = old.tokenizer.id(word)
        if known is None:
            torch.testing.assert_close(row, before.embedding.weight.mean(0))
            torch.testing.assert_close(bias, old.output("forward").bias.mean())
        else:
            assert torch.equal(row, before.embedding.weight[known])
            assert torch.equal(bias, old.output("forward").bias[known])
    assert old.tokenizer.id("brandnew") is None and tokenizer.id("brandnew") is not None
    assert new.encoder.arguments() == old.encoder.arguments()
    for new_cell, old_cell in zip(after.cells, before.cells, strict=True):
        for name, tensor in old_cell.state_dict().items():
            assert torch.equal(new_cell.state_dict()[name], tensor)


def test_a_shared_embedding_is_saved_once_and_shared_again(tmp_path: Path) -> None:
    model = random_model(word_tokenizer(), "both")
    model.save_pretrained(tmp_path)
    loaded = AwdLstmLanguageModel.from_pretrained(tmp_path)
    assert sum("embedding" in name for name in loaded.weights()) == 1
    assert loaded.encoder.stack("forward").embedding is loaded.encoder.stack("backward").embedding
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_layers_do_not_depend_on_padding(cell: CellKind, direction: Direction) -> None:
    encoder = random_model(word_tokenizer(), direction, cell=cell).encoder
    together, mask = encoder.layers(encoder.prepare(TEXTS))
    words, word_mask = encoder.word_layers(encoder.prepare(TEXTS))
    assert [layer.shape[2] for layer in together] == encoder.widths
    for row, text in enumerate(TEXTS):
        alone, _ = encoder.layers(encoder.prepare([text]))
        alone_words, _ = encoder.word_layers(encoder.prepare([text]))
        for layer in range(len(together)):
            torch.testing.assert_close(together[layer][row][mask[row]], alone[layer][0])
            torch.testing.assert_close(words[layer][row][word_mask[row]], alone_words[layer][0])


def test_released_encoder_loads_by_name_and_an_existing_path_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Encoder.from_pretrained("wiki-small").widths == [200, 400, 400, 200]
    random_model(word_tokenizer()).encoder.save_pretrained(tmp_path / "wiki-small")
    monkeypatch.chdir(tmp_path)
    assert Encoder.from_pretrained("wiki-small").widths == [7, 11, 7]
