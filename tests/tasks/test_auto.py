"""`encoder="auto"`: what is considered, what it says of itself, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone

from tests.language_models.models import random_model, word_tokenizer
from unfreeze import TextClassifier
from unfreeze.caches import cache_entries, delete_entry
from unfreeze.errors import UserError
from unfreeze.progress import SILENT
from unfreeze.tasks import candidates, cross_validation
from unfreeze.tasks.auto import _weighed, choose
from unfreeze.tasks.auto_settings import uses_auto
from unfreeze.tasks.baselines import fit_tfidf
from unfreeze.tasks.ensemble import Member, fit_weights
from unfreeze.tasks.rungs import SPARSE_CANDIDATES, FineTunedRung, Fitted, Rung, Task, TfidfRung
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import fit_classifier
from unfreeze.tasks.tfidf import TfidfNetwork
from unfreeze.text.examples import example_set

GOOD, BAD = ["great", "wonderful", "funny", "moving"], ["dull", "terrible", "flat", "stupid"]
THINGS = ["film", "story", "plot", "cast", "camera", "ending", "music", "script"]


def reviews(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts that name things, one in ten of them with a word of the other kind, and labels."""
    generator = random.Random(seed)
    texts, labels = [], []
    for number in range(n):
        good = number % 2 == 0
        words = GOOD if good != (generator.random() < 0.1) else BAD
        texts.append(
            f"the {generator.choice(THINGS)} and the {generator.choice(THINGS)}: {generator.choice(words)}"
        )
        labels.append("pos" if good else "neg")
    return texts, labels


@pytest.fixture(scope="module")
def fitted() -> TextClassifier:
    """By default."""
    return TextClassifier().fit(*reviews(80))


def test_the_default_considers_what_there_is_without_unlabeled_text(fitted: TextClassifier) -> None:
    names = [row["name"] for row in fitted.metrics_["considered"]]
    assert set(names[:-1]) == {
        "TF-IDF of words",
        "TF-IDF of characters",
        "vectors of wiki-small",
        "states of wiki-lm",
    }
    assert names[-1] == "all of them"
    costs = [row["seconds"] for row in fitted.metrics_["considered"][:-1]]
    assert costs == sorted(costs) and fitted.metrics_["majority"] == 0.5
    assert 0 <= fitted.metrics_["calibration_error"] <= 0.3


def test_its_cross_validated_accuracy_is_near_that_on_other_texts(fitted: TextClassifier) -> None:
    accuracy = fitted.score(*reviews(400, seed=1))
    assert accuracy > 0.7  # 0.9 are right by construction
    assert abs(accuracy - fitted.metrics_["cross_validated_accuracy"]) < 0.12


def test_the_tfidf_of_words_is_the_baseline(fitted: TextClassifier) -> None:
    texts, labels = reviews(80)
    member = next(each for each in fitted.network_.members if each.name == "TF-IDF of words")
    row = next(row for row in fitted.metrics_["considered"] if row["name"] == member.name)
    unseen = reviews(50, seed=2)[0]
    found = member.network.classify(unseen)[0].numpy()
    by_C = [fit_tfidf(example_set(texts, labels, "texts"), candidates=(C,)) for C in SPARSE_CANDIDATES]
    assert min(np.abs(each.predict_proba(unseen) - found).max() for each in by_C) < 1e-4
    assert row["weight"] == pytest.approx(
        fitted.network_.weights[fitted.network_.members.index(member)].item(), abs=1e-6
    )


def test_saved_and_loaded(fitted: TextClassifier, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path / "model")
    loaded = TextClassifier.from_pretrained(tmp_path / "model")
    unseen = reviews(20, seed=3)[0]
    np.testing.assert_array_equal(loaded.predict_proba(unseen), fitted.predict_proba(unseen))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["settings"]["network"] == "ensemble"


def test_a_seed_gives_the_same_model(fitted: TextClassifier) -> None:
    again = clone(fitted).fit(*reviews(80))
    unseen = reviews(20, seed=3)[0]
    np.testing.assert_array_equal(again.predict_proba(unseen), fitted.predict_proba(unseen))


def test_word_vectors_of_unlabeled_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "LEAST_WORDS", 1_000)
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    unlabeled = tmp_path / "reviews.txt"
    unlabeled.write_text("\n".join(reviews(2_000, seed=4)[0]))
    train_set = example_set(*reviews(40), "texts")
    settings = ClassifierSettings(encoder="auto", unlabeled=(unlabeled,), minutes=0.2)
    classifier, metrics = fit_classifier(train_set, settings, output=tmp_path / "model")
    assert "vectors of your text" in [row["name"] for row in metrics["considered"]]
    again, same = fit_classifier(train_set, settings, output=tmp_path / "model")
    assert same["considered"] == metrics["considered"]
    np.testing.assert_array_equal(
        again.predict_proba(["a great film"]), classifier.predict_proba(["a great film"])
    )
    (cached,) = [each for each in cache_entries() if each.kind == "trained"]
    assert delete_entry(cached)
    unlabeled.unlink()  # predicts without it
    loaded = TextClassifier.from_pretrained(tmp_path / "model")
    assert loaded.score(*reviews(100, seed=5)) > 0.6
    again = loaded.refitted(train_set)
    assert "vectors of your text" not in [row["name"] for row in again.metrics_["considered"]]


