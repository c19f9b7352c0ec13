"""`unfreeze evaluate`: the measure that belongs to the kind of a model, on held-out data."""

from __future__ import annotations

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
    BILM,
    CLASSIFIER,
    LANGUAGE_MODEL,
    NGRAM,
    TAGGER,
    WORD_VECTORS,
    model_kind,
    need_picture,
    need_positive,
)
from unfreeze.errors import UserError
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.text_classifier import Report

MOST_CLASSES_CROSSED = 12
"""Classes up to which the confusion matrix is printed; --json and --plot always have it."""
TEXT_WIDTH = 160
"""Characters of a wrongly labeled text that are printed."""


@dataclass(kw_only=True)
class Evaluate:
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
    """Name or number of the text's column."""

    label_column: str | None = None
    """Name or number of the label's column; of a tagger's tags, the last by default."""

    encoding: str = "utf-8"
    """Of text files."""

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
        need_picture(self.plot, overwrite=self.overwrite)


def run(arguments: Evaluate, console: Console) -> None:
    """Measure as the kind of the model wants it."""
    from unfreeze.encoders.vector_source import is_vector_file

    kind = WORD_VECTORS if is_vector_file(arguments.model) else model_kind(arguments.model)
    if kind == WORD_VECTORS:
        return evaluate_vectors(arguments, console)
    if kind in (LANGUAGE_MODEL, BILM, NGRAM):
        return evaluate_language_model(arguments, console, kind)
    if kind == CLASSIFIER:
        return evaluate_classifier(arguments, console)
    if arguments.plot is not None and kind in (TAGGER, ANSWERER):
        raise UserError(f"--plot draws the confusion matrix of a classifier: {arguments.model} is none")
    if kind == TAGGER:
        return evaluate_tagger(arguments, console)
    if kind == ANSWERER:
        return evaluate_answerer(arguments, console)
    raise UserError(
        f"{arguments.model} is a {kind} encoder without its output layer: it predicts nothing to measure"
    )


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
    examples = read_examples(
        arguments.data,
        text_column=arguments.text_column,
        label_column=arguments.label_column,
        encoding=arguments.encoding,
        multi_label=classifier.multi_label,
        known_labels=classifier.label_names,
    )
    report = classifier.evaluate(examples, n_worst=arguments.worst, progress=console.progress)
    values = {"labels": list(classifier.label_names), **report.as_dict()}
    text = readable(report, classifier.label_names)
    if classifier.layer_weights:
        values["layer_weights"] = classifier.layer_weights
        text += f"\n\n{layer_weights_line(classifier.layer_weights)}"
    console.result(values, text)
    if arguments.plot is not None:
        plot_confusion(report.confusion, classifier.label_names, arguments.plot)


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
    )
    report = tagger.evaluate(sentences, progress=console.progress)
    values: dict[str, object] = report.as_dict()
    measured = f"{counted(report.n_words, 'word')} of {counted(report.n_sentences, 'sentence')}"
    text = f"accuracy {report.accuracy:.4f} on {measured}"
    if report.f1 is not None:
        text = f"F1 {report.f1:.4f}, {text}\n\n{aligned([asdict(figures) for figures in report.spans])}"
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
    found = answerer.evaluate(read_questions(arguments.data, arguments.encoding), progress=console.progress)
    n_questions = int(found["n_questions"])
    values: dict[str, object] = {**found, "n_questions": n_questions}
    measured = counted(n_questions, "question")
    text = f"exact match {found['exact_match']:.4f}, F1 {found['f1']:.4f} on {measured}"
    if answerer.layer_weights:
        values["layer_weights"] = answerer.layer_weights
        text += f"\n\n{layer_weights_line(answerer.layer_weights)}"
    console.result(values, text)


def readable(report: Report, names: tuple[str, ...]) -> str:
    """A report for people."""
    measured = counted(report.n_examples, "text")
    if report.n_unknown:
        measured += f", {report.n_unknown:,} of them without any known word"
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
