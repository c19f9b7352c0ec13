"""`unfreeze evaluate`: the measure that belongs to the kind of a model, on held-out data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console, aligned
from unfreeze.commands.evaluate_text import evaluate_language_model
from unfreeze.commands.evaluate_vectors import evaluate_vectors
from unfreeze.commands.fit_classifier import layer_weights_line
from unfreeze.commands.inputs import (
    ANSWERER,
    CLASSIFIER,
    LANGUAGE_MODEL,
    TAGGER,
    WORD_VECTORS,
    model_kind,
    need_picture,
    need_positive,
)
from unfreeze.commands.options import ReadsExamples, need_own_options
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.metrics import Report, SpanMetrics
    from unfreeze.tasks.sequence_tagger import TagReport

KINDS = {
    CLASSIFIER: "classifiers",
    TAGGER: "taggers",
    ANSWERER: "answerers",
    LANGUAGE_MODEL: "language models",
    WORD_VECTORS: "word vectors",
}
OWN_OPTIONS = {
    "classifiers": "worst plot overwrite text_column label_column header skip_unlabeled label_separator unknown_labels precision",
    "taggers": "text_column label_column comments unknown_labels precision",
    "answerers": "mend_starts precision",
    "language models": "text_column header",
    "word vectors": "restrict case_sensitive",
}
MOST_CLASSES_CROSSED = 12
"""Classes up to which the confusion matrix is printed; --json and --plot always have it."""
TEXT_WIDTH = 160
"""Characters of a wrongly labeled text that are printed."""


@dataclass(kw_only=True)
class Evaluate(ReadsExamples):
    """Measure a model on held-out data.

    A classifier: accuracy, F1 by class, the confusion matrix and the worst errors, on labeled texts. A tagger: F1 of spans
    by type (both ends and the type right), or accuracy of plain tags, on tagged sentences. An answerer: exact match and F1
    on questions in SQuAD's format. A language model:
    perplexity, which compares models of one vocabulary only, and bits per byte, which compares all. Word vectors:
    Spearman's correlation with what people say of pairs of words, and accuracy on analogies.

    Example:
        unfreeze evaluate my-classifier test.csv --worst 5 --plot confusion.png
        unfreeze evaluate my-tagger eng.testb
        unfreeze evaluate my-lm held-out.txt
        unfreeze evaluate vectors.txt wordsim
    """

    model: Positional[str]
    """Model: a folder, a released name, or owner/name on the hub; or a file of word vectors."""

    data: Positional[str]
    """Labeled texts, or text for a language model: a file, a folder, hf:owner/name. A file of tagged sentences or of questions.
    For word vectors a file of word pairs or of analogies, or a folder of such files."""

    worst: int = 10
    """How many of the most confident errors to show."""

    plot: Path | None = None
    """Draw the confusion matrix into this file (.png, .svg or .pdf)."""

    text_column: str | None = None
    """Name or number (from 1) of the text's column; of a tagger's words, from 0, the first by default."""

    label_column: str | None = None
    """Name or number (from 1) of the label's column; of a tagger's tags, from 0, the last by default."""

    unknown_labels: Literal["error", "wrong"] = "error"
    """A classifier's label or a tagger's tag that training lacked: an error that ends the run (error), or one that is counted
    as a wrong prediction (wrong)."""

    comments: Literal["auto", "skip", "words"] = "auto"
    """What lines of tagged sentences are that begin with #: comments (skip), words, or what the other lines suggest."""

    mend_starts: bool = True
    """Questions: move an answer whose answer_start is wrong to its nearest place, which is said; otherwise refuse it."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format of a task model; bf16 is faster where the processor has it, auto tries."""

    restrict: int = 300_000
    """Of word vectors only the first so many count, usually the most frequent words."""

    case_sensitive: bool = False
    """Word vectors: tell upper and lower case apart."""

    overwrite: bool = False
    """Replace a picture that is there."""

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise UserError(f"--worst must be at least 0, not {self.worst}")
        need_positive(self, "restrict")


def run(arguments: Evaluate, console: Console) -> None:
    """Measure as the kind of the model wants it."""
    need_picture(arguments.plot, overwrite=arguments.overwrite)
    from unfreeze.encoders.vector_source import is_vector_file

    kind = WORD_VECTORS if is_vector_file(arguments.model) else model_kind(arguments.model)
    if kind not in KINDS:
        raise UserError(
            f"{arguments.model} is a {kind} encoder without its output layer: it predicts nothing to measure"
        )
    need_own_options(arguments, KINDS[kind], OWN_OPTIONS)
    if kind == WORD_VECTORS:
        return evaluate_vectors(arguments, console)
    if kind == LANGUAGE_MODEL:
        return evaluate_language_model(arguments, console)
    if kind == CLASSIFIER:
        return evaluate_classifier(arguments, console)
    if kind == TAGGER:
        return evaluate_tagger(arguments, console)
    return evaluate_answerer(arguments, console)


def evaluate_classifier(arguments: Evaluate, console: Console) -> None:
    """Accuracy, F1, the confusion matrix and the worst errors."""
    from unfreeze.analysis.confusion_plot import plot_confusion
    from unfreeze.tasks.text_classifier import TextClassifier
    from unfreeze.text.examples import read_examples

    classifier = TextClassifier.from_pretrained(arguments.model)
    classifier.precision = arguments.precision
    if arguments.plot is not None and classifier.multi_label:
        raise UserError(
            "--plot draws the confusion matrix of exclusive labels; this classifier gives several"
        )
    with naming_the_option():
        examples = read_examples(
            arguments.data,
            **arguments.reading_examples,
            multi_label=classifier.multi_label,
            known_labels=classifier.label_names,
            unknown_labels=arguments.unknown_labels,
        )
    report = classifier.evaluate(
        examples,
        n_worst=arguments.worst,
        unknown_labels=arguments.unknown_labels,
        progress=console.progress,
    )
    values = {"labels": list(report.label_names), **report.as_dict()}
    text = readable(report, report.label_names)
    if report.n_unknown_labels:
        text += f"\n\n{unknown_line(report, 'text', 'label')}"
    if classifier.layer_weights:
        values["layer_weights"] = classifier.layer_weights
        text += f"\n\n{layer_weights_line(classifier.layer_weights)}"
    console.result(values, text)
    if arguments.plot is not None:
        plot_confusion(report.confusion, report.label_names, arguments.plot)