def test_what_does_not_fit_into_the_budget_is_left_out(tmp_path: Path) -> None:
    settings = ClassifierSettings(minutes=0.015)
    _, metrics = fit_classifier(example_set(*reviews(40), "texts"), settings)
    assert metrics["left_out"]
    assert all(each.startswith("it needs a budget of 0.0") for each in metrics["left_out"].values())
    assert len(metrics["considered"]) < 5
    few = tmp_path / "few.txt"
    few.write_text("a few words")
    settings = ClassifierSettings(unlabeled=(few,))
    _, metrics = fit_classifier(example_set(*reviews(40), "texts"), settings)
    assert metrics["left_out"] == {"vectors of your text": "the unlabeled text has fewer than 50,000 words"}


def test_several_labels_a_text() -> None:
    texts, labels = reviews(60)
    both = [[label, "long"] if number % 3 else [label] for number, label in enumerate(labels)]
    texts = [
        f"{text} and much more of it" if "long" in own else text
        for text, own in zip(texts, both, strict=True)
    ]
    classifier = TextClassifier(encoder="auto").fit(texts, both)
    assert classifier.multi_label and classifier.score(texts, both) > 0.7
    assert classifier.predict(["the plot: great, and much more of it"]).tolist() == [[1, 0, 1]]


def test_a_class_with_a_single_example() -> None:
    texts, labels = reviews(20)
    classifier = TextClassifier().fit([*texts, "nothing at all"], [*labels, "none"])
    assert classifier.classes_.tolist() == ["neg", "none", "pos"]
    assert classifier.predict_proba(texts).shape == (20, 3)


def test_two_texts_are_enough() -> None:
    assert TextClassifier().fit(["good", "bad"], ["pos", "neg"]).predict_proba(["good"]).shape == (1, 2)


def test_a_text_without_words_gets_the_shares_of_the_labels(fitted: TextClassifier) -> None:
    assert fitted([""]) == [{"label": "neg", "score": 0.5, "unknown": True}]


def test_which_settings_ask_for_it(tmp_path: Path) -> None:
    assert uses_auto(ClassifierSettings()) and uses_auto(ClassifierSettings(minutes=2, seed=1))
    assert uses_auto(ClassifierSettings(encoder="auto", unlabeled=("reviews.txt",)))
    assert not uses_auto(ClassifierSettings(encoder="wiki-small"))
    assert not uses_auto(ClassifierSettings(transfer="frozen"))
    with pytest.raises(UserError, match="pooling is for an encoder that you name: encoder='auto' chooses it"):
        uses_auto(ClassifierSettings(encoder="auto", pooling="vectors"))
    with pytest.raises(UserError, match="unlabeled is for encoder='auto', not for encoder='wiki-small'"):
        uses_auto(ClassifierSettings(encoder="wiki-small", unlabeled=("reviews.txt",)))
    with pytest.raises(UserError, match="unlabeled is a list of files, not 'reviews.txt'"):
        ClassifierSettings(unlabeled="reviews.txt")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="does not take sample weights"):
        TextClassifier(encoder="auto").fit(*reviews(10), sample_weight=[1.0] * 10)
    with pytest.raises(UserError, match="no such file|does not exist|missing"):
        TextClassifier(unlabeled=(tmp_path / "missing.txt",)).fit(*reviews(10))


def test_a_network_is_trained_for_each_fold() -> None:
    texts, labels = reviews(30)
    task = Task.of(example_set(texts, labels, "texts"), seed=0)
    settings = ClassifierSettings(encoder="none", epochs=2, embedding_size=8, hidden_size=8, min_count=1)
    fitted = FineTunedRung("from scratch", 1.0, lambda: settings).fit(task, SILENT)
    assert fitted.out_of_fold.shape == (3, 30, 2)
    np.testing.assert_allclose(fitted.out_of_fold.sum(-1), 1, atol=1e-5)
    # That of a fold is what the same training without the fold gives.
    _, train, held_out = next(task.folds.parts())
    part = example_set([texts[n] for n in train], [labels[n] for n in train], "texts")
    classifier, _ = fit_classifier(part, settings)
    expected = classifier.predict_proba([texts[n] for n in held_out])
    np.testing.assert_allclose(fitted.out_of_fold[0, held_out], expected, atol=1e-5)


