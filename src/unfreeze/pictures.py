"""Saving of matplotlib figures to files."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.errors import UserError
from unfreeze.folders import written_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

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


def families_for(text: str) -> list[str]:
    """The fonts that draw a text: matplotlib's own, and for characters that it lacks the first installed ones that have them.

    A warning names characters that no installed font has; they are drawn as boxes.
    """
    from matplotlib.font_manager import FontProperties, findfont, fontManager
    from matplotlib.ft2font import FT2Font

    own = FontProperties().get_family()
    missing = {character for character in text if not character.isspace()}
    missing -= set(map(chr, FT2Font(findfont(FontProperties())).get_charmap()))
    families = list(own)
    fonts = sorted(
        fontManager.ttflist, key=lambda font: (font.weight != 400, font.style != "normal", font.name)
    )
    for font in fonts if missing else []:
        # A font of last resort has a box for every character.
        if "resort" in font.name.lower() or font.name in families:
            continue
        with suppress(OSError, RuntimeError):  # a font that has been removed since, or that is damaged
            if has := missing & set(map(chr, FT2Font(font.fname).get_charmap())):
                families.append(font.name)
                missing -= has
    if missing:
        _log.warning(
            "no installed font has these characters, which are drawn as boxes: %s; install a font of their script, such as Noto's",
            " ".join(f"U+{ord(character):04X}" for character in sorted(missing)[:4]),
        )
    return families


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
