"""A verb for the tests of the command line's frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.errors import Interrupted, UserError


@dataclass(kw_only=True)
class Shout:
    """Say a text louder.

    It can also fail in every way that a verb can.

    Example:
        unfreeze shout hello --output here --times 2
    """

    text: Positional[str]
    """What to say."""

    more: Positional[tuple[str, ...]] = ()
    """What else to say."""

    output: Path
    """Where to."""

    times: int = 1
    """How often."""

    rate: float | None = None
    """How fast."""

    how: Literal["say", "mistake", "file", "bug", "ctrl-c", "resumable"] = "say"
    """What happens."""

    louder: bool = True
    """In capitals."""

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UserError(f"--times must be at least 1, not {self.times}")


def run(arguments: Shout, console: Console) -> None:
    """Speak, or fail as asked."""
    errors: dict[str, BaseException] = {
        "mistake": UserError("reviews.csv, line 3:\n column 'label' is missing"),
        "file": FileNotFoundError(2, "No such file or directory", "reviews.csv"),
        "bug": ZeroDivisionError("division by zero"),
        "ctrl-c": KeyboardInterrupt(),
        "resumable": Interrupted("stopped after 7 steps; rerun the command to resume"),
    }
    if arguments.how in errors:
        raise errors[arguments.how]
    with console.progress.bar("shouting", total=arguments.times, unit="shouts") as bar:
        for number in range(arguments.times):
            said = arguments.text.upper() if arguments.louder else arguments.text
            console.result({"said": said, "number": number, "rate": arguments.rate}, said)
            bar.advance(loudness=float(number))
    console.note(f"said to {arguments.output}")
