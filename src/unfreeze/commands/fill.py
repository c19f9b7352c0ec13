"""`unfreeze fill`: rank words for a gap, by the text on its left, the text on its right, and both."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.options import TextArguments
from unfreeze.display import aligned


@dataclass(kw_only=True)
class Fill(TextArguments):
    """Rank the words that may fill the gap ___ of a text, by a language model.

    A forward model uses the text on the left of the gap, a backward one the text on its right; a model of both directions
    multiplies the two probabilities and divides them by the word's frequency. Each text has one gap.

    Example:
        unfreeze fill my-lm "I am ___ excited"
        unfreeze fill my-lm "We sat on the ___ of the river." --candidates bank shore moon
    """

    top: int = 10
    """Number of words to show."""

    candidates: tuple[str, ...] = ()
    """Rank only these words; their probabilities remain those among all words."""

    def __post_init__(self) -> None:
        need_positive(self, "top")


def run(arguments: Fill, console: Console) -> None:
    """Print the ranked words of each text, in order."""
    from unfreeze.language_models.base import Fills, need
    from unfreeze.language_models.fill import fill_gap
    from unfreeze.language_models.model import LanguageModel

    texts = arguments.given_texts()
    model = need(LanguageModel.from_pretrained(arguments.model), Fills, arguments.model)
    for text in texts:
        words = fill_gap(model, text, top=arguments.top, candidates=arguments.candidates or None)
        rows = [{"rank": word.rank, "word": word.word, **word.probabilities} for word in words]
        console.result({"text": text, "words": rows}, f"{text}\n{aligned(rows)}\n")
