"""One vector for each input, and models that go to the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch

from tests.encoders.elmos import small_bilm, small_elmo
from tests.language_models.models import random_model, word_tokenizer
from unfreeze import registry
from unfreeze.encoders import awd_lstm, base
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder, Pool
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.encoders.features import embed_text
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.language_models.model import LanguageModel

TEXTS = [
    "the bank was wet",
    "",
    "he sat on the bank of the river and the cat sat there too",
    "xyzzy",
    "the cat",
]


def vectors() -> WordVectors:
    torch.manual_seed(0)
    found = WordVectors(word_tokenizer(), size=5, ngrams=(3, 3), buckets=20)
    torch.nn.init.normal_(found.embedding)
    torch.nn.init.normal_(found.buckets)
    return found.eval()


ENCODERS = {
    "elmo": small_elmo,
    "awd_lstm": lambda: random_model(word_tokenizer(), "both", ()).encoder.eval(),
    "word_vectors": vectors,
}


@pytest.mark.parametrize("pool", ["mean", "max", "last"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_text_has_the_vector_that_embed_gives_it(kind: str, pool: Pool, tmp_path: Path) -> None:
    encoder: TextEncoder = ENCODERS[kind]()
    for layer in (0, -1):
        found = encoder.encode(TEXTS, layer=layer, pool=pool)
        assert found.shape == (5, encoder.widths[layer]) and found.dtype == np.float32
        settings = EmbedSettings(layers=layer, pool=pool)
        lines = embed_text(encoder, TEXTS, tmp_path / f"{layer}", settings).lines()
        for row, line in zip(found, lines, strict=True):
            np.testing.assert_allclose(row, line.vectors[0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "qrnn"])
@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_a_long_text_is_read_in_pieces(pool: Pool, cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = AwdLstm(word_tokenizer(), embedding_size=4, hidden_size=6, direction="both", cell=cell).eval()
    long = [" ".join(TEXTS * 5) + " so so so", "", " ".join(TEXTS * 3), "the cat " * 7]
    expected = [encoder.encode([text], layer=layer, pool=pool) for layer in (0, 1, -1) for text in long]
    lengths: list[int] = []
    for name in encoder.directions:
        encoder.stack(name).register_forward_pre_hook(lambda _, arguments: lengths.append(len(arguments[0])))
    monkeypatch.setattr(awd_lstm, "LONG_TEXT", 0)
    monkeypatch.setattr(awd_lstm, "PIECE", 7)
    found = [encoder.encode([text], layer=layer, pool=pool) for layer in (0, 1, -1) for text in long]
    assert max(lengths) == 7
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_vector_depends_neither_on_order_nor_on_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = ENCODERS[kind]()
    encoder.train()
    together = encoder.encode(TEXTS * 3)
    assert encoder.training and not together[1].any()
    with pytest.raises(ZeroDivisionError), monkeypatch.context() as patch:
        patch.setattr(encoder, "prepare", lambda texts: 1 // 0)
        encoder.encode(TEXTS)
    assert encoder.training
    sizes = []
    prepare = encoder.prepare
    monkeypatch.setattr(encoder, "prepare", lambda texts: sizes.append(len(texts)) or prepare(texts))
    monkeypatch.setattr(base, "BATCH_SIZE", 60)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1])[::-1], together[:5], rtol=1e-4, atol=1e-5)
    assert len(sizes) > 1 and sum(sizes) == 5


def test_what_cannot_be_encoded_is_said() -> None:
    encoder = vectors()
    assert encoder.encode([]).shape == (0, 5)
    for inputs, options, said in (
        ("one text", {}, "come in a list"),
        (["a", 3], {}, r"texts\[1\] is of type int"),
        (["a"], {"layer": 1}, "there is no layer 1: the encoder has 1"),
        (["a"], {"pool": "sum"}, "pool 'sum': it is mean, max or last"),
    ):
        with pytest.raises(UserError, match=said):
            encoder.encode(inputs, **options)  # type: ignore[arg-type]


def test_texts_in_any_container_keep_their_order() -> None:
    encoder = vectors()
    expected = encoder.encode(TEXTS)
    reverse = pd.Series(TEXTS, index=range(len(TEXTS) - 1, -1, -1))
    for given in (reverse, reverse.to_frame(), np.array(TEXTS, dtype=object), iter(TEXTS), tuple(TEXTS)):
        np.testing.assert_array_equal(encoder.encode(given), expected)  # type: ignore[arg-type]
    wrong: list[tuple[Any, str]] = [(None, "given is None"), ({"a"}, "of type set"), (b"a", "of type bytes")]
    for one, said in [*wrong, (pd.DataFrame({"a": TEXTS, "b": TEXTS}), "the texts have 2 columns")]:
        with pytest.raises(UserError, match=said):
            encoder.encode(one)
    for layer in ("top", 1.0, None):
        with pytest.raises(UserError, match="layer is the number of a layer"):
            encoder.encode(TEXTS, layer=layer)  # type: ignore[arg-type]


def test_a_model_is_uploaded_as_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, dict[str, Any]]] = []

    def upload_folder(*, repo_id: str, folder_path: Path, token: str | None) -> str:
        assert made and token == "secret"
        shutil.copytree(folder_path, tmp_path / repo_id)
        return f"https://hub/{repo_id}/commit"

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **options: made.append((name, options)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    encoder = vectors()
    assert encoder.push_to_hub("owner/name", private=True, token="secret") == "https://hub/owner/name/commit"
    assert made == [("owner/name", {"private": True, "token": "secret", "exist_ok": True})]
    again = WordVectors.from_pretrained(tmp_path / "owner" / "name")
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))

    def refused(name: str, **options: Any) -> None:
        raise OSError("no such owner\nand more")

    monkeypatch.setattr(huggingface_hub, "create_repo", refused)
    with pytest.raises(UserError, match="^cannot upload to 'owner/name' on the hub: no such owner$"):
        encoder.push_to_hub("owner/name")


def test_any_kind_is_loaded_as_its_class(tmp_path: Path) -> None:
    language_model = random_model(word_tokenizer())
    models = {"bilm": small_bilm(), "elmo": small_elmo(), "lm": language_model, "vectors": vectors()}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        assert type(registry.load(tmp_path / name)) is type(model)
    language_model.save_pretrained(tmp_path / "encoder", without_output=True)
    assert type(registry.load(tmp_path / "encoder")) is type(language_model.encoder)


def test_every_class_of_the_registry_is_there_and_of_its_kind() -> None:
    for table in (registry.ENCODERS, registry.LANGUAGE_MODELS, registry.TASKS):
        for kind in table:
            found = registry.model_class(
                {"kind": kind, "output": {} if table is registry.LANGUAGE_MODELS else None}, Path()
            )
            assert f"{found.__module__}:{found.__name__}" == table[kind]
            if table is registry.ENCODERS:
                assert found.kind == kind


def test_word_vectors_say_what_is_no_word() -> None:
    words = vectors()
    first, second = words.index_to_key[:2]
    np.testing.assert_array_equal(words.vectors[words.key_to_index[second]], words[second])
    assert words[[]].shape == (0, words.size)
    for wrong in (3, None, [3], [None]):
        with pytest.raises(UserError, match="words come in a list|not a text"):
            words[wrong]  # type: ignore[index]
        with pytest.raises(UserError, match="positive come in a list|not a text"):
            words.most_similar(wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"words\[1\] is None, not a text"):
        words.similarity(first, None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="topn is a number of words, not 1.5"):
        words.most_similar(first, topn=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Encoder, TextEncoder, LanguageModel])
def test_an_abstract_class_says_how_to_load_a_model(kind: Any) -> None:
    said = (
        f"^{kind.__name__} is abstract; {kind.__name__}.from_pretrained\\(name_or_dir\\) loads a saved model$"
    )
    with pytest.raises(TypeError, match=said):
        kind("wiki-small")
