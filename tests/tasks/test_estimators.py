"""The estimators as scikit-learn uses them: parameters, clone, cross-validation, grids, pipelines, pickles and threads."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
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
from unfreeze import Embedder, QuestionAnswerer, SequenceTagger, TextClassifier
from unfreeze.errors import UserError
from unfreeze.generated import movie_reviews

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
ESTIMATORS: list[Any] = [TextClassifier, SequenceTagger, QuestionAnswerer, Embedder]


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


def test_settings_are_shown_if_they_are_not_the_default() -> None:
    assert repr(TextClassifier()) == "TextClassifier()"
    assert repr(SequenceTagger(encoder="none", seed=3)) == "SequenceTagger(encoder='none', seed=3)"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "^epochs must be above 0, not 0$"),
        ({"learning_rate": -1.0}, "^learning_rate must be above 0"),
        ({"epochs": 1, "minutes": 1.0}, "by epochs or by minutes, not by both"),
        ({"transfer": "freeze"}, "transfer must be one of scratch, frozen, fine-tune, not 'freeze'"),
        ({"mix_l2": -1.0}, "mix_l2 must be at least 0"),
        ({"discriminative": 0.5}, "discriminative must be 1"),
        ({"layers": "all"}, "layers is mix or the number of a layer, not 'all'"),
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


def test_what_is_not_fitted_says_so() -> None:
    data: list[tuple[Any, Any, Any]] = [(TextClassifier(), TEXTS, TEXTS), (SequenceTagger(), TOKENS, RAW)]
    for estimator, X, raw in [*data, (QuestionAnswerer(), PAIRS, PAIRS)]:
        said = f"this {type(estimator).__name__} is not fitted"
        with pytest.raises(NotFittedError, match=said):
            estimator.predict(X)
        with pytest.raises(NotFittedError, match=said):
            estimator(raw)
        assert not hasattr(estimator, "network_")
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
    with pytest.raises(UserError, match="X has 2 columns: choose the one that holds the texts"):
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


PUBLIC = [
    "unfreeze.tasks.text_classifier",
    "unfreeze.tasks.sequence_tagger",
    "unfreeze.tasks.question_answerer",
]
PUBLIC += ["unfreeze.tasks.embedder"]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted >= 3 and not result.failed
