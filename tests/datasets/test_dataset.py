"""Samples, splits, digests and duplicates of labeled data, whatever the inputs are."""

from __future__ import annotations

import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from unfreeze.datasets.dataset import ExampleSet, LabeledExample, labeled_set
from unfreeze.errors import UserError
from unfreeze.text.examples import example_set
from unfreeze.text.questions import Answer, Question, QuestionSet
from unfreeze.text.tagged import tagged_set


def labeled(labels: list[tuple[str, ...]], multi_label: bool = False) -> ExampleSet:
    examples = [LabeledExample(f"text {i}", names) for i, names in enumerate(labels)]
    names = tuple(sorted({name for names in labels for name in names}))
    return ExampleSet(examples, "here", names, multi_label)


# Samples

single_label = st.lists(st.sampled_from("aaaaaabbbc").map(lambda label: (label,)), min_size=1, max_size=60)
multi_label = st.lists(
    st.sets(st.sampled_from("abcd")).map(lambda s: tuple(sorted(s))), min_size=1, max_size=60
)
seeds = st.integers(0, 1000)
quick = settings(max_examples=40, deadline=None)


@quick
@given(single_label | multi_label, seeds)
def test_a_sample_grows_by_the_class_that_is_behind(names: list[tuple[str, ...]], seed: int) -> None:
    """Oracle: Webster's (Sainte-Laguë's) method, a seat at a time, once each label has one."""
    whole = labeled(names, multi_label=True)
    sizes, n_first = Counter(names), len(whole.label_names)
    assume(n_first <= len(whole))
    order = whole.sample(len(whole), seed).examples
    assert set(order) == set(whole.examples)
    seats = Counter(example.labels for example in order[:n_first])
    for example in order[n_first:]:
        averages = {c: Fraction(n, 2 * seats[c] + 1) for c, n in sizes.items() if seats[c] < n}
        assert averages[example.labels] == max(averages.values())
        seats[example.labels] += 1


@quick
@given(single_label | multi_label, seeds, st.data())
def test_samples_are_nested_exact_and_show_every_class(
    names: list[tuple[str, ...]], seed: int, data: st.DataObject
) -> None:
    whole = labeled(names, multi_label=True)
    assume(len(whole.label_names) <= len(whole))
    counts = st.integers(max(1, len(whole.label_names)), len(whole))
    small, large = sorted([data.draw(counts), data.draw(counts)])
    smaller, larger = whole.sample(small, seed), whole.sample(large, seed)
    assert len(smaller) == small and len(larger) == large
    assert larger.examples[:small] == smaller.examples
    assert len(set(larger.examples)) == large and set(larger.examples) <= set(whole.examples)
    assert {label for example in smaller.examples for label in example.labels} == set(whole.label_names)
    assert smaller.label_names == whole.label_names and smaller.multi_label


def test_another_seed_gives_another_sample() -> None:
    whole = labeled([("a",), ("b",)] * 50)
    samples = {tuple(whole.sample(10, seed).examples) for seed in range(10)}
    assert len(samples) == 10


def test_samples_stay_what_they_were() -> None:
    """Published comparisons name a seed: another version must draw the same examples for it."""
    whole = labeled([("a",), ("a",), ("b",)] * 4)
    drawn = [example.input for example in whole.sample(5, seed=3).examples]
    assert drawn == ["text 5", "text 6", "text 9", "text 0", "text 8"]


@pytest.mark.parametrize(
    ("count", "message"), [(7, "holds 6"), (2, "cannot cover 3 classes"), (0, "3 classes")]
)
def test_samples_that_cannot_be(count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        labeled([("a",), ("b",), ("c",)] * 2).sample(count, seed=0)


@quick
@given(single_label | multi_label, st.floats(0.01, 0.99), seeds)
def test_a_split_keeps_every_example_once_and_every_class_in_training(
    names: list[tuple[str, ...]], fraction: float, seed: int
) -> None:
    whole = labeled(names, multi_label=True)
    assume(len(whole) > max(1, len(whole.label_names)))
    training, validation = whole.split(fraction, seed)
    assert sorted(training.examples + validation.examples, key=whole.examples.index) == whole.examples
    assert {label for example in training.examples for label in example.labels} == set(whole.label_names)
    assert 1 <= len(validation) <= max(1, round(fraction * len(whole)))
    assert training.examples == sorted(training.examples, key=whole.examples.index)


@quick
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), seeds)
def test_a_split_has_the_classes_of_scikit_learns(tens: list[int], seed: int) -> None:
    names = [(f"class {i}",) for i, ten in enumerate(tens) for _ in range(10 * ten)]
    _, validation = labeled(names).split(0.3, seed)
    _, expected = train_test_split(names, test_size=0.3, stratify=names, random_state=seed)
    assert Counter(example.labels for example in validation.examples) == Counter(expected)


