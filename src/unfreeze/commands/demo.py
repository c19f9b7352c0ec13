"""`unfreeze demo`: what unlabeled text is worth, on generated reviews, offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.options import changed
from unfreeze.errors import UserError, setting

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.generated import Review

TRANSFER, RELEASED = "unlabeled text first", "wiki-small, as it ships"
SCRATCH, BASELINE = "from scratch", "TF-IDF + logistic regression"
VECTORS, PICTURE = "vectors.npz", "accuracy.png"
VECTOR_WINDOW = 15
"""With wide windows, vectors tell the sentiment of a review better."""


@dataclass(kw_only=True)
class Demo:
    """Show on generated movie reviews what pre-training on unlabeled text is worth.

    Word vectors and a language model are trained on generated text without labels. Then classifiers are trained on a few
    labeled reviews: on top of these models, on top of the encoder that ships with unfreeze, and from scratch. Nothing is
    downloaded. Rerun the command to resume an interrupted run.

    Example:
        unfreeze demo --output unfreeze-demo
    """

    output: Path = Path("unfreeze-demo")
    """Folder to write the texts, the models and the plot to."""

    minutes: float = 1.0
    """Training time of the language model in minutes: half on plain text, half on reviews."""

    labels: tuple[int, ...] = (20, 100, 400)
    """Numbers of labeled reviews to learn from."""

    test: int = 500
    """Number of other reviews to evaluate on."""

    seed: int = 0
    """Seed of the texts and of all random numbers."""

    overwrite: bool = False
    """Replace the texts, models and plot of another demo."""

    def __post_init__(self) -> None:
        need_positive(self, "minutes")
        if not self.labels or min(self.labels) < 2:
            raise UserError(f"{setting('labels')} takes numbers of at least 2")
        if self.test < 2:
            raise UserError(f"{setting('test')} must be at least 2, not {self.test}")


def run(arguments: Demo, console: Console) -> None:
    """Run all stages, print the table, and say what to try next."""
    from unfreeze.analysis.curves import Curve, curve_rows, plot_curves
    from unfreeze.generated import movie_reviews, plain_text
    from unfreeze.tasks.baselines import tfidf_accuracy
    from unfreeze.tasks.settings import ClassifierSettings
    from unfreeze.tasks.text_classifier import TextClassifier, fit_classifier

    output, seed = arguments.output, arguments.seed
    plain, unlabeled = output / "plain.txt", output / "reviews.txt"
    reviews = [review.text for review in movie_reviews(4000, 10 * seed + 1)]
    texts = {plain: plain_text(1200, 10 * seed), unlabeled: reviews}
    _write_texts(arguments, {path: "\n\n".join(each) + "\n" for path, each in texts.items()})
    labeled = _examples(movie_reviews(max(1000, *arguments.labels), 10 * seed + 2), "labeled reviews")
    test = _examples(movie_reviews(arguments.test, 10 * seed + 3), "test reviews")
    run_options: dict[str, Any] = {
        "overwrite": arguments.overwrite,
        "command": "unfreeze demo",
        "progress": console.progress,
    }

    console.note("1/3  word vectors and a language model, from unlabeled text")
    vectors = _word_vectors(arguments, plain, unlabeled, console)
    encoder = _language_model(arguments, plain, unlabeled, vectors, run_options)

    console.note("2/3  classifiers, from few labels")
    frozen: dict[str, Any] = {"transfer": "frozen", "pooling": "top+vectors", "seed": seed}
    methods = {
        TRANSFER: ClassifierSettings(encoder=str(encoder), word_vectors=str(vectors), **frozen),
        RELEASED: ClassifierSettings(**frozen),
        SCRATCH: ClassifierSettings(encoder="none", hidden_size=64, epochs=12, seed=seed),
    }
    accuracies: dict[str, dict[int, list[float]]] = {name: {} for name in (*methods, BASELINE)}
    for count in arguments.labels:
        train = labeled.sample(count, seed)
        for name, settings in methods.items():
            folder = output / f"classifier-{count}" if name == TRANSFER else None
            classifier, _ = fit_classifier(train, settings, output=folder, **run_options)
            accuracies[name][count] = [classifier.evaluate(test).accuracy]
        accuracies[BASELINE][count] = [tfidf_accuracy(train, test, seed=seed)]
    curves = [Curve(name, values) for name, values in accuracies.items()]

    console.note("3/3  accuracy on reviews that no model was trained on")
    console.table(curve_rows(curves))
    plot_curves(curves, output / PICTURE, title="What unlabeled text is worth (generated movie reviews)")
    best = TextClassifier.from_pretrained(output / f"classifier-{max(arguments.labels)}")
    examples = [
        "I was moved from the first scene to the last.",
        "Not even the actors seemed to believe in it.",
    ]
    for text, found in zip(examples, best(examples), strict=True):
        console.result({"text": text, **found}, f"{found['label']} ({found['score']:.2f})  {text}")
    console.note(
        f"the plot is in {output / PICTURE}\nwith your own texts: unfreeze pretrain lm --corpus TEXTS --output my-lm, "
        "unfreeze fit classifier --train LABELED.csv --encoder my-lm --output my-classifier"
    )


def _examples(reviews: list[Review], source: str) -> ExampleSet:
    from unfreeze.text.examples import example_set

    return example_set([each.text for each in reviews], [each.label for each in reviews], source)


def _write_texts(arguments: Demo, contents: Mapping[Path, str]) -> None:
    """Write the files that do not exist yet, so that a user can look at them.

    Raises:
        UserError: the folder holds other files of these names.
    """
    from unfreeze.folders import written_file

    complete = {
        path for path, text in contents.items() if path.is_file() and path.read_bytes() == text.encode()
    }
    vectors, picture = arguments.output / VECTORS, arguments.output / PICTURE
    for path in (*(contents.keys() - complete), *(() if complete else (vectors, picture))):
        if path.exists() and not arguments.overwrite:
            raise UserError(
                f"{path} belongs to another demo or to you: choose another {setting('output')}, or add "
                f"{setting('overwrite', True)}"
            )
    if not complete:
        vectors.unlink(missing_ok=True)  # they were trained on other texts
    for path in contents.keys() - complete:
        with written_file(path) as temporary:
            temporary.write_text(contents[path], encoding="utf-8")


def _word_vectors(arguments: Demo, plain: Path, unlabeled: Path, console: Console) -> Path:
    """Train skip-gram vectors on all unlabeled text, unless they exist."""
    from unfreeze.pretraining.word2vec.train import train_word_vectors
    from unfreeze.text.corpus import stream_documents
    from unfreeze.text.token_store import TokenStore
    from unfreeze.text.tokenizers import train_tokenizer
    from unfreeze.vectors.writing import write_word_vectors

    place, corpus = arguments.output / VECTORS, [plain, unlabeled]
    if not place.is_file():
        tokenizer = train_tokenizer(stream_documents(corpus), workers=1)
        store = TokenStore.build(stream_documents(corpus), tokenizer, arguments.output / "tokens", workers=1)
        vectors = train_word_vectors(
            store, tokenizer, size=64, window=VECTOR_WINDOW, epochs=10, progress=console.progress
        )
        write_word_vectors(place, vectors)
    return place


def _language_model(
    arguments: Demo, plain: Path, unlabeled: Path, vectors: Path, run_options: Mapping[str, Any]
) -> Path:
    """Pre-train a language model on plain text and adapt it to the reviews; returns the folder of the adapted one."""
    from unfreeze.pretraining.lm import adapt_lm, pretrain_lm
    from unfreeze.pretraining.settings import AdaptSettings, tiny
    from unfreeze.pretraining.unlabeled import Corpus
    from unfreeze.transfer.policies import TransferPolicy

    settings = changed(tiny(), {"epochs": None, "minutes": arguments.minutes / 2, "seed": arguments.seed})
    policy = TransferPolicy(mode="fine-tune", learning_rate=4e-3, gradual=False)
    adapting = AdaptSettings(training=changed(settings.training, {"policy": policy}))
    general, adapted = arguments.output / "language-model", arguments.output / "adapted"
    pretrain_lm(Corpus(paths=[plain]), settings, output=general, word_vectors=vectors, **run_options)
    adapt_lm(general, Corpus(paths=[unlabeled]), adapting, output=adapted, **run_options)
    return adapted
