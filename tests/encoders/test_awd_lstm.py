"""Encoders of LSTM and QRNN stacks: every layer against torch.nn.LSTM, or the QRNN's equations in NumPy, on each text alone;
and what must not matter."""

from __future__ import annotations

import itertools
from functools import lru_cache
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.encoders.qrnn_oracle import QrnnOracle
from tests.language_models.models import CELL_ARGUMENTS, NO_DROPOUT, TEXTS, word_tokenizer
from unfreeze.encoders.awd_lstm import AwdLstm, StackedEncoder
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.qrnn import QrnnLayer
from unfreeze.encoders.layers.recurrent import Cell
from unfreeze.encoders.lstm import LstmEncoder
from unfreeze.errors import UserError
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer

DIRECTIONS: list[Direction] = ["forward", "backward", "both"]
WORDS = sorted({word for text in TEXTS for word in text.split()})
texts_strategy = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=5)


@lru_cache(maxsize=1)
def subword_tokenizer() -> TextTokenizer:
    return train_tokenizer(TEXTS * 3, kind="subword", vocabulary_size=60, workers=1)


@lru_cache(maxsize=8)
def make_encoder(
    kind: str, direction: Direction = "both", shared: bool = True, subword: bool = False
) -> StackedEncoder:
    """With weights so large that a wrong gate, order or neighbor shows; dropouts are on, evaluation turns them off."""
    torch.manual_seed(0)
    tokenizer = subword_tokenizer() if subword else word_tokenizer()
    sizes = {"embedding_size": 5, "hidden_size": 6, "n_layers": 2}
    encoder: StackedEncoder
    if kind == "lstm":
        encoder = LstmEncoder(tokenizer, **sizes)
    else:
        cells = CELL_ARGUMENTS["qrnn" if kind == "awd_qrnn" else "lstm"]
        encoder = AwdLstm(tokenizer, **sizes, direction=direction, share_embedding=shared, **cells)  # type: ignore[arg-type]
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, 0.0, 0.6)
    return encoder.eval()


def reference_layers(encoder: StackedEncoder, name: str, ids: list[int]) -> list[Tensor]:
    """(T, D_l) of every layer of one direction for one text, in the order of the text, begin symbol stripped."""
    stack = encoder.stack(name)
    order = ids if name == "forward" else [ids[0], *reversed(ids[1:])]
    x = stack.embedding.weight[order]
    layers = [x]
    for cell in stack.cells:
        x = reference_layer(cell, x)
        layers.append(x)
    return [layer[1:] if name == "forward" else layer[1:].flip(0) for layer in layers]


def reference_layer(cell: Cell, x: Tensor) -> Tensor:
    """(T, I) -> (T, H) from nothing read."""
    if not isinstance(cell, QrnnLayer):
        reference = nn.LSTM(x.shape[1], cell.hidden_size)
        reference.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
        states: Tensor = reference(x)[0]
        return states
    weight, bias = (tensor.double().numpy() for tensor in (cell.weight, cell.bias))
    factors = np.full((len(x), 1, cell.hidden_size), 1.0 - cell.zoneout)
    earlier, c = np.zeros((cell.window - 1, 1, x.shape[1])), np.zeros((1, cell.hidden_size))
    found, _ = QrnnOracle(weight, bias, cell.window, factors).forward(x.double().numpy()[:, None], earlier, c)
    return torch.from_numpy(found[:, 0]).float()


ENCODERS = [
    (kind, direction, shared)
    for kind, direction, shared in itertools.product(["awd_lstm", "awd_qrnn"], DIRECTIONS, [True, False])
]
ENCODERS.append(("lstm", "both", True))


@pytest.mark.parametrize(("kind", "direction", "shared"), ENCODERS)
@torch.no_grad()
def test_layers_are_those_of_the_reference_on_each_text_alone(
    kind: str, direction: Direction, shared: bool
) -> None:
    encoder = make_encoder(kind, direction, shared)
    texts = ["The mouse sat.", "", *TEXTS]
    layers, mask = encoder.layers(encoder.prepare(texts))
    assert [layer.shape[2] for layer in layers] == encoder.widths and len(layers) == 3
    for row, text in enumerate(texts):
        ids = encoder.tokenizer.encode(text).ids
        assert mask[row].tolist() == [True] * (len(ids) - 1) + [False] * (mask.shape[1] - len(ids) + 1)
        expected = zip(*(reference_layers(encoder, name, ids) for name in encoder.directions), strict=True)
        for layer, parts in zip(layers, expected, strict=True):
            torch.testing.assert_close(
                layer[row, : len(ids) - 1], torch.cat(parts, dim=1), atol=1e-5, rtol=1e-5
            )


