"""Beam search for the translation with the largest log-probability, divided by a power of its length.

The search of a text ends when no partial translation would beat the best finished one if it ended now. Longer translations have
smaller log-probabilities, so without a length penalty no better one can follow from the beams. With one this is a heuristic: a
translation that grows may still overtake.

Every text has its own beams, which end by a rule of their own: its translation does not depend on the other texts of a batch.
A beam of 1 is greedy search.

Legend: B texts, K beams, V vocabulary, S words of the longest source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.encoders.text_encoder import TextBatch
from unfreeze.pretraining.translation.settings import Search
from unfreeze.text.marked_words import joined
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.words import split_words

if TYPE_CHECKING:
    from unfreeze.pretraining.translation.translator import Translator

MOST_TEXTS = 32
"""Texts that are translated together."""
MOST_WORDS = 20_000
"""Words of these texts, padding included, times the number of beams: each beam has a copy of what the decoder attends to."""
LONGEST_FACTOR, LONGEST_EXTRA = 3, 20
"""A translation has at most three tokens for each word of its source, and twenty more."""


@dataclass(frozen=True)
class Translation:
    """The translation of a text."""

    text: str
    """The translation; unknown words are copied from the source."""
    score: float
    """Log-probability divided by the power of the length, in nats."""
    source_words: list[str]
    """S words of the source."""
    tokens: list[str]
    """T tokens of the translation, without the end."""
    attention: NDArray[np.float32]
    """(T, S): how much of each token's attention each word of the source got; (0, S) if it was not wanted."""


NOTHING = Translation("", 0.0, [], [], np.zeros((0, 0), np.float32))
"""The translation of a text without words."""


class _Token(NamedTuple):
    """A token of a partial translation. Translations with the same beginning share its tokens."""

    number: int
    attention: NDArray[np.float32]
    """(S,) of its own text; or (1,), the place of the largest attention, if only that is needed."""
    before: _Token | None


@dataclass
class _BestFinished:
    """The best finished translation of a text."""

    longest: int
    """Steps after which every translation is finished."""
    score: float = -math.inf
    last: _Token | None = None

    def finish(self, score: float, last: _Token | None) -> None:
        if score > self.score:
            self.score, self.last = score, last

    def tokens(self) -> list[_Token]:
        found, token = [], self.last
        while token is not None:
            found.append(token)
            token = token.before
        return found[::-1]


def translate_batch(
    translator: Translator, texts: Sequence[str], search: Search, *, attention: bool = True
) -> list[Translation]:
    """Translate some texts, each with a word at least, in evaluation mode.

    Args:
        attention: whether it is wanted; it takes T times S numbers a text.
    """
    batch = translator.encoder.prepare(texts)
    counts = batch.lengths.tolist()
    results = []
    found = _search(translator, batch, counts, search, attention)
    for text, n_words, best in zip(texts, counts, found, strict=True):
        words = [word.text for word in split_words(text)]
        chosen = best.tokens()
        tokens = [_written(translator, token, words, attention) for token in chosen]
        weights = np.zeros((0, n_words), np.float32)
        if attention and chosen:
            weights = np.stack([token.attention for token in chosen])
        results.append(Translation(joined(tokens), best.score, words, tokens, weights))
    return results


def _written(translator: Translator, token: _Token, words: Sequence[str], attention: bool) -> str:
    """A token as text; an unknown one is replaced by the word of the source that got most of its attention."""
    if token.number != translator.target.unknown_id:
        return translator.target.token(token.number)
    return SPACE + words[int(token.attention.argmax() if attention else token.attention[0])]


def _search(
    translator: Translator, batch: TextBatch, counts: Sequence[int], search: Search, attention: bool
) -> list[_BestFinished]:
    memory, state = translator.read(batch)
    device, end = batch.ids.device, translator.target.bos_id
    width, pad_id = search.beams, translator.target.pad_id
    finished = [_BestFinished(LONGEST_FACTOR * n + LONGEST_EXTRA) for n in counts]
    # Every text begins with one beam; row r of the state belongs to text owners[r] and has written lasts[r].
    owners = list(range(len(counts)))
    scores, tokens = [0.0] * len(counts), torch.full((len(counts),), end, device=device)
    lasts: list[_Token | None] = [None] * len(counts)
    step, attended = 0, list(owners)
    rows_of_memory = memory
    while owners:
        step += 1
        if owners != attended:
            attended, rows_of_memory = owners, memory.rows(torch.tensor(owners, device=device))
        log_probabilities, weights, state = translator.step(tokens, rows_of_memory, state)
        log_probabilities[:, pad_id] = -torch.inf
        best, ids = log_probabilities.topk(min(width + 1, log_probabilities.shape[1]), dim=1)
        best_of, ids_of = best.tolist(), ids.tolist()
        # Copies of what belongs to each text: a view would keep the attention of all rows.
        seen = [
            row[: counts[owner]].copy()
            for row, owner in zip(weights.float().cpu().numpy(), owners, strict=True)
        ]
        if not attention:
            seen = [row.argmax(keepdims=True) for row in seen]
        rows: list[int] = []
        scores_after: list[float] = []
        owners_after: list[int] = []
        lasts_after: list[_Token] = []
        for text, members in _groups(owners):
            own = finished[text]
            candidates = sorted(
                (
                    (scores[row] + gained, -row, token)
                    for row in members
                    for gained, token in zip(best_of[row], ids_of[row], strict=True)
                ),
                reverse=True,
            )
            kept = 0
            for rank, (score, minus_row, token) in enumerate(candidates):
                row = -minus_row
                if token == end or step == own.longest:
                    # An end counts only among the best candidates; those behind them would end too early.
                    if rank < width:
                        last = lasts[row] if token == end else _Token(token, seen[row], lasts[row])
                        own.finish(score / step**search.length_penalty, last)
                    continue
                if kept == width:
                    break
                kept += 1
                rows.append(row)
                scores_after.append(score)
                owners_after.append(text)
                lasts_after.append(_Token(token, seen[row], lasts[row]))
            if kept and own.score >= max(scores_after[-kept:]) / step**search.length_penalty:
                for part in (rows, scores_after, owners_after, lasts_after):
                    del part[-kept:]
        state = state.rows(torch.tensor(rows, dtype=torch.long, device=device))
        tokens = torch.tensor([last.number for last in lasts_after], dtype=torch.long, device=device)
        scores, owners, lasts = scores_after, owners_after, list(lasts_after)
    return finished


def _groups(owners: Sequence[int]) -> list[tuple[int, list[int]]]:
    """The rows of each text, in order."""
    groups: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        groups.setdefault(owner, []).append(row)
    return list(groups.items())
