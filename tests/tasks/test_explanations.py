"""Explanations: exact contributions sum up, occlusion is what leaving out a word changes, integrated gradients are complete."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.commands.toy import BAD, GOOD, reviews
from unfreeze.errors import UserError
from unfreeze.tasks.explanations import MOST_SPANS, Explanation, by_gradients, by_occlusion
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.words import word_texts

ROWS = reviews(60, seed=1)
TEXTS, LABELS = [text for text, _ in ROWS], [label for _, label in ROWS]
ODD = ["", "Superb", "a <br /> DULL film!!!!!", "xyzzy superb", "superb " * 12]


@pytest.fixture(scope="module")
def linear() -> TextClassifier:
    return TextClassifier(transfer="frozen", pooling="vectors").fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def recurrent() -> TextClassifier:
    """A small network of both directions with a head for each, on embeddings that they share."""
    settings = {"epochs": 2, "min_count": 1, "embedding_size": 12, "hidden_size": 12}
    return TextClassifier(encoder="none", learning_rate=0.02, **settings).fit(TEXTS[:16], LABELS[:16])


def log_odds(classifier: TextClassifier, text: str, label: str) -> float:
    """Of two labels, from the probabilities alone."""
    (shares,) = classifier.network_.probabilities(
        classifier.network_.read_all(classifier.network_.body.inputs([text]))
    )
    shares = shares.detach().double()
    place = classifier.label_names.index(label)
    return float(shares[place].log() - shares[1 - place].log())


def total(found: Explanation) -> float:
    assert found.bias is not None
    return found.bias + sum(each.contribution for each in found.words)


@pytest.mark.parametrize("text", [*TEXTS[:4], *ODD])
def test_exact_contributions_and_the_bias_sum_to_the_log_odds(linear: TextClassifier, text: str) -> None:
    for label in linear.label_names:
        (found,) = linear.explain([text], labels=[label])
        assert found.method == "exact" and found.label == label
        expected = log_odds(linear, text, label)
        assert found.evidence == pytest.approx(expected, abs=1e-4)
        assert total(found) == pytest.approx(expected, abs=1e-4)
        assert [text[each.start : each.end] for each in found.words] == word_texts(text)


def test_the_words_of_the_label_decide(linear: TextClassifier) -> None:
    words = [each for found in linear.explain(TEXTS[:20], labels=LABELS[:20]) for each in found.words]
    opinions = [each.contribution for each in words if each.word in {*GOOD, *BAD}]
    others = [abs(each.contribution) for each in words if each.word not in {*GOOD, *BAD}]
    assert np.mean(opinions) > 3 * np.mean(others)
    (one,), (other,) = (linear.explain("a superb plot", labels=[name]) for name in linear.label_names)
    signs = [[each.contribution for each in found.words] for found in (one, other)]
    np.testing.assert_allclose(signs[0], -np.array(signs[1]), atol=1e-6)


def test_a_word_contributes_what_scikit_learn_gives_its_vector(linear: TextClassifier) -> None:
    """The contribution is linear in the vector: w . (v - mean) / T of an independent logistic regression's own formula."""
    network, text = linear.network_, "The plot was superb"
    table = network.encoder.stack("forward").embedding.weight.detach().double().numpy()
    ids = network.encoder.tokenizer.encode(text).ids
    (head,) = network.heads.values()
    norm = head.norm
    z = (table[ids] - norm.running_mean.double().numpy()) / np.sqrt(
        norm.running_var.double().numpy() + norm.eps
    )
    oracle = LogisticRegression()
    oracle.classes_ = np.array([0, 1])
    weight = head.linear.weight.detach().double().numpy()
    oracle.coef_, oracle.intercept_ = weight[1:] - weight[:1], np.zeros(1)
    expected = oracle.decision_function(z)[-1] / len(ids)
    (found,) = linear.explain([text], labels=[linear.label_names[1]])
    assert found.words[-1].word == "superb"
    assert found.words[-1].contribution == pytest.approx(expected, rel=1e-4)


def test_several_classes_and_labels_sum_up_too() -> None:
    texts = [
        f"{word} {rest}" for word in ("river", "film", "cat") for rest in ("here", "there", "now", "then")
    ]
    labels = [name for name in "abc" for _ in range(4)]
    classifier = TextClassifier(transfer="frozen", pooling="vectors").fit(texts, labels)
    (found,) = classifier.explain(["a cat near a river"])
    features = classifier.network_.read_all(classifier.network_.body.inputs(["a cat near a river"]))
    (logits,) = classifier.network_.logits(features)[0].double().detach().numpy()
    place = classifier.label_names.index(found.label)
    expected = logits[place] - np.delete(logits, place).mean()
    assert total(found) == pytest.approx(expected, abs=1e-4)
    several = copy.deepcopy(classifier)
    several.network_.multi_label = True
    (found,) = several.explain(["a cat near a river"])
    share = several.predict_proba(["a cat near a river"])[0].max()
    assert total(found) == pytest.approx(float(np.log(share / (1 - share))), abs=1e-4)


