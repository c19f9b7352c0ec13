"""An n-gram language model: interpolated modified Kneser-Ney (Chen & Goodman 1998, section 3 and equations 26 to 28).

    p(w | c) = (a(c w) - D(a(c w))) / sum_v a(c v)  +  gamma(c) * p(w | c without its first word)

with the adjusted counts a of ngram_counts.py, discounts D for counts of 1, 2, and 3 or more at each length, and gamma(c), the
probability mass that the discounts free. A context that nothing ever followed has p(w | c without its first word). The lowest
order is uniform over all tokens that can be predicted: the vocabulary without the begin symbol and padding, whose probability
is 0. Every other token, including the unknown symbol, has a probability above 0, and all sum to 1. Ends of documents are not
predicted.

The model stores what a look-up needs (Heafield 2011): the whole interpolated probability of each n-gram, and gamma of each
context. The probability of a token is that of the longest known n-gram, times the gammas of the longer contexts that are known.
All positions of a corpus are looked up at once, with one search for each length: the row that is found is the context of the
next token.

Cost: 16 bytes for each distinct n-gram (12 for the longest) on disk; the file is mapped, so memory holds the parts in use.
`unfreeze pretrain ngram --corpus wiki-00.txt wiki-01.txt wiki-02.txt wiki-03.txt --order 5` (22.2 million tokens, 46.1 million
n-grams) took 99 seconds of one core, 69 of them its own and most of those for the vocabulary and the ids, 2.7 GB at most,
and writes 0.67 GB; order 3, 1.2 GB. `unfreeze evaluate` reads and measures 5.6 million tokens in 12 seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.errors import UserError
from unfreeze.folders import WEIGHTS, Config, load_tensors, read_config, write_model, written_folder
from unfreeze.language_models.base import Generates, MeasuredPart, ReadableText, ScoredTokens
from unfreeze.language_models.model import LanguageModel
from unfreeze.language_models.ngram_counts import CountedLevel, Keys, Rows, count_ngrams, find_rows
from unfreeze.language_models.settings import MAX_ORDER
from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer

BATCH_TOKENS = 1 << 20
"""Tokens that are looked up at once when a store is measured: about 100 bytes each."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where counts of counts give none (tiny corpora): those of KenLM's --discount_fallback."""

Discounts = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class NgramConfig(Config):
    """The content of an n-gram model's config.json."""

    order: int
    discounts: list[tuple[float, float, float]]
    """For each length, the discounts of counts of 1, 2, and 3 or more."""


@dataclass(frozen=True)
class Level:
    """The n-grams of one length k."""

    keys: Keys
    """(n,) int64, as in ngram_counts.py; empty for k = 1, whose rows are the ids."""
    probabilities: NDArray[np.float32]
    """(n,) of the last word, given the words before it."""
    weights: NDArray[np.float32]
    """(n,) gamma of the n-gram as a context; empty for the longest."""


