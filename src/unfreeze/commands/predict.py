"""`unfreeze predict`: labels of texts, tags of their words, or answers to questions, in order and streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import (
    ANSWERER,
    CLASSIFIER,
    IMAGE_CLASSIFIER,
    LOCATOR,
    TAGGER,
    TASK_MODELS,
    need_new,
    need_pairs,
    need_task_model,
    reads_pairs,
)
from unfreeze.commands.options import (
    PairColumnOptions,
    PredictionOptions,
    ReadsTagged,
    TextArguments,
    given,
    need_own_options,
)
from unfreeze.datasets.lines import plain_suffix
from unfreeze.datasets.tables import TABLES, is_table
from unfreeze.display import counted
from unfreeze.errors import UserError, setting
from unfreeze.text.text_inputs import TextInput, as_row

if TYPE_CHECKING:
    from unfreeze.tasks.classifier import Classifier
    from unfreeze.tasks.explanations import Explanation
    from unfreeze.tasks.object_locator import ObjectLocator
    from unfreeze.tasks.question_answerer import QuestionAnswerer
    from unfreeze.tasks.sequence_tagger import SequenceTagger
    from unfreeze.text.questions import QuestionSet
    from unfreeze.text.tagged import SplitSentence

OWN_OPTIONS = {
    "classifiers": "text_column pair pair_column header probabilities escape_formulas explain explain_by",
    "image classifiers": "images image_column header probabilities escape_formulas",
    "taggers of raw text": "text_column header",
    "taggers of split words": "text_column tokenized comments",
    "answerers": "context top",
    "locators": "images image_column header least_score",
}
FORMATS = {
    CLASSIFIER: (".csv", ".tsv", ".jsonl", ".ndjson", ".html"),
    IMAGE_CLASSIFIER: (".csv", ".tsv", ".jsonl", ".ndjson"),
    TAGGER: (".jsonl", ".conll", ".html"),
    ANSWERER: (".jsonl", ".html"),
    LOCATOR: (".csv", ".tsv", ".jsonl", ".ndjson", ""),
}
EXPLAINED = (".jsonl", ".ndjson", ".html")
"""Formats for a classifier with --explain."""
LISTS = (*TABLES, ".txt")
"""Suffixes of files with a list of images."""

Found = Iterator[tuple[dict[str, Any], str]]
"""For each prediction, the JSON object to print, and its text in the format of the output."""


@dataclass(kw_only=True)
class Predict(TextArguments, PairColumnOptions, ReadsTagged, PredictionOptions):
    """Label texts or images with a classifier, tag the words of texts with a tagger, answer questions about a text, or find objects in
    images with a locator.

    Texts are read and predicted as a stream, in order; no prediction depends on the other texts. A tagger splits raw
    text into words itself. It also takes sentences that are already split (--tokenized), and then prints each word with its
    tag in an additional last column. Images are named by their files, by folders, or in a --file with a name on each line.

    Example:
        unfreeze predict my-classifier "A stunning story with a lot of twists."
        unfreeze predict my-classifier --file reviews.csv --text-column review --output labels.csv
        unfreeze predict my-classifier "A stunning story with a lot of twists." --explain
        unfreeze predict my-classifier --file reviews.csv --explain --output words.html
        unfreeze predict entailment "A man sleeps." --pair "A man is awake."
        unfreeze predict cat-or-dog photo.jpg holidays/ --output labels.csv
        unfreeze predict my-tagger --file letters.txt --output names.html
        unfreeze predict my-tagger --file eng.testb --tokenized --output tagged.conll
        unfreeze predict my-locator holidays/ --output pictures
        unfreeze predict my-answerer "Who is chasing?" --context "A mouse chases a cat."
    """

    context: str | None = None
    """Answerers: text that the questions are about; or name a --file in SQuAD's format."""

    pair: str | None = None
    """Classifiers of pairs: second text of each pair; or name a --file and its --pair-column."""

    top: int = 1
    """Answerers: maximum number of answers to each question."""

    output: Path | None = None
    """File to write instead of printing: .csv, .tsv or .jsonl (taggers: .jsonl, .conll or .html; answerers: .jsonl or .html;
    classifiers with --explain: .jsonl or .html, a page of colored words). Locators: also a folder, for pictures on which the boxes are drawn."""

    tokenized: bool = False
    """Taggers: the texts are already split into words, at spaces on the command line; a --file has CoNLL's columns, or JSON
    lines of tokens. Always true of files named .conll, .conllu, .iob, .iob2 or .bio."""

    probabilities: bool = False
    """Classifiers of texts or images: show the probability of every label."""

    explain: bool = False
    """Classifiers of texts: show the words that decided, and what each adds to the log-odds of the label (of more than two labels, to
    its logit minus the mean logit of the others)."""

    explain_by: Literal["auto", "exact", "occlusion", "gradients"] = "auto"
    """How --explain finds them: exact contributions, of linear heads on averaged vectors; occlusion, the difference that leaving out a
    word makes, of any classifier; integrated gradients on the embeddings; or exact where possible, else occlusion (auto)."""

    least_score: float = 0.3
    """Locators of several boxes in an image: smallest score of a box."""

    image_column: str | None = None
    """Images: name or number (from 1) of the column of a --file that names the images."""

    images: Path | None = None
    """Images: folder with the files that --file names (default: that of the --file, or a folder images in it or beside it)."""

    text_column: str | None = None
    """Name or number (from 1) of the text column of a table; several, separated by commas, are joined. In a file that is
    already split, the column of the words, from 0, or their key."""

    escape_formulas: bool = False
    """Put an apostrophe before texts and labels in .csv and .tsv that a spreadsheet would run as formulas."""

    def __post_init__(self) -> None:
        need_positive(self, "top")
        if not 0 <= self.least_score <= 1:
            raise UserError(f"{setting('least_score')} must be from 0 to 1, not {self.least_score}")
        if self.explain_by != Predict.explain_by and not self.explain:
            raise UserError(f"{setting('explain_by')} has no effect without --explain")


