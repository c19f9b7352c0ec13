"""Word vectors by name: files, and the first layer of saved models."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.tables import random_table, table_of
from tests.vectors.test_fasttext import MODEL, VECTORS
from unfreeze import registry
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.lstm import LstmEncoder
from unfreeze.encoders.vector_source import is_vector_file, open_vectors
from unfreeze.errors import UserError
from unfreeze.text.tokenizers import train_tokenizer
from unfreeze.vectors.table import VectorTable
from unfreeze.vectors.writing import write_word_vectors

TEXTS = ["the river bank was green", "the bank was closed"]


class WordVectorsDouble(LstmEncoder):
    """Stands for an encoder that is a table of vectors."""

    kind = "word_vectors"

    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        return table_of(king=(1, 2), queen=(3, 4))


@pytest.mark.parametrize("name", ["v.txt", "v.bin", "v.npz", "v.txt.gz"])
def test_files(name: str, tmp_path: Path) -> None:
    table = random_table(5, 3, seed=0)
    write_word_vectors(tmp_path / name, table)
    found = open_vectors(str(tmp_path / name))
    assert found.words == table.words
    assert np.array_equal(found.matrix, table.matrix)


@pytest.mark.parametrize("make", [AwdLstm, LstmEncoder])
@pytest.mark.parametrize("kind", ["word", "subword"])
def test_the_first_layer_of_an_encoder_without_special_tokens(make: Any, kind: Any, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, kind=kind, min_count=1, vocabulary_size=30, workers=1)
    encoder = make(tokenizer, embedding_size=6, hidden_size=8)
    encoder.save_pretrained(tmp_path / "encoder")
    table = open_vectors(str(tmp_path / "encoder"))
    weight = encoder.stack(encoder.directions[0]).embedding.weight.detach().numpy()
    assert table.words == [token for token in tokenizer.vocabulary if not token.startswith("xx")]
    for word, vector in zip(table.words, table.matrix, strict=True):
        assert np.array_equal(vector, weight[tokenizer.id(word)])


def test_a_released_model() -> None:
    assert {"king", "river"} <= set(open_vectors("wiki-small").words)


def test_an_encoder_that_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ENCODERS, "word_vectors", f"{__name__}:WordVectorsDouble")
    tokenizer = train_tokenizer(TEXTS, min_count=1, workers=1)
    WordVectorsDouble(tokenizer, embedding_size=2, hidden_size=2).save_pretrained(tmp_path / "vectors")
    assert open_vectors(str(tmp_path / "vectors")).words == ["king", "queen"]


def test_what_holds_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("folder.txt").mkdir()
    for name, said in (
        ("missing.txt", "missing.txt: no such file of word vectors"),
        ("some/missing.npz", "no such file of word vectors"),
        ("missing", "there is no folder 'missing'"),
        ("folder.txt", "holds no config.json"),
        ("empty.txt", "no word vectors here"),
    ):
        with pytest.raises(UserError, match=said):
            open_vectors(name)
    assert is_vector_file("empty.txt") and is_vector_file("missing.txt")
    assert not is_vector_file("folder.txt") and not is_vector_file("owner/name")


def test_a_fasttext_model_makes_no_other_vector_of_a_word_that_it_writes_otherwise(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MODEL)
    table = open_vectors(tmp_path / "model.bin", extra_words=["ka\u0308se"])
    assert table.n_made == 0 and table.row("ka\u0308se") == table.index["käse"]


def test_a_fasttext_model_makes_unknown_words(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MODEL)
    table = open_vectors(tmp_path / "model.bin", extra_words=["käsebrot", "brot", "käsebrot"])
    assert table.words.count("brot") == 1 and table.words[-1] == "käsebrot"
    np.testing.assert_allclose(table.matrix[-1], VECTORS["käsebrot"], rtol=1e-5, atol=1e-6)
