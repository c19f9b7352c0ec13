"""The encoder of one vector a word: its layer, words that the vocabulary lacks, growing, saving."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.language_models.models import TEXTS, random_model, word_tokenizer
from tests.vectors.test_fasttext import MODEL, VECTORS
from unfreeze.encoders import keyed_vectors
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.text.character_ngrams import ngram_buckets
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.vectors.table import VectorTable
from unfreeze.vectors.writing import write_word_vectors

WORDS = sorted({word for text in TEXTS for word in text.split()})


def make_encoder(ngrams: tuple[int, int] | None = None) -> WordVectors:
    torch.manual_seed(0)
    encoder = WordVectors(word_tokenizer(), size=6, ngrams=ngrams, buckets=50)
    torch.nn.init.normal_(encoder.embedding)
    torch.nn.init.normal_(encoder.buckets)
    return encoder.eval()


def test_the_layer_is_the_vectors_of_the_words() -> None:
    encoder = make_encoder()
    layers, mask = encoder.layers(encoder.prepare(["the mouse sat", "river"]))
    assert encoder.widths == [6] and len(layers) == 1 and mask.tolist() == [[True] * 3, [True, False, False]]
    for place, word in enumerate(["the", "mouse", "sat"]):
        assert torch.equal(layers[0][0, place], encoder.embedding[encoder.tokenizer.id(word)])
    words, _ = encoder.word_layers(encoder.prepare_words([["The", "MOUSE"]]))
    expected = [encoder.vector("the"), encoder.vector("mouse")]
    assert torch.equal(words[0][0], torch.stack([v for v in expected if v is not None]))


@given(
    st.lists(
        st.lists(st.sampled_from([*WORDS, "unseen", "words"]), max_size=6).map(" ".join),
        min_size=2,
        max_size=4,
    )
)
def test_a_text_has_the_same_vectors_in_any_batch(texts: list[str]) -> None:
    for ngrams in (None, (3, 4)):
        encoder = make_encoder(ngrams)
        together, mask = encoder.layers(encoder.prepare(texts))
        for row, text in enumerate(texts):
            alone, _ = encoder.layers(encoder.prepare([text]))
            assert torch.equal(together[0][row][mask[row]], alone[0][0])


def test_an_unseen_word_is_the_mean_of_its_ngrams() -> None:
    encoder = make_encoder((3, 5))
    expected = encoder.buckets[ngram_buckets("mousetrap", 3, 5, 50)].mean(0)
    layers, _ = encoder.layers(encoder.prepare(["the Mousetrap"]))
    found, _ = encoder.word_layers(encoder.prepare_words([["the", "mousetrap"]]))
    assert torch.equal(found[0][0, 1], expected) and torch.equal(layers[0][0, -1], expected)
    vector = encoder.vector("mousetrap")
    assert vector is not None and torch.equal(vector, expected)
    assert make_encoder().vector("mousetrap") is None
    assert encoder.prepare(["mousetrap"]).to(torch.device("cpu")).ids.max() == len(encoder.tokenizer)


def test_a_foreign_table_becomes_an_encoder_of_lower_case_words() -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(6, 2)
    table = VectorTable(["Bank", "the", "bank", "New_York", "THE", "xxmaj"], matrix)
    encoder = WordVectors.from_table(table)
    found = encoder.table()
    assert found.words == ["the", "bank", "new_york"]
    np.testing.assert_array_equal(found.matrix, matrix[[1, 2, 3]])
    assert not encoder.embedding[sorted(encoder.tokenizer.special_ids)].any()
    with pytest.raises(UserError, match="no word"):
        WordVectors.from_table(VectorTable(["xxmaj"], matrix[:1]))


SPELLINGS = ["O’Neill", "o'neill", "n’t", "N'T", "Café", "cafe\u0301", "ZOE\u0308", "zoë"]


@torch.no_grad()
def test_a_word_is_found_however_accents_and_apostrophes_are_written() -> None:
    words = ["n’t", "O'Neill", "cafe\u0301", "Zoë"]
    matrix = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    encoder = WordVectors.from_table(VectorTable(words, matrix))
    expected = torch.from_numpy(matrix[[1, 1, 0, 0, 2, 2, 3, 3]])
    assert torch.equal(encoder.look_up([SPELLINGS])[0], expected)
    assert torch.equal(encoder.word_layers(encoder.prepare_words([SPELLINGS]))[0][0][0], expected)
    assert torch.equal(torch.stack([v for v in map(encoder.vector, SPELLINGS) if v is not None]), expected)
    for spelling, vector in zip(SPELLINGS, expected, strict=True):
        layers, _ = encoder.word_layers(
            encoder.prepare([f"do{spelling}" if spelling[0] in "nN" else spelling])
        )
        assert torch.equal(layers[0][0, -1], vector)
    assert encoder.first_words(0, extra_words=["N’T"]).table().words == ["n't"]
    assert encoder.with_words(["CAFE\u0301"]).table().words == encoder.table().words


@torch.no_grad()
def test_words_saved_as_they_were_written_are_found(tmp_path: Path) -> None:
    """Earlier versions lower-cased words, and neither composed accents nor straightened apostrophes."""
    words = ["n\u2019t", "cafe\u0301", "o\u2019neill", "o'neill"]
    encoder = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=2)
    encoder.embedding[len(SPECIAL_TOKENS) :] = torch.arange(1.0, 9.0).reshape(4, 2)
    encoder.save_pretrained(tmp_path / "earlier")
    loaded = read_encoder(tmp_path / "earlier")
    spellings = ["N\u2019t", "Cafe\u0301", "O\u2019Neill", "O'Neill", "caf"]
    expected = [[1.0, 2.0], [3.0, 4.0], [7.0, 8.0], [7.0, 8.0], [0.0, 0.0]]
    assert loaded.look_up([spellings])[0].tolist() == expected
    for spelling, vector in zip(spellings[:4], expected, strict=False):
        found = loaded.vector(spelling)
        assert found is not None and found.tolist() == vector and loaded.has_vector(spelling)
    assert not loaded.has_vector("caf") and not loaded.has_vector("xxmaj")
    assert loaded.first_words(0, extra_words=["N\u2019T", "caf\u00e9"]).table().words == words[:2]


def test_of_words_with_one_normal_form_that_which_is_written_so_counts_else_the_first() -> None:
    words = ["n’t", "n't", "N’T", "O’Neill", "O'NEILL", "XXMAJ", "xxeos"]
    found = WordVectors.from_table(VectorTable(words, np.arange(7, dtype=np.float32)[:, None])).table()
    assert found.words == ["n't", "o'neill"] and found.matrix[:, 0].tolist() == [1, 3]


def test_ngrams_are_those_of_the_normal_form() -> None:
    encoder = make_encoder((3, 4))
    made = [encoder.unseen(word) for word in ("Cafe\u0301s", "cafés")]
    assert made[0] is not None and made[1] is not None and torch.equal(made[0], made[1])
    layers, _ = encoder.word_layers(encoder.prepare(["CAFE\u0301S"]))
    assert torch.equal(layers[0][0, 0], made[1])
    assert torch.equal(encoder.look_up([["cafe\u0301s"]])[0, 0], made[1])


def test_a_fasttext_model_keeps_its_ngrams(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MODEL)
    encoder = read_encoder(tmp_path / "model.bin")
    for word in ("brot", "wein", "käsebrot", "brote"):  # the last two were never seen
        vector = encoder.vector(word)
        assert vector is not None
        np.testing.assert_allclose(vector.numpy(), VECTORS[word], rtol=1e-5, atol=1e-6)


def test_new_words_start_from_their_ngrams_or_at_random() -> None:
    for ngrams in (None, (3, 4)):
        encoder = make_encoder(ngrams)
        grown = encoder.with_words(["mouse", "mice", "zebra", "mice"], seed=1)
        assert len(grown.tokenizer) == len(encoder.tokenizer) + 2
        assert torch.equal(grown.embedding[: len(encoder.tokenizer)], encoder.embedding)
        mice, unseen = grown.vector("mice"), encoder.unseen("mice")
        assert mice is not None and mice.any()
        assert (unseen is None) == (ngrams is None) and (unseen is None or torch.equal(mice, unseen))
        again = encoder.with_words(["mice", "zebra"], seed=1)
        assert torch.equal(again.embedding, grown.embedding)


def test_the_first_words_and_those_that_are_wanted_besides() -> None:
    encoder = make_encoder()
    rows = encoder.table()
    smaller = encoder.first_words(3, extra_words=["excited", "no-such-word"])
    assert smaller.table().words == [*rows.words[:3], "excited"]
    assert torch.equal(smaller.embedding[-1], encoder.embedding[encoder.tokenizer.id("excited")])
    assert smaller.tokenizer.counts is not None and len(smaller.tokenizer.counts) == len(smaller.tokenizer)


@pytest.mark.parametrize("ngrams", [None, (2, 4)])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, ngrams: tuple[int, int] | None) -> None:
    encoder = make_encoder(ngrams)
    encoder.save_pretrained(tmp_path / "vectors")
    loaded = Encoder.from_pretrained(tmp_path / "vectors")
    assert isinstance(loaded, WordVectors) and loaded.ngrams == ngrams
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    np.testing.assert_array_equal(open_vectors(tmp_path / "vectors").matrix, encoder.table().matrix)


def test_vectors_are_opened_from_a_file_a_folder_or_a_language_model(tmp_path: Path) -> None:
    table = make_encoder().table()
    write_word_vectors(tmp_path / "v.txt", table)
    assert open_vectors(tmp_path / "v.txt").words == table.words
    model = random_model(word_tokenizer())
    model.save_pretrained(tmp_path / "lm")
    found = open_vectors(tmp_path / "lm")
    assert "xxbos" not in found.words and found.size == 7
    row = found.index["mouse"]
    expected = model.encoder.stack("forward").embedding.weight[model.tokenizer.id("mouse")]
    np.testing.assert_array_equal(found.matrix[row], expected.detach().numpy())
    with pytest.raises(UserError, match="no folder"):
        open_vectors(tmp_path / "nothing")


@torch.no_grad()
@pytest.mark.parametrize("ngrams", [None, (2, 3)])
def test_words_are_looked_up_each_by_itself(ngrams: tuple[int, int] | None) -> None:
    encoder = make_encoder(ngrams)
    found = encoder.look_up([["The", "zebra"], ["mouse"], []])
    unknown = encoder.embedding[encoder.tokenizer.unknown_id]
    made = encoder.unseen("zebra")
    expected = [encoder.vector("the"), unknown if made is None else made]
    for place, vector in enumerate(expected):
        assert vector is not None
        torch.testing.assert_close(found[0, place], vector)
    assert not found[1, 1].any() and not found[2].any() and found.shape == (3, 2, 6)


def test_it_is_asked_like_a_dictionary() -> None:
    words = ["king", "queen", "man", "woman", "river"]
    matrix = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1], [-1, 0.2, 0]], dtype=np.float32)
    vectors = WordVectors.from_table(VectorTable(words, matrix))
    assert len(vectors) == 5 and list(vectors) == vectors.index_to_key == words
    assert "King" in vectors and "kong" not in vectors and "xxunk" not in vectors and 3 not in vectors
    assert (
        np.array_equal(vectors["KING"], matrix[0])
        and vectors[["man", "river"]].tolist() == matrix[[2, 4]].tolist()
    )
    vectors["king"][:] = 7.0  # a copy
    assert np.array_equal(vectors["king"], matrix[0])
    for error in (KeyError, UserError):
        with pytest.raises(
            error, match=r"^'kong' is none of the 5 words that have a vector; did you mean 'king'\?$"
        ):
            vectors["kong"]
    assert vectors.similarity("king", "Queen") == pytest.approx(0.5)
    (nearest, *others) = vectors.most_similar(["king", "woman"], negative=["man"], topn=2)
    assert nearest[0] == "queen" and len(others) == 1
    # The oracle: cosines with the sum of unit vectors, in float64.
    unit = matrix / np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    query = unit[0] + unit[3] - unit[2]
    assert nearest[1] == pytest.approx(unit[1] @ query / np.linalg.norm(query))
    assert vectors.most_similar("river", topn=1)[0][0] == "man"


def test_the_calls_of_keyed_vectors_return_what_gensim_returns(caplog: pytest.LogCaptureFixture) -> None:
    """The expected values are those of gensim 4.4.0 for the same table."""
    words = ["king", "queen", "man", "woman", "river"]
    matrix = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1], [-1, 0.2, 0]], dtype=np.float32)
    vectors = WordVectors.from_table(VectorTable(words, matrix))
    assert vectors.vector_size == 3 and vectors.key_to_index["river"] == 4
    np.testing.assert_array_equal(vectors.get_vector("king"), [1, 1, 0])
    np.testing.assert_allclose(vectors.get_vector("king", norm=True), [0.70710677, 0.70710677, 0.0])
    assert vectors.similar_by_word("king", topn=2) == [
        ("man", pytest.approx(0.70710677)),
        ("queen", pytest.approx(0.5)),
    ]
    assert vectors.similar_by_word("river", topn=1) == [("man", pytest.approx(0.19611614))]
    assert vectors.similar_by_vector([1, 0.5, 0], topn=3) == [
        ("king", pytest.approx(0.94868326)),
        ("queen", pytest.approx(0.63245553)),
        ("man", pytest.approx(0.44721359)),
    ]
    assert vectors.similar_by_vector(vectors["king"], topn=1) == [("king", pytest.approx(1.0))]
    assert vectors.distance("king", "queen") == pytest.approx(0.5)
    assert vectors.distance("king", "king") == pytest.approx(0.0, abs=1e-7)
    assert vectors.doesnt_match(["king", "queen", "man", "river"]) == "river"
    assert vectors.doesnt_match(iter(["man", "king", "woman"])) == "woman"  # type: ignore[arg-type]
    assert not caplog.messages
    assert vectors.doesnt_match(["king", "queen", "river", "nope"]) == "river"
    assert caplog.messages == ["there is no vector for 'nope'"]
    wrong: list[tuple[Any, str]] = [
        (lambda: vectors.doesnt_match(["nope"]), "none of the words has a vector"),
        (lambda: vectors.doesnt_match("king"), "words come in a list"),
        (lambda: vectors.similar_by_vector([1, 2]), r"vector has the shape \(2,\): it must be \(3,\)"),
        (lambda: vectors.similar_by_word(["king"]), r"words\[0\] is of type list"),  # type: ignore[arg-type]
        (lambda: vectors.similar_by_word("king", topn=1.5), "topn is a number of words"),  # type: ignore[arg-type]
        (lambda: vectors.distance("king", "kong"), "did you mean 'king'"),
    ]
    for call, said in wrong:
        with pytest.raises(UserError, match=said):
            call()


def test_the_examples_of_keyed_vectors_run() -> None:
    found = doctest.testmod(keyed_vectors)
    assert found.attempted >= 6 and not found.failed


def test_a_word_composed_of_ngrams_is_asked_for_too() -> None:
    torch.manual_seed(0)
    vectors = WordVectors(word_tokenizer(), size=4, ngrams=(3, 3), buckets=50)
    torch.nn.init.normal_(vectors.embedding)
    torch.nn.init.normal_(vectors.buckets)
    unseen = vectors.unseen("mousetrap")
    assert unseen is not None and "mousetrap" in vectors
    assert np.array_equal(vectors["mousetrap"], unseen.numpy())
    assert "mousetrap" not in dict(vectors.most_similar("mousetrap", topn=len(vectors)))