def run(arguments: Predict, console: Console) -> None:
    """Print a prediction for each text, or write them to a file."""
    output = arguments.output
    need_new(output, overwrite=arguments.overwrite)
    kind = need_task_model(arguments.model)
    is_split = kind == TAGGER and reads_split(arguments)
    of_tagger = "taggers of split words" if is_split else "taggers of raw text"
    need_own_options(arguments, of_tagger if kind == TAGGER else f"{TASK_MODELS[kind]}s", OWN_OPTIONS)
    suffix = "" if output is None else output.suffix.lower()
    if arguments.escape_formulas and suffix not in (".csv", ".tsv"):
        raise UserError("--escape-formulas is for tables: add --output with a name that ends in .csv or .tsv")
    formats = FORMATS[kind]
    if kind == CLASSIFIER:  # a table has no place for words, and a page shows nothing else
        formats = EXPLAINED if arguments.explain else formats[:-1]
    if output is not None and suffix not in formats:
        *others, last = (each for each in formats if each not in (".ndjson", ""))
        folder = "; without an ending, it is a folder of pictures" if "" in formats else ""
        folder += "; --explain writes a page, .html" if kind == CLASSIFIER and suffix == ".html" else ""
        raise UserError(f"--output {output}: the name has to end in {', '.join(others)} or {last}{folder}")
    # Before the model is loaded, which may take long: a mistake in the texts ends the run.
    inputs: Any
    if kind == ANSWERER:
        inputs = read_questions(arguments)
    elif kind in (IMAGE_CLASSIFIER, LOCATOR):
        inputs = given_images(arguments)
    else:
        if kind == CLASSIFIER:
            inputs = read_texts(arguments)
        else:
            inputs = read_sentences(arguments) if is_split else arguments.given_texts()
    from unfreeze.registry import load
    from unfreeze.tasks.prediction_files import write_predictions

    model = load(arguments.model)
    model.precision = arguments.precision
    ways: dict[str, Callable[..., Found]] = {
        CLASSIFIER: labels,
        IMAGE_CLASSIFIER: labels,
        TAGGER: tags,
        ANSWERER: answers,
        LOCATOR: locations,
    }
    found = ways[kind](model, inputs, suffix, arguments, console)
    if output is None:
        for row, text in found:
            console.result(row, text)
        return
    kinds = model.classes_ if kind == TAGGER else []
    title = Path(arguments.model).resolve().name
    noun = {ANSWERER: "question", IMAGE_CLASSIFIER: "image", LOCATOR: "image"}.get(kind, "text")
    if kind == LOCATOR and not suffix:
        count = 0
        with console.progress.bar("predict", unit="image") as bar:
            for _ in found:  # the pictures are written on the way
                count += 1
                bar.advance()
    else:
        texts = (text for _, text in found)
        count = write_predictions(output, texts, suffix, title, kinds, console.progress, noun)
    console.result({"output": str(output), f"{noun}s": count}, f"{counted(count, noun)}: {output}")