def evaluate_tagger(arguments: Evaluate, console: Console) -> None:
    """F1 by type, accuracy, and the weights of the encoder's layers."""
    from unfreeze.tasks.sequence_tagger import SequenceTagger
    from unfreeze.text.tagged import read_tagged

    tagger = SequenceTagger.from_pretrained(arguments.model)
    tagger.precision = arguments.precision
    sentences = read_tagged(
        arguments.data,
        token_column=arguments.text_column,
        tag_column=arguments.label_column,
        encoding=arguments.encoding,
        comments=arguments.comments,
        scheme="plain" if tagger.scheme_ == "plain" else None,
    )
    with naming_the_option():
        report = tagger.evaluate(
            sentences, unknown_labels=arguments.unknown_labels, progress=console.progress
        )
    values: dict[str, object] = report.as_dict()
    measured = f"{counted(report.n_words, 'word')} of {counted(report.n_sentences, 'sentence')}"
    text = f"accuracy {report.accuracy:.4f} on {measured}"
    if report.f1 is not None:
        text = f"F1 {report.f1:.4f}, {text}\n\n{aligned([asdict(figures) for figures in report.spans])}"
        note_missing_spans(report.spans[-1], sentences.source, console)
    if report.n_unknown_labels:
        text += f"\n\n{unknown_line(report, 'word', 'tag')}"
    if tagger.layer_weights:
        values["layer_weights"] = tagger.layer_weights
        text += f"\n\n{layer_weights_line(tagger.layer_weights)}"
    console.result(values, text)


def evaluate_answerer(arguments: Evaluate, console: Console) -> None:
    """Exact match and F1, and the weights of the encoder's layers."""
    from unfreeze.tasks.question_answerer import QuestionAnswerer
    from unfreeze.text.questions import read_questions

    answerer = QuestionAnswerer.from_pretrained(arguments.model)
    answerer.precision = arguments.precision
    questions = read_questions(arguments.data, arguments.encoding, mend_starts=arguments.mend_starts)
    found = answerer.evaluate(questions, progress=console.progress)
    n_questions = int(found["n_questions"])
    values: dict[str, object] = {**found, "n_questions": n_questions}
    measured = counted(n_questions, "question")
    text = f"exact match {found['exact_match']:.4f}, F1 {found['f1']:.4f} on {measured}"
    if answerer.layer_weights:
        values["layer_weights"] = answerer.layer_weights
        text += f"\n\n{layer_weights_line(answerer.layer_weights)}"
    console.result(values, text)


@contextlib.contextmanager
def naming_the_option() -> Iterator[None]:
    """What is raised for an unknown label names the option that counts it instead."""
    try:
        yield
    except UnknownLabel as error:
        raise UnknownLabel(f"{error}; --unknown-labels wrong counts it as an error") from None


def unknown_line(report: Report | TagReport, what: str, kind: str) -> str:
    """ "2 words have a tag that training lacked (PLANET); they count as errors"."""
    count, names = report.n_unknown_labels, report.unknown_names
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    several = count != 1
    return (
        f"{count:,} {what}{'s have' if several else ' has'} a {kind} that training lacked ({shown}); "
        f"{'they count as errors' if several else 'it counts as an error'}"
    )


def note_missing_spans(total: SpanMetrics, source: str, console: Console) -> None:
    """Say why F1 is 0 where that is no matter of single spans."""
    if not total.true:
        console.note(f"{source} has no entity: all its tags are O, and F1 is 0")
    if not total.predicted:
        console.note("no entity was predicted: the tagger gave every word the tag O")


def readable(report: Report, names: tuple[str, ...]) -> str:
    """A report for people."""
    measured = counted(report.n_examples, "text")
    if report.n_unknown_texts:
        measured += f", {report.n_unknown_texts:,} of them without any known word"
    parts = [
        f"accuracy {report.accuracy:.4f}, macro F1 {report.macro_f1:.4f}, loss {report.loss:.4f}, on {measured}",
        aligned([asdict(figures) for figures in report.classes]),
    ]
    if report.confusion and len(names) <= MOST_CLASSES_CROSSED:
        rows = [
            {"true \\ predicted": name} | dict(zip(names, counts, strict=True))
            for name, counts in zip(names, report.confusion, strict=True)
        ]
        parts.append(aligned(rows))
    if report.worst:
        parts.append("worst errors:\n" + "\n".join(map(_error_line, report.worst)))
    return "\n\n".join(parts)


def _error_line(error: dict[str, object]) -> str:
    found = error["predicted"]
    assert isinstance(found, dict)
    said = [found] if "label" in found else found["labels"]
    predicted = ", ".join(f"{each['label']} {each['score']:.3f}" for each in said) or "none"
    text = " ".join(str(error["text"]).split())
    return (
        f"  {error['label'] or 'none'}, said {predicted}: "
        f"{text if len(text) <= TEXT_WIDTH else text[:TEXT_WIDTH].rstrip() + ' ...'}"
    )