@settings(max_examples=30)
@given(texts=texts_strategy, seed=st.integers(0, 99), kind=st.sampled_from(["awd_lstm", "awd_qrnn", "lstm"]))
@torch.no_grad()
def test_vectors_do_not_depend_on_the_batch_its_order_or_padding(
    texts: list[str], seed: int, kind: str
) -> None:
    encoder = make_encoder(kind)
    order = Random(seed).sample(range(len(texts)), len(texts))
    together = encoder.prepare([texts[n] for n in order] + ["a " * 12])
    found = [encoder.layers(together), encoder.word_layers(together)]
    for row, number in enumerate(order):
        batch = encoder.prepare([texts[number]])
        for (layers, mask), (own_layers, own_mask) in zip(
            found, [encoder.layers(batch), encoder.word_layers(batch)], strict=True
        ):
            n = own_mask.shape[1]
            assert bool(own_mask.all()) and mask[row].sum() == n and bool(mask[row, :n].all())
            for layer, own in zip(layers, own_layers, strict=True):
                torch.testing.assert_close(layer[row, :n], own[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
@torch.no_grad()
def test_a_word_is_its_last_piece_forward_and_its_first_backward(direction: Direction) -> None:
    encoder = make_encoder("awd_lstm", direction, subword=True)
    sentences = [["exciting", "riverbank", "I"], ["mouse"]]
    batch = encoder.prepare_words(sentences)
    layers, _ = encoder.layers(batch)
    word_layers, mask = encoder.word_layers(batch)
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert any(row.count(0) > 1 for row in batch.words), "a word of several pieces is needed"
    for row, words in enumerate(sentences):
        for word in range(len(words)):
            places = [place - 1 for place, of in enumerate(batch.words[row]) if of == word]
            for layer, found in zip(layers, word_layers, strict=True):
                half = layer.shape[2] // 2
                expected = {
                    "forward": layer[row, places[-1]],
                    "backward": layer[row, places[0]],
                    "both": torch.cat([layer[row, places[-1], :half], layer[row, places[0], half:]]),
                }[direction]
                assert torch.equal(found[row, word], expected)


@torch.no_grad()
def test_marks_belong_to_no_word_and_folded_words_share_a_vector() -> None:
    encoder = make_encoder("awd_lstm")
    batch = encoder.prepare(["The small small small BANK"])
    tokens = [encoder.tokenizer.token(number) for number in batch.ids[0].tolist()]
    assert tokens[1] == "xxmaj" and "xxwrep" in tokens and "xxup" in tokens
    layers, _ = encoder.layers(batch)
    vectors, mask = encoder.word_layers(batch)
    assert mask.sum() == 5
    assert torch.equal(vectors[2][0, 1], vectors[2][0, 3])
    assert torch.equal(vectors[2][0, 4], layers[2][0, tokens.index("bank") - 1])


def test_sentences_and_texts_are_prepared_alike() -> None:
    encoder = make_encoder("awd_lstm")
    words, text = encoder.prepare_words([["The", "bank"], ["I"]]), encoder.prepare(["The bank", "I"])
    assert torch.equal(words.ids, text.ids) and words.words == text.words and words.offsets == text.offsets
    assert words.lengths.tolist() == [4, 3] and words.ids[1, 3] == encoder.tokenizer.pad_id
    with pytest.raises(UserError, match="no texts"):
        encoder.prepare([])


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_embedding_is_one_parameter_saved_once(shared: bool) -> None:
    encoder = make_encoder("awd_lstm", "both", shared)
    embeddings = [encoder.stack(name).embedding.weight for name in encoder.directions]
    assert (embeddings[0] is embeddings[1]) == shared
    saved = [name for name in encoder.weights() if "embedding" in name]
    assert len(saved) == (1 if shared else 2)
    fresh = AwdLstm(
        encoder.tokenizer,
        embedding_size=5,
        hidden_size=6,
        n_layers=2,
        direction="both",
        share_embedding=shared,
    )
    fresh.load_weights(encoder.weights(), "here")
    for name, expected in zip(fresh.directions, embeddings, strict=True):
        assert torch.equal(fresh.stack(name).embedding.weight, expected)


@pytest.mark.parametrize(("kind", "direction", "shared"), ENCODERS)
def test_layer_groups_hold_every_parameter_once_bottom_to_top(
    kind: str, direction: Direction, shared: bool
) -> None:
    encoder = make_encoder(kind, direction, shared)
    groups = encoder.layer_groups()
    assert len(groups) == 3
    held = [id(parameter) for group in groups for parameter in group]
    assert sorted(held) == sorted(id(parameter) for parameter in encoder.parameters())
    first = encoder.stack(encoder.directions[0])
    assert any(p is first.embedding.weight for p in groups[0])
    top = first.cells[1]
    assert any(p is (top.weight if isinstance(top, QrnnLayer) else top.weight_hh) for p in groups[2])


@pytest.mark.parametrize("cell", ["lstm", "qrnn"])
def test_dropouts_and_embedding_rows_reach_every_stack(cell: CellKind) -> None:
    sizes = {"embedding_size": 4, "hidden_size": 4, "n_layers": 1}
    encoder = AwdLstm(word_tokenizer(), **sizes, direction="both", share_embedding=False, cell=cell)  # type: ignore[arg-type]
    batch = encoder.train().prepare(TEXTS)
    assert not torch.equal(encoder.layers(batch)[0][1], encoder.layers(batch)[0][1])
    encoder.set_dropouts(NO_DROPOUT)
    assert torch.equal(encoder.layers(batch)[0][1], encoder.layers(batch)[0][1])
    encoder.start_embedding(torch.full((2, 4), 7.0), [3, 9])
    for name in encoder.directions:
        weight = encoder.stack(name).embedding.weight
        assert [row for row in range(len(weight)) if bool((weight[row] == 7).all())] == [3, 9]