def test_occlusion_is_what_leaving_out_a_word_changes(recurrent: TextClassifier) -> None:
    text = TEXTS[0]
    (found,) = recurrent.explain([text])
    assert found.method == "occlusion" and found.bias is None

    def evidence(text: str) -> float:
        features = recurrent.network_.read_all(recurrent.network_.body.inputs([text]))
        place = recurrent.label_names.index(found.label)
        each = [x[0, place] - x[0, 1 - place] for x in recurrent.network_.logits(features)]
        return float((sum(each) / len(each)).detach())

    assert found.evidence == pytest.approx(evidence(text), abs=1e-4)
    for each in found.words:
        without = f"{text[: each.start]} {text[each.end :]}"
        assert each.contribution == pytest.approx(evidence(text) - evidence(without), abs=1e-4)


def test_occlusion_of_a_long_text_takes_a_bounded_number_of_passes() -> None:
    read: list[str] = []

    def evidence(texts: list[str]) -> np.ndarray:
        read.extend(texts)
        return np.array([[text.count("good") - text.count("bad"), 0] for text in texts], dtype=np.float64)

    text = " ".join(["word"] * 999 + ["good", "bad", "good"])
    found = by_occlusion(evidence, text, 0)  # type: ignore[arg-type]
    assert len(read) == len(found.words) + 1 <= MOST_SPANS + 1
    assert found.evidence == 1 == sum(each.contribution for each in found.words)
    assert "".join(each.word for each in found.words).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", [*TEXTS[:2], *ODD])
def test_integrated_gradients_are_complete(recurrent: TextClassifier, text: str) -> None:
    """Sundararajan et al. 2017, proposition 1; with more steps the sum comes closer."""
    (found,) = recurrent.explain([text], method="gradients")
    place = recurrent.label_names.index(found.label)
    fine = by_gradients(recurrent.network_, text, place, steps=512)
    assert fine.bias is not None
    gap = fine.evidence - fine.bias - sum(each.contribution for each in fine.words)
    assert abs(gap) < 0.01 * max(1, abs(fine.evidence - fine.bias))
    assert total(found) == pytest.approx(found.evidence, abs=0.1 * max(1, abs(found.evidence)))


def test_integrated_gradients_of_a_linear_model_are_exact(linear: TextClassifier) -> None:
    """The path does not matter to a linear function: the vector's own share, without the mean that the exact method subtracts."""
    (found,), (exact,) = (linear.explain("a superb plot", method=name) for name in ("gradients", "exact"))  # type: ignore[arg-type]
    assert total(found) == pytest.approx(found.evidence, abs=1e-5)
    difference = [
        one.contribution - other.contribution for one, other in zip(found.words, exact.words, strict=True)
    ]
    np.testing.assert_allclose(difference, difference[0], atol=1e-5)  # the same for every word


def test_explaining_leaves_the_network_as_it_was(recurrent: TextClassifier) -> None:
    before = recurrent.predict_proba(TEXTS[:5])
    together = recurrent.explain(TEXTS[:3])
    recurrent.explain(TEXTS[:2], method="gradients")
    np.testing.assert_array_equal(recurrent.predict_proba(TEXTS[:5]), before)
    alone = recurrent.explain(TEXTS[2])[0]
    np.testing.assert_allclose(
        [each.contribution for each in alone.words],
        [each.contribution for each in together[2].words],
        atol=1e-5,
    )


def test_wrong_requests_get_one_clear_line(linear: TextClassifier, recurrent: TextClassifier) -> None:
    with pytest.raises(UserError, match="need a linear head on averaged vectors"):
        recurrent.explain(TEXTS[:1], method="exact")
    with pytest.raises(UserError, match="'good' is not one of neg, pos"):
        linear.explain(TEXTS[:1], labels=["good"])
    with pytest.raises(UserError, match="one label for each of the 2 texts"):
        linear.explain(TEXTS[:2], labels=["pos"])
    with pytest.raises(UserError, match="reach 1,440 tokens, and the text has"):
        recurrent.explain(["dull film " * 800], method="gradients")
    wide = TextClassifier(
        encoder="wiki-small", transfer="frozen", body="bilstm", layers=0, epochs=1, hidden_size=4
    ).fit(TEXTS[:8], LABELS[:8])
    with pytest.raises(UserError, match="occlusion.* explains every classifier"):
        wide.explain(TEXTS[:1], method="gradients")
    assert wide.explain("a dull film")[0].method == "occlusion"
