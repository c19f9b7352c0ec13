"""What must not matter to ELMo: padding, order, the rest of the batch, pieces; and what carrying the state means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.elmos import WORDS, small_elmo
from unfreeze.encoders import elmo as elmo_module
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer

ENCODER = small_elmo()
sentences = st.lists(
    st.lists(st.sampled_from([*WORDS, "unseen", "größer", "x" * 70]), max_size=7), min_size=1, max_size=5
)


def layers_of(encoder: Elmo, words: list[str]) -> list[torch.Tensor]:
    found, _ = encoder.layers(encoder.prepare_words([words]))
    return [layer[0] for layer in found]


@settings(max_examples=40)
@given(batch=sentences)
@torch.no_grad()
def test_a_sentence_has_the_same_vectors_in_any_batch(batch: list[list[str]]) -> None:
    found, mask = ENCODER.layers(ENCODER.prepare_words(batch))
    assert [layer.shape[2] for layer in found] == ENCODER.widths == [16, 16, 16]
    assert mask.sum(1).tolist() == [len(words) for words in batch]
    for row, words in enumerate(batch):
        for layer, alone in zip(found, layers_of(ENCODER, words), strict=True):
            torch.testing.assert_close(layer[row, : len(words)], alone, rtol=1e-5, atol=1e-5)
            assert not layer[row, len(words) :].any()


@torch.no_grad()
def test_directions_see_their_side_only() -> None:
    before, after = layers_of(ENCODER, WORDS[:6]), layers_of(ENCODER, [*WORDS[:5], "dog"])
    top = [layers[2] for layers in (before, after)]
    torch.testing.assert_close(top[0][:5, :8], top[1][:5, :8])
    assert not torch.allclose(top[0][:5, 8:], top[1][:5, 8:])
    torch.testing.assert_close(before[0][:, :8], before[0][:, 8:])  # layer 0 is the word's vector twice


@torch.no_grad()
def test_unknown_words_differ_by_their_spelling_and_known_ones_by_capitals() -> None:
    (a, *_), (b, *_) = layers_of(ENCODER, ["blarg"]), layers_of(ENCODER, ["blurg"])
    assert not torch.allclose(a, b)
    (a, *_), (b, *_) = layers_of(ENCODER, ["the"]), layers_of(ENCODER, ["The"])
    assert not torch.allclose(a, b)


@torch.no_grad()
def test_raw_text_is_its_sentences_framed() -> None:
    text = "The cat sat. The dog saw it."
    batch = ENCODER.prepare([text])
    assert batch.words[0] == [-1, 0, 1, 2, 3, -1, -1, 4, 5, 6, 7, 8, -1]
    assert [text[a:b] for a, b in batch.offsets[0]][1:5] == ["The", "cat", "sat", "."]
    one = ENCODER.prepare(["The cat sat."])
    split, _ = ENCODER.layers(ENCODER.prepare_words([["The", "cat", "sat", "."]]))
    for layer, expected in zip(ENCODER.layers(one)[0], split, strict=True):
        torch.testing.assert_close(layer, expected)


@torch.no_grad()
def test_long_texts_in_pieces_are_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ENCODER.prepare_words([WORDS * 3, WORDS[:4], WORDS])
    whole, _ = ENCODER.layers(batch)
    monkeypatch.setattr(elmo_module, "PIECE", 5)
    pieces, _ = ENCODER.layers(batch)
    for x, y in zip(whole, pieces, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_states_are_carried_row_by_row() -> None:
    first, second = [WORDS[:5], WORDS[5:7]], [WORDS[2:4], WORDS[1:6]]
    _, _, states = ENCODER.layers_after(ENCODER.prepare_words(first), None)
    both, _, after = ENCODER.layers_after(ENCODER.prepare_words(second), states)
    for row in range(2):
        _, _, own = ENCODER.layers_after(ENCODER.prepare_words([first[row]]), None)
        alone, _, end = ENCODER.layers_after(ENCODER.prepare_words([second[row]]), own)
        n = len(second[row])
        torch.testing.assert_close(both[2][row, :n], alone[2][0, :n], rtol=1e-5, atol=1e-5)
        for name in ENCODER.directions:
            torch.testing.assert_close(after[name][1][0][row], end[name][1][0][0], rtol=1e-5, atol=1e-5)
    stateless, _ = ENCODER.layers(ENCODER.prepare_words(second))
    assert not torch.allclose(both[2], stateless[2])
    # One row more begins anew; one row fewer keeps the state of the one that is missing.
    more, _, _ = ENCODER.layers_after(ENCODER.prepare_words([*second, WORDS[:3]]), states)
    torch.testing.assert_close(more[2][2, :3], layers_of(ENCODER, WORDS[:3])[2], rtol=1e-5, atol=1e-5)
    _, _, fewer = ENCODER.layers_after(ENCODER.prepare_words(second[:1]), states)
    torch.testing.assert_close(fewer["forward"][0][0][1], states["forward"][0][0][1])


def test_gradients_reach_every_part() -> None:
    encoder = small_elmo(3).train()
    found, _ = encoder.layers(encoder.prepare_words([WORDS[:5], WORDS[3:5]]))
    found[2].square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


@torch.no_grad()
def test_the_cache_changes_nothing_and_refuses_to_be_trained() -> None:
    encoder = small_elmo(4)
    batch = [WORDS[:6], ["unseen", "The"]]
    before, _ = encoder.layers(encoder.prepare_words(batch))
    encoder.cache_tokens([*WORDS[:3], "unseen"])
    after, _ = encoder.layers(encoder.prepare_words(batch))
    for x, y in zip(before, after, strict=True):
        torch.testing.assert_close(x, y)
    encoder.train()
    with pytest.raises(UserError, match="cached vectors cannot learn"):
        encoder.layers(encoder.prepare_words(batch))
    for parameter in encoder.words.parameters():
        parameter.requires_grad_(False)
    encoder.layers(encoder.prepare_words(batch))  # the character CNN stands still
    encoder.cache_tokens(())
    assert not len(encoder.cache)


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    encoder = small_elmo(5, skip_connections=False, cell_clip=None)
    encoder.save_pretrained(tmp_path / "elmo")
    loaded = Encoder.from_pretrained(tmp_path / "elmo")
    assert isinstance(loaded, Elmo)
    assert loaded.arguments() == encoder.arguments()
    batch = [WORDS[:6], ["unseen"]]
    for x, y in zip(
        encoder.layers(encoder.prepare_words(batch))[0],
        loaded.layers(loaded.prepare_words(batch))[0],
        strict=True,
    ):
        torch.testing.assert_close(x, y)


@torch.no_grad()
def test_words_may_be_read_by_their_ids() -> None:
    encoder = small_elmo(6, spelling=None)
    found, mask = encoder.layers(encoder.prepare_words([["the", "cat"], ["blarg"]]))
    assert mask.tolist() == [[True, True], [True, False]]
    other, _ = encoder.layers(encoder.prepare_words([["blurg"]]))
    torch.testing.assert_close(found[0][1, :1], other[0][0])  # both are unknown


def test_bad_arguments_are_named() -> None:
    with pytest.raises(UserError, match="frames sentences"):
        Elmo(WordTokenizer(list(SPECIAL_TOKENS)), size=4, cells=4)
    with pytest.raises(UserError, match="at least 1"):
        small_elmo(n_layers=0)
    with pytest.raises(UserError, match="width 60"):
        small_elmo(spelling={"embedding": 4, "filters": [[60, 2]]})
    with pytest.raises(UserError, match="no texts"):
        ENCODER.prepare_words([])
