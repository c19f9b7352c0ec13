"""What `fit classifier`, `fit tagger` and `fit answerer` have in common: options, and the report of a finished fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console, layer_weights_line
from unfreeze.commands.options import LoopRunOptions, quoted
from unfreeze.display import counted

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import Dataset, ExampleSet
    from unfreeze.tasks.classifier import Classifier
    from unfreeze.tasks.question_answerer import QuestionAnswerer
    from unfreeze.tasks.sequence_tagger import SequenceTagger

MAX_CLASSES_SHOWN = 8
SetT = TypeVar("SetT", bound="Dataset[Any]")


@dataclass(kw_only=True)
class FitOptions(LoopRunOptions):
    """Options of a verb that trains a task."""

    train: str
    """File of labeled examples to learn from."""

    validation: str | None = None
    """Labeled examples to evaluate after each epoch; by default, the best epoch is kept."""

    labels: int | None = None
    """Number of examples to learn from (default: all); a larger sample contains the smaller ones of the same seed."""

    def __post_init__(self) -> None:
        need_positive(self, "labels")

    def sampled(self, examples: SetT, seed: int) -> SetT:
        """The examples, or as many of them as the user wants."""
        return examples if self.labels is None else examples.sample(self.labels, seed)


def described_classes(examples: ExampleSet) -> str:
    """ "2 classes (neg 40, pos 40)"."""
    counts = Counter(label for example in examples.examples for label in example.labels)
    classes = [f"{name} {counts[name]}" for name in examples.label_names[:MAX_CLASSES_SHOWN]]
    classes += ["..."] * (len(examples.label_names) > MAX_CLASSES_SHOWN)
    return f"{counted(len(counts), 'class')} ({', '.join(classes)})"


def said_duplicates(train_set: ExampleSet, validation: ExampleSet, noun: str, console: Console) -> int:
    """Say on how many examples is measured; returns how many of them are in the training set, too."""
    count = validation.duplicates_of(train_set)
    measured = counted(len(validation), "example" if noun == "text" else noun)
    console.note(
        f"evaluated on {measured} of {validation.source}; {count} of {'their texts' if noun == 'text' else 'them'} "
        f"{'is' if count == 1 else 'are'} in the training set, too"
    )
    return count


def report_fit(
    arguments: FitOptions,
    console: Console,
    model: Classifier | SequenceTagger | QuestionAnswerer,
    result: Mapping[str, Any],
    measured: str,
    *,
    name: str,
    example: str = '"a text"',
) -> None:
    """Print the result of a fit, and commands to try.

    Args:
        result: what `--json` prints, besides the output and the layer weights.
        measured: the result in words.
        name: what the model is called.
        example: arguments of `predict`.
    """
    output, weights = arguments.output, model.layer_weights
    if weights:
        console.note(layer_weights_line(weights))
    mix = {"layer_weights": weights} if weights else {}
    console.result({"output": str(output), **result, **mix}, measured)
    console.note(
        f"the {name} is in {output}: try `unfreeze predict {quoted(output)} {example}` "
        f"or `unfreeze evaluate {quoted(output)} FILE`"
    )
