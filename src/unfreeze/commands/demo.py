"""`unfreeze demo`: the main job on generated reviews, offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.analysis.curves import Curve
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.progress import Progress

TRANSFER, RELEASED = "unlabeled text first", "wiki-small, as it ships"
VECTORS, PICTURE = "vectors.npz", "accuracy.png"
SCRATCH, BASELINE = "from scratch", "TF-IDF + logistic regression"
VECTOR_WINDOW = 15
"""Wide windows: vectors that see most of a review tell its sentiment better than narrow ones."""


@dataclass(kw_only=True)
class Demo:
    """Show on made-up film reviews what unlabeled text is worth.

    A generator writes plain text and film reviews. Word vectors and a language model learn from the text without
    labels; then classifiers learn from a few labels, with that knowledge, with what the released encoder knows of
    Wikipedia, and without. Nothing is downloaded. Run again after an interruption, the stages that are done are not
    done again.

    Example:
        unfreeze demo --output unfreeze-demo
    """

    output: Path = Path("unfreeze-demo")
    """Folder for the models, the texts and the picture."""

    minutes: float = 1.0
    """Time for the language model, half on plain text, half on reviews."""

    labels: tuple[int, ...] = (20, 100, 400)
    """Numbers of labeled reviews to learn from."""

    test: int = 500
    """Other reviews to measure on."""

    seed: int = 0
    """Of the texts and of everything random."""

    overwrite: bool = False
    """Replace another demo's texts, models and picture."""

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise UserError(f"--minutes must be more than 0, not {self.minutes}")
        if not self.labels or min(self.labels) < 2:
            raise UserError("--labels takes numbers of at least 2")
        if self.test < 2:
            raise UserError(f"--test must be at least 2, not {self.test}")


def run(arguments: Demo, console: Console) -> None:
    """All stages; prints the table and says what to try next."""
    from unfreeze.analysis.curves import curve_rows, plot_curves
    from unfreeze.tasks.text_classifier import TextClassifier

    work = _Texts(arguments)
    console.note("1/3  word vectors and a language model, from text without labels")
    vectors = _vectors(work, console.progress)
    encoder = _language_model(arguments, work, vectors, console.progress)
    console.note("2/3  classifiers, from few labels")
    curves = _compare(arguments, work, encoder, vectors, console)
    console.note("3/3  accuracy on reviews that none of them has seen")
    console.table(curve_rows(curves))
    picture = arguments.output / PICTURE
    plot_curves(curves, picture, title="What unlabeled text is worth (made-up film reviews)")
    best = TextClassifier.from_pretrained(arguments.output / f"classifier-{max(arguments.labels)}")
    for text in (
        "I was moved from the first scene to the last.",
        "Not even the actors seemed to believe in it.",
    ):
        found = best([text])[0]
        console.result({"text": text, **found}, f"{found['label']} ({found['score']:.2f})  {text}")
    console.note(
        f"picture: {picture}\nnow your own: unfreeze pretrain lm --corpus TEXTS --output my-lm, "
        "unfreeze fit classifier --train LABELED.csv --encoder my-lm --output my-classifier"
    )


class _Texts:
    """The generated texts, as files that a user could look at."""

    def __init__(self, arguments: Demo) -> None:
        from unfreeze.generated import movie_reviews, plain_text
        from unfreeze.text.examples import example_set

        self.output = arguments.output
        self.plain, self.unlabeled = arguments.output / "plain.txt", arguments.output / "reviews.txt"
        seed = 10 * arguments.seed
        reviews = [review.text for review in movie_reviews(4000, seed + 1)]
        documents = {self.plain: plain_text(1200, seed), self.unlabeled: reviews}
        _write_texts(arguments, {path: "\n\n".join(texts) + "\n" for path, texts in documents.items()})
        labeled, test = (
            movie_reviews(max(1000, *arguments.labels), seed + 2),
            movie_reviews(arguments.test, seed + 3),
        )
        self.labeled: ExampleSet = example_set(
            [r.text for r in labeled], [r.label for r in labeled], "labeled reviews"
        )
        self.test: ExampleSet = example_set([r.text for r in test], [r.label for r in test], "test reviews")