@pytest.mark.parametrize("useful", [False, True])
def test_an_expensive_rung_has_to_be_better_than_chance(useful: bool) -> None:
    texts, labels = reviews(60)
    task = Task.of(example_set(texts, labels, "texts"), seed=0)
    member = Member("any", TfidfNetwork(["a"], 2), {"network": "tfidf"})
    rungs: list[Rung] = [TfidfRung("cheap", 1.0, "words"), FineTunedRung("dear", 100.0, ClassifierSettings)]
    random = np.random.default_rng(0)
    scores = random.normal(size=(2, *task.folds.of_example.shape, 2))
    scores[0, :, np.arange(60), task.targets] += 1.5
    if useful:
        scores[1, :, np.arange(60), task.targets] += 3
    fitted = [Fitted(member, softmax(each, axis=-1)) for each in scores]
    weights, _, rows = _weighed(task, rungs, fitted)
    assert (weights[1] > 0) == useful
    assert rows[-1].seconds == (101.0 if useful else 1.0)


def test_a_large_budget_adapts_and_fine_tunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlabeled = tmp_path / "reviews.txt"
    unlabeled.write_text("\n".join(reviews(300, seed=4)[0]))
    language_model = tmp_path / "lm"
    random_model(word_tokenizer()).save_pretrained(language_model)
    name = str(language_model)
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    for setting, value in {
        "LEAST_WORDS": 100,
        "ADAPTED_FROM": 1.0,
        "TUNED_EPOCHS": 1,
        "STATES_OF": name,
    }.items():
        monkeypatch.setattr(candidates, setting, value)
    for setting, fewer in {"REPEATS": 1, "FOLDS": 2}.items():
        monkeypatch.setattr(cross_validation, setting, fewer)
    monkeypatch.setattr(candidates, "released_names", lambda: [name])
    monkeypatch.setitem(candidates.PER_WORD, name, 1e-5)
    monkeypatch.setitem(candidates.WIDTHS, name, 30)
    train_set = example_set(*reviews(24), "texts")
    settings = ClassifierSettings(unlabeled=(str(unlabeled),), minutes=5)
    _, metrics = fit_classifier(train_set, settings)
    names = [row["name"] for row in metrics["considered"]]
    assert f"states of {name}, adapted" in names and f"{name}, adapted and fine-tuned" in names
    # Both start from one adapted model, which the cache keeps beside the word vectors.
    assert len([each for each in cache_entries() if each.kind == "trained"]) == 2
    _, again = fit_classifier(train_set, settings)
    assert again["considered"] == metrics["considered"]
    _, small = fit_classifier(train_set, ClassifierSettings(unlabeled=(str(unlabeled),), minutes=0.9))
    assert not [row for row in small["considered"] if "adapted" in row["name"]]


def test_copies_of_a_text_are_held_out_together() -> None:
    random = np.random.default_rng(0)
    words = [f"word{number}" for number in range(200)]
    texts = [" ".join(random.choice(words, 8)) for _ in range(30)] * 4
    labels = random.choice(["pos", "neg"], 30).tolist() * 4
    classifier = TextClassifier().fit(texts, labels)
    assert classifier.metrics_["copies"] == 90
    # The labels are random, so that only a copy of a held-out text could tell its label.
    assert classifier.metrics_["cross_validated_accuracy"] < 0.75


def test_labels_that_contradict_each_other() -> None:
    texts = reviews(15)[0] * 2
    classifier = TextClassifier(minutes=0.0001).fit(texts, ["pos"] * 15 + ["neg"] * 15)
    np.testing.assert_allclose(classifier.predict_proba(texts), 0.5, atol=0.02)


def test_what_is_printed_is_that_of_the_ensemble_that_is_saved() -> None:
    examples = example_set(*reviews(50), "texts")
    task, choice = Task.of(examples, 0), choose(examples, ClassifierSettings(), SILENT)
    names = {member.name for member in choice.network.members}
    kept = [each for each in choice.fitted if each.member.name in names]
    scores = np.log(np.clip(np.stack([each.out_of_fold for each in kept]), 1e-4, 1))
    center = 1 / len(choice.fitted)
    right, loss = np.zeros((3, 50)), np.zeros((3, 50))
    for repeat, train, held_out in task.folds.parts():
        # The weights for a fold do not depend on its labels.
        weights = fit_weights(scores[:, repeat, train], task.targets[train], center=center)
        shares = softmax(np.tensordot(np.maximum(weights, 1e-3), scores[:, repeat, held_out], 1), axis=-1)
        right[repeat, held_out] = shares.argmax(-1) == task.targets[held_out]
        loss[repeat, held_out] = -np.log(shares[np.arange(len(held_out)), task.targets[held_out]])
    assert choice.rows[-1].accuracy == pytest.approx(right.mean())
    assert choice.rows[-1].loss == pytest.approx(loss.mean(), abs=1e-6)
    everything = fit_weights(
        scores.reshape(len(kept), -1, 2), np.tile(task.targets, 3), repeats=3, center=center
    )
    np.testing.assert_allclose(choice.network.weights.detach().numpy(), everything, atol=1e-4)


def test_nothing_can_be_held_out_of_single_examples() -> None:
    classifier = TextClassifier().fit(["good", "bad", "fine"], ["pos", "neg", "ok"])
    assert classifier.metrics_["cross_validated_accuracy"] is None
    assert json.dumps(classifier.metrics_, allow_nan=False)
