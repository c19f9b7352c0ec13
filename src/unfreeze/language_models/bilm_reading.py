"""What a biLM says of texts: log-probabilities of their words by each direction, and words for a gap.

Frames of sentences are read but not scored: a text's log-probability is that of its words. Every text starts from a zero
state, which is then carried over its sentences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.encoders.elmo import DIRECTIONS, SpelledBatch, States
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.language_models.fill import STAND_IN, Gap, split_at_gap, unigram_scores, whole_words
from unfreeze.language_models.score import TextScore, direction_score
from unfreeze.text.tokenizers import Pieces

PIECE = 256
"""Steps that are run at once."""


@torch.no_grad()
def score_texts(model: BiLanguageModel, texts: Sequence[str]) -> list[TextScore]:
    """The score of each text by both directions; none depends on the others."""
    model.eval()
    scores = []
    for text in texts:
        pieces = model.tokenizer.encode(text)
        words = _without_frames(pieces)
        batch = model.encoder.prepare([text])
        directions = {}
        for name in DIRECTIONS:
            found = _log_probabilities(model, batch, pieces.ids, name)
            kept = [value for value, word in zip(found, pieces.words, strict=True) if word >= 0]
            directions[name] = direction_score(model.tokenizer, words, kept)
        scores.append(TextScore(text, directions))
    return scores


def _without_frames(pieces: Pieces) -> Pieces:
    """The words behind one begin symbol."""
    kept = [number for number, word in enumerate(pieces.words) if word >= 0]
    return Pieces(
        [pieces.ids[0], *(pieces.ids[number] for number in kept)],
        [-1, *(pieces.words[number] for number in kept)],
        [(0, 0), *(pieces.offsets[number] for number in kept)],
    )


def _log_probabilities(
    model: BiLanguageModel, batch: SpelledBatch, ids: Sequence[int], name: str
) -> list[float]:
    """log p of each piece of one text given all that the direction has read before it; 0 for the first of them."""
    places, targets = batch.ids[0], torch.tensor(ids, device=batch.ids.device)
    if name == "backward":
        places, targets = places.flip(0), targets.flip(0)
    found = torch.zeros(len(targets))
    for start, hidden in _read(model, batch.rows, places[:-1], name):
        wanted = targets[start + 1 : start + 1 + len(hidden)]
        found[start + 1 : start + 1 + len(hidden)] = model.output.target_log_probabilities(
            hidden, wanted
        ).cpu()
    values: list[float] = (found.flip(0) if name == "backward" else found).tolist()
    return values


def _read(model: BiLanguageModel, rows: Tensor, places: Tensor, name: str) -> list[tuple[int, Tensor]]:
    """One direction over one sequence: the top states piece by piece, (n, P) each, and where each piece begins."""
    found: list[tuple[int, Tensor]] = []
    states: States | None = None
    for start in range(0, len(places), PIECE):
        piece = places[None, start : start + PIECE]
        top, states = model.top_states({name: piece}, rows, states, [1] * piece.shape[1])
        found.append((start, top[name][:, 0].float()))
    return found


@torch.no_grad()
def read_gap(model: BiLanguageModel, text: str) -> Gap:
    """What a biLM says of the one gap ___ in a text: by what is left of it, right of it, and by both.

    Raises:
        UserError: the text has no gap, or several.
    """
    model.eval()
    left, right = split_at_gap(text)
    batch = model.encoder.prepare([left + STAND_IN + right])
    spans = batch.offsets[0]
    at = next(
        number
        for number, ((start, _), word) in enumerate(zip(spans, batch.words[0], strict=True))
        if word >= 0 and start == len(left)
    )
    sides = {"forward": batch.ids[0, :at], "backward": batch.ids[0, at + 1 :].flip(0)}
    words = whole_words(model.tokenizer, after_space=True)
    ids = np.array(list(words.values()), dtype=np.int64)
    scores: dict[str, NDArray[np.float64]] = {}
    for name, places in sides.items():
        top = _read(model, batch.rows, places, name)[-1][1][-1:]
        scores[name] = model.output.log_probabilities(top)[0].double().cpu().numpy()[ids]
    scores["both"] = scores["forward"] + scores["backward"] - unigram_scores(model.tokenizer, ids)
    return Gap.of_scores({word: place for place, word in enumerate(words)}, scores)
