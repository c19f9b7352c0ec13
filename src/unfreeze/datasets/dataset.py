"""A set of labeled examples: where it comes from, how it is sampled, and a digest that identifies it.

Every task has its own type of example; `Dataset` has what does not depend on it. `ExampleSet` serves
classification: its inputs are texts, or anything else, such as arrays of images.

Samples for learning curves are fixed by the seed and nested: a sample is the beginning of one order of all examples. That of
an `ExampleSet` is also stratified: every beginning of its order holds the classes in proportion (Webster's method of
apportionment), after examples that together have every class.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

from unfreeze.datasets.labels import BadLabel, as_read, labels_of, ordered_names
from unfreeze.errors import UserError, need_several

Example = TypeVar("Example")


@dataclass(frozen=True)
class Dataset(ABC, Generic[Example]):
    """Examples in the order of their source."""

    examples: list[Example]
    source: str
    """What messages call the set, usually a file."""
    noun: ClassVar[str] = "example"
    """What messages call one example."""
    sorted_samples: ClassVar[bool] = False
    """Whether the examples of a sample stay in the order of the set."""

    def __len__(self) -> int:
        return len(self.examples)

    def subset(self, examples: Iterable[Example]) -> Self:
        """A set of other examples that shares everything else, such as the names of all classes."""
        return replace(self, examples=list(examples))

    def sample(self, count: int, seed: int) -> Self:
        """A random sample; for one seed a smaller sample is a part of a larger one.

        Raises:
            UserError: `count` is larger than the set.
        """
        if count > len(self):
            plural = "" if len(self) == 1 else "s"
            raise UserError(f"{self.source} holds {len(self):,} {self.noun}{plural}, not {count}")
        chosen = self._sample_order(seed)[:count]
        return self.subset(
            self.examples[number] for number in (sorted(chosen) if self.sorted_samples else chosen)
        )

    def _sample_order(self, seed: int) -> list[int]:
        order = list(range(len(self)))
        random.Random(seed).shuffle(order)
        return order

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that identify the examples: a run that was started on others is not resumed with these."""


@dataclass(frozen=True, slots=True)
class LabeledExample:
    """An input and its labels."""

    input: Any
    """A text, a tuple of two texts, or an array such as an image."""
    labels: tuple[str, ...]
    """One; in a multi-label set any number (sorted); none if the example is unlabeled."""
    number: int = field(default=0, compare=False)
    """Position in the source: a line, a row, or an index from 0."""