class NgramModel(LanguageModel, Generates):
    """A forward language model of counts. Made by `fit` and `from_pretrained`.

    It never predicts the begin symbol, so the text that it generates does not end by itself.

    Args:
        tokenizer: has V entries.
        levels: the n-grams of each length from 1.
        discounts: for each length, the discounts of counts of 1, 2, and 3 or more.
    """

    kind = "ngram"
    described = "an n-gram model"
    made_by = "`unfreeze pretrain ngram`"

    def __init__(
        self, tokenizer: TextTokenizer, levels: Sequence[Level], discounts: Sequence[Discounts]
    ) -> None:
        self.tokenizer = tokenizer
        self.levels = list(levels)
        self.discounts = list(discounts)

    @property
    def directions(self) -> list[str]:
        return ["forward"]

    @property
    def order(self) -> int:
        """Length of the longest n-grams in words; a prediction uses one word less."""
        return len(self.levels)

    @property
    def n_ngrams(self) -> list[int]:
        """Number of distinct n-grams of each length; for length 1, the size of the vocabulary."""
        return [len(level.probabilities) for level in self.levels]

    @classmethod
    def fit(
        cls, store: TokenStore, tokenizer: TextTokenizer, order: int = 3, *, progress: Progress = SILENT
    ) -> NgramModel:
        """Count the n-grams of the documents of `store`, which `tokenizer` encoded.

        Raises:
            UserError: the order is not from 1 to 6, or the store has fewer than two tokens.
        """
        if not 1 <= order <= MAX_ORDER:
            raise UserError(f"the order of an n-gram model must be from 1 to {MAX_ORDER}, not {order}")
        n_predicted = store.n_tokens - store.n_documents
        if n_predicted < 2:
            raise UserError(
                f"the corpus has {n_predicted} token{'s' * (n_predicted != 1)} to count: at least 2 are needed"
            )
        counted = count_ngrams(store, order, len(tokenizer), tokenizer.bos_id, progress)
        predicted = np.ones(len(tokenizer), dtype=bool)
        predicted[[tokenizer.bos_id, tokenizer.pad_id]] = False
        return cls(tokenizer, *_smoothed(counted, predicted))

    def id_log_probabilities(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """log p of every token of consecutive documents, in nats: (T,) -> (T,).

        A begin symbol starts a document and has 0. If `ids` starts within a document, earlier tokens are not used.
        """
        ids = ids.astype(np.int64)
        begins = ids == self.tokenizer.bos_id
        found: NDArray[np.float64] = self.levels[0].probabilities[ids].astype(np.float64)
        rows = ids
        for lower, level in zip(self.levels, self.levels[1:], strict=False):
            contexts = np.concatenate([[-1], rows[:-1]])
            known = np.flatnonzero((contexts >= 0) & ~begins)
            contexts = contexts[known]
            found[known] *= lower.weights[contexts]
            places = find_rows(level.keys, contexts * len(self.tokenizer) + ids[known])
            rows = np.full(len(ids), -1, dtype=np.int64)
            rows[known] = places
            there = places >= 0
            found[known[there]] = level.probabilities[places[there]]
        found[begins] = 1.0
        with np.errstate(divide="ignore"):  # of padding
            np.log(found, out=found)
        return found

    def next_probabilities(self, context: Sequence[int]) -> NDArray[np.float64]:
        """p of every entry of the vocabulary to come next: (V,); 0 for the begin symbol and padding.

        Args:
            context: the ids before, including the begin symbol; only the last `order` - 1 are used.
        """
        size = len(self.tokenizer)
        found: NDArray[np.float64] = self.levels[0].probabilities.astype(np.float64)
        for length in range(1, min(self.order - 1, len(context)) + 1):
            row = self._row(context[-length:])
            if row < 0:
                break
            level = self.levels[length]
            first, last = np.searchsorted(level.keys, np.array([row, row + 1]) * size).tolist()
            found *= self.levels[length - 1].weights[row]
            found[level.keys[first:last] - row * size] = level.probabilities[first:last]
        return found

    def _row(self, words: Sequence[int]) -> int:
        row = words[0]
        for level, word in zip(self.levels[1:], words[1:], strict=False):
            if row >= 0:
                row = int(find_rows(level.keys, np.array([row * len(self.tokenizer) + word]))[0])
        return row

    def token_log_probabilities(self, texts: Sequence[str]) -> list[ScoredTokens]:
        pieces = [self.tokenizer.encode(text) for text in texts]
        if not pieces:
            return []
        found = self.id_log_probabilities(
            np.concatenate([piece.ids for piece in pieces])
        )  # all in one look-up
        parts = np.split(found, np.cumsum([len(piece.ids) for piece in pieces])[:-1])
        return [
            ScoredTokens(piece.ids[1:], piece.offsets[1:], {"forward": part[1:].tolist()})
            for piece, part in zip(pieces, parts, strict=True)
        ]

    def measure(self, store: TokenStore, tokenizer: TextTokenizer) -> Iterator[MeasuredPart]:
        # The documents are one stream, cut into pieces; each piece is looked up with the tokens before it that it needs.
        order, cumulative = np.arange(store.n_documents), np.concatenate([[0], np.cumsum(store.lengths)])
        for start in range(0, store.n_tokens, BATCH_TOKENS):
            n_before = min(self.order - 1, start)
            ids = store.gather(order, cumulative, start - n_before, min(start + BATCH_TOKENS, store.n_tokens))
            nats = -float(self.id_log_probabilities(ids)[n_before:].sum())
            own = ids[n_before:]
            yield MeasuredPart("forward", nats, int((own != tokenizer.bos_id).sum()), len(own))

    def reader(self, direction: str, text: ReadableText | None = None) -> NgramReader:
        return NgramReader(self)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all."""
        arrays = {
            f"{name}.{length}": getattr(level, name)
            for length, level in enumerate(self.levels, 1)
            for name in ("keys", "probabilities", "weights")
        }
        with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
            config = {"kind": self.kind, "order": self.order, "discounts": self.discounts}
            write_model(target, config, {name: torch.from_numpy(array) for name, array in arrays.items()})
            self.tokenizer.save(target)

    @classmethod
    def load_folder(cls, folder: Path, config: dict[str, Any]) -> Self:
        config = read_config(folder, {cls.kind}, NgramConfig)
        tokenizer = load_tokenizer(folder)
        tensors = load_tensors(folder / WEIGHTS)
        try:
            levels = [
                Level(*(tensors[f"{name}.{length}"].numpy() for name in ("keys", "probabilities", "weights")))
                for length in range(1, config["order"] + 1)
            ]
            discounts = [(float(one), float(two), float(more)) for one, two, more in config["discounts"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder}: {WEIGHTS} and config.json do not fit ({error})") from error
        if not _fit_together(levels, len(tokenizer)) or len(discounts) != len(levels):
            raise UserError(f"{folder}: the sizes of its n-grams do not fit: the model is damaged")
        return cls(tokenizer, levels, discounts)


class NgramReader:
    """Reads token ids and remembers the last ones."""

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        self._last: list[int] = []

    def read(self, ids: Sequence[int]) -> None:
        self._last = [*self._last, *ids][-MAX_ORDER:]

    def log_probabilities(self) -> Tensor:
        return torch.from_numpy(self.model.next_probabilities(self._last)).log()


def _fit_together(levels: Sequence[Level], vocabulary: int) -> bool:
    sizes = [len(level.probabilities) for level in levels]
    return (
        1 <= len(levels) <= MAX_ORDER
        and [len(level.keys) for level in levels] == [0, *sizes[1:]]
        and [len(level.weights) for level in levels] == [*sizes[:-1], 0]
        and sizes[0] == vocabulary
        and all(level.keys.dtype == np.int64 for level in levels)
    )


def estimate_discounts(counts: NDArray[np.int64]) -> Discounts:
    """D1, D2, D3+ of n-grams of one length (equation 26), or `FALLBACK` where one is not above 0 and at most the count.

    Args:
        counts: adjusted counts; n_r of them are r:  Y = n_1 / (n_1 + 2 n_2),  D_r = r - (r + 1) Y n_(r+1) / n_r.
    """
    n = np.bincount(counts[counts <= 4], minlength=5).tolist()
    if not all(n[1:4]):
        return FALLBACK
    share = n[1] / (n[1] + 2 * n[2])
    one, two, more = (r - (r + 1) * share * n[r + 1] / n[r] for r in (1, 2, 3))
    return (one, two, more) if min(one, two, more) > 0 else FALLBACK


def _smoothed(
    counted: Sequence[CountedLevel], predicted: NDArray[np.bool_]
) -> tuple[list[Level], list[Discounts]]:
    """Probabilities and weights of all levels, computed in float64 and stored in float32."""
    discounts = [estimate_discounts(level.counts) for level in counted]
    lower = predicted / predicted.sum()
    levels: list[Level] = []
    keys = np.empty(0, dtype=np.int64)
    contexts = np.zeros(len(predicted), dtype=np.int64)  # the empty one
    for length, (level, own) in enumerate(zip(counted, discounts, strict=True), 1):
        if length > 1:
            contexts, keys, lower = level.keys // len(predicted), level.keys, lower[level.suffixes]
        n_contexts = len(levels[-1].probabilities) if levels else 1
        lower, weights = _interpolated(level.counts, contexts, n_contexts, own, lower)
        if levels:
            levels[-1] = Level(levels[-1].keys, levels[-1].probabilities, weights.astype(np.float32))
        levels.append(Level(keys, lower.astype(np.float32), np.empty(0, dtype=np.float32)))
    return levels, discounts


def _interpolated(
    counts: NDArray[np.int64],
    contexts: Rows,
    n_contexts: int,
    discounts: Discounts,
    lower: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The probability of each n-gram, (n,), and gamma of each context, (n_contexts,).

    Args:
        contexts: (n,) row of each n-gram without its last word.
        lower: (n,) probability of its last word given a context one word shorter.
    """
    totals = np.bincount(contexts, weights=counts, minlength=n_contexts)
    taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
    weights = np.ones(n_contexts)
    np.divide(
        np.bincount(contexts, weights=taken, minlength=n_contexts), totals, out=weights, where=totals > 0
    )
    probabilities = (counts - taken) / totals[contexts]
    probabilities += weights[contexts] * lower
    return probabilities, weights
