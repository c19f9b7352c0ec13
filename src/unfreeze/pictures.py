"""Pictures into files: which formats there are, and a full disk that says so."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.errors import UserError
from unfreeze.folders import written_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def picture_format(path: Path) -> str:
    """The format that the suffix of a name stands for.

    Raises:
        UserError: none that is drawn here.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise UserError(f"cannot draw {str(path)!r}: the name has to end in .png, .svg or .pdf")
    return kind


@contextmanager
def any_script() -> Iterator[None]:
    """Within the block, matplotlib does not warn of characters that its font lacks: the picture shows an empty box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name of the file says, whole or not at all.

    Raises:
        UserError: another format, or the file cannot be written.
    """
    # In memory first: of a full disk some writers of matplotlib's raise errors that do not say what was wrong.
    picture = io.BytesIO()
    with any_script():
        figure.savefig(picture, format=picture_format(path))
    with written_file(path) as temporary:
        temporary.write_bytes(picture.getvalue())
