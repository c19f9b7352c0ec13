"""Beam search: the translation with the largest log-probability, divided by a power of its length.

Every text has its own beams, which end by a rule of their own: its translation does not depend on the other texts of a batch.
A beam of 1 is greedy search.

Legend: B texts, K beams, V vocabulary, S words of the longest source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.pretraining.translation.settings import Search
from unfreeze.text.marked_words import joined
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.words import split_words

if TYPE_CHECKING:
    from unfreeze.pretraining.translation.translator import Translator

MOST_TEXTS = 32
"""Texts that are translated together."""
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
    """(T, S): how much of each token's attention each word of the source got."""


NOTHING = Translation("", 0.0, [], [], np.zeros((0, 0), np.float32))
"""The translation of a text without words."""


@dataclass
class _Beam:
    """The finished translations of a text."""

    longest: int
    best: tuple[float, list[int], list[NDArray[np.float32]]] | None = None

    def finish(self, score: float, tokens: list[int], attention: list[NDArray[np.float32]]) -> None:
        if self.best is None or score > self.best[0]:
            self.best = score, tokens, attention


def translate_batch(translator: Translator, texts: Sequence[str], search: Search) -> list[Translation]:
    """Translate some texts, each with a word at least, in evaluation mode."""
    batch = translator.encoder.prepare(texts)
    counts = batch.lengths.tolist()
    found = _search(translator, batch, counts, search)
    results = []
    for text, n_words, (score, ids, attention) in zip(texts, counts, found, strict=True):
        words = [word.text for word in split_words(text)]
        shares = np.stack(attention)[:, :n_words] if attention else np.zeros((0, n_words), np.float32)
        tokens = _tokens(translator, ids, shares, words)
        results.append(Translation(joined(tokens), score, words, tokens, shares))
    return results


def _tokens(
    translator: Translator, ids: Sequence[int], attention: NDArray[np.float32], words: Sequence[str]
) -> list[str]:
    """The tokens of a translation, unknown ones replaced by the word of the source that got most of the attention."""
    target, tokens = translator.target, []
    for number, shares in zip(ids, attention, strict=True):
        token = target.token(number)
        if number == target.unknown_id and words:
            token = SPACE + words[int(shares.argmax())]
        tokens.append(token)
    return tokens


def _search(
    translator: Translator, batch: Any, counts: Sequence[int], search: Search
) -> list[tuple[float, list[int], list[NDArray[np.float32]]]]:
    memory, state = translator.read(batch)
    device, end = batch.ids.device, translator.target.bos_id
    width, never = search.beams, translator.target.pad_id
    beams = [_Beam(LONGEST_FACTOR * n + LONGEST_EXTRA) for n in counts]
    # Every text begins with one beam; row r of the state belongs to text owners[r].
    owners = list(range(len(counts)))
    scores, tokens = [0.0] * len(counts), torch.full((len(counts),), end, device=device)
    written: list[list[int]] = [[] for _ in counts]
    seen: list[list[NDArray[np.float32]]] = [[] for _ in counts]
    step, attended = 0, list(owners)
    rows_of_memory = memory
    while owners:
        step += 1
        if owners != attended:
            attended, rows_of_memory = owners, memory.rows(torch.tensor(owners, device=device))
        log_probabilities, shares, state = translator.step(tokens, rows_of_memory, state)
        log_probabilities[:, never] = -torch.inf
        best, ids = log_probabilities.topk(min(width + 1, log_probabilities.shape[1]), dim=1)
        best_of, ids_of, shares_of = best.tolist(), ids.tolist(), shares.float().cpu().numpy()
        rows, following, scores_after, owners_after = [], [], [], []
        written_after, seen_after = [], []
        for text, members in _groups(owners):
            beam = beams[text]
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
                if token == end or step == beam.longest:
                    # An end counts only among the best candidates; those behind them would end too early.
                    if rank < width:
                        whole = [*written[row], *([] if token == end else [token])]
                        attention = [*seen[row], *([] if token == end else [shares_of[row]])]
                        beam.finish(score / step**search.length_penalty, whole, attention)
                    continue
                if kept == width:
                    break
                kept += 1
                rows.append(row)
                following.append(token)
                scores_after.append(score)
                owners_after.append(text)
                written_after.append([*written[row], token])
                seen_after.append([*seen[row], shares_of[row]])
            if kept and _is_settled(beam, max(scores_after[-kept:]), step, search):
                for part in (rows, following, scores_after, owners_after, written_after, seen_after):
                    del part[-kept:]
        state = state.rows(torch.tensor(rows, dtype=torch.long, device=device))
        tokens = torch.tensor(following, dtype=torch.long, device=device)
        scores, owners, written, seen = scores_after, owners_after, written_after, seen_after
    found = []
    for beam in beams:
        assert beam.best is not None
        found.append(beam.best)
    return found


def _is_settled(beam: _Beam, best: float, step: int, search: Search) -> bool:
    """Whether the best finished translation is better than the best unfinished one would be if it ended here."""
    if beam.best is None:
        return False
    return bool(beam.best[0] >= best / step**search.length_penalty)


def _groups(owners: Sequence[int]) -> list[tuple[int, list[int]]]:
    """The rows of each text, in order."""
    groups: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        groups.setdefault(owner, []).append(row)
    return list(groups.items())
