"""Tagging: spans scored as seqeval does, sentences that do not depend on each other, fitting, saving, raw text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from tests.language_models.models import random_model, word_tokenizer
from tests.tasks.sentences import tagged_sentences
from unfreeze.encoders.base import Encoder
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.tasks import word_inputs
from unfreeze.tasks.metrics import span_metrics
from unfreeze.tasks.plans import TaggerPlan, plan
from unfreeze.tasks.sequence_tagger import SequenceTagger, fit_tagger
from unfreeze.tasks.settings import TaggerSettings
from unfreeze.tasks.tagging import TaggerNetwork, make_network
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.tag_schemes import spans_of
from unfreeze.text.tagged import tagged_set

SMALL: dict[str, Any] = {
    "encoder": "none",
    "hidden_size": 16,
    "characters": 8,
    "embedding_size": 8,
    "learning_rate": 0.02,
}


@pytest.fixture(scope="module")
def tagger() -> SequenceTagger:
    return fit_tagger(tagged_sentences(60), TaggerSettings(**SMALL, epochs=15), precision="fp32")[0]


def test_spans_are_scored_as_seqeval_does() -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme")
    gold = [list(each.tags) for each in tagged_sentences(40, seed=1).examples]
    said = [list(each.tags) for each in tagged_sentences(40, seed=2).examples]
    said = [[*tags, *["O"] * 9][: len(true)] for tags, true in zip(said, gold, strict=True)]
    found = span_metrics([spans_of(x, "bio") for x in gold], [spans_of(x, "bio") for x in said])
    report = metrics.classification_report(
        gold, said, mode="strict", scheme=scheme.IOB2, output_dict=True, zero_division=0
    )
    for figures in found:
        other = report["micro avg" if figures.name == "all" else figures.name]
        assert figures.precision == pytest.approx(other["precision"])
        assert figures.recall == pytest.approx(other["recall"])
        assert figures.f1 == pytest.approx(other["f1-score"])
        assert figures.true == other["support"]


def test_it_learns_what_can_be_learned_and_answers_in_the_scheme_of_its_data(tagger: SequenceTagger) -> None:
    report = tagger.evaluate(tagged_sentences(30, seed=5))
    assert report.f1 is not None and report.f1 > 0.95
    assert tagger.classes_ == ["LOC", "PER"] and report.spans[-1].name == "all"
    assert tagger.predict([["Ada", "likes", "New", "York", "."]]) == [["B-PER", "O", "B-LOC", "I-LOC", "O"]]
    assert tagger.predict([[], ["Paris"]])[0] == []


@torch.no_grad()
def test_its_own_words_are_known_however_accents_and_apostrophes_are_written() -> None:
    sentence = ["O’Neill", "does", "n’t", "like", "cafe\u0301s"]
    settings = TaggerSettings(**SMALL, epochs=1)
    network, _ = make_network(
        tagged_set([sentence], [["B-PER", "O", "O", "O", "O"]]), plan(TaggerPlan, settings)
    )
    words = network.words
    assert words.vectors is not None
    found = words.vectors.look_up([["O’Neill", "n’t", "cafe\u0301s"], ["o'neill", "N'T", "cafés"]])
    assert torch.equal(found[0], found[1]) and found[0].any(dim=1).all()
    assert found[0].unique(dim=0).shape == found[0].shape


def test_raw_text_has_places(tagger: SequenceTagger) -> None:
    text = "Ada Lovelace visits  New York.\n\nAlan leaves Paris."
    (found,) = tagger([text])
    assert [(each["entity_group"], each["word"]) for each in found] == [
        ("PER", "Ada Lovelace"),
        ("LOC", "New York"),
        ("PER", "Alan"),
        ("LOC", "Paris"),
    ]
    for each in found:
        assert text[each["start"] : each["end"]] == each["word"] and 0.0 < each["score"] <= 1.0 + 1e-6
    assert tagger(["", "  "]) == [[], []]


@settings(max_examples=15)
@given(numbers=st.permutations(list(range(6))))
def test_a_sentence_does_not_depend_on_the_others(tagger: SequenceTagger, numbers: list[int]) -> None:
    sentences = [" ".join(each.tokens) for each in tagged_sentences(6, seed=3).examples]
    alone = [tagger.network.decode([text])[0] for text in sentences]
    together = tagger.network.decode([sentences[number] for number in numbers])
    for number, (tags, shares) in zip(numbers, together, strict=True):
        assert tags == alone[number][0]
        assert shares == pytest.approx(alone[number][1], abs=1e-5)


def test_saved_and_loaded(tagger: SequenceTagger, tmp_path: Path) -> None:
    tagger.save_pretrained(tmp_path / "t")
    again = SequenceTagger.from_pretrained(tmp_path / "t")
    texts = ["Grace Hopper likes London.", "Zoe visits Oslo."]
    first, second = tagger(texts), again(texts)
    for a, b in zip(first, second, strict=True):
        assert [x | {"score": 0} for x in a] == [x | {"score": 0} for x in b]
        assert [x["score"] for x in a] == pytest.approx([x["score"] for x in b], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scheme": "x"}, "scheme is 'x', not 'iob1' or 'bio' or 'bioes' or 'plain'"),
        ({"network_scheme": ["bio"]}, "network_scheme is a list, not 'iob1' or"),
        ({"tags": "O"}, "tags is 'O', not a list of strings"),
        ({"tags": [1, 2]}, "tags is a list, not a list of strings"),
        ({"tags": []}, "tags is empty, or has a tag twice"),
        ({"tags": ["O", "O"]}, "tags is empty, or has a tag twice"),
        ({"settings": {"inputs": {}, "body": {"make": 1, "own": 2}}}, "upgrade"),
        (
            {"settings": {"inputs": {}, "body": {"n_layers": 2**31 - 1}}},
            "far more tensors than model.safetensors",
        ),
        ({"settings": {"inputs": {}, "body": {"n_layers": True}}}, "n_layers is true, not a whole number"),
        ({"encoder": {"kind": []}}, "encoder.kind is a list, not a string"),
    ],
)
def test_a_config_that_cannot_be(
    tagger: SequenceTagger, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    tagger.save_pretrained(tmp_path / "t")
    path = tmp_path / "t" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError) as caught:
        SequenceTagger.from_pretrained(tmp_path / "t")
    assert said in str(caught.value) and str(tmp_path / "t") in str(caught.value)


def test_static_vectors_with_a_flipped_bit_are_refused(tagger: SequenceTagger, tmp_path: Path) -> None:
    tagger.save_pretrained(tmp_path / "t")
    path = tmp_path / "t" / "word_vectors" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"word_vectors/model\.safetensors is truncated or damaged"):
        SequenceTagger.from_pretrained(tmp_path / "t")


@pytest.mark.parametrize("scheme", ["iob1", "bioes"])
def test_other_schemes_come_back_as_they_came(scheme: Any) -> None:
    found, _ = fit_tagger(
        tagged_sentences(40, scheme=scheme), TaggerSettings(**SMALL, epochs=15), precision="fp32"
    )
    sentences = tagged_sentences(10, seed=4, scheme=scheme)
    said = found.predict([list(each.tokens) for each in sentences.examples])
    assert said == [list(each.tags) for each in sentences.examples]


TAGS_SHOWN: list[tuple[list[str], Any]] = [
    (["B-X", "I-X", "O"], None),
    (["I-X", "I-X", "O"], None),
    (["B-X", "E-X", "O"], None),
    (["D", "N", "V"], None),
    (["B-X", "I-X", "O"], "plain"),
    (["B-X", "B-X", "O"], "iob1"),
    (["B", "I", "O"], None),
]


@pytest.mark.parametrize(("tags", "scheme"), TAGS_SHOWN)
def test_runs_of_earlier_versions_are_known_again(tags: list[str], scheme: Any) -> None:
    """Their identity has no scheme: it has one where they would have read the tags otherwise."""
    tokens = [["a", "\u00e9", "c"]] * 3
    rows = [[each, tags] for each in tokens]
    earlier = hashlib.blake2b(json.dumps(rows).encode()).hexdigest()[:16]
    found = tagged_set(tokens, [tags] * 3, scheme=scheme).digest()
    assert (found == earlier) == (scheme is None and tags != ["B", "I", "O"])
    others = [tagged_set(tokens, [each] * 3, scheme=given).digest() for each, given in TAGS_SHOWN]
    assert others.count(found) == 1


def test_plain_tags_are_measured_by_accuracy() -> None:
    tokens = [["the", "cat", "sat"], ["a", "dog", "saw"]] * 20
    tags = [["D", "N", "V"]] * 40
    found = SequenceTagger(**SMALL, epochs=10).fit(tokens, tags)
    report = found.evaluate(tagged_set(tokens, tags))
    assert report.accuracy == 1.0 and report.f1 is None and report.spans == []
    assert [found("the dog sat")] == found(["the dog sat"])
    with pytest.raises(UserError, match="words come in a list"):
        found.predict(["the dog sat"])
    with pytest.raises(UserError, match="words and tags are lists of strings"):
        SequenceTagger().fit(["ab"], ["OO"])
    with pytest.raises(UserError, match="epochs must be above 0, not 0"):
        SequenceTagger(**SMALL, epochs=0).fit(tokens, tags)
    (words,) = found(["the dog sat"])
    assert [each["entity"] for each in words] == ["D", "N", "V"]


@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
@pytest.mark.parametrize("kind", ["elmo", "lm"])
def test_on_the_layers_of_an_encoder_frozen_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mix_at: Any
) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    encoder: Encoder = small_elmo() if kind == "elmo" else random_model(word_tokenizer(), "both", ()).encoder
    encoder.save_pretrained(tmp_path / "e")
    options: dict[str, Any] = {**SMALL, "encoder": str(tmp_path / "e"), "mix_at": mix_at, "epochs": 3}
    sentences = tagged_sentences(24)
    frozen, _ = fit_tagger(
        sentences,
        TaggerSettings(**options),
        validation=sentences.subset(sentences.examples[:8]),
        precision="fp32",
    )
    assert frozen.network.words.encoder is not None
    for name, tensor in frozen.network.words.encoder.weights().items():
        torch.testing.assert_close(tensor, encoder.weights()[name])
    assert set(frozen.layer_weights) == ({"input", "output"} if mix_at == "both" else {mix_at})
    moved, _ = fit_tagger(
        sentences, TaggerSettings(**options, transfer="fine-tune", n_layers=2), precision="fp32"
    )
    assert moved.network.words.encoder is not None
    before, after = encoder.weights(), moved.network.words.encoder.weights()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed and len(changed) < len(before)  # gradual: three epochs thaw the upper groups only
    moved.save_pretrained(tmp_path / "m")
    again = SequenceTagger.from_pretrained(tmp_path / "m")
    tokens = [list(each.tokens) for each in sentences.examples]
    assert again.predict(tokens) == moved.predict(tokens)


def test_gradients_reach_all_that_learns() -> None:
    words = WordInputs(small_elmo(), frozen=False, characters=4, mix_at="both", tokenized=True)
    network = TaggerNetwork(words, ["O", "S-X", "B-X", "I-X", "E-X"], "bioes", hidden_size=4)
    groups = network.layer_groups()
    network.loss(["the cat sat", "a dog"], torch.tensor([0, 1, 0, 2, 4])).backward()
    without = [p for group in groups for p in group if p.grad is None]
    assert not without
    assert {id(p) for group in groups for p in group} == {id(p) for p in network.parameters()}


def test_mistakes() -> None:
    with pytest.raises(UserError, match="all words have one tag"):
        SequenceTagger(**SMALL).fit([["a"]], [["O"]])
    sentences = tagged_sentences(10)
    other = tagged_set([["Mars"]], [["B-PLANET"]])
    with pytest.raises(UserError, match="word 1 has the tag 'B-PLANET', which is not in the training data"):
        fit_tagger(sentences, TaggerSettings(**SMALL, epochs=1), validation=other)
    with pytest.raises(UserError, match="one has spans and the other plain tags"):
        fit_tagger(sentences, TaggerSettings(**SMALL, epochs=1), validation=tagged_set([["a"]], [["N"]]))
    with pytest.raises(UserError, match="nothing to read"):
        WordInputs(None)


def test_tags_that_training_lacked_count_as_errors_when_told(tagger: SequenceTagger) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    known = tagged_sentences(10, seed=5)
    tokens = [list(each.tokens) for each in known.examples] + [["Ada", "visits", "Mars", "Base", "."]]
    tags = [list(each.tags) for each in known.examples] + [["B-PER", "O", "B-PLANET", "I-PLANET", "O"]]
    both = tagged_set(tokens, tags)
    with pytest.raises(
        UnknownLabel, match="word 3 has the tag 'B-PLANET', which is not in the training data"
    ):
        tagger.evaluate(both)
    report = tagger.evaluate(both, unknown_labels="wrong")
    assert report.n_unknown_labels == 2 and report.unknown_names == ("PLANET",)
    assert tagger.evaluate(known, unknown_labels="wrong").unknown_names == ()
    assert report.f1 == pytest.approx(metrics.f1_score(tags, tagger.predict(tokens)))
    (planet,) = (each for each in report.spans if each.name == "PLANET")
    assert (planet.true, planet.predicted, planet.recall) == (1, 0, 0.0)


def test_plain_tags_that_training_lacked() -> None:
    tokens, tags = [["the", "cat", "sat"]] * 20, [["D", "N", "V"]] * 20
    found = SequenceTagger(**SMALL, epochs=6).fit(tokens, tags)
    other = tagged_set([["the", "cat", "sat"]], [["D", "X", "V"]])
    with pytest.raises(UnknownLabel, match="word 2 has the tag 'X'"):
        found.evaluate(other)
    report = found.evaluate(other, unknown_labels="wrong")
    assert report.n_unknown_labels == 1 and report.accuracy == pytest.approx(2 / 3)
    assert report.unknown_names == ("X",)


def test_tags_without_a_type_come_back_as_they_came(tmp_path: Path) -> None:
    known = tagged_sentences(40)
    tokens = [list(each.tokens) for each in known.examples]
    tags = [[tag[0] for tag in each.tags] for each in known.examples]
    found = SequenceTagger(**SMALL, epochs=12).fit(tokens, tags)
    assert found.scheme_ == "bio" and found.classes_ == ["_"]
    found.save_pretrained(tmp_path / "t")
    found = SequenceTagger.from_pretrained(tmp_path / "t")
    assert found.predict(tokens) == tags
    report = found.evaluate(tagged_set(tokens, tags))
    assert report.f1 == 1.0 and [each.name for each in report.spans] == ["_", "all"]
    assert {each["entity_group"] for each in found(["Ada visits New York."])[0]} == {"_"}
    with pytest.raises(UnknownLabel, match="'B-PER', which is not in the training data"):
        found.evaluate(known)
    plain = SequenceTagger(**SMALL, epochs=1, scheme="plain").fit(tokens, tags)
    assert plain.scheme_ == "plain" and set(plain.classes_) == {"B", "I", "O"}


def test_sentences_that_are_split_already_keep_their_words(tagger: SequenceTagger) -> None:
    sentences = [["Ada", "likes", "New", "York", "..."], [], ["don't", "Paris"]]
    found = list(tagger.tag_split_stream(sentences))
    assert [each.text for each in found] == ["Ada likes New York ...", "", "don't Paris"]
    assert [each.sentences[0][1] for each in found] == tagger.predict(sentences)
    assert [[word.text for word in each.sentences[0][0]] for each in found] == sentences
    for each in found:
        for entity in each.entities:
            assert each.text[entity["start"] : entity["end"]] == entity["word"]
    assert [each["word"] for each in found[0].entities] == ["Ada", "New York"]


def test_a_long_sentence_takes_no_gradient_from_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_inputs, "MAX_WORDS", 6)
    torch.manual_seed(0)
    stack = word_inputs.BiLstmStack(5, 4, 2).eval()
    x, lengths = torch.randn(3, 20, 5), torch.tensor([3, 20, 5])
    gradients = []
    for rows in ([0, 1, 2], [0]):
        inputs = x[rows, : int(lengths[rows].max())].clone().requires_grad_()
        found = stack(inputs, lengths[rows])
        found[0, :3].square().sum().backward()
        assert inputs.grad is not None
        gradients.append(inputs.grad[0, :3])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    small_elmo().save_pretrained(tmp_path / "e")
    vectors = tmp_path / "v.txt"
    vectors.write_text("2 2\nada 1 1\nparis 1 .5\n", encoding="utf-8")
    for options, message in (
        ({"encoder": str(tmp_path / "e"), "transfer": "scratch"}, "starts from random weights"),
        ({"encoder": "none", "transfer": "fine-tune"}, "needs an encoder"),
        ({"encoder": str(vectors), "word_vectors": str(vectors)}, "is word vectors already"),
        ({"encoder": "none", "layers": 1}, "is for an encoder of several layers"),
        ({"encoder": str(vectors), "mix_at": "both"}, "is for an encoder of several layers"),
    ):
        with pytest.raises(UserError, match=message):
            fit_tagger(tagged_sentences(8), TaggerSettings(epochs=1, **options), precision="fp32")


def test_a_tagger_without_an_encoder_starts_another_by_its_vectors(
    tagger: SequenceTagger, tmp_path: Path
) -> None:
    tagger.save_pretrained(tmp_path / "t")
    options = TaggerSettings(encoder=str(tmp_path / "t"), hidden_size=8, characters=0, epochs=1)
    found, _ = fit_tagger(tagged_sentences(8), options, precision="fp32")
    assert found.network.words.encoder is not None and found.network.words.encoder.kind == "word_vectors"