def test_splits_that_cannot_be() -> None:
    with pytest.raises(UserError, match="2 examples of 2 classes are too few"):
        labeled([("a",), ("b",)]).split(0.5, seed=0)
    with pytest.raises(UserError, match=r"between 0 and 1, not 1\.5"):
        labeled([("a",)] * 4).split(1.5, seed=0)


def test_duplicates_are_counted_in_the_test_set() -> None:
    train = ExampleSet([LabeledExample(text, ("x",)) for text in "aab"], "train", ("x",))
    test = ExampleSet([LabeledExample(text, ("y",)) for text in "acaA"], "test", ("y",))
    assert test.duplicates_of(train) == 2


# Digests: runs in progress hold them, so they must stay what they were; these were computed by the version before this file


def test_digests_stay_what_they_were() -> None:
    assert example_set(["good", "bäd", "good"], ["p", "n", "p"]).digest() == "23dd8fabdcb66725"
    assert example_set(["a", "b"], [["x", "y"], []]).digest() == "d9aa4971b7960e0c"
    tagged = tagged_set([["Ada", "sleeps"], ["Oslo"]], [["B-PER", "O"], ["B-LOC"]])
    assert tagged.digest() == "deab3caaee5f9a5f"
    context = "Ada lives in Oslo."
    questions = QuestionSet([Question("7", "Where?", context, (Answer("Oslo", 13),))], "here")
    assert questions.digest() == "9eb399c162c14146"


def test_samples_of_other_tasks_stay_what_they_were() -> None:
    tagged = tagged_set([[str(n)] for n in range(9)], [["AB"[n % 2]] for n in range(9)])
    assert [each.tokens[0] for each in tagged.sample(4, seed=7).examples] == ["1", "6", "7", "4"]
    questions = QuestionSet([Question(str(n), "x", "y", ()) for n in range(9)], "here")
    assert [each.id for each in questions.sample(4, seed=7).examples] == ["1", "4", "6", "7"]
    with pytest.raises(UserError, match="here holds 9 questions, not 10"):
        questions.sample(10, seed=7)


# Inputs that are no texts


def images(values: list[int]) -> list[np.ndarray]:
    return [np.full((2, 3), value, np.uint8) for value in values]


def test_arrays_are_inputs_like_texts() -> None:
    labels = ["cat", "dog"] * 6
    whole = labeled_set(images([*range(12)]), labels, "the given images", noun="image")
    of_texts = example_set([str(n) for n in range(12)], labels)
    sample = whole.sample(5, seed=3)
    assert [int(each[0, 0]) for each in sample.inputs()] == [
        int(each) for each in of_texts.sample(5, 3).inputs()
    ]
    assert whole.duplicates_of(sample) == 5 and sample.duplicates_of(whole) == 5
    assert whole.place(3) == "images[3]"
    with pytest.raises(UserError, match=r"labels\[1\] is None: this image has no label"):
        labeled_set(images([1, 2]), ["cat", None], "the given images", noun="image")
    with pytest.raises(UserError, match="2 images and 1 labels"):
        labeled_set(images([1, 2]), ["cat"], "the given images", noun="image")


@pytest.mark.parametrize(
    "other",
    [
        labeled_set(images([1, 3]), ["a", "b"], "s"),
        labeled_set(images([2, 1]), ["a", "b"], "s"),
        labeled_set(images([1, 2]), ["b", "a"], "s"),
        labeled_set([each.reshape(3, 2) for each in images([1, 2])], ["a", "b"], "s"),
        labeled_set([each.astype(np.int8) for each in images([1, 2])], ["a", "b"], "s"),
    ],
    ids=["value", "order", "labels", "shape", "type"],
)
def test_digests_of_arrays_tell_them_apart(other: ExampleSet) -> None:
    mine = labeled_set(images([1, 2]), ["a", "b"], "another source")
    assert mine.digest() != other.digest()
    strided = [np.asfortranarray(each) for each in images([1, 2])]
    assert mine.digest() == labeled_set(strided, ["a", "b"], "s").digest()
    assert mine.digest() == pickle.loads(pickle.dumps(mine)).digest()  # noqa: S301 - written by this test
