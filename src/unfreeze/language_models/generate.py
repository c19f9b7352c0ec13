"""Go on writing from a prompt: one token after the other, drawn from a forward language model.

p'(w) is proportional to p(w)^(1 / temperature) over the `top_k` likeliest tokens; temperature 0 takes the likeliest.
What stands for nothing readable (unknown words, padding) is never drawn. One token costs one step of the recurrent layers and one
pass over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from unfreeze.encoders.streaming import State
from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.text.tokenizers import TextTokenizer

PIECE = 512
"""Tokens of a prompt that are read at once."""
WINDOW = 128
"""Tokens that are decoded together to see what the last one adds; a quotation may be as long."""


class AnyReader(Protocol):
    """What writing needs of a model: what `Reader` does."""

    def read(self, ids: Sequence[int], /) -> None: ...

    def log_probabilities(self) -> Tensor: ...


class Reader:
    """One direction of a language model that reads ids and says what may come next.

    A shallow copy goes on by itself: reading replaces what is kept and changes none of it.

    Args:
        model: in evaluation mode.
        name: of one of its directions; a backward one reads a text from its end.
    """

    def __init__(self, model: AwdLstmLanguageModel, name: str) -> None:
        self.model, self.name = model, name
        self._top: Tensor | None = None
        self._state: State | None = None

    @torch.no_grad()
    def read(self, ids: Sequence[int]) -> None:
        """Take in `ids`, at least one, in the order of reading; the first ones of all begin with the begin symbol."""
        stack = self.model.encoder.stack(self.name)
        column = torch.tensor([*ids], device=stack.embedding.weight.device)[:, None]  # (T, 1)
        for piece in torch.split(column, PIECE):
            output = stack(piece, self._state)
            self._top, self._state = output.top[-1], output.state

    @torch.no_grad()
    def log_probabilities(self) -> Tensor:
        """log p of every entry of the vocabulary to be the next, in nats: (V,) of float64 on the CPU."""
        assert self._top is not None, "nothing was read"
        weight = self.model.encoder.stack(self.name).embedding.weight
        return self.model.output(self.name).log_probabilities(self._top, weight)[0].double().cpu()


def generate_text(
    model: AwdLstmLanguageModel,
    prompt: str,
    *,
    tokens: int = 100,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    stop_at_document_end: bool = True,
) -> str:
    """The prompt and what follows it; arguments and errors as of `stream_text`."""
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
    model: AwdLstmLanguageModel,
    prompt: str,
    *,
    tokens: int = 100,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    stop_at_document_end: bool = True,
) -> Iterator[str]:
    """What follows the prompt, piece by piece as it is drawn; the pieces joined to the prompt are the text.

    Args:
        tokens: to be drawn at most; marks such as "the next word is capitalized" count.
        temperature: under 1 keeps closer to what is likely, 0 takes the likeliest token.
        top_k: draw among so many of the likeliest tokens; 0 is all.
        seed: the same seed writes the same text.
        stop_at_document_end: end where the model begins a new document; else that is never drawn.

    Raises:
        UserError: the model reads backward only, or a number cannot work. At once, not with the first piece.
    """
    if "forward" not in model.encoder.directions:
        raise UserError("this language model reads backward only: writing needs a forward one")
    model.eval()
    return stream_from(
        Reader(model, "forward"),
        model.tokenizer,
        prompt,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_at_document_end=stop_at_document_end,
    )


def stream_from(
    reader: AnyReader,
    tokenizer: TextTokenizer,
    prompt: str,
    *,
    tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
    stop_at_document_end: bool,
) -> Iterator[str]:
    """`stream_text` from any model: from a reader that has read nothing yet, and the tokenizer of what it reads."""
    if tokens < 1 or top_k < 0 or not 0 <= temperature < float("inf"):
        raise UserError(
            f"{tokens} tokens, temperature {temperature:g}, top-k {top_k}: at least 1, 0 and 0 are needed"
        )
    drawn = draw_ids(
        reader,
        tokenizer,
        prompt,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_at_document_end=stop_at_document_end,
    )
    return _as_text(tokenizer, prompt, islice(drawn, tokens))


def _as_text(tokenizer: TextTokenizer, prompt: str, drawn: Iterable[int]) -> Iterator[str]:
    """What each id adds to the decoded text; marks add nothing until their word is there."""
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
    reader: AnyReader,
    tokenizer: TextTokenizer,
    prompt: str,
    *,
    temperature: float,
    top_k: int,
    seed: int,
    stop_at_document_end: bool,
) -> Iterator[int]:
    """The ids that follow the prompt, without end unless the document ends."""
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
    """One id by its log-probability: (V,), minus infinity for what must not be drawn."""
    if temperature == 0:
        return int(scores.argmax())
    values, ids = scores.topk(min(top_k, len(scores))) if top_k else (scores, torch.arange(len(scores)))
    weights = torch.softmax((values - values.max()) / temperature, dim=0)
    return int(ids[torch.multinomial(weights, 1, generator=generator)])
