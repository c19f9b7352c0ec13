"""`unfreeze fit classifier`: a classifier from labeled texts, on a pre-trained encoder or from scratch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from unfreeze.commands.console import Console
from unfreeze.commands.fit import FitOptions, report_fit
from unfreeze.commands.options import PairColumnOptions, ReadsExamples, described_length, given, run_options
from unfreeze.display import counted
from unfreeze.tasks.settings import ClassifierSettings

MAX_CLASSES_SHOWN = 8


@dataclass(kw_only=True)
class FitClassifier(FitOptions, ReadsExamples, PairColumnOptions):
    """Train a text classifier on labeled examples.

    Examples are a table (CSV, TSV, JSON lines, Parquet), a folder with a folder of texts for each class, or lines of a
    label and a text. By default, the language model that ships with unfreeze is fine-tuned. Rerun the command to resume an
    interrupted run.

    Example:
        unfreeze fit classifier --train reviews.csv --validation more-reviews.csv --output my-classifier
        unfreeze fit classifier --train reviews.csv --encoder my-reviews-lm --labels 100 --output few-labels
        unfreeze fit classifier --train pairs.tsv --text-column premise --pair-column hypothesis --body bcn --output entailment
    """

    train: str
    """Labeled texts to learn from: a file, a folder, or hf:owner/name."""

    multi_label: bool = False
    """A text may have several labels: a list, separated by "|" or commas, or several __label__NAME."""

    settings: ClassifierSettings = field(default_factory=ClassifierSettings)
    """Options of the classifier."""


def run(arguments: FitClassifier, console: Console) -> None:
    """Read the examples, say what will be done, fit, and report."""
    from unfreeze.tasks.plans import ClassifierPlan, plan
    from unfreeze.tasks.text_classifier import fit_classifier
    from unfreeze.text.examples import read_examples
    from unfreeze.training.processes import together

    settings, validation = arguments.settings, None
    reading = {**arguments.reading_examples, **given(arguments, "pair_column")}
    with together():
        # Without the option, files whose labels are lists are multi-label, too.
        train_set = read_examples(arguments.train, multi_label=arguments.multi_label or None, **reading)
        train_set = arguments.sampled(train_set, settings.seed)
        if arguments.validation is not None:
            names, multi_label = train_set.label_names, train_set.multi_label
            validation = read_examples(
                arguments.validation, multi_label=multi_label, known_labels=names, **reading
            )
        chosen = plan(ClassifierPlan, settings)
    epochs = None if chosen.solves_linear_head else chosen.epochs_for(len(train_set))

    counts = Counter(label for example in train_set.examples for label in example.labels)
    classes = [f"{name} {counts[name]}" for name in train_set.label_names[:MAX_CLASSES_SHOWN]]
    classes += ["..."] * (len(train_set.label_names) > MAX_CLASSES_SHOWN)
    start = "random weights" if chosen.mode == "scratch" else chosen.encoder
    console.note(
        f"{counted(len(train_set), 'example')} of {counted(len(counts), 'class')} ({', '.join(classes)}); "
        f"{chosen.mode} from {start}, {described_length(epochs, chosen.minutes) or 'logistic regression'}"
    )
    duplicates = 0
    if validation is not None:
        duplicates = validation.duplicates_of(train_set)
        console.note(
            f"evaluated on {counted(len(validation), 'example')} of {validation.source}; {duplicates} of their texts "
            f"{'is' if duplicates == 1 else 'are'} in the training set, too"
        )

    classifier, metrics = fit_classifier(
        train_set, settings, validation=validation, **run_options(arguments, console)
    )
    measured = f"fitted on {train_set.source}"
    if validation is not None:
        measured = f"accuracy {metrics['accuracy']:.4f} on {validation.source}"
    result = {
        "examples": len(train_set),
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
        "duplicates": duplicates,
    }
    example = '"a text" --pair "another text"' if classifier.reads_pairs else '"a text"'
    report_fit(
        arguments, console, classifier, {**result, **metrics}, measured, name="classifier", example=example
    )
