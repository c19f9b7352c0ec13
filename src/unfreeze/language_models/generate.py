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
from unfreeze.text.tokenizers import TextTokenizer

WINDOW = 128
"""Tokens that are decoded together to see what the last one adds; a quotation may be as long."""


def generate_text(
    model: Generates,
    prompt: str,
    *,
    tokens: int = 100,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    stop_at_document_end: bool = True,
) -> str:
    """The prompt and its continuation; arguments and errors as of `stream_text`."""
    pieces = stream_text(
        model,
        prompt,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_at_document_end=stop_at_document_end,
    )
    return prompt + "".join(pieces)


def stream_text(
    model: Generates,
    prompt: str,
    *,
    tokens: int = 100,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    stop_at_document_end: bool = True,
) -> Iterator[str]:
    """The continuation of the prompt, piece by piece as it is drawn; the pieces joined to the prompt are the text.

    Args:
        tokens: maximum number of tokens to draw; marks such as "the next word is capitalized" count.
        temperature: below 1 favors probable tokens, 0 always takes the most probable one.
        top_k: draw from this number of most probable tokens; 0 draws from all.
        seed: seed of the random draws.
        stop_at_document_end: stop where the model begins a new document; otherwise that is never drawn.

    Raises:
        UserError: the model reads backward only, or a number is out of range; raised at once, not with the first piece.
    """
    if "forward" not in model.directions:
        raise UserError("this language model reads backward only: generating text needs a forward one")
    if tokens < 1 or top_k < 0 or not 0 <= temperature < float("inf"):
        raise UserError(
            f"{tokens} tokens, temperature {temperature:g}, top-k {top_k}: at least 1, 0 and 0 are needed"
        )
    drawn = draw_ids(
        model,
        prompt,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_at_document_end=stop_at_document_end,
    )
    return _as_text(model.tokenizer, prompt, islice(drawn, tokens))


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


def draw_ids(
    model: Generates,
    prompt: str,
    *,
    temperature: float,
    top_k: int,
    seed: int,
    stop_at_document_end: bool,
) -> Iterator[int]:
    """The ids that follow the prompt, without end unless the document ends."""
    tokenizer, reader = model.tokenizer, model.reader("forward")
    never = [tokenizer.unknown_id, tokenizer.pad_id, *([] if stop_at_document_end else [tokenizer.bos_id])]
    generator = torch.Generator().manual_seed(seed)
    reader.read(tokenizer.encode(prompt).ids)
    while True:
        scores = reader.log_probabilities()
        scores[never] = -torch.inf
        chosen = draw(scores, temperature, top_k, generator)
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
