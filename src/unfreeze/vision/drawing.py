"""Boxes drawn on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unfreeze.errors import import_extra
from unfreeze.vision.boxes import Boxes
from unfreeze.vision.images import Pixels

if TYPE_CHECKING:
    import PIL.Image

COLORS = ("#d1495b", "#1f78b4", "#2e8b57", "#e08e0b", "#7b4fa3", "#008b8b", "#b5651d", "#c71585")
"""Distinct on most photographs; the numbers of labels are mapped to them in turn."""


def with_boxes(
    pixels: Pixels, boxes: Boxes, captions: Sequence[str] = (), colors: Sequence[str] = ()
) -> PIL.Image.Image:
    """A copy of an image on which boxes are drawn.

    Args:
        pixels: (H, W, 3).
        boxes: (N, 4) in pixels.
        captions: a text for each box, which is written above it, or within it where there is no room; none by default.
        colors: of each box, as Pillow understands them; `COLORS[0]` by default.
    """
    pillow = import_extra("PIL", "vision", "PIL.Image")
    from PIL import ImageDraw, ImageFont

    image: PIL.Image.Image = pillow.fromarray(pixels)
    draw, side = ImageDraw.Draw(image), max(image.size)
    width, font = max(2, round(side / 200)), ImageFont.load_default(size=max(10, side / 36))
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        color = colors[number] if colors else COLORS[0]
        # The last pixel that belongs to a box is the one before its right and bottom edge.
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=width)
        if not captions:
            continue
        text_left, text_top, text_right, text_bottom = draw.textbbox((0, 0), captions[number], font=font)
        height, length = text_bottom - text_top + 2 * width, text_right - text_left + 2 * width
        x = min(max(0.0, left), max(0.0, image.width - length))
        y = top - height if top >= height else top
        draw.rectangle((x, y, x + length, y + height), fill=color)
        draw.text((x + width - text_left, y + width - text_top), captions[number], fill="white", font=font)
    return image
