"""`unfreeze evaluate`: the metrics that belong to the kind of a model, on held-out data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console, with_layer_weights
from unfreeze.commands.images import FindsImages, read_annotated
from unfreeze.commands.inputs import (
    ANSWERER,
    CLASSIFIER,
    IMAGE_CLASSIFIER,
    LANGUAGE_MODEL,
    LOCATOR,
    TAGGER,
    TRANSLATOR,
    WORD_VECTORS,
    model_kind,
    need_new,
    need_pairs,
    need_table_name,
)
from unfreeze.commands.options import (
    PairColumnOptions,
    PlotOptions,
    PredictionOptions,
    ReadsPairs,
    ReadsTaskData,
    given,
    need_own_options,
)
from unfreeze.display import aligned, counted
from unfreeze.errors import UnknownLabel, UserError, setting
from unfreeze.pretraining.translation.settings import Search

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.tasks.classifier import Classifier

OWN_OPTIONS = {
    "classifiers": "label_errors folds output worst plot overwrite text_column pair_column label_column header skip_unlabeled label_separator unknown_labels precision",
    "image classifiers": "label_errors folds output worst plot overwrite images image_column label_column header skip_unlabeled skip_damaged positive unknown_labels precision",
    "taggers": "text_column label_column comments unknown_labels precision",
    "answerers": "mend_starts precision",
    "locators": "images image_column label_column skip_damaged header unknown_labels precision",
    "translators": "references source_column target_column header beams length_penalty",
    "language models": "text_column header",
    "word vectors": "restrict case_sensitive",
}


@dataclass(kw_only=True)
class Evaluate(ReadsTaskData, FindsImages, ReadsPairs, PairColumnOptions, PlotOptions, PredictionOptions):
    """Measure a model on held-out data.

    Classifiers: accuracy, F1 of each class, the confusion matrix (which --plot draws), and the most confident errors. Taggers:
    F1 of spans by type (a span counts if its type and both ends are right), or accuracy of plain tags. Answerers: exact match
    and F1, as SQuAD defines them. Language models: perplexity, which compares only models with the same vocabulary, and bits
    per byte, which compares all. Locators: the mean IoU of one box in each image, or average precision as COCO defines it,
    without annotations of crowds: a box that is found on a crowd counts as wrong. Translators: BLEU and chrF of their
    translations, by sacrebleu, and the perplexity of the references.
    Word vectors: Spearman's correlation with human judgments of word pairs, and accuracy on analogies.

    Example:
        unfreeze evaluate my-classifier test.csv --worst 5 --plot confusion.png
        unfreeze evaluate my-classifier train.csv --label-errors --output errors.csv
        unfreeze evaluate cat-or-dog more-cats-and-dogs/
        unfreeze evaluate my-tagger eng.testb
        unfreeze evaluate my-locator annotations/ --images images/
        unfreeze evaluate my-lm held-out.txt
        unfreeze evaluate en-de test.en --references test.de
        unfreeze evaluate vectors.txt wordsim
    """

    model: Positional[str]
    """Model: a folder, a released name, or owner/name on the hub; or a file of word vectors."""

    data: Positional[str]
    """File, folder or hf:owner/name of labeled texts or images, tagged sentences, questions, annotations of images, pairs of texts
    and translations, or text for a language model. For word vectors, a file of word pairs or analogies, or a folder of such files."""

    references: str | None = None
    """Translators: file with the translation of each line of the data (default: the data is a table of both)."""

    search: Search = field(default_factory=Search)
    """Options of the search for a translation."""

    worst: int = 10
    """Classifiers of texts or images: number of most confident errors, or likely label errors, to show."""

    label_errors: bool = False
    """Classifiers: instead of measuring the model, find likely label errors in the data: fit models with its settings on folds of the data,
    and compare the labels with the predictions of the models that did not see them."""

    folds: int | None = None
    """Number of folds for --label-errors (default: 5)."""

    output: Path | None = None
    """Table of all likely label errors to write with --label-errors (.csv or .tsv)."""

    unknown_labels: Literal["error", "wrong"] = "error"
    """Labels and tags that did not occur in training: stop with an error, or count them as wrong predictions."""

    restrict: int = 300_000
    """Word vectors: number of words to use, from the first, which are usually the most frequent."""

    case_sensitive: bool = False
    """Word vectors: distinguish upper and lower case."""

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise UserError(f"{setting('worst')} must be at least 0, not {self.worst}")
        need_positive(self, "restrict")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"{setting('folds')} must be at least 2, not {self.folds}")
        for name in ("folds", "output"):
            if getattr(self, name) is not None and not self.label_errors:
                raise UserError(f"{setting(name)} is for --label-errors")
        if self.label_errors and self.plot is not None:
            raise UserError(
                "--plot draws the confusion matrix of the model, which --label-errors does not measure"
            )
        need_table_name(self.output)


def run(arguments: Evaluate, console: Console) -> None:
    """Measure in the way that belongs to the kind of the model."""
    from unfreeze.encoders.vector_source import is_vector_file

    arguments.need_picture()
    need_new(arguments.output, overwrite=arguments.overwrite)
    kind = WORD_VECTORS if is_vector_file(arguments.model) else model_kind(arguments.model)
    ways: dict[str, tuple[str, Callable[[Evaluate, Console], None]]] = {
        CLASSIFIER: ("classifiers", evaluate_classifier),
        IMAGE_CLASSIFIER: ("image classifiers", evaluate_image_classifier),
        TAGGER: ("taggers", evaluate_tagger),
        ANSWERER: ("answerers", evaluate_answerer),
        LOCATOR: ("locators", evaluate_locator),
        TRANSLATOR: ("translators", evaluate_translations),
        LANGUAGE_MODEL: ("language models", evaluate_language_model),
        WORD_VECTORS: ("word vectors", evaluate_vectors),
    }
    if kind not in ways:
        raise UserError(
            f"{arguments.model} is an encoder of kind {kind}, without an output layer: there is nothing to evaluate"
        )
    kinds, evaluate = ways[kind]
    need_own_options(arguments, kinds, OWN_OPTIONS)
    try:
        evaluate(arguments, console)
    except UnknownLabel as error:
        raise UserError(
            f"{error.args[0]}; {setting('unknown_labels', 'wrong')} counts it as an error"
        ) from None


def evaluate_classifier(arguments: Evaluate, console: Console) -> None:
    """Accuracy, F1, the confusion matrix and the most confident errors, on texts."""
    from unfreeze.tasks.text_classifier import TextClassifier
    from unfreeze.text.examples import read_examples

    need_pairs(arguments.model, "--pair-column", arguments.pair_column is not None, "--pair-column NAME")
    reading = {**arguments.reading_examples, **given(arguments, "pair_column")}
    classifier = TextClassifier.from_pretrained(arguments.model)
    report_classifier(
        arguments, classifier, lambda **known: read_examples(arguments.data, **reading, **known), console
    )


def evaluate_image_classifier(arguments: Evaluate, console: Console) -> None:
    """The same on images."""
    from unfreeze.tasks.image_classifier import ImageClassifier

    classifier = ImageClassifier.from_pretrained(arguments.model)
    names, positive = classifier.label_names, arguments.positive
    told = next((name for name in names if set(names) == {name, f"not {name}"}), None)
    if positive is not None and positive != told:
        advice = f"set {setting('positive', told)}" if told else f"leave out {setting('positive')}"
        raise UserError(f"the classes of {arguments.model} are {', '.join(names[:20])}: {advice}")

    def read(**known: Any) -> ExampleSet:
        known["progress"] = console.progress
        if told is None or positive is not None:
            return arguments.read_images(arguments.data, **known)
        try:  # every label but one is "not ..." for this model, so none is unknown
            return arguments.read_images(arguments.data, **{**known, "unknown_labels": "error"})
        except UnknownLabel:
            raise UserError(
                f"{arguments.model} tells {told} from all other classes: add {setting('positive', told)}"
            ) from None

    report_classifier(arguments, classifier, read, console)


def report_classifier(
    arguments: Evaluate, classifier: Classifier, read: Callable[..., ExampleSet], console: Console
) -> None:
    """Measure a classifier on the examples that `read` gives, print the report and draw the confusion matrix."""
    from unfreeze.analysis.confusion_plot import plot_confusion
    from unfreeze.commands.label_errors import report_label_errors

    if arguments.label_errors:
        if classifier.multi_label:
            raise UserError(
                f"{arguments.model} gives several labels; --label-errors is for classifiers of exclusive labels"
            )
        examples = read(multi_label=False)
        folds, output = arguments.folds or 5, arguments.output
        report_label_errors(classifier, examples, folds, arguments.worst, output, console)
        return
    classifier.precision = arguments.precision
    if arguments.plot is not None and classifier.multi_label:
        raise UserError(
            "--plot draws the confusion matrix of exclusive labels; this classifier gives several"
        )
    examples = read(
        multi_label=classifier.multi_label,
        known_labels=classifier.label_names,
        unknown_labels=arguments.unknown_labels,
    )
    report = classifier.evaluate(
        examples, n_worst=arguments.worst, unknown_labels=arguments.unknown_labels, progress=console.progress
    )
    values = {"labels": list(report.label_names), **report.as_dict()}
    console.result(*with_layer_weights(values, str(report), classifier.layer_weights))
    if arguments.plot is not None:
        plot_confusion(report.confusion, report.label_names, arguments.plot)


def evaluate_tagger(arguments: Evaluate, console: Console) -> None:
    """F1 by type, or the accuracy of plain tags."""
    from unfreeze.tasks.sequence_tagger import SequenceTagger

    tagger = SequenceTagger.from_pretrained(arguments.model)
    tagger.precision = arguments.precision
    sentences = arguments.read_tagged(arguments.data, "plain" if tagger.scheme_ == "plain" else None)
    report = tagger.evaluate(sentences, unknown_labels=arguments.unknown_labels, progress=console.progress)
    if report.f1 is not None:
        # An F1 of 0 has a reason that single spans do not show.
        if not report.spans[-1].true:
            console.note(f"{sentences.source} has no entity: all its tags are O, and F1 is 0")
        if not report.spans[-1].predicted:
            console.note("no entity was predicted: the tagger gave every word the tag O")
    console.result(*with_layer_weights(report.as_dict(), str(report), tagger.layer_weights))


def evaluate_answerer(arguments: Evaluate, console: Console) -> None:
    """Print the exact match and the token F1 of an answerer."""
    from unfreeze.tasks.question_answerer import QuestionAnswerer
    from unfreeze.text.questions import read_questions

    answerer = QuestionAnswerer.from_pretrained(arguments.model)
    answerer.precision = arguments.precision
    questions = read_questions(arguments.data, arguments.encoding, mend_starts=arguments.mend_starts)
    found = answerer.evaluate(questions, progress=console.progress)
    n_questions = int(found["n_questions"])
    measured = counted(n_questions, "question")
    text = f"exact match {found['exact_match']:.4f}, F1 {found['f1']:.4f} on {measured}"
    console.result(*with_layer_weights({**found, "n_questions": n_questions}, text, answerer.layer_weights))


def evaluate_locator(arguments: Evaluate, console: Console) -> None:
    """Mean IoU or average precision, beside those of the mean box of the training images."""
    from unfreeze.tasks.object_locator import ObjectLocator

    locator = ObjectLocator.from_pretrained(arguments.model)
    locator.precision = arguments.precision
    known = {"known_labels": locator.label_names, "unknown_labels": arguments.unknown_labels}
    examples = read_annotated(arguments, arguments.data, **known, progress=console.progress)
    report = locator.evaluate(examples, unknown_labels=arguments.unknown_labels, progress=console.progress)
    console.result(report.as_dict(), str(report))


def evaluate_translations(arguments: Evaluate, console: Console) -> None:
    """BLEU, chrF and perplexity."""
    from unfreeze.pretraining.translation.evaluation import evaluate_translator
    from unfreeze.pretraining.translation.translator import Translator

    files = [arguments.data, *([] if arguments.references is None else [arguments.references])]
    # Held-out pairs of any length count: only training skips long ones.
    pairs = arguments.read_pairs(files, max_words=sys.maxsize)
    translator = Translator.from_pretrained(arguments.model)
    report = evaluate_translator(translator, pairs, search=arguments.search, progress=console.progress)
    console.result(report.as_dict(), str(report))


def evaluate_language_model(arguments: Evaluate, console: Console) -> None:
    """Perplexity and bits per byte over the documents of a text."""
    from unfreeze.language_models.model import LanguageModel
    from unfreeze.language_models.perplexity import measure_documents
    from unfreeze.text.corpus import stream_documents

    def documents() -> Iterator[str]:
        return stream_documents([arguments.data], **arguments.reading)

    model = LanguageModel.from_pretrained(arguments.model)
    found = measure_documents(model, documents, progress=console.progress)
    console.result({"documents": found.n_documents, **found.metrics()}, str(found))


def evaluate_vectors(arguments: Evaluate, console: Console) -> None:
    """Spearman's correlation on sets of word pairs, and accuracy on analogies: a table each."""
    from unfreeze.analysis.analogies import evaluate_analogies, totals
    from unfreeze.analysis.similarity import evaluate_pairs
    from unfreeze.analysis.word_sets import read_sets
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.text.rules import normalized

    sets, sections = read_sets(arguments.data, arguments.encoding)
    options: dict[str, Any] = {
        "restrict": arguments.restrict,
        "case_insensitive": not arguments.case_sensitive,
    }
    words = [word for each in sets for pair in each.pairs for word in pair]
    table = open_vectors(
        arguments.model,
        extra_words=words if arguments.case_sensitive else [normalized(word) for word in words],
    )
    pairs = evaluate_pairs(table, sets, **options)
    analogies = evaluate_analogies(table.known(), sections, **options, progress=console.progress)
    tables: list[list[dict[str, object]]] = [
        [
            {"set": each.name, "pairs": each.n_pairs, "missing": each.n_missing, "spearman": each.spearman}
            for each in pairs
        ],
        [
            {
                "analogies": each.name,
                "questions": each.n_questions,
                "missing": each.n_missing,
                "correct": each.n_correct,
                "accuracy": each.accuracy,
            }
            for each in ([*analogies, *totals(analogies)] if analogies else [])
        ],
    ]
    if console.json:
        for rows in tables:
            console.table(rows)
    else:
        console.result({}, "\n\n".join(aligned(rows) for rows in tables if rows))
