"""A classifier on an encoder's layers: any of them at any place, and long texts that do not depend on their batch."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from tests.language_models.models import random_model, word_tokenizer
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.tasks import word_inputs
from unfreeze.tasks.bodies import BiLstmOnLayers, Pooling
from unfreeze.tasks.classifier_network import layered_network, pooled_network
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.words import split_words
from unfreeze.vectors.table import VectorTable

TEXTS = ["The cat sat on the mat.", "", "A dog saw the bird and the cat , and it flew away", "cat"]


@pytest.mark.parametrize("layers", ["mix", 0, 1, -1])
@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
@torch.no_grad()
def test_layers_of_unequal_widths_anywhere(layers: object, mix_at: object) -> None:
    encoder = random_model(word_tokenizer(), "both", ()).encoder.eval()
    assert len(set(encoder.widths)) > 1
    network = layered_network(encoder, 2, hidden_size=4, layers=layers, mix_at=mix_at).eval()  # type: ignore[arg-type]
    together = network.read(TEXTS)["joint"]
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(network.read([text])["joint"][0], together[row], rtol=1e-4, atol=1e-5)


def test_a_word_is_known_by_the_vocabulary_or_by_its_characters() -> None:
    words = layered_network(random_model(word_tokenizer(), "both", ()).encoder, 2, hidden_size=4)
    assert words.body.have_known_words(["", "xyzzy", "xyzzy bank"]).tolist() == [False, False, True]
    elmo = layered_network(small_elmo(), 2, hidden_size=4)
    assert elmo.body.have_known_words(["", " ", "xyzzy", "cat"]).tolist() == [False, False, True, True]
    encoder = random_model(word_tokenizer(), "both", ()).encoder
    characters = layered_network(encoder, 2, hidden_size=4, characters=6)
    assert characters.body.have_known_words(["", " ", "xyzzy", "bank"]).tolist() == [False, False, True, True]


@pytest.mark.parametrize("as_encoder", [False, True])
def test_a_word_is_known_by_a_static_vector_or_its_ngrams(as_encoder: bool) -> None:
    texts = ["", "bank", "xyzzy", "Film xyzzy!", "xyzzy !", "!", "\u2019"]
    table = VectorTable(["film", "!"], np.ones((2, 3), dtype=np.float32))
    vectors = WordVectors.from_table(table)
    by_ngrams = WordVectors(vectors.tokenizer, size=3, ngrams=(3, 3), buckets=5)
    found = []
    for each in (vectors, by_ngrams):
        encoder = each if as_encoder else random_model(word_tokenizer()).encoder
        network = layered_network(encoder, 2, hidden_size=4, vectors=None if as_encoder else each)
        found.append(network.body.have_known_words(texts).tolist())
    # The language model knows "bank"; "<!>" is an n-gram of three characters.
    assert found[0] == [False, not as_encoder, False, True, False, True, False]
    assert found[1] == [False, True, True, True, True, True, True]


def test_a_text_of_words_with_static_vectors_alone_is_predicted() -> None:
    torch.manual_seed(0)
    encoder = random_model(word_tokenizer()).encoder
    table = VectorTable(["film"], np.ones((1, 3), dtype=np.float32))
    network = layered_network(encoder, 2, hidden_size=4, vectors=WordVectors.from_table(table)).eval()
    classifier = TextClassifier.of_network(network, ["neg", "pos"], {}, prior=[0.25, 0.75])
    film, nothing = classifier(["film", "xyzzy"])
    assert "unknown" not in film and film["score"] != 0.75
    assert nothing == {"label": "pos", "score": 0.75, "unknown": True}


def test_the_gradient_of_a_long_text_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_inputs, "MAX_WORDS", 6)
    network = layered_network(small_elmo(), 2, hidden_size=4).eval()
    network.layer_groups()
    assert isinstance(network.body, BiLstmOnLayers)
    found = []
    for texts in ([TEXTS[2]], [TEXTS[0], TEXTS[2], TEXTS[3]]):
        network.zero_grad()
        network.read(texts)["joint"][len(texts) // 2].square().sum().backward()
        found.append([p.grad.clone() for p in network.body.lstm.parameters() if p.grad is not None])
    assert found[0] and len(found[0]) == len(found[1])
    for x, y in zip(*found, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def static_words() -> WordVectors:
    torch.manual_seed(1)
    found = WordVectors(word_tokenizer(), size=6)
    torch.nn.init.normal_(found.embedding)
    with torch.no_grad():
        found.embedding[list(found.tokenizer.special_ids)] = 0.0
    return found.eval()


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.sampled_from([*TEXTS, "soooo GOOD!!!!", "don't stop -lrb- ", "\u00e9t\u00e9 \u4f60\u597d 3.5%"]),
        min_size=1,
        max_size=5,
    )
)
@torch.no_grad()
def test_word_vectors_stand_beside_the_words_that_they_are_of(texts: list[str]) -> None:
    vectors = static_words()
    network = layered_network(small_elmo(), 2, hidden_size=4, vectors=vectors).eval()
    assert isinstance(network.body, BiLstmOnLayers)
    words = network.body.words(texts)
    lengths, static = words.lengths, words.inputs[:, :, -6:]
    for row, text in enumerate(texts):
        split = [word.text for word in split_words(text)]
        assert int(lengths[row]) == max(1, len(split))
        for place, word in enumerate(split):
            vector = vectors.vector(word)
            expected = torch.zeros(6) if vector is None else vector
            torch.testing.assert_close(static[row, place], expected)
    torch.testing.assert_close(
        network.read(texts)["joint"][:1], network.read(texts[:1])["joint"], rtol=1e-4, atol=1e-5
    )


def test_word_vectors_are_saved_with_the_classifier(tmp_path: Path) -> None:
    texts = ["the cat sat", "a dog saw the bird"] * 4
    file = tmp_path / "vectors.txt"
    file.write_text("3 2\ncat .5 1\ndog -1 .25\nthe .1 .1\n", encoding="utf-8")
    small_elmo().save_pretrained(tmp_path / "elmo")
    options = {"encoder": str(tmp_path / "elmo"), "word_vectors": str(file), "epochs": 1, "hidden_size": 4}
    classifier = TextClassifier(**options).fit(texts, ["cat", "dog"] * 4)
    assert classifier.network.body.vectors is not None
    before = classifier.network.body.vectors.embedding.clone()
    classifier.save_pretrained(tmp_path / "c")
    again = TextClassifier.from_pretrained(tmp_path / "c")
    new = [
        "the cat saw a dog",
        "a bird",
    ]  # the layers of the texts that were learned from are kept in 16 bits
    np.testing.assert_allclose(again.predict_proba(new), classifier.predict_proba(new), atol=1e-6)
    assert again.network.body.vectors is not None
    torch.testing.assert_close(again.network.body.vectors.embedding, before)
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(json.dumps({**config, "settings": {}}))
    with pytest.raises(UserError, match="config.json wants"):
        TextClassifier.from_pretrained(tmp_path / "c")
    alone = TextClassifier(**{**options, "word_vectors": None}).fit(texts, ["cat", "dog"] * 4)
    assert not np.allclose(alone.predict_proba(new), again.predict_proba(new), atol=1e-6)


def test_a_text_of_breaks_alone_has_no_words() -> None:
    network = layered_network(small_elmo(), 2, hidden_size=4).eval()
    alone = network.read(["<br />"])["joint"]
    torch.testing.assert_close(network.read(["<br />", TEXTS[0]])["joint"][:1], alone, rtol=1e-4, atol=1e-5)


def test_a_damaged_cache_is_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    found = []
    for _ in range(2):
        inputs = WordInputs(small_elmo()).eval()
        inputs.cache_layers(TEXTS, "weights")
        found.append(inputs(TEXTS).inputs)
        inputs.cached.clear()
        (vectors,) = (tmp_path / "cache").rglob("vectors.bin")
        vectors.write_bytes(vectors.read_bytes()[:10])
    torch.testing.assert_close(found[0], found[1])


def test_options_about_layers_are_refused_where_there_are_none(tmp_path: Path) -> None:
    random_model(word_tokenizer(), "both", ()).save_pretrained(tmp_path / "lm")
    for option in ({"mix_at": "both"}, {"mix_l2": 0.1}, {"layer_norm": True}, {"layers": 1}):
        with pytest.raises(UserError, match="is for an encoder of several layers that a biLSTM reads"):
            TextClassifier(encoder=str(tmp_path / "lm"), **option).fit(
                ["the cat", "a dog"] * 4, ["a", "b"] * 4
            )


def test_tensors_have_the_names_of_earlier_models_and_checkpoints() -> None:
    encoder = random_model(word_tokenizer(), "both", ()).encoder
    pooled = pooled_network(encoder, 2, word_vectors=3)
    layered = layered_network(encoder, 2, hidden_size=4, vectors=static_words(), characters=6)
    wanted = {
        "pooled": (
            "encoder.stacks.forwards.embedding.weight",
            "word_vectors",
            "heads.backwards.norm_0.weight",
        ),
        "layered": (
            "words.encoder.stacks.forwards.embedding.weight",
            "words.vectors.stacks.forwards.embedding.weight",
            "words.mixes.input.weights",
            "body.layers.0.forwards.weight_ih",
            "heads.joints.linear_0.weight",
        ),
    }
    for network, names in zip((pooled, layered), wanted.values(), strict=True):
        tensors = network.state_dict()
        assert set(names) <= tensors.keys()
        assert {name.partition(".")[0] for name in tensors} == {name.partition(".")[0] for name in names}
        changed = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        network.load_state_dict(changed)  # strict: no name is missing, and none is unknown
        assert not any(bool(parameter.any()) for parameter in network.parameters())
        assert pickle.loads(pickle.dumps(network)).state_dict().keys() == tensors.keys()  # noqa: S301


@pytest.mark.parametrize("pooling", ["top", "top+vectors", "vectors"])
@torch.no_grad()
def test_the_pooled_layers_of_an_encoder_that_is_not_streaming(pooling: Pooling) -> None:
    encoder = small_elmo()
    network = pooled_network(encoder, 2, pooling=pooling).eval()
    together = network.read(TEXTS)["joint"]
    for text, row in zip(TEXTS, together, strict=True):
        layers, _ = encoder.layers(encoder.prepare([text]))
        bottom, top = (
            layer[0] if text else torch.zeros(1, layer.shape[2]) for layer in (layers[0], layers[-1])
        )
        pooled = torch.cat([top[-1], top.amax(0), top.mean(0)])
        parts = {"top": [pooled], "top+vectors": [pooled, bottom.mean(0)], "vectors": [bottom.mean(0)]}
        torch.testing.assert_close(row, torch.cat(parts[pooling]), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="word_vectors cannot join the pooled layers of the encoder elmo"):
        pooled_network(encoder, 2, word_vectors=3)
