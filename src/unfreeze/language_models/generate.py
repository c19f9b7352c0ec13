"""Continue a prompt, token by token, with draws from a forward language model.

p'(w) is proportional to p(w)^(1 / temperature) over the `top_k` most probable tokens; temperature 0 takes the most probable
one. Unknown words and padding are never drawn. A token costs one step of the model and one pass over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from unfreeze.errors import UserError
from unfreeze.language_models.base import Generates
from unfreeze.language_models.settings import SamplingSettings
from unfreeze.text.tokenizers import TextTokenizer

DEFAULT_SAMPLING = SamplingSettings()
WINDOW = 128
"""Tokens that are decoded together to see what the last one adds; a quotation may be as long."""


def stream_text(
    model: Generates, prompt: str, settings: SamplingSettings = DEFAULT_SAMPLING
) -> Iterator[str]:
    """The continuation of the prompt, piece by piece as it is drawn; the pieces joined to the prompt are the text.

    Raises:
        UserError: the model reads backward only; raised immediately, not with the first piece.
    """
    if "forward" not in model.directions:
        raise UserError("this language model reads backward only: generating text needs a forward one")
    return _as_text(model.tokenizer, prompt, islice(draw_ids(model, prompt, settings), settings.tokens))


def _as_text(tokenizer: TextTokenizer, prompt: str, drawn: Iterable[int]) -> Iterator[str]:
    """The text that each id adds to what was decoded so far; a mark adds nothing until its word follows."""
    window = tokenizer.encode(prompt).ids[-WINDOW:]
    spaced = prompt[-1:].isspace()
    for number in drawn:
        longer = [*window, number]
        piece = tokenizer.decode(longer)[len(tokenizer.decode(window)) :]
        window = longer[-WINDOW:]
        if spaced:
            piece = piece.lstrip()
        if piece:
            spaced = False
            yield piece


def draw_ids(model: Generates, prompt: str, settings: SamplingSettings) -> Iterator[int]:
    """The ids that follow the prompt, without end unless the document ends."""
    tokenizer, reader = model.tokenizer, model.reader("forward")
    never = [tokenizer.unknown_id, tokenizer.pad_id]
    if not settings.stop_at_document_end:
        never.append(tokenizer.bos_id)
    generator = torch.Generator().manual_seed(settings.seed)
    reader.read(tokenizer.encode(prompt).ids)
    while True:
        scores = reader.log_probabilities()
        scores[never] = -torch.inf
        chosen = draw(scores, settings.temperature, settings.top_k, generator)
        if chosen == tokenizer.bos_id:
            return
        yield chosen
        reader.read([chosen])


def draw(scores: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> int:
    """Draw one id by its log-probability: (V,), minus infinity for what must not be drawn."""
    if temperature == 0:
        return int(scores.argmax())
    values, ids = scores.topk(min(top_k, len(scores))) if top_k else (scores, torch.arange(len(scores)))
    weights = torch.softmax((values - values.max()) / temperature, dim=0)
    return int(ids[torch.multinomial(weights, 1, generator=generator)])
