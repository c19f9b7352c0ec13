"""Classifiers: the same answer in any batch, saved and loaded, pooled over whole documents, measured like scikit-learn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import precision_recall_fscore_support

from unfreeze.encoders.base import Encoder
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.generated import movie_reviews
from unfreeze.registry import find_model
from unfreeze.tasks import pooling, text_classifier
from unfreeze.tasks.bodies import PooledStream
from unfreeze.tasks.classifier_network import ClassifierNetwork, pooled_network
from unfreeze.tasks.metrics import class_metrics, confusion_matrix
from unfreeze.tasks.pooling import pool_documents
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import TextClassifier, example_set, fit_classifier

REVIEWS = movie_reviews(24, 5)


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return TextClassifier(encoder="none", epochs=2, embedding_size=8, hidden_size=8).fit(
        [review.text for review in REVIEWS], [review.label for review in REVIEWS]
    )


texts = st.lists(
    st.sampled_from([*(review.text for review in REVIEWS), "", "fine", "bad " * 90]), min_size=1, max_size=9
)


@settings(max_examples=20)
@given(texts=texts)
def test_a_text_gets_the_same_answer_in_any_batch_and_order(
    classifier: TextClassifier, texts: list[str]
) -> None:
    together = classifier.predict_proba(texts)
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(texts[::-1])[::-1], alone, atol=1e-5)


def test_the_recipe_takes_paths_and_scalars_of_numpy(tmp_path: Path) -> None:
    """A run's identity and the model card are JSON."""
    examples = example_set([each.text for each in REVIEWS], [each.label for each in REVIEWS])
    asked = ClassifierSettings(
        encoder=find_model("wiki-small"),
        transfer="frozen",
        pooling="vectors",
        seed=np.int64(3),
        mix_l2=np.float32(0),
    )
    fitted, _ = fit_classifier(examples, asked, output=tmp_path / "model")
    again, _ = fit_classifier(examples, asked, output=tmp_path / "model")
    assert again.encoder == str(asked.encoder) and again.seed == 3
    np.testing.assert_array_equal(again.predict_proba(["fine"]), fitted.predict_proba(["fine"]))


def test_saved_and_loaded_it_says_the_same(classifier: TextClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "model")
    loaded = TextClassifier.from_pretrained(tmp_path / "model")
    sample = [review.text for review in REVIEWS[:5]]
    np.testing.assert_array_equal(loaded.predict_proba(sample), classifier.predict_proba(sample))
    assert Encoder.from_pretrained(tmp_path / "model").widths == classifier.network.encoder.widths


# Texts without any known word


@pytest.fixture(scope="module")
def uneven() -> TextClassifier:
    """Three good reviews for each bad one."""
    rows = [("good fine film", "pos")] * 6 + [("bad dull film", "neg")] * 2
    return TextClassifier(encoder="none", epochs=1, min_count=1, embedding_size=4, hidden_size=4).fit(
        *map(list, zip(*rows, strict=True))
    )


@pytest.mark.parametrize("text", ["", "  \n", "Hello", "Hello there, nobody!", "xyzzy."])
def test_a_text_without_a_known_word_gets_the_prior_and_says_so(text: str, uneven: TextClassifier) -> None:
    assert uneven.label_names == ("neg", "pos")
    known, unknown = uneven(["a good film", text])
    assert "unknown" not in known
    assert unknown == {"label": "pos", "score": 0.75, "unknown": True}
    np.testing.assert_array_equal(uneven.predict_proba([text]), [[0.25, 0.75]])


@pytest.mark.parametrize("text", ["film", "FILM xyzzy", "bad!", "film " * 50])
def test_one_known_word_is_enough(text: str, uneven: TextClassifier) -> None:
    assert "unknown" not in uneven([text])[0]


def test_punctuation_is_known_where_nothing_else_is_written() -> None:
    rows = [("good fine !", "pos"), ("bad dull ?", "neg")] * 3
    classifier = TextClassifier(encoder="none", epochs=1, min_count=1, embedding_size=4, hidden_size=4).fit(
        *map(list, zip(*rows, strict=True))
    )
    found = classifier(["!", "? !", "xyzzy!"])
    assert ["unknown" in each for each in found] == [False, False, True]


def test_the_prior_of_many_labels_is_the_share_of_each() -> None:
    rows = [("good fine film", ["pos", "film"]), ("bad dull film", ["film"])] * 4
    classifier = TextClassifier(encoder="none", epochs=1, min_count=1, embedding_size=4, hidden_size=4).fit(
        *map(list, zip(*rows, strict=True))
    )
    labels = [{"label": "film", "score": 1.0}, {"label": "pos", "score": 0.5}]
    assert classifier(["xyzzy"]) == [{"labels": labels, "unknown": True}]