def labels(
    classifier: Classifier, inputs: Iterator[Any], suffix: str, arguments: Predict, _: Console
) -> Found:
    """The label or labels of each text or image."""
    from unfreeze.tasks.prediction_files import (
        TABLES,
        json_line,
        labels_line,
        table_writer,
        words_line,
        words_on_page,
    )
    from unfreeze.tasks.text_classifier import TextClassifier

    written: Callable[[dict[str, Any]], str] = json_line if suffix else labels_line
    if suffix in TABLES:
        written = table_writer(TABLES[suffix], escape_formulas=arguments.escape_formulas)
    explain: Callable[[str, int], Explanation] | None = None
    if arguments.explain:
        assert isinstance(classifier, TextClassifier)
        method = None if arguments.explain_by == "auto" else arguments.explain_by
        explain = partial(classifier.explanation, method=method)
    for one, shares, known in classifier.predict_stream_known(inputs):
        shown = {"image": str(one)} if classifier.noun == "image" else as_row(one)
        row: dict[str, Any] = {**shown, **classifier.prediction(shares, known)}
        if arguments.probabilities:
            row["probabilities"] = dict(zip(classifier.label_names, shares.tolist(), strict=True))
        if explain is None:
            yield row, written(row)
            continue
        # Without a known word, the prediction is the share of the class: no word decided.
        found = explain(one, int(shares.argmax())) if known else None
        row["explanation"] = None if found is None else found.as_dict()
        if suffix == ".html":
            yield row, words_on_page(row, found)
        else:
            yield row, written(row) if suffix else f"{written(row)}\n{words_line(found)}"


def tags(
    tagger: SequenceTagger,
    texts: Iterator[str] | list[SplitSentence],
    suffix: str,
    arguments: Predict,
    _: Console,
) -> Found:
    """The entities of each text, or a tag for each word."""
    from unfreeze.analysis.tag_page import page_text
    from unfreeze.tasks.prediction_files import entities_line, json_line, tag_columns, words_and_tags

    kinds = tagger.classes_
    lines: Iterator[tuple[str, ...] | None] = repeat(None)
    if isinstance(texts, list):
        lines = iter([sentence.lines for sentence in texts])
        stream = tagger.tag_split_stream(sentence.tokens for sentence in texts)
    else:
        stream = tagger.tag_stream(texts)
    for tagged, own in zip(stream, lines, strict=False):
        words = words_and_tags(tagged) if suffix or own is not None else {}
        row = {"text": tagged.text, **words, "entities": tagged.entities}
        if suffix == ".jsonl":
            text = json_line(row)
        elif suffix == ".html":
            text = page_text(tagged.text, tagged.entities, kinds)
        elif suffix == ".conll" or own is not None:
            text = tag_columns(tagged, own)
        else:
            text = entities_line(tagged)
        yield row, text if suffix else text.removesuffix("\n")


def answers(
    answerer: QuestionAnswerer, questions: QuestionSet, suffix: str, arguments: Predict, console: Console
) -> Found:
    """The best answers to each question."""
    from unfreeze.tasks.prediction_files import answers_line, answers_on_page, json_line

    found = answerer.answer(questions, count=arguments.top, progress=console.progress)
    for question, answered in zip(questions.examples, found, strict=True):
        row = {"id": question.id, "question": question.question, **answered}
        if suffix == ".jsonl":
            yield row, json_line(row)
        else:
            yield row, (answers_on_page if suffix else answers_line)(question, answered)


def locations(
    locator: ObjectLocator, images: Iterator[Any], suffix: str, arguments: Predict, _: Console
) -> Found:
    """The boxes in each image, which are drawn if the output is a folder."""
    from unfreeze.tasks.located_files import Pictures, boxes_line, boxes_table
    from unfreeze.tasks.prediction_files import TABLES, json_line

    written: Callable[[dict[str, Any]], str] = json_line if suffix else boxes_line
    if suffix in TABLES:
        written = boxes_table(TABLES[suffix])
    if locator.finds_one and arguments.least_score != Predict.least_score:
        raise UserError(f"{arguments.model} finds one box in each image: leave out {setting('least_score')}")
    pictures = None if arguments.output is None or suffix else Pictures(arguments.output)
    for image, found in locator.predict_stream(images, least_score=arguments.least_score):
        row: dict[str, Any] = {"image": str(image), "boxes": locator.prediction(found)}
        if pictures is not None:
            row["picture"] = str(pictures.add(image, str(image), found, row))
        yield row, written(row)


