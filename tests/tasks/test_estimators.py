"""The estimators as scikit-learn uses them: parameters, clone, cross-validation, grids, pipelines, pickles and threads."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import randint, uniform
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

import unfreeze
from tests.tasks.sentences import tagged_sentences
from tests.tasks.test_answering import made_questions
from unfreeze import (
    Embedder,
    ImageClassifier,
    ObjectLocator,
    QuestionAnswerer,
    SequenceTagger,
    TextClassifier,
)
from unfreeze.errors import UserError
from unfreeze.generated import movie_reviews
from unfreeze.tasks.base import Estimator
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import fit_classifier
from unfreeze.text.examples import example_set

REVIEWS = movie_reviews(48, 5)
TEXTS, LABELS = [review.text for review in REVIEWS], [review.label for review in REVIEWS]
SMALL: dict[str, Any] = {"encoder": "none", "epochs": 3, "embedding_size": 8, "hidden_size": 8}
ON_WORDS: dict[str, Any] = {**SMALL, "characters": 0}
SENTENCES = tagged_sentences(24)
TOKENS = [list(each.tokens) for each in SENTENCES.examples]
TAGS = [list(each.tags) for each in SENTENCES.examples]
RAW = [" ".join(tokens) for tokens in TOKENS]
QUESTIONS = made_questions(16).examples
PAIRS = [(each.question, each.context) for each in QUESTIONS]
ANSWERS = [(each.answers[0].text, each.answers[0].start) for each in QUESTIONS]
ESTIMATORS: list[Any] = [
    TextClassifier,
    SequenceTagger,
    QuestionAnswerer,
    ImageClassifier,
    ObjectLocator,
    Embedder,
]


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return TextClassifier(**SMALL).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def tagger() -> SequenceTagger:
    return SequenceTagger(**ON_WORDS).fit(TOKENS, TAGS)


@pytest.fixture(scope="module")
def answerer() -> QuestionAnswerer:
    return QuestionAnswerer(**ON_WORDS).fit(PAIRS, ANSWERS)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, unfreeze; dir(unfreeze); print(sorted({'torch', 'numba', 'sklearn', 'numpy'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_loading_a_task_does_not_import_scikit_learn() -> None:
    code = (
        "import sys; from unfreeze import TextClassifier; TextClassifier(); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"  # it takes 1.4 s of one core, which `unfreeze predict` can do without


def test_every_exported_name_is_there() -> None:
    assert set(unfreeze.__all__) <= set(dir(unfreeze))
    for name in unfreeze.__all__:
        assert inspect.isclass(getattr(unfreeze, name))
    with pytest.raises(AttributeError, match="no attribute 'TextClasifier'"):
        unfreeze.TextClasifier  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("made", ESTIMATORS)
@pytest.mark.parametrize(
    "check",
    [
        check_no_attributes_set_in_init,
        check_get_params_invariance,
        check_set_params,
        check_parameters_default_constructible,
    ],
)
def test_parameters_pass_the_checks_of_scikit_learn(check: Any, made: Any) -> None:
    check(made.__name__, made())


@pytest.mark.parametrize("made", ESTIMATORS)
def test_an_unknown_setting_says_which_one_was_meant(made: Any) -> None:
    name = "layr" if made is Embedder else "learning_rte"
    meant = "layer" if made is Embedder else "learning_rate"
    with pytest.raises(TypeError, match=f"^unknown setting '{name}': did you mean {meant}\\?$"):
        made(**{name: 1})
    with pytest.raises(ValueError, match=f"unknown setting '{name}': did you mean {meant}"):
        made().set_params(**{name: 1})


@pytest.mark.parametrize("made", ESTIMATORS)
def test_the_signature_names_every_setting(made: Any) -> None:
    assert list(inspect.signature(made).parameters) == list(made().get_params())
    assert made.__init__.__doc__ != "" and made.__doc__.startswith("A ")


def test_an_error_in_prediction_leaves_a_network_in_training_mode(
    classifier: TextClassifier, tagger: SequenceTagger, answerer: QuestionAnswerer
) -> None:
    calls = [(classifier, TEXTS), (tagger, TOKENS), (answerer, PAIRS)]
    for fitted, inputs in calls:
        module = fitted.network_.body if fitted is classifier else fitted.network_.words
        hook = module.register_forward_pre_hook(lambda *_: 1 // 0)
        fitted.network_.train()
        try:
            with pytest.raises(ZeroDivisionError):
                fitted.predict(inputs[:1])
            assert fitted.network_.training
        finally:
            hook.remove()
            fitted.network_.eval()


def test_a_task_has_to_say_how_it_is_saved() -> None:
    class Unsaved(Estimator):
        pass

    with pytest.raises(TypeError, match="save_pretrained"):
        Unsaved()  # type: ignore[abstract]


def test_settings_are_shown_if_they_are_not_the_default() -> None:
    assert repr(TextClassifier()) == "TextClassifier()"
    assert repr(SequenceTagger(encoder="none", seed=3)) == "SequenceTagger(encoder='none', seed=3)"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "^epochs must be above 0, not 0$"),
        ({"learning_rate": -1.0}, "^learning_rate must be above 0"),
        ({"epochs": 1, "minutes": 1.0}, "give epochs or minutes, not both"),
        ({"transfer": "freeze"}, "transfer must be one of scratch, frozen, fine-tune, not 'freeze'"),
        ({"mix_l2": -1.0}, "mix_l2 must be at least 0"),
        ({"discriminative": 0.5}, "discriminative must be 1"),
        ({"layers": "all"}, "layers is mix, bottom\\+top or the number of a layer, not 'all'"),
        ({"schedule": "linear"}, "schedule must be one of slanted, cosine, constant"),
    ],
)
@pytest.mark.parametrize("made", [TextClassifier, SequenceTagger, QuestionAnswerer])
def test_settings_are_checked_by_the_constructor_and_again_by_fit(
    made: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        made(**settings)
    data: Any = {
        TextClassifier: (TEXTS, LABELS),
        SequenceTagger: (TOKENS, TAGS),
        QuestionAnswerer: (PAIRS, ANSWERS),
    }
    with pytest.raises(UserError, match=said):
        made(**{**SMALL, "epochs": None}).set_params(**settings).fit(*data[made])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": "3"}, "epochs must be a whole number, not '3'"),
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"learning_rate": "x"}, "learning_rate must be a number, not 'x'"),
        ({"gradual": "yes"}, "gradual must be true or false, not 'yes'"),
        ({"encoder": 3}, "encoder must be a string or a path, not 3"),
        ({"word_vectors": ["a"]}, "word_vectors must be a string or a path"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, not -1.0"),
    ],
)
@pytest.mark.parametrize("made", [TextClassifier, SequenceTagger, QuestionAnswerer])
def test_settings_have_types(made: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(**settings)


def test_dropouts_are_shares() -> None:
    with pytest.raises(UserError, match="dropout must be at least 0 and below 1, not 2.0"):
        SequenceTagger(dropout=2.0)
    with pytest.raises(UserError, match="dropout_scale must be at least 0, not -1"):
        TextClassifier(dropout_scale=-1)


def test_settings_come_by_name() -> None:
    with pytest.raises(
        TypeError, match=r"settings are given by name, such as TextClassifier\(encoder='my-lm'\)"
    ):
        TextClassifier("my-lm")  # type: ignore[misc]


def test_numbers_of_numpy_are_settings(classifier: TextClassifier) -> None:
    # As grids and random searches draw them.
    drawn = {"epochs": np.int64(3), "embedding_size": np.int32(8), "seed": np.uint8(0), "keep_best": np.True_}
    assert clone(TextClassifier(**{**SMALL, **drawn})).get_params()["epochs"].dtype == np.int64
    fitted = TextClassifier(**{**SMALL, **drawn}).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    search = RandomizedSearchCV(
        TextClassifier(**SMALL),
        {"learning_rate": uniform(0.001, 0.01), "batch_size": randint(4, 9)},
        n_iter=2,
        cv=2,
        random_state=0,
    )
    assert np.isfinite(search.fit(TEXTS, LABELS).cv_results_["mean_test_score"]).all()
    rate = TextClassifier(**SMALL, learning_rate=np.float32(0.5)).fit(TEXTS, LABELS)
    same = TextClassifier(**SMALL, learning_rate=0.5).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(rate.predict_proba(TEXTS), same.predict_proba(TEXTS))


def test_encoders_and_word_vectors_may_be_paths(tmp_path: Path) -> None:
    place = tmp_path / "vectors.txt"
    words = sorted({word for tokens in TOKENS for word in tokens} | {"story", "film", "great"})
    rows = np.random.default_rng(0).normal(size=(len(words), 4)).round(3)
    place.write_text("".join(f"{w} {' '.join(map(str, row))}\n" for w, row in zip(words, rows, strict=True)))
    by_path, by_name = TextClassifier(encoder=place), TextClassifier(encoder=str(place))
    assert clone(by_path).encoder == place
    np.testing.assert_array_equal(
        by_path.fit(TEXTS, LABELS).predict_proba(TEXTS), by_name.fit(TEXTS, LABELS).predict_proba(TEXTS)
    )
    by_path.save_pretrained(tmp_path / "c")
    assert TextClassifier.from_pretrained(tmp_path / "c").encoder == str(place)
    tagger = SequenceTagger(**ON_WORDS, word_vectors=place).fit(TOKENS, TAGS)
    assert tagger.score(TOKENS, TAGS) >= 0.0
    vectors = unfreeze.WordVectors.from_pretrained(place)
    np.testing.assert_array_equal(Embedder(place).transform(TEXTS), vectors.encode(TEXTS))
    np.testing.assert_allclose(vectors["great"], rows[words.index("great")], rtol=1e-6)


def test_what_is_not_fitted_says_so() -> None:
    data: list[tuple[Any, Any, Any]] = [(TextClassifier(), TEXTS, TEXTS), (SequenceTagger(), TOKENS, RAW)]
    for estimator, X, raw in [*data, (QuestionAnswerer(), PAIRS, PAIRS)]:
        said = f"this {type(estimator).__name__} is not fitted"
        with pytest.raises(NotFittedError, match=said):
            estimator.predict(X)
        with pytest.raises(NotFittedError, match=said):
            estimator(raw)
        assert not hasattr(estimator, "network_")
        with pytest.raises(NotFittedError, match=said):
            estimator.push_to_hub("owner/name")
        with pytest.raises(NotFittedError, match=said):
            estimator.layer_weights  # noqa: B018
    with pytest.raises(NotFittedError):
        TextClassifier().predict_proba(TEXTS)
    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        TextClassifier().predictions  # type: ignore[attr-defined]  # noqa: B018


def test_clones_have_the_settings_and_are_not_fitted(classifier: TextClassifier) -> None:
    copy = clone(classifier)
    assert copy.get_params() == classifier.get_params() and not hasattr(copy, "network_")
    assert copy != classifier and is_classifier(copy)
    again = copy.fit(TEXTS, LABELS)
    assert again is copy
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_predictions_of_a_classifier(classifier: TextClassifier) -> None:
    shares, found = classifier.predict_proba(TEXTS), classifier.predict(TEXTS)
    assert list(classifier.classes_) == sorted(set(LABELS)) and found.shape == (len(TEXTS),)
    np.testing.assert_array_equal(found, classifier.classes_[shares.argmax(1)])
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    assert classifier.score(TEXTS, LABELS) == accuracy_score(LABELS, found)
    called = classifier(TEXTS[:2])
    assert [each["label"] for each in called] == list(found[:2])
    assert [each["score"] for each in called] == pytest.approx(shares[:2].max(1))
    assert classifier(TEXTS[0]) == called[:1]


def test_texts_come_in_any_container(classifier: TextClassifier) -> None:
    expected = classifier.predict_proba(TEXTS)
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS}, index=range(7, 7 + len(TEXTS)))
    for X in (
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        frame["text"],
        frame[["text"]],
        np.array(TEXTS)[:, None],
    ):
        np.testing.assert_array_equal(classifier.predict_proba(X), expected)
        fitted = TextClassifier(**SMALL).fit(X, frame["label"])
        np.testing.assert_array_equal(fitted.predict_proba(TEXTS), expected)
    with pytest.raises(UserError, match="the texts have 2 columns: choose one of them, such as X"):
        classifier.predict(frame)
    with pytest.raises(UserError, match="is one text"):
        classifier.predict(TEXTS[0])


@pytest.mark.parametrize("kind", [int, float, bool, np.int32])
def test_labels_come_back_as_they_were_given(kind: Any, tmp_path: Path) -> None:
    y = np.array([label == "positive" for label in LABELS]).astype(kind)
    fitted = TextClassifier(**SMALL).fit(TEXTS, y)
    assert fitted.classes_.dtype == y.dtype and fitted.predict(TEXTS).dtype == y.dtype
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))
    assert fitted.score(TEXTS, y) == accuracy_score(y, fitted.predict(TEXTS))
    fitted.save_pretrained(tmp_path / "c")
    loaded = TextClassifier.from_pretrained(tmp_path / "c")
    np.testing.assert_array_equal(loaded.predict(TEXTS), fitted.predict(TEXTS))
    assert loaded.score(TEXTS, y) == fitted.score(TEXTS, y)


def test_many_labels_are_an_indicator_matrix() -> None:
    y = [["long", label] if len(text) > 60 else [label] for text, label in zip(TEXTS, LABELS, strict=True)]
    fitted = TextClassifier(**SMALL).fit(TEXTS, y)
    found = fitted.predict(TEXTS)
    assert found.shape == (len(TEXTS), 3) and list(fitted.classes_) == ["long", "negative", "positive"]
    np.testing.assert_array_equal(found, fitted.predict_proba(TEXTS) >= 0.5)
    true = np.array([[name in labels for name in fitted.classes_] for labels in y])
    assert fitted.score(TEXTS, y) == accuracy_score(true, found)


def test_an_indicator_matrix_is_the_label_of_several_columns() -> None:
    y = np.array(
        [[label == "positive", len(text) > 60, True] for text, label in zip(TEXTS, LABELS, strict=True)]
    )
    names = ["positive", "long", "text"]
    lists = [[name for name, has in zip(names, row, strict=True) if has] for row in y]
    for given in (y.astype(int), y, pd.DataFrame(y, columns=names), csr_matrix(y.astype(int))):
        fitted = TextClassifier(**SMALL).fit(TEXTS, given)
        assert list(fitted.classes_) == (names if isinstance(given, pd.DataFrame) else [0, 1, 2])
        assert fitted.score(TEXTS, given) == accuracy_score(y, fitted.predict(TEXTS))
    by_lists = TextClassifier(**SMALL).fit(TEXTS, lists)
    assert list(by_lists.classes_) == ["long", "positive", "text"]
    np.testing.assert_allclose(
        by_lists.predict_proba(TEXTS).mean(0)[2], fitted.predict_proba(TEXTS).mean(0)[2], atol=0.1
    )
    scores = cross_val_score(TextClassifier(**SMALL), TEXTS, y.astype(int), cv=2, scoring="f1_macro")
    assert np.isfinite(scores).all()
    with pytest.raises(UserError, match="labels have 2 columns: choose one, or give an indicator matrix"):
        TextClassifier(**SMALL).fit(TEXTS, np.full((48, 2), 3))


@pytest.mark.parametrize(
    "pair", [("9", "10"), (9.0, 10.0), (9, 10), ("b", "a"), (True, False), (-1, 1), (1, 2.0)]
)
def test_classes_are_in_the_order_of_numpy(pair: tuple[Any, Any], tmp_path: Path) -> None:
    y = [pair[label == "positive"] for label in LABELS]
    fitted = TextClassifier(**SMALL).fit(TEXTS, y)
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))
    np.testing.assert_array_equal(
        fitted.predict(TEXTS), fitted.classes_[fitted.predict_proba(TEXTS).argmax(1)]
    )
    (auc,) = cross_val_score(
        TextClassifier(**SMALL), TEXTS, y, cv=[(range(48), range(48))], scoring="roc_auc", error_score="raise"
    )
    assert auc == roc_auc_score(np.array(y) == np.unique(y)[1], fitted.predict_proba(TEXTS)[:, 1])
    fitted.save_pretrained(tmp_path / "c")
    loaded = TextClassifier.from_pretrained(tmp_path / "c")
    np.testing.assert_array_equal(loaded.classes_, fitted.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_a_classifier_of_a_file_is_scored_with_numbers_as_well() -> None:
    settings = ClassifierSettings(**SMALL)
    of_file, _ = fit_classifier(example_set(TEXTS, [str(int(x == "positive")) for x in LABELS]), settings)
    y = np.array([int(label == "positive") for label in LABELS])
    assert of_file.score(TEXTS, y) == accuracy_score(y.astype(str), of_file.predict(TEXTS)) > 0
    column = y.astype(str)[:, None]  # compared with each other, (n, 1) and (n,) give (n, n)
    assert (
        of_file.score(TEXTS, column) == of_file.score(TEXTS, pd.DataFrame(column)) == of_file.score(TEXTS, y)
    )


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (None, LABELS, "texts come in a list, an array or a pandas Series; what was given is None"),
        (set(TEXTS), LABELS, "what was given is of type set"),
        (TEXTS, None, "labels come in a list, an array or a pandas Series; what was given is None"),
        (TEXTS, 3, "what was given is of type int"),
        (TEXTS, ["a", 1] * 24, "some labels are strings, such as 'a', and others are numbers, such as 1"),
        (TEXTS, ["1", 1] * 24, "some labels are strings, such as '1', and others are numbers"),
        (TEXTS, ["a", "a "] * 24, "the labels 'a' and 'a ' differ only in white space"),
        ([], [], "there is no example to learn from"),
    ],
)
def test_what_cannot_be_learned_from_is_said(X: Any, y: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        TextClassifier(**SMALL).fit(X, y)


def test_iterators_are_examples_too(classifier: TextClassifier) -> None:
    fitted = TextClassifier(**SMALL).fit(iter(TEXTS), iter(LABELS))
    np.testing.assert_array_equal(fitted.predict_proba(iter(TEXTS)), classifier.predict_proba(TEXTS))
    assert len(SequenceTagger(**ON_WORDS).fit(iter(TOKENS), iter(TAGS)).predict(iter(TOKENS))) == len(TOKENS)


def test_a_score_needs_as_many_labels_as_texts(classifier: TextClassifier) -> None:
    for X, y in (([], []), (TEXTS, LABELS[:3]), (TEXTS, LABELS[:1])):
        with pytest.raises(UserError, match="there must be one for each text"):
            classifier.score(X, y)


@pytest.mark.parametrize("validation", [0.2, TEXTS[:3], ([], [])])
def test_validation_examples_are_a_pair(validation: Any) -> None:
    data: list[tuple[Any, Any, Any]] = [(TextClassifier(**SMALL), TEXTS, LABELS)]
    data += [(SequenceTagger(**ON_WORDS), TOKENS, TAGS), (QuestionAnswerer(**ON_WORDS), PAIRS, ANSWERS)]
    said = "validation is a pair|to measure on|an answer to compare with"
    for estimator, X, y in data:
        with pytest.raises(UserError, match=said):
            estimator.fit(X, y, validation=validation)


@pytest.mark.parametrize(
    "settings", [{**SMALL, "epochs": 8, "learning_rate": 0.02}, {"transfer": "frozen", "pooling": "vectors"}]
)
def test_weights_of_texts_decide_between_contradictory_labels(settings: dict[str, Any]) -> None:
    texts, n = [*TEXTS, *TEXTS], len(TEXTS)
    opposite = [{"positive": "negative", "negative": "positive"}[label] for label in LABELS]
    y, weights = [*LABELS, *opposite], np.array([9.0] * n + [1.0] * n)
    first = TextClassifier(**settings).fit(texts, y, sample_weight=weights)
    assert first.score(TEXTS, LABELS) > 0.6
    second = TextClassifier(**settings).fit(texts, y, sample_weight=pd.Series(weights[::-1]))
    assert second.score(TEXTS, LABELS) < 0.4
    # Only ratios matter, and equal weights are those that are not given.
    scaled = TextClassifier(**settings).fit(texts, y, sample_weight=2.0 * weights)
    np.testing.assert_array_equal(scaled.predict_proba(TEXTS), first.predict_proba(TEXTS))
    equal = TextClassifier(**settings).fit(TEXTS, LABELS, sample_weight=[2] * n)
    without = TextClassifier(**settings).fit(TEXTS, LABELS)
    np.testing.assert_allclose(equal.predict_proba(TEXTS), without.predict_proba(TEXTS), atol=1e-3)
    # A text without a known word gets the weighted shares of the labels.
    uneven = TextClassifier(**settings).fit(
        TEXTS, LABELS, sample_weight=[3.0 if x == "positive" else 1.0 for x in LABELS]
    )
    n_pos = LABELS.count("positive")
    expected = 3 * n_pos / (3 * n_pos + n - n_pos)
    assert uneven.predict_proba(["xqzv"])[0, list(uneven.classes_).index("positive")] == pytest.approx(
        expected
    )


def test_scores_take_weights_and_probabilities_have_logarithms(classifier: TextClassifier) -> None:
    weights, found = np.arange(len(TEXTS)), classifier.predict(TEXTS)
    expected = accuracy_score(LABELS, found, sample_weight=weights)
    assert classifier.score(TEXTS, LABELS, weights) == pytest.approx(expected)
    assert classifier.score(TEXTS, LABELS) == accuracy_score(LABELS, found)
    np.testing.assert_array_equal(
        classifier.predict_log_proba(TEXTS), np.log(classifier.predict_proba(TEXTS))
    )


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], r"sample weights of shape \(1,\): there must be one for each example"),
        ([-1.0] * 48, r"sample_weight\[0\] is -1.0: weights are at least 0"),
        ([1.0] * 47 + [float("nan")], r"sample_weight\[47\] is nan"),
        ([0.0] * 48, "all sample weights are 0"),
        (["heavy"] * 48, "sample_weight is one number for each example"),
        ((TEXTS, LABELS), "sample_weight is one number for each example"),
        (3.0, "sample weights come in a list"),
    ],
)
def test_wrong_weights_are_said(weights: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        TextClassifier(**SMALL).fit(TEXTS, LABELS, sample_weight=weights)


def test_weights_belong_to_the_identity_of_a_run(tmp_path: Path) -> None:
    examples, settings = example_set(TEXTS, LABELS), ClassifierSettings(**SMALL)
    fit_classifier(examples, settings, output=tmp_path / "c", sample_weight=[1, 2] * 24)
    fit_classifier(examples, settings, output=tmp_path / "c", sample_weight=[2, 4] * 24)  # the same ratios
    with pytest.raises(UserError, match="another sample weight"):
        fit_classifier(examples, settings, output=tmp_path / "c", sample_weight=[2, 1] * 24)
    with pytest.raises(UserError, match="another sample weight"):
        fit_classifier(examples, settings, output=tmp_path / "c")


def test_validation_examples_choose_the_best_epoch() -> None:
    fitted = TextClassifier(**SMALL).fit(TEXTS, LABELS, validation=(TEXTS[:8], LABELS[:8]))
    assert fitted.metrics_["accuracy"] == fitted.score(TEXTS[:8], LABELS[:8])


def test_cross_validation_scores_every_fold() -> None:
    scores = cross_val_score(TextClassifier(**SMALL), TEXTS, LABELS, cv=2)
    halves = [(TEXTS[::2], LABELS[::2]), (TEXTS[1::2], LABELS[1::2])]
    assert scores.shape == (2,) and all(0 <= score <= 1 for score in scores)
    folds = [(list(range(0, 48, 2)), list(range(1, 48, 2)))]
    (found,) = cross_val_score(TextClassifier(**SMALL), np.array(TEXTS), np.array(LABELS), cv=folds)
    assert found == TextClassifier(**SMALL).fit(*halves[0]).score(*halves[1])


def test_cross_validation_passes_weights_on() -> None:
    settings: dict[str, Any] = {"transfer": "frozen", "pooling": "vectors"}
    weights = np.where(np.arange(48) % 3, 1.0, 9.0)
    folds = [(list(range(0, 48, 2)), list(range(1, 48, 2)))]
    (found,) = cross_val_score(
        TextClassifier(**settings), TEXTS, LABELS, cv=folds, params={"sample_weight": weights}
    )
    fitted = TextClassifier(**settings).fit(TEXTS[::2], LABELS[::2], sample_weight=weights[::2])
    assert found == fitted.score(TEXTS[1::2], LABELS[1::2])
    without = TextClassifier(**settings).fit(TEXTS[::2], LABELS[::2])
    assert np.abs(without.predict_proba(TEXTS) - fitted.predict_proba(TEXTS)).max() > 0.01


def test_cross_validation_of_taggers_and_answerers() -> None:
    fold = [(list(range(16)), list(range(16, 24)))]
    (found,) = cross_val_score(SequenceTagger(**ON_WORDS), TOKENS, TAGS, cv=fold)
    assert found == SequenceTagger(**ON_WORDS).fit(TOKENS[:16], TAGS[:16]).score(TOKENS[16:], TAGS[16:])
    fold = [(list(range(12)), list(range(12, 16)))]
    (found,) = cross_val_score(QuestionAnswerer(**ON_WORDS), PAIRS, ANSWERS, cv=fold)
    assert found == QuestionAnswerer(**ON_WORDS).fit(PAIRS[:12], ANSWERS[:12]).score(PAIRS[12:], ANSWERS[12:])


def test_a_grid_search_fits_the_best_settings_again() -> None:
    search = GridSearchCV(
        TextClassifier(**SMALL, batch_size=4), {"learning_rate": [1e-6, 0.02], "epochs": [8]}, cv=2, n_jobs=1
    )
    search.fit(TEXTS, LABELS)
    assert search.best_params_ == {"learning_rate": 0.02, "epochs": 8}
    expected = TextClassifier(**SMALL, batch_size=4).set_params(**search.best_params_).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(search.predict_proba(TEXTS), expected.predict_proba(TEXTS))


def test_a_step_of_a_pipeline() -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = Pipeline([("lower", lower), ("classify", TextClassifier(**SMALL))])
    pipeline.set_params(classify__seed=1).fit(TEXTS, LABELS)
    expected = TextClassifier(**SMALL, seed=1).fit([text.lower() for text in TEXTS], LABELS)
    np.testing.assert_array_equal(
        pipeline.predict_proba(TEXTS), expected.predict_proba([t.lower() for t in TEXTS])
    )


def test_pickled_and_dumped_by_joblib_they_predict_the_same(
    classifier: TextClassifier, tagger: SequenceTagger, answerer: QuestionAnswerer, tmp_path: Path
) -> None:
    data: list[tuple[Any, Any]] = [(classifier, TEXTS), (tagger, RAW), (answerer, PAIRS)]
    for fitted, X in data:
        joblib.dump(fitted, tmp_path / "fitted")
        for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted")):  # noqa: S301
            assert again.get_params() == fitted.get_params()
            assert again(X) == fitted(X)


def test_threads_predict_the_same_at_once(
    classifier: TextClassifier, tagger: SequenceTagger, answerer: QuestionAnswerer
) -> None:
    data: list[tuple[Any, Any]] = [(classifier, TEXTS), (tagger, RAW), (answerer, PAIRS)]
    for fitted, X in data:
        expected = fitted(X)
        with ThreadPoolExecutor(4) as pool:
            assert all(found == expected for found in pool.map(fitted, [X] * 12))


def test_saved_and_loaded_they_predict_the_same(
    classifier: TextClassifier, tagger: SequenceTagger, answerer: QuestionAnswerer, tmp_path: Path
) -> None:
    data: list[tuple[Any, Any]] = [(classifier, TEXTS), (tagger, RAW), (answerer, PAIRS)]
    for fitted, X in data:
        fitted.save_pretrained(tmp_path / type(fitted).__name__)
        assert type(fitted).from_pretrained(tmp_path / type(fitted).__name__)(X) == fitted(X)


def test_loaded_estimators_have_the_settings_of_their_fit(
    classifier: TextClassifier, tagger: SequenceTagger, answerer: QuestionAnswerer, tmp_path: Path
) -> None:
    for fitted in (classifier, tagger, answerer):
        kind: Any = type(fitted)
        fitted.save_pretrained(tmp_path / "saved")
        assert kind.from_pretrained(tmp_path / "saved").get_params() == fitted.get_params()
        place = tmp_path / "saved" / "config.json"
        config = json.loads(place.read_text())
        for wrong, said in (
            ({"epochs": "3"}, "estimator: epochs is '3', not a whole number"),
            ({"epochs": 0}, "estimator: epochs must be above 0, not 0: the file is damaged"),
            ({"epoch": 3}, "does not fit this version of unfreeze"),
            ([3], "estimator is a list, not an object"),
        ):
            place.write_text(json.dumps({**config, "estimator": wrong}))
            with pytest.raises(UserError, match=said):
                kind.from_pretrained(tmp_path / "saved")
        # Models of earlier versions do not say how they were fitted.
        place.write_text(json.dumps({name: value for name, value in config.items() if name != "estimator"}))
        assert kind.from_pretrained(tmp_path / "saved").get_params() == kind().get_params()


def test_estimators_are_uploaded_as_they_are_saved(
    classifier: TextClassifier, tagger: SequenceTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload_folder(*, repo_id: str, folder_path: Path, token: str | None) -> str:
        shutil.copytree(folder_path, tmp_path / repo_id)
        return "address"

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **options: None)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    assert classifier.push_to_hub("owner/classifier") == tagger.push_to_hub("owner/tagger") == "address"
    again = TextClassifier.from_pretrained(tmp_path / "owner" / "classifier")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert SequenceTagger.from_pretrained(tmp_path / "owner" / "tagger")(RAW) == tagger(RAW)


@pytest.mark.parametrize(
    ("sentences", "said"),
    [
        (None, "sentences come in a list"),
        ([None], "words come in a list"),
        ([["a", None]], r"sentences\[0\]\[1\] is None, not a text"),
        ([["a"], [1]], r"sentences\[1\]\[0\] is of type int, not a text"),
    ],
)
def test_a_tagger_says_which_word_is_none(tagger: SequenceTagger, sentences: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tagger.predict(sentences)


def test_questions_come_as_data_frames_and_dictionaries(answerer: QuestionAnswerer) -> None:
    frame = pd.DataFrame(PAIRS, columns=["question", "context"]).assign(id=7)[["id", "context", "question"]]
    records = frame.to_dict("records")
    assert answerer(frame) == answerer(records) == answerer(np.array(PAIRS)) == answerer(PAIRS)
    starts = pd.Series([text for text, _ in ANSWERS], index=range(5, 5 + len(ANSWERS)))
    fitted = QuestionAnswerer(**ON_WORDS).fit(frame, starts)
    assert fitted(PAIRS) == QuestionAnswerer(**ON_WORDS).fit(PAIRS, list(starts))(PAIRS)
    with pytest.raises(UserError, match="X has no columns question and context, but id"):
        answerer.predict(frame[["id"]])
    with pytest.raises(UserError, match=r"pairs\[0\] has 3 texts: a question and its context are needed"):
        answerer.predict([("a", "b", "c")])


@pytest.mark.parametrize(
    "answer", [None, float("nan"), 3, {"text": ["Ada"], "answer_start": [0]}, ("Ada", 0.0)]
)
def test_an_answer_is_a_text_or_a_text_and_its_place(answer: Any) -> None:
    with pytest.raises(UserError, match=r"answers\[0\] is .*, not a text"):
        QuestionAnswerer(**ON_WORDS).fit(PAIRS[:1], [answer])


def test_a_tagger_tags_words_and_finds_spans_in_text(tagger: SequenceTagger) -> None:
    found = tagger.predict(TOKENS)
    assert [len(tags) for tags in found] == [len(words) for words in TOKENS]
    report = tagger.evaluate(SENTENCES)
    assert tagger.score(TOKENS, TAGS) == report.f1
    spans = tagger(" ".join(TOKENS[0]))
    assert tagger([" ".join(TOKENS[0])]) == [spans]
    assert all(each.keys() == {"entity_group", "score", "word", "start", "end"} for each in spans)
    assert {each["entity_group"] for each in spans} <= set(tagger.classes_)


def test_an_answerer_takes_answers_with_or_without_their_place(answerer: QuestionAnswerer) -> None:
    (found,) = answerer(PAIRS[:1])
    assert found["answers"][0].keys() == {"answer", "score", "start", "end"}
    assert answerer.predict(PAIRS).shape == (len(PAIRS),)
    assert 0.0 <= answerer.score(PAIRS, [text for text, _ in ANSWERS]) <= 1.0
    with pytest.raises(UserError, match=r"answers\[0\] is 'nobody', which its context does not have"):
        QuestionAnswerer(**ON_WORDS).fit(PAIRS[:1], ["nobody"])
    with pytest.raises(UserError, match="2 questions and 1 answers"):
        QuestionAnswerer(**ON_WORDS).fit(PAIRS[:2], ["nobody"])


def test_the_embedder_is_a_transformer() -> None:
    encoder = unfreeze.Encoder.from_pretrained("wiki-small")
    bottom = Embedder("wiki-small", layer=0)
    vectors = bottom.fit_transform(pd.Series(TEXTS[:4], index=[3, 2, 1, 0]))
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS[:4], layer=0))
    np.testing.assert_array_equal(Embedder(encoder, layer=0).transform(TEXTS[:4]), vectors)
    names = bottom.get_feature_names_out()
    assert names[0] == "embedder0" and len(names) == vectors.shape[1]
    model = make_pipeline(Embedder("wiki-small"), LogisticRegression())
    search = GridSearchCV(model, {"embedder__layer": [0, -1]}, cv=2).fit(TEXTS[:16], LABELS[:16])
    best = search.best_params_["embedder__layer"]
    by_hand = LogisticRegression().fit(encoder.encode(TEXTS[:16], layer=best), LABELS[:16])
    assert list(search.predict(TEXTS[16:])) == list(by_hand.predict(encoder.encode(TEXTS[16:], layer=best)))


def test_an_embedder_makes_data_frames_for_a_column_transformer() -> None:
    frame = pd.DataFrame({"text": TEXTS[:3], "length": [1, 2, 3]}, index=[7, 5, 6])
    columns = ColumnTransformer(
        [("vectors", Embedder("wiki-small", layer=0), "text")], remainder="passthrough"
    )
    found = columns.set_output(transform="pandas").fit_transform(frame)
    expected = Embedder("wiki-small", layer=0).transform(TEXTS[:3])
    assert list(found.index) == [7, 5, 6] and list(found["remainder__length"]) == [1, 2, 3]
    np.testing.assert_array_equal(found.filter(like="vectors__embedder"), expected)
    copy = clone(Embedder("wiki-small", layer=0).set_output(transform="pandas"))
    assert list(copy.transform(frame["text"]).index) == [7, 5, 6]
    with pytest.raises(UserError, match="transform is default or pandas, not 'polars'"):
        Embedder().set_output(transform="polars")
    from_list = copy.transform(TEXTS[:2])
    assert list(from_list.index) == [0, 1] and list(from_list.columns) == list(copy.get_feature_names_out())
    with pytest.raises(UserError, match="there is no layer 9"):
        Embedder("wiki-small", layer=9).get_feature_names_out()


PUBLIC = [
    "unfreeze.tasks.text_classifier",
    "unfreeze.tasks.sequence_tagger",
    "unfreeze.tasks.question_answerer",
]
PUBLIC += ["unfreeze.tasks.image_classifier", "unfreeze.tasks.object_locator", "unfreeze.tasks.embedder"]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted >= 3 and not result.failed