def test_the_prior_is_saved_and_a_model_without_it_still_says_unknown(
    uneven: TextClassifier, tmp_path: Path
) -> None:
    uneven.save_pretrained(tmp_path / "model")
    assert TextClassifier.from_pretrained(tmp_path / "model")(["xyzzy"])[0]["score"] == 0.75
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config.pop("prior") == [0.25, 0.75]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    earlier = TextClassifier.from_pretrained(tmp_path / "model")
    (found,) = earlier(["xyzzy"])
    assert found["unknown"] is True and found["score"] != 0.75
    of_size, of_type = (
        "prior has not one share, from 0 to 1, for each label",
        "prior is .*, not a list of numbers",
    )
    for prior, said in (
        ([0.25], of_size),
        ([2, -1], of_size),
        ([0.25, "x"], of_type),
        ("x", of_type),
        ({"pos": 1}, of_type),
        ([True, False], of_type),
    ):
        (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "prior": prior}))
        with pytest.raises(UserError, match=f"config.json: {said}"):
            TextClassifier.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "prior": None}))
    assert TextClassifier.from_pretrained(tmp_path / "model").prior_ is None


def test_texts_without_a_known_word_are_counted(uneven: TextClassifier) -> None:
    report = uneven.evaluate(example_set(["good film", "xyzzy", ""], ["pos", "neg", "pos"]))
    assert (report.n_unknown_texts, report.n_examples) == (2, 3)
    (error,) = [each for each in report.worst if each["text"] == "xyzzy"]
    assert error["predicted"] == {"label": "pos", "score": 0.75, "unknown": True}


