"""`unfreeze fill`: words for a gap, by the text on its left, the text on its right, and both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from unfreeze.commands.console import Console, aligned
from unfreeze.commands.inputs import BILM, given_texts, need_language_model
from unfreeze.commands.options import ReadsText
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.language_models.fill import Gap, GapWord


@dataclass(kw_only=True)
class Fill(ReadsText):
    """Words for the gap ___ in a text, by a language model.

    A forward model knows the text left of the gap, a backward one the text right of it; a model of both directions
    multiplies what the two say and divides by how common the word is.

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
    """How many words to show."""

    candidates: tuple[str, ...] = ()
    """Rank these words only; the probabilities stay those among all words."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}")


def run(arguments: Fill, console: Console) -> None:
    """Print the ranked words of each text, in order."""
    texts = given_texts(arguments.texts, arguments.file, **arguments.reading)
    read_gap = reader(arguments.model)
    for text in texts:
        words = read_gap(text).name(arguments.top, arguments.candidates or None)
        rows = as_rows(words)
        console.result({"text": text, "words": rows}, f"{text}\n{aligned(rows)}\n")


def reader(name: str) -> Callable[[str], Gap]:
    """What reads gaps with a model.

    Raises:
        UserError: it is no language model that knows what is right of a gap or left of it, or damaged.
    """
    if need_language_model(name, "fill", besides=(BILM,)) == BILM:
        from unfreeze.language_models import bilm_reading
        from unfreeze.language_models.bilm import BiLanguageModel

        return partial(bilm_reading.read_gap, BiLanguageModel.from_pretrained(name))
    from unfreeze.language_models import fill
    from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel

    return partial(fill.read_gap, AwdLstmLanguageModel.from_pretrained(name))


def as_rows(words: list[GapWord]) -> list[dict[str, object]]:
    """A row for each word: its rank among all, and its probabilities."""
    return [{"rank": word.rank, "word": word.word, **word.probabilities} for word in words]
