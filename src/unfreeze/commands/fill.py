"""`unfreeze fill`: rank words for a gap, by the text on its left, the text on its right, and both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from unfreeze.commands.console import Console, aligned
from unfreeze.commands.inputs import given_texts
from unfreeze.commands.options import ReadsText
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.language_models.fill import GapWord


@dataclass(kw_only=True)
class Fill(ReadsText):
    """Rank the words that may stand in the gap ___ of a text, by a language model.

    A forward model uses the text on the left of the gap, a backward one the text on its right; a model of both directions
    multiplies the two probabilities and divides them by the word's frequency.

    Example:
        unfreeze fill my-lm "I am ___ excited"
        unfreeze fill my-lm "We sat on the ___ of the river." --candidates bank shore moon
    """

    model: Positional[str]
    """Language model: a folder, a released name, or owner/name on the hub."""

    texts: Positional[tuple[str, ...]] = ()
    """Texts with one gap each; - reads lines of standard input."""

    file: Path | None = None
    """Texts with gaps: a table's column, or the lines of a text file."""

    top: int = 10
    """Number of words to show."""

    candidates: tuple[str, ...] = ()
    """Rank these words only; their probabilities remain those among all words."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}")


def run(arguments: Fill, console: Console) -> None:
    """Print the ranked words of each text, in order."""
    from unfreeze.language_models.base import Fills, need
    from unfreeze.language_models.fill import fill_gap
    from unfreeze.language_models.model import LanguageModel

    texts = given_texts(arguments.texts, arguments.file, **arguments.reading)
    model = need(LanguageModel.from_pretrained(arguments.model), Fills, arguments.model)
    for text in texts:
        words = fill_gap(model, text, top=arguments.top, candidates=arguments.candidates or None)
        rows = as_rows(words)
        console.result({"text": text, "words": rows}, f"{text}\n{aligned(rows)}\n")


def as_rows(words: list[GapWord]) -> list[dict[str, object]]:
    """A row for each word: its rank among all, and its probabilities."""
    return [{"rank": word.rank, "word": word.word, **word.probabilities} for word in words]