@dataclass(frozen=True)
class ExampleSet(Dataset[LabeledExample]):
    """Labeled examples of a classification task, and the classes."""

    label_names: tuple[str, ...]
    """All classes, sorted; by value where all names are integers."""
    multi_label: bool = False
    place: Callable[[int], str] = field(default="example {}".format, compare=False, repr=False)
    """Names the place of an example for a message, from its number: reviews.csv:17, or texts[3]."""

    def inputs(self) -> list[Any]:
        """The inputs, in the order of the examples."""
        return [example.input for example in self.examples]

    def digest(self) -> str:
        """16 hex digits that identify inputs and labels."""
        if all(isinstance(example.input, (str, tuple)) for example in self.examples):
            rows = json.dumps([[example.input, *example.labels] for example in self.examples])
            return hashlib.blake2b(rows.encode()).hexdigest()[:16]
        found = hashlib.blake2b()
        for example in self.examples:
            kind, shape, data = content_key(example.input)
            found.update(json.dumps([kind, shape, *example.labels]).encode() + b"\0" + data)
        return found.hexdigest()[:16]

    def count(self, label: str) -> int:
        """Number of examples that have a label."""
        return sum(label in example.labels for example in self.examples)

    def against_rest(self, label: str) -> Self:
        """The same examples with two classes: `label`, and "not `label`" for all others."""
        names = (label, f"not {label}")
        examples = [replace(each, labels=(names[label not in each.labels],)) for each in self.examples]
        return replace(self, examples=examples, label_names=names, multi_label=False)

    def duplicates_of(self, train: ExampleSet) -> int:
        """Number of examples whose input is also in `train`."""
        known = set(map(_key, train.inputs()))
        return sum(_key(each) in known for each in self.inputs())

    def sample(self, count: int, seed: int) -> Self:
        """A stratified sample: every class (multi-label: combination) in proportion, and each class at least once.

        For one seed a smaller sample is the beginning of a larger one; `label_names` stay those of the whole set.

        Raises:
            UserError: `count` is larger than the set, or smaller than the number of classes.
        """
        if count < max(1, len(self.label_names)):
            raise UserError(f"{self.source}: {count} examples cannot cover {len(self.label_names)} classes")
        return super().sample(count, seed)

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """A stratified split into (training, validation), each in the order of this set.

        Args:
            fraction: of the examples that go to validation, rounded; at least one, and less where training would otherwise
                lose a class.

        Raises:
            UserError: nothing can be set aside.
        """
        if not 0 < fraction < 1:
            raise UserError(f"the fraction for validation must be between 0 and 1, not {fraction}")
        order, n_covering = self._stratified_order(seed)
        n_validation = min(max(1, round(fraction * len(order))), len(order) - max(1, n_covering))
        if n_validation < 1:
            raise UserError(
                f"{self.source}: {len(order)} examples of {len(self.label_names)} classes are too few to set some aside for "
                "validation"
            )
        cut = len(order) - n_validation
        training, validation = (
            self.subset(self.examples[number] for number in sorted(part))
            for part in (order[:cut], order[cut:])
        )
        return training, validation

    def _sample_order(self, seed: int) -> list[int]:
        return self._stratified_order(seed)[0]

    def _stratified_order(self, seed: int) -> tuple[list[int], int]:
        """An order whose beginnings are stratified, and the number of examples at its start that cover all classes.

        The example of rank r (from 0) among the n of its stratum is at (r + 1/2) / n. Cutting at t leaves n t examples of
        each stratum, rounded, which is Webster's method. Ties are broken at random.
        """
        # random() is the only method of Python's generator that gives the same numbers in every version.
        generator = random.Random(seed)
        tie_breaks = [generator.random() for _ in self.examples]
        shuffled = sorted(range(len(tie_breaks)), key=tie_breaks.__getitem__)
        strata = [example.labels for example in self.examples]
        # First, for each label that no chosen example has yet, rarest first, the first example that has it.
        counts = Counter(label for labels in strata for label in labels)
        first = {label: number for number in reversed(shuffled) for label in strata[number]}
        covering: list[int] = []
        covered: set[str] = set()
        for label in sorted(counts, key=lambda label: (counts[label], label)):
            if label not in covered:
                covering.append(first[label])
                covered.update(strata[first[label]])
        chosen = set(covering)
        sizes, seen = Counter(strata), Counter[tuple[str, ...]]()
        places: dict[int, float] = {}
        for number in [*covering, *(number for number in shuffled if number not in chosen)]:
            places[number] = (seen[strata[number]] + 0.5) / sizes[strata[number]]
            seen[strata[number]] += 1
        rest = [number for number in places if number not in chosen]
        rest.sort(key=lambda number: (places[number], tie_breaks[number]))
        return covering + rest, len(covering)


def labeled_set(
    inputs: Sequence[Any], labels: Sequence[Any], source: str, *, noun: str = "example"
) -> ExampleSet:
    """Inputs and labels that are in memory, as a data set.

    A label is a string or a number, as in a file; a list of them for each input makes the set multi-label.

    Args:
        noun: what messages call an input, such as "text".

    Raises:
        UserError: not as many labels as inputs, or a label that is none, named by its position from 0.
    """
    need_several(labels, "labels")
    if len(inputs) != len(labels):
        raise UserError(f"{len(inputs)} {noun}s and {len(labels)} labels: each {noun} needs one (or a list)")
    values = [as_read(label) for label in labels]
    multi_label = any(isinstance(value, list) for value in values)
    examples = []
    for number, (each, value) in enumerate(zip(inputs, values, strict=True)):
        try:
            found = labels_of(value, multi_label)
        except BadLabel as error:
            raise UserError(f"labels[{number}]: {error}") from None
        if found is None:
            raise UserError(f"labels[{number}] is {value!r}: this {noun} has no label")
        examples.append(LabeledExample(each, found, number))
    names = ordered_names(label for each in examples for label in each.labels)
    return ExampleSet(examples, source, names, multi_label, f"{noun}s[{{}}]".format)


def _key(value: Any) -> Hashable:
    return value if isinstance(value, (str, tuple)) else content_key(value)


def content_key(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """What identifies an array, or an input that brings its own `digest()`, such as a file that is read when it is needed."""
    if hasattr(value, "digest"):
        return "digest", (), value.digest().encode()
    import numpy as np  # reading texts does not load it

    array = np.asarray(value)
    return array.dtype.str, array.shape, array.tobytes()