def _write_texts(arguments: Demo, contents: Mapping[Path, str]) -> None:
    """Write those that are not there yet.

    Raises:
        UserError: the folder holds other files of the demo's names.
    """
    from unfreeze.folders import written_file

    there = {path for path, text in contents.items() if _holds(path, text)}
    vectors, picture = arguments.output / VECTORS, arguments.output / PICTURE
    for path in (*(contents.keys() - there), *(() if there else (vectors, picture))):
        if path.exists() and not arguments.overwrite:
            raise UserError(f"{path} is of another demo, or yours: take another --output, or add --overwrite")
    if not there:
        vectors.unlink(missing_ok=True)  # of other texts
    for path in contents.keys() - there:
        with written_file(path) as temporary:
            temporary.write_text(contents[path], encoding="utf-8")


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _vectors(work: _Texts, progress: Progress) -> Path:
    """Skip-gram vectors of all unlabeled text."""
    from unfreeze.pretraining.word2vec.train import train_word_vectors
    from unfreeze.text.corpus import stream_documents
    from unfreeze.text.token_store import TokenStore
    from unfreeze.text.tokenizers import train_tokenizer
    from unfreeze.vectors.writing import write_word_vectors

    place, corpus = work.output / VECTORS, [work.plain, work.unlabeled]
    if not place.is_file():
        tokenizer = train_tokenizer(stream_documents(corpus), workers=1)
        store = TokenStore.build(stream_documents(corpus), tokenizer, work.output / "tokens", workers=1)
        vectors = train_word_vectors(
            store, tokenizer, size=64, window=VECTOR_WINDOW, epochs=10, progress=progress
        )
        write_word_vectors(place, vectors)
    return place


def _language_model(arguments: Demo, work: _Texts, vectors: Path, progress: Progress) -> Path:
    """Both stages of the language model; returns the folder of the adapted one."""
    from unfreeze.pretraining.lm import adapt_lm, pretrain_lm
    from unfreeze.pretraining.settings import AdaptSettings, tiny
    from unfreeze.pretraining.unlabeled import Corpus
    from unfreeze.transfer.policies import TransferPolicy

    settings = tiny()
    loop = replace(settings.training.loop, epochs=None, minutes=arguments.minutes / 2, seed=arguments.seed)
    training = replace(settings.training, loop=loop)
    general, adapted = arguments.output / "language-model", arguments.output / "adapted"
    pretrain_lm(
        Corpus(paths=[work.plain]),
        replace(settings, training=training),
        output=general,
        word_vectors=vectors,
        overwrite=arguments.overwrite,
        command="unfreeze demo",
        progress=progress,
    )
    policy = TransferPolicy(mode="fine-tune", learning_rate=4e-3, gradual=False)
    adapt_lm(
        general,
        Corpus(paths=[work.unlabeled]),
        AdaptSettings(training=replace(training, policy=policy)),
        output=adapted,
        overwrite=arguments.overwrite,
        command="unfreeze demo",
        progress=progress,
    )
    return adapted


def _compare(arguments: Demo, work: _Texts, encoder: Path, vectors: Path, console: Console) -> list[Curve]:
    """Accuracy of each method with the same labels."""
    from unfreeze.analysis.curves import Curve
    from unfreeze.tasks.baselines import tfidf_accuracy
    from unfreeze.tasks.settings import ClassifierSettings
    from unfreeze.tasks.text_classifier import fit_classifier

    transfer = ClassifierSettings(
        encoder=str(encoder),
        transfer="frozen",
        word_vectors=str(vectors),
        pooling="top+vectors",
        seed=arguments.seed,
    )
    methods = {
        TRANSFER: transfer,
        RELEASED: ClassifierSettings(transfer="frozen", pooling="top+vectors", seed=arguments.seed),
        SCRATCH: ClassifierSettings(encoder="none", hidden_size=64, epochs=12, seed=arguments.seed),
    }
    found: dict[str, dict[int, list[float]]] = {name: {} for name in (*methods, BASELINE)}
    for count in arguments.labels:
        train = work.labeled.sample(count, arguments.seed)
        for name, settings in methods.items():
            output = arguments.output / f"classifier-{count}" if name == TRANSFER else None
            fitted, _ = fit_classifier(
                train,
                settings,
                output=output,
                overwrite=arguments.overwrite,
                command="unfreeze demo",
                progress=console.progress,
            )
            found[name][count] = [fitted.evaluate(work.test).accuracy]
        found[BASELINE][count] = [tfidf_accuracy(train, work.test, seed=arguments.seed)]
    return [Curve(name, values) for name, values in found.items()]
