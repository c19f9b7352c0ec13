"""`unfreeze fit classifier`: a classifier from labeled texts or images, on a pre-trained encoder or from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unfreeze.commands.console import Console
from unfreeze.commands.fit import FitOptions, described_classes, report_fit, said_duplicates
from unfreeze.commands.images import IMAGE_OPTIONS, TEXT_SETTINGS, TextsOrImages, image_settings
from unfreeze.commands.options import described_length, given, need_own_options, run_options
from unfreeze.display import aligned, counted
from unfreeze.errors import UserError
from unfreeze.tasks.settings import ClassifierSettings, ImageOptions

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet

MOST_COMPARED = 2_000
"""Largest number of texts of which the baseline is fitted beside another classifier."""
OWN_OPTIONS = {"texts": f"text_column pair_column label_separator {TEXT_SETTINGS}", "images": IMAGE_OPTIONS}


@dataclass(kw_only=True)
class FitClassifier(FitOptions, TextsOrImages):
    """Train a classifier on labeled texts or images.

    Examples are a table (CSV, TSV, JSON lines, Parquet), a folder with a folder of texts or images for each class, lines of a
    label and a text, or images in an HDF5 file. By default, texts are classified by an ensemble of what fits into a few minutes:
    TF-IDF, averaged word vectors (also of your own --unlabeled text) and states of a language model, weighed by cross-validation;
    --encoder NAME fine-tunes one encoder instead. Images train a ConvNet from scratch. Rerun the command to resume an
    interrupted run.

    Example:
        unfreeze fit classifier --train reviews.csv --validation more-reviews.csv --output my-classifier
        unfreeze fit classifier --train reviews.csv --unlabeled more-reviews.jsonl --minutes 20 --output my-classifier
        unfreeze fit classifier --train reviews.csv --encoder my-reviews-lm --labels 100 --output few-labels
        unfreeze fit classifier --train pairs.tsv --text-column premise --pair-column hypothesis --body bcn --output entailment
        unfreeze fit classifier --train cats-and-dogs/ --encoder my-convnet --output cat-or-dog
    """

    train: str
    """Labeled texts or images to learn from: a file, a folder, or hf:owner/name."""

    multi_label: bool = False
    """An example may have several labels: a list, separated by "|" or commas, or several __label__NAME."""

    settings: ClassifierSettings = field(default_factory=ClassifierSettings)
    """Options of the classifier."""

    image_options: ImageOptions = field(default_factory=ImageOptions)
    """Options of a classifier of images."""


def run(arguments: FitClassifier, console: Console) -> None:
    """Read the examples, say what will be done, fit, and report."""
    from unfreeze.tasks.image_classifier import fit_image_classifier
    from unfreeze.tasks.plans import AUTO, ClassifierPlan, ImageClassifierPlan, plan
    from unfreeze.tasks.text_classifier import TextClassifier, fit_classifier, takes_auto
    from unfreeze.text.examples import read_examples
    from unfreeze.training.processes import together

    settings, validation = arguments.settings, None
    with together():
        is_images = arguments.are_images(arguments.train)
        need_own_options(arguments, "images" if is_images else "texts", OWN_OPTIONS)

        def read(path: str, **known: Any) -> ExampleSet:
            if is_images:
                return arguments.read_images(path, **known, progress=console.progress)
            return read_examples(
                path, **arguments.reading_examples, **given(arguments, "pair_column"), **known
            )

        # Without the option, files whose labels are lists are multi-label, too.
        train_set = read(arguments.train, multi_label=arguments.multi_label or None)
        train_set = arguments.sampled(train_set, settings.seed)
        if arguments.validation is not None:
            known = {"multi_label": train_set.multi_label, "known_labels": train_set.label_names}
            validation = read(arguments.validation, **known)
        of_images = image_settings(settings, arguments.image_options) if is_images else None
        is_auto = of_images is None and takes_auto(train_set, settings)
        planned: dict[str, Any] = {"transfer": "frozen", "encoder": AUTO, "epochs": None}
        how = "an ensemble of what fits into the time, weighed by cross-validation"
        if not is_auto:
            chosen = (
                plan(ClassifierPlan, settings) if of_images is None else plan(ImageClassifierPlan, of_images)
            )
            epochs = None if chosen.solves_linear_head else chosen.epochs_for(len(train_set))
            planned = {"transfer": chosen.mode, "encoder": chosen.encoder, "epochs": epochs}
            start = "random weights" if chosen.mode == "scratch" else chosen.encoder
            how = f"{chosen.mode} from {start}, {described_length(epochs, chosen.minutes) or 'logistic regression'}"

    noun = "image" if is_images else "text"
    console.note(
        f"{counted(len(train_set), noun if is_images else 'example')} of {described_classes(train_set)}; {how}"
    )
    duplicates = 0 if validation is None else said_duplicates(train_set, validation, noun, console)
    options = run_options(arguments, console)
    classifier, metrics = (
        fit_classifier(train_set, settings, validation=validation, **options)
        if of_images is None
        else fit_image_classifier(train_set, of_images, validation=validation, **options)
    )
    measured = f"fitted on {train_set.source}"
    if metrics.get("cross_validated_accuracy") is not None:
        measured += f"; accuracy {metrics['cross_validated_accuracy']:.4f} by cross-validation within it"
    if validation is not None:
        measured = f"accuracy {metrics['accuracy']:.4f} on {validation.source}"
    baseline = {} if is_auto or is_images else tfidf_beside(train_set, validation)
    if is_auto:
        measured = f"{table_of_rungs(metrics)}\n\n{measured}"
    elif baseline:
        (how, accuracy), *_ = baseline.items()
        on = "by cross-validation" if how == "tfidf_cross_validated" else "there"
        measured += f"\nTF-IDF with logistic regression on the same examples: {accuracy:.4f} {on}"
    result = {"examples": len(train_set), **planned, "duplicates": duplicates, **baseline}
    example = "IMAGE" if is_images else '"a text"'
    if isinstance(classifier, TextClassifier) and classifier.reads_pairs:
        example += ' --pair "another text"'
    report_fit(
        arguments, console, classifier, {**result, **metrics}, measured, name="classifier", example=example
    )


def table_of_rungs(metrics: Mapping[str, Any]) -> str:
    """What each rung of an ensemble gives by cross-validation, beside the most frequent class, and what was left out."""
    rows: list[dict[str, Any]] = [
        {"": "always the most frequent class", "accuracy": f"{metrics['majority']:.3f}"},
        *(
            {
                "": row["name"],
                "accuracy": "-" if row["accuracy"] is None else f"{row['accuracy']:.3f} ± {row['error']:.3f}",
                "log-loss": "-" if row["loss"] is None else f"{row['loss']:.3f}",
                "weight": "" if row["weight"] is None else f"{row['weight']:.2f}",
                "seconds (estimated)": f"{row['seconds']:.0f}",
            }
            for row in metrics["considered"]
        ),
    ]
    names = list(rows[-1])
    text = aligned([{name: row.get(name, "") for name in names} for row in rows])
    error = f"expected calibration error {metrics['calibration_error']:.3f}"
    if metrics["copies"]:
        error += f"; copies of a text, {metrics['copies']:,} of them, were held out together"
    left_out = [f"left out: {name} ({reason})" for name, reason in metrics["left_out"].items()]
    return "\n".join(["accuracy by cross-validation, and its standard error:", text, error, *left_out])


def tfidf_beside(train_set: ExampleSet, validation: ExampleSet | None) -> dict[str, float]:
    """What the baseline of TF-IDF reaches with the same examples, where that takes a few seconds; empty where it cannot be told."""
    from unfreeze.tasks.baselines import fit_tfidf

    is_pair = isinstance(train_set.examples[0].input, tuple)
    if train_set.multi_label or is_pair or len(train_set) > MOST_COMPARED:
        return {}
    try:
        baseline = fit_tfidf(train_set)
    except UserError:  # no text has a word
        return {}
    if validation is not None:
        return {"tfidf_accuracy": baseline.accuracy(validation)}
    return {} if baseline.cross_validated is None else {"tfidf_cross_validated": baseline.cross_validated}