def given_images(arguments: Predict) -> Iterator[Any]:
    """The images that the command line or --file names."""
    from unfreeze.vision.finding import find_images

    if not arguments.texts and arguments.file is None:
        raise UserError(
            "no image was given: name files or folders, or a list of them: --file FILE, - for standard input"
        )
    if arguments.texts and arguments.file is not None:
        raise UserError("images come from the command line or from --file, not from both")
    if arguments.file is None and arguments.images is not None:
        raise UserError("--images is for the images that a --file names")
    for name in arguments.texts:
        if plain_suffix(Path(name)) in LISTS and Path(name).is_file():
            raise UserError(f"{name} is not an image: a list of images is given as --file {name}")
    if arguments.file is None or not is_table(arguments.file):
        if columns := given(arguments, "image_column", "header"):
            raise UserError(f"{setting(next(iter(columns)))} is for a table in --file")
        folder = arguments.images or (None if arguments.file is None else arguments.file.parent)
        return find_images((name for name in arguments.given_texts() if name.strip()), folder)
    from unfreeze.vision.labeled_images import read_images

    reading = given(arguments, "images", "image_column", "header", "encoding")
    return iter(read_images(arguments.file, **reading, labels_required=False).inputs())


def read_texts(arguments: Predict) -> Iterator[TextInput]:
    """The texts to classify, or pairs of texts: a column of --file and another one, or texts with --pair."""
    from unfreeze.text.examples import stream_pairs

    option = "--pair" if arguments.pair is not None else "--pair-column"
    both = (arguments.pair, arguments.pair_column)
    if None not in both:
        raise UserError("the second text of a pair is --pair or in --pair-column, not both")
    advice = '--pair "another text"' if arguments.file is None else "--pair-column NAME"
    if arguments.explain and reads_pairs(arguments.model):
        raise UserError(f"{arguments.model} is a classifier of pairs of texts: --explain is for single texts")
    need_pairs(arguments.model, option, both != (None, None), advice)
    if arguments.pair is not None:
        if arguments.file is not None:
            raise UserError(
                "--pair is for texts of the command line: the pairs of a --file have a --pair-column"
            )
        return zip(arguments.given_texts(), repeat(arguments.pair), strict=False)
    if arguments.pair_column is None:
        return arguments.given_texts()
    if arguments.file is None or arguments.texts:
        raise UserError("--pair-column is for the table in --file; a text of the command line has --pair")
    return stream_pairs(arguments.file, **arguments.reading, **given(arguments, "pair_column"))


def reads_split(arguments: Predict) -> bool:
    """Whether the texts are already split into words, by --tokenized or by the name of --file."""
    from unfreeze.text.tag_columns import COLUMN_FILES

    return arguments.tokenized or (
        arguments.file is not None and plain_suffix(arguments.file) in COLUMN_FILES
    )


def read_sentences(arguments: Predict) -> list[SplitSentence]:
    """The sentences of --file, or texts whose words are separated by spaces."""
    from unfreeze.text.tagged import SplitSentence, read_split

    if arguments.file is not None and not arguments.texts and str(arguments.file) != "-":
        return read_split(
            arguments.file,
            token_column=arguments.text_column,
            encoding=arguments.encoding,
            comments=arguments.comments,
        )
    sentences = [tuple(text.split()) for text in arguments.given_texts()]
    return [SplitSentence(words, words) for words in sentences]


def read_questions(arguments: Predict) -> QuestionSet:
    """The questions of --file, or those of the command line about --context."""
    from unfreeze.text.questions import QuestionSet, as_question, read_questions

    if arguments.file is not None:
        if arguments.texts or arguments.context is not None:
            raise UserError(
                "questions come from the command line with --context, or from --file, not from both"
            )
        return read_questions(arguments.file, arguments.encoding, answers=False)
    if arguments.context is None:
        raise UserError('an answerer needs a text: add --context "a text", or --file FILE in SQuAD\'s format')
    questions = [
        as_question(text, arguments.context, str(number), f"question {number + 1} of the command line")
        for number, text in enumerate(arguments.given_texts())
    ]
    return QuestionSet(questions, "the command line")