@pytest.mark.parametrize("damage", ["truncate", "remove", "newer"])
def test_a_damaged_folder_is_one_clear_line(classifier: TextClassifier, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    classifier.save_pretrained(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "remove":
        weights.unlink()
    else:
        config.write_text(config.read_text().replace('"format_version": 1', '"format_version": 2'))
    expected = {"truncate": "truncated", "remove": "is missing", "newer": "format version 2"}[damage]
    with pytest.raises(UserError, match=expected) as raised:
        TextClassifier.from_pretrained(folder)
    assert "\n" not in str(raised.value)


def test_pooling_covers_a_document_of_many_pieces(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = classifier.network.encoder.stack("forward").eval()
    torch.manual_seed(0)
    ids, lengths = torch.randint(3, 9, (50, 3)), torch.tensor([50, 33, 1])
    with torch.no_grad():
        states = stack(ids).top
    expected = torch.stack(
        [
            torch.cat([states[n - 1, b], states[:n, b].amax(0), states[:n, b].mean(0)])
            for b, n in enumerate(lengths.tolist())
        ]
    )
    monkeypatch.setattr(pooling, "PIECE", 7)
    monkeypatch.setattr(pooling, "GRADIENT_TOKENS", 20)
    with torch.no_grad():
        torch.testing.assert_close(pool_documents(stack, ids, lengths), expected)
    torch.testing.assert_close(pool_documents(stack, ids, lengths), expected)


def test_gradients_stop_before_the_last_tokens(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "GRADIENT_TOKENS", 10)
    monkeypatch.setattr(pooling, "PIECE", 5)
    stack = classifier.network.encoder.stack("forward").eval()
    ids = torch.cat([torch.full((20, 1), 7), torch.full((10, 1), 8)])
    stack.zero_grad()
    pool_documents(stack, ids, torch.tensor([30])).sum().backward()
    grad = stack.embedding.weight.grad
    assert grad is not None and grad[8].abs().sum() > 0
    assert grad[7].abs().sum() == 0


def test_frozen_transfer_moves_the_head_alone(classifier: TextClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "source")
    before = Encoder.from_pretrained(tmp_path / "source").state_dict()
    texts, labels = [r.text for r in REVIEWS], [r.label for r in REVIEWS]
    settings = {"encoder": str(tmp_path / "source"), "epochs": 2, "pooling": "top"}
    frozen = TextClassifier(transfer="frozen", **settings).fit(texts, labels)
    for name, tensor in frozen.network.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    tuned = TextClassifier(transfer="fine-tune", gradual=False, **settings).fit(texts, labels)
    assert not torch.equal(tuned.network.encoder.state_dict()[name], before[name])


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_measures_equal_scikit_learns(rows: list[tuple[int, int]]) -> None:
    true, predicted = [t for t, _ in rows], [p for _, p in rows]
    matrix = confusion_matrix(true, predicted, 4)
    np.testing.assert_array_equal(matrix, sklearn_confusion_matrix(true, predicted, labels=range(4)))
    expected = precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=0)
    for k, figures in enumerate(class_metrics(matrix.diagonal(), matrix.sum(0), matrix.sum(1), "abcd")):
        found = (figures.precision, figures.recall, figures.f1, figures.support)
        np.testing.assert_allclose(found, [column[k] for column in expected])


def test_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="one class"):
        TextClassifier(encoder="none").fit(["a", "b"], ["x", "x"])


def test_both_directions_vote_with_heads_of_their_own() -> None:
    classifier = TextClassifier(
        encoder="none", architecture="awd-lstm", embedding_size=8, hidden_size=8, epochs=1
    ).fit([r.text for r in REVIEWS[:8]], [r.label for r in REVIEWS[:8]])
    assert isinstance(classifier.network, ClassifierNetwork)
    assert list(classifier.network.heads) == ["forwards"]


def test_bf16_moves_a_probability_by_less_than_a_hundredth(classifier: TextClassifier) -> None:
    sample = [review.text for review in REVIEWS]
    exact = classifier.predict_proba(sample)
    classifier.precision = "bf16"
    try:
        found = classifier.predict_proba(sample)
    finally:
        classifier.precision = "fp32"
    assert 0 < np.abs(found - exact).max() < 0.01


@pytest.mark.parametrize("static", [0, 3])
def test_mean_vectors_alone_are_the_features_where_asked(classifier: TextClassifier, static: int) -> None:
    network = pooled_network(classifier.network.encoder, 2, pooling="vectors", word_vectors=static).eval()
    assert isinstance(network.body, PooledStream)
    stack = network.body.streaming.stack("forward")
    rows = network.body.word_vectors.normal_() if static else stack.embedding.weight
    ids = classifier.network.body.inputs(["fine and good", "", REVIEWS[0].text])
    found = network.read(ids)["joint"]
    for row, own in zip(found, ids, strict=True):
        mean = rows[own.astype(np.int64)].mean(0)
        torch.testing.assert_close(row, mean if static else mean.repeat(2))


def test_labels_that_training_lacked_count_as_errors_when_told(classifier: TextClassifier) -> None:
    sample = [review.text for review in REVIEWS[:6]]
    labels = [review.label for review in REVIEWS[:4]] + ["meh", "odd"]
    examples = example_set(sample, labels)
    with pytest.raises(
        UnknownLabel, match=r"texts\[4\] has the label 'meh', which is not in the training data"
    ):
        classifier.evaluate(examples)
    known = classifier.evaluate(example_set(sample[:4], labels[:4]))
    report = classifier.evaluate(examples, unknown_labels="wrong")
    assert report.n_unknown_labels == 2 and known.n_unknown_labels == 0
    assert report.unknown_names == ("meh", "odd") and known.unknown_names == ()
    assert report.accuracy == pytest.approx(known.accuracy * 4 / 6)
    assert report.loss == pytest.approx(known.loss)
    said = [found["label"] for found in classifier(sample)]
    assert report.label_names == (*classifier.label_names, "meh", "odd")
    oracle = sklearn_confusion_matrix(labels, said, labels=list(report.label_names))
    assert report.confusion == oracle.tolist()
    _, _, f1, _ = precision_recall_fscore_support(
        labels, said, labels=list(report.label_names), zero_division=0
    )
    assert report.macro_f1 == pytest.approx(f1.mean())
    assert math.isnan(classifier.evaluate(example_set(["a"], ["meh"]), unknown_labels="wrong").loss)


def test_unknown_ones_of_several_labels_count_too() -> None:
    found = TextClassifier(encoder="none", epochs=1, embedding_size=4, hidden_size=4).fit(["good long", "good short", "bad long", "bad short"] * 3, [["pos", "long"], ["pos"], ["long"], []] * 3)  # fmt: skip
    examples = example_set(["good long", "bad short"], [["pos", "new"], []])
    with pytest.raises(UnknownLabel, match="the label 'new'"):
        found.evaluate(examples)
    report = found.evaluate(examples, unknown_labels="wrong")
    assert report.n_unknown_labels == 1 and report.accuracy <= 0.5 and report.unknown_names == ("new",)
    assert report.label_names == ("long", "pos", "new")
    assert (report.classes[2].recall, report.classes[2].support) == (0.0, 1)


@pytest.mark.parametrize("wrong", [float("nan"), None, b"fine"])
def test_what_is_no_text_is_named_by_its_position(classifier: TextClassifier, wrong: object) -> None:
    texts: list[Any] = ["fine", wrong]
    for use in (
        classifier.predict,
        classifier.predict_proba,
        lambda given: list(classifier.predict_stream(given)),
    ):
        with pytest.raises(UserError, match=r"texts\[1\] is "):
            use(texts)
    many: list[Any] = ["fine"] * 3000 + [wrong]
    with pytest.raises(UserError, match=r"texts\[3000\] is "):
        list(classifier.predict_stream(many))
    with pytest.raises(UserError, match=r"texts\[1\] is "):
        classifier.network.encoder.prepare(texts)
    with pytest.raises(UserError, match=r"texts\[1\] is "):
        TextClassifier().fit(texts, ["p", "n"])


def test_a_stream_gives_each_text_and_its_probabilities(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextClassifier, "buffer", 3)
    checked: list[int] = []
    whole = text_classifier.text_inputs
    monkeypatch.setattr(
        text_classifier,
        "text_inputs",
        lambda texts, *rest, **more: checked.append(len(texts)) or whole(texts, *rest, **more),
    )
    texts = [review.text for review in REVIEWS[:7]]
    found = list(classifier.predict_stream(iter(texts)))
    assert [text for text, _ in found] == texts and checked == [3, 3, 1]
    np.testing.assert_allclose([row for _, row in found], classifier.predict_proba(texts), atol=1e-6)


def test_labels_that_are_none_are_no_classes() -> None:
    with pytest.raises(UserError, match=r"labels\[2\] is None: this text has no label"):
        TextClassifier().fit(["a", "b", "c", "d"], ["p", "n", None, float("nan")])
