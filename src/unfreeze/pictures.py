"""Saving of matplotlib figures to files."""

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
    """Return the picture format of a file name by its suffix.

    Raises:
        UserError: the suffix is not .png, .svg or .pdf.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise UserError(f"cannot draw {str(path)!r}: the name has to end in .png, .svg or .pdf")
    return kind


@contextmanager
def any_script() -> Iterator[None]:
    """Context without matplotlib's warnings about characters missing from its font, which are drawn as empty boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save_picture(figure: Figure, path: Path) -> None:
    """Save a figure atomically, in the format given by the suffix of the file name.

    Raises:
        UserError: the suffix is of another format, or the file cannot be written.
    """
    # Drawn in memory first, because some of matplotlib's writers raise unhelpful errors if the disk is full.
    picture = io.BytesIO()
    with any_script():
        figure.savefig(picture, format=picture_format(path))
    with written_file(path) as temporary:
        temporary.write_bytes(picture.getvalue())
