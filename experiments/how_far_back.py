"""Claim: recurrent language models use more of the history than n-gram models do. How far back do they look?

At sampled positions of the held-out last file of enwiki-2015, this experiment measures the loss of recurrent language models
(LSTM, QRNN) if the history is cut to the last k tokens, or if the tokens before the last k (of 256) are shuffled
(Khandelwal et al. 2018, "Sharp Nearby, Fuzzy Far Away"), and that of n-gram models (interpolated modified Kneser-Ney) of orders
2 to 6, which use n - 1 tokens, over the vocabulary of the first model.

    python -m experiments.how_far_back --data DATA --runs RUNS --models LSTM=FOLDER QRNN=FOLDER

Details:

- A cut history consists of exactly k tokens, read from a zero state without a begin symbol. This hardly ever occurs in
  training, where the state is carried on and documents start with the begin symbol. For small k part of the loss is therefore
  due to the unusual input, and n-grams show better what k tokens are worth. `--begin` also measures histories with a begin symbol
  before the k tokens, which is worse, because it implies the beginning of an article: without and with it the loss of a tiny LSTM
  was 5.059 and 5.195 at k = 1 (QRNN 5.006 and 5.390), 4.593 and 4.613 at 4 (4.621 and 4.657), and equal within 0.002 from 16 on.
- "whole" is everything since the begin symbol of the document, as in `unfreeze.language_models.score`.
- Shuffled histories are compared with the 256 tokens in order, cut ones with the whole history. "+ x %" is the increase
  of the loss, with the standard error of the paired difference, clustered by document.
- Positions are at least 257 tokens into a document of the first 1.5 million characters, which `experiments.ngrams_against_lstm`
  uses too. All targets count, including unknown words and capital marks, as in all held-out figures here.
- Losses per token are comparable only over the same vocabulary: models with another one than the first are rejected and need a
  run of their own.

All measurements are stored in RUNS (results.jsonl, and the loss at each position in losses/) and not computed again. The
shuffled histories take four fifths of the time: at 4,000 positions a model reads 10 million tokens. CPU time of
one core (with other work on the machine): 45 seconds for these tiny models (64/128, 2 layers, `unfreeze pretrain lm --preset
tiny --cell CELL --minutes 2 --vocabulary-size 10000` on the first 12 MB of wiki-00.txt); 256/640 with 3 layers read 8,600
tokens a second as LSTMs, 13,000 as QRNNs, which makes 20 and 13 minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from experiments.history import (
    Positions,
    clustered_error,
    cut_windows,
    history_losses,
    ngram_losses,
    sample_positions,
    shuffled_beyond,
    whole_losses,
)
from experiments.history_plot import HistoryLine, plot_histories
from experiments.imdb import Places
from experiments.results import Results, part_of
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.ngram import MAX_ORDER, NgramModel
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer

WINDOW = 256
"""Number of tokens before each position that are cut or shuffled."""
HISTORIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WHOLE = 0
"""Represents the whole history in place of a length."""
NEAR = 0.01
"""Relative increase of the loss below which a change of the history is considered negligible (Khandelwal et al.)."""

Row = dict[str, Any]
Compute = Callable[[str, int], Tensor]
"""(change of the history, its length) -> losses (N,) in nats."""


@dataclass(frozen=True)
class Sample:
    """The positions at which losses are measured."""

    documents: list[list[int]]
    """Ids of the held-out documents."""
    positions: Positions
    """Document and position (N, 2)."""

    @cached_property
    def windows(self) -> tuple[Tensor, Tensor]:
        """The 256 ids before each target (N, 256), and the targets (N,)."""
        return cut_windows(self.documents, self.positions, WINDOW)


class Measurement:
    """Losses of one model, stored by position, and their means, stored in the results.

    Args:
        part: identifies the model and the sample.
        facts: further columns of each row of the results.
    """

    def __init__(
        self, results: Results, part: str, sample: Sample, seed: int, facts: Row, compute: Compute
    ) -> None:
        self.results, self.part, self.sample, self.seed = results, part, sample, seed
        self.facts, self.compute = facts, compute

    def losses(self, change: str, k: int) -> NDArray[np.float32]:
        """The losses of all positions (N,)."""
        name = f"{self.part}-{change}-{k}".replace(" ", "-")
        path = self.results.path.parent / "losses" / f"{name}.npy"
        if not path.is_file():
            found = self.compute(change, k).numpy()
            with written_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, found)
        kept: NDArray[np.float32] = np.load(path)
        return kept

    def row(self, change: str, k: int, reference: tuple[str, int] | None = None) -> Row:
        """Mean loss, and its increase over that of another history."""
        return self.results.measure(self.part, change, k, self.seed, partial(self._row, change, k, reference))

    def _row(self, change: str, k: int, reference: tuple[str, int] | None) -> Row:
        documents = self.sample.positions[:, 0]
        losses = self.losses(change, k)
        mean = float(losses.mean(dtype=np.float64))
        row = {**self.facts, "loss": mean, "perplexity": float(np.exp(mean))}
        row["error"] = clustered_error(losses, documents)
        if reference is not None:
            other = self.losses(*reference)
            base = float(other.mean(dtype=np.float64))
            row["increase"] = mean / base - 1
            row["increase_error"] = clustered_error(losses - other, documents) / base
        return row


def model_losses(model: AwdLstmLanguageModel, sample: Sample, seed: int, change: str, k: int) -> Tensor:
    """Losses of a recurrent model with a changed history."""
    contexts, targets = sample.windows
    if change == "whole":
        return whole_losses(model, sample.documents, sample.positions)
    if change == "shuffled":
        return history_losses(model, shuffled_beyond(contexts, k, seed), targets, WINDOW)
    begin = model.tokenizer.bos_id if change == "behind the begin symbol" else None
    return history_losses(model, contexts, targets, k, begin=begin)


def counted_losses(
    corpus: Corpus, tokenizer: TextTokenizer, store: Path, sample: Sample, change: str, k: int
) -> Tensor:
    """Losses of an n-gram model of order k + 1; the model itself is not stored."""
    tokens = TokenStore.build(corpus.training_documents(), tokenizer, store, progress=Progress())
    model = NgramModel.fit(tokens, tokenizer, k + 1, progress=Progress())
    return ngram_losses(model, *sample.windows)


def measured_model(
    measurement: Measurement, histories: Sequence[int], begin: bool, shuffled: Sequence[int]
) -> dict[str, dict[int, Row]]:
    """All rows of a recurrent model, by change and length of the history."""
    whole = ("whole", WHOLE)
    rows = {"whole": {WHOLE: measurement.row(*whole)}}
    for change in ("cut", *["behind the begin symbol"] * begin):
        rows[change] = {k: measurement.row(change, k, whole) for k in histories}
    in_order = ("cut", WINDOW)
    rows["shuffled"] = {k: measurement.row("shuffled", k, in_order) for k in shuffled if k < WINDOW}
    return rows


def loaded(models: Sequence[tuple[str, str]]) -> dict[str, AwdLstmLanguageModel]:
    """Load the models by name.

    Raises:
        UserError: a model does not read forward, or has another vocabulary than the first one.
    """
    found = {name: AwdLstmLanguageModel.from_pretrained(folder) for name, folder in models}
    if len(found) < len(models):
        raise UserError("two models have the same name")
    first, *_ = found
    for name, model in found.items():
        if "forward" not in model.encoder.directions:
            raise UserError(f"{name} reads backward only: its history is the text that follows")
        if model.tokenizer.fingerprint() != found[first].tokenizer.fingerprint():
            raise UserError(
                f"{name} has another vocabulary than {first}, so that losses per token are not comparable: "
                f"measure {name} in a run of its own"
            )
    return found


def table(models: dict[str, dict[str, dict[int, Row]]], ngrams: dict[int, Row]) -> str:
    """Markdown table with one line per length of the history."""
    titles = {
        "cut": "{}, cut | over whole",
        "behind the begin symbol": "{}, cut, begin symbol before | over whole",
        "shuffled": "{}, older shuffled | over in order",
    }
    columns = {
        title.format(name): rows[change] | (rows["whole"] if change == "cut" else {})
        for name, rows in models.items()
        for change, title in titles.items()
        if change in rows
    }
    histories = {k for rows in columns.values() for k in rows} | set(ngrams)
    lines = [
        "| tokens of history | n-gram | " + " | ".join(columns) + " |",
        "|" + "---:|" * (2 + 2 * len(columns)),
    ]
    for k in sorted(histories, key=lambda k: (k == WHOLE, k)):
        pairs = [f"{_loss(rows.get(k))} | {_increase(rows.get(k))}" for rows in columns.values()]
        cells = ["whole" if k == WHOLE else str(k), _loss(ngrams.get(k)), *pairs]
        lines.append("| " + " | ".join(cells) + " |")
    error = max(row["error"] for rows in columns.values() for row in rows.values())
    lines.append(
        f"\nNats a token (perplexity), standard error {error:.3f} at most; increases with their standard error."
    )
    return "\n".join(lines)


def _loss(row: Row | None) -> str:
    return "-" if row is None else f"{row['loss']:.3f} ({row['perplexity']:.1f})"


def _increase(row: Row | None) -> str:
    if row is None or "increase" not in row:
        return "-"
    return f"{100 * row['increase']:+z.2f} % ± {100 * row['increase_error']:.2f}"


def enough(rows: dict[int, Row]) -> str:
    """Shortest history beyond which changes raise the loss by less than 1 %."""
    found = f"more than {max(rows)}"
    for k in sorted(rows, reverse=True):
        if rows[k]["increase"] >= NEAR:
            break
        found = str(k)
    return found


def sentence(name: str, rows: dict[str, dict[int, Row]]) -> str:
    """A sentence on how far back a model looks."""
    words = f"{name} needs {enough(rows['cut'])} tokens to be within {100 * NEAR:g} % of its loss with the whole history"
    if rows["shuffled"]:
        words += f", and {enough(rows['shuffled'])} in order where the older ones of {WINDOW} are shuffled"
    return words + "."


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with enwiki-2015/")
    add("--runs", type=Path, required=True, help="folder for models and results")
    add("--models", type=_named_folder, nargs="+", required=True, metavar="NAME=FOLDER")
    add("--corpus", type=Path, nargs="+", help="text for counting n-grams, instead of --files")
    add(
        "--files",
        type=int,
        default=2,
        help="number of training files for counting n-grams (default: 2 of 11)",
    )
    add("--orders", type=int, nargs="*", default=[2, 3, 4, 5, 6], help="orders of the n-gram models")
    add(
        "--histories",
        type=int,
        nargs="+",
        default=list(HISTORIES),
        help=f"lengths of the history in tokens, at most {WINDOW}",
    )
    add("--positions", type=int, default=4_000, help="number of positions")
    add(
        "--begin",
        action="store_true",
        help="also measure cut histories with the begin symbol before the k tokens",
    )
    add("--seed", type=int, default=0, help="seed of the positions and of the shuffling")
    add("--picture", type=Path, help="file of the plot (default: RUNS/how-far-back.png)")
    arguments = parser.parse_args()
    if not all(1 <= k <= WINDOW for k in arguments.histories):
        parser.error(f"a history has 1 to {WINDOW} tokens")
    if not all(2 <= order <= MAX_ORDER for order in arguments.orders):
        parser.error(f"an order is from 2 to {MAX_ORDER}")
    return arguments


def main() -> None:
    """Measure what has not been measured yet, print the table and plot it."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(arguments.data, arguments.runs)
    models = loaded(arguments.models)
    tokenizer = next(iter(models.values())).tokenizer
    corpus = Corpus(
        paths=arguments.corpus or places.wikipedia[: arguments.files], validation=[places.held_out_wikipedia]
    )
    documents = tokenizer.encode_ids(list(corpus.held_out_documents()))
    lengths = [len(document) for document in documents]
    sample = Sample(documents, sample_positions(lengths, arguments.positions, WINDOW, arguments.seed))
    results, identity = Results(places.runs / "results.jsonl"), corpus.identity()
    facts = {"held_out": identity["validation"], "positions": arguments.positions, "window": WINDOW}
    histories = sorted({*arguments.histories, *(order - 1 for order in arguments.orders), WINDOW})

    rows = {}
    for name, folder in arguments.models:
        part = part_of("lm", argparse.Namespace(**facts, seed=arguments.seed, lm=folder))
        compute = partial(model_losses, models[name], sample, arguments.seed)
        measurement = Measurement(results, part, sample, arguments.seed, {"model": name}, compute)
        rows[name] = measured_model(measurement, histories, arguments.begin, sorted(arguments.histories))

    counted = {"corpus": identity["corpus"], "vocabulary": tokenizer.fingerprint()}
    store = places.runs / f"tokens-{hashlib.blake2b(repr(counted).encode(), digest_size=4).hexdigest()}"
    part = part_of("ngram", argparse.Namespace(**facts, **counted, seed=arguments.seed))
    compute = partial(counted_losses, corpus, tokenizer, store, sample)
    measurement = Measurement(results, part, sample, arguments.seed, {"model": "n-gram"}, compute)
    ngrams = {order - 1: measurement.row("n-gram", order - 1) for order in sorted(arguments.orders)}

    print(table(rows, ngrams))
    print("\n".join(sentence(name, found) for name, found in rows.items()))
    picture = arguments.picture or places.runs / "how-far-back.png"
    lines = [
        HistoryLine(
            name=name,
            cut={k: row["loss"] for k, row in found["cut"].items()},
            shuffled={k: row["loss"] for k, row in found["shuffled"].items()},
            whole=found["whole"][WHOLE]["loss"],
        )
        for name, found in rows.items()
    ]
    plot_histories(
        lines,
        {k: row["loss"] for k, row in ngrams.items()},
        picture,
        title=f"Held-out loss by length of history, {arguments.positions:,} positions",
    )
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
