"""Log-probability of a text and of each of its tokens, under each direction of a language model.

    log p(x_1..x_T) = sum_t log p(x_t | xxbos, x_1..x_(t-1)), and from the right log p(x_t | xxbos, x_T..x_(t+1))

The begin symbol is given, the end of a text is not scored. Every text starts from a zero state, so that a score never
depends on what else is in the batch. Long texts are read in pieces with the state carried over: memory is bounded.

Legend: B batch, T time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unfreeze.encoders.layers.recurrent import rows_of
from unfreeze.encoders.streaming import State
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.text.batches import IGNORE, pad_sequences
from unfreeze.text.tokenizers import Pieces, TextTokenizer

PIECE = 256
"""Tokens of each text that are run at once."""
BATCH_TOKENS = 16_384
"""Tokens of a batch, padding included; a longer text is a batch of its own."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token of a text."""

    token: str
    """As the vocabulary has it."""
    start: int
    """Where it begins in the text, in characters."""
    end: int
    """Where it ends."""
    log_probability: float
    """In nats, given all tokens before it in the reading direction."""


@dataclass(frozen=True)
class DirectionScore:
    """What one direction says of a text."""

    log_probability: float
    """Of the whole text, in nats."""
    perplexity: float
    """exp of the mean negative log-probability of a token; not a number for a text without tokens."""
    tokens: list[TokenScore]
    """In the order of the text, whatever the reading direction."""


@dataclass(frozen=True)
class TextScore:
    """What a language model says of a text."""

    text: str
    """As it was given."""
    directions: dict[str, DirectionScore]
    """By the names of the model's directions, "forward" or "backward" or both."""


def score_text(model: AwdLstmLanguageModel, text: str) -> TextScore:
    """The score of one text."""
    return score_texts(model, [text])[0]


@torch.no_grad()
def score_texts(model: AwdLstmLanguageModel, texts: Sequence[str]) -> list[TextScore]:
    """The score of each text; none depends on the others."""
    model.eval()
    pieces = [model.tokenizer.encode(text) for text in texts]
    ids = [piece.ids for piece in pieces]
    by_direction = {name: token_log_probabilities(model, name, ids) for name in model.encoder.directions}
    return [
        TextScore(
            text,
            {
                name: direction_score(model.tokenizer, pieces[n], found[n])
                for name, found in by_direction.items()
            },
        )
        for n, text in enumerate(texts)
    ]


def token_log_probabilities(
    model: AwdLstmLanguageModel, name: str, texts: Sequence[list[int]]
) -> list[list[float]]:
    """log p of every token of every text but its begin symbol, in nats.

    Args:
        name: of a direction of the model.
        texts: ids in the order of the text, each with the begin symbol first.

    Returns:
        For each text its T - 1 values, in the order of the text.
    """
    found: list[list[float]] = [[] for _ in texts]
    for numbers in _batches([len(ids) for ids in texts]):
        ids, lengths = pad_sequences([texts[n] for n in numbers], model.tokenizer.pad_id)
        rows = read_documents(model, name, ids, lengths).tolist()
        for number, row in zip(numbers, rows, strict=True):
            row = row[: len(texts[number]) - 1]
            found[number] = row if name == "forward" else row[::-1]
    return found


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Numbers of texts of similar lengths, longest first."""
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    while order:
        size = max(1, BATCH_TOKENS // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def read_documents(model: AwdLstmLanguageModel, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
    """log p of every token but the begin symbols, a piece of all documents at a time, the state carried over.

    Args:
        ids: (B, T) in the order of the text, padded on the right, longest first.
        lengths: (B,), falling: a row that has ended is run no further.

    Returns:
        (B, T - 1) in the order in which the direction reads, 0 past a document's end.
    """
    device = next(model.parameters()).device
    ids, lengths = ids.to(device), lengths.to(device)
    ids = model.encoder.stack_ids(name, ids, lengths).t()
    time = torch.arange(1, ids.shape[1], device=device)
    targets = torch.where(time < lengths[:, None], ids[:, 1:], IGNORE)
    found = torch.zeros(targets.shape, device=device)
    state: State | None = None
    for start in range(0, targets.shape[1], PIECE):
        alive, piece = int((lengths > start + 1).sum()), slice(start, start + PIECE)
        if state is not None:
            state = rows_of(state, slice(alive))
        found[:alive, piece], state = model.target_log_probabilities(
            name, ids[:alive, :-1][:, piece], targets[:alive, piece], state
        )
    return found


def direction_score(tokenizer: TextTokenizer, pieces: Pieces, found: list[float]) -> DirectionScore:
    """The score of a text from the log-probabilities of its pieces, all but the begin symbol, in the text's order."""
    tokens = [
        TokenScore(tokenizer.token(token), start, end, value)
        for token, (start, end), value in zip(pieces.ids[1:], pieces.offsets[1:], found, strict=True)
    ]
    total = math.fsum(found)
    mean = total / len(found) if found else math.nan
    return DirectionScore(total, math.exp(min(-mean, 700.0)), tokens)
