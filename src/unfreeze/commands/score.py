"""`unfreeze score`: log-probability of a text and of each of its tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console
from unfreeze.commands.options import TextArguments
from unfreeze.display import aligned, counted

if TYPE_CHECKING:
    from unfreeze.language_models.score import TextScore

TEXTS_AT_ONCE = 64


@dataclass(kw_only=True)
class Score(TextArguments):
    """Log-probability of texts and of each of their tokens under a language model, in nats.

    Log-probabilities compare texts under one model. To compare models, use the bits per byte of `unfreeze evaluate`.

    Example:
        unfreeze score my-lm "The bank was closed." "The bank was purple."
    """

    tokens: bool = True
    """Show each token, not only the sum."""


def run(arguments: Score, console: Console) -> None:
    """Print the scores of each text, in order."""
    from unfreeze.language_models.model import LanguageModel

    texts = arguments.given_texts()
    model = LanguageModel.from_pretrained(arguments.model)
    while batch := list(islice(texts, TEXTS_AT_ONCE)):
        for score in model.score(batch):
            values: dict[str, object] = {"text": score.text}
            for name, found in score.directions.items():
                tokens = {"tokens": [asdict(token) for token in found.tokens]} if arguments.tokens else {}
                values[name] = {
                    "log_probability": found.log_probability,
                    "perplexity": found.perplexity,
                } | tokens
            console.result(values, readable(score, arguments.tokens))


def readable(score: TextScore, with_tokens: bool) -> str:
    """A line for each direction, then a table of the tokens."""
    lines = [
        f"{name} {found.log_probability:.4f} nats, {counted(len(found.tokens), 'token')}"
        f"{f', perplexity {found.perplexity:.2f}' if found.tokens else ''}\t{' '.join(score.text.split())}"
        for name, found in score.directions.items()
    ]
    columns = [found.tokens for found in score.directions.values()]
    if with_tokens and columns[0]:
        rows = [
            {"token": row[0].token}
            | {name: each.log_probability for name, each in zip(score.directions, row, strict=True)}
            for row in zip(*columns, strict=True)
        ]
        lines.append(aligned(rows) + "\n")
    return "\n".join(lines)
