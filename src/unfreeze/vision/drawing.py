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
        captions: a text for each box, which is written at its upper edge, above or within it, or at its lower edge, at the first
            of these places where there is room; none by default.
        colors: of each box, as Pillow understands them; `COLORS[0]` by default.
    """
    pillow = import_extra("PIL", "vision", "PIL.Image")
    from PIL import ImageDraw, ImageFont

    image: PIL.Image.Image = pillow.fromarray(pixels)
    draw, side = ImageDraw.Draw(image), max(image.size)
    width, font = max(2, round(side / 200)), ImageFont.load_default(size=max(10, side / 36))
    shades = list(colors) or [COLORS[0]] * len(boxes)
    for color, (left, top, right, bottom) in zip(shades, boxes.tolist(), strict=True):
        # The last pixel that belongs to a box is the one before its right and bottom edge.
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=width)
    taken: list[tuple[float, float, float, float]] = []
    for caption, color, (left, top, _, bottom) in zip(captions, shades, boxes.tolist(), strict=False):
        text_left, text_top, text_right, text_bottom = draw.textbbox((0, 0), caption, font=font)
        height, length = text_bottom - text_top + 2 * width, text_right - text_left + 2 * width
        x = min(max(0.0, left), max(0.0, image.width - length))
        inside = [y for y in (top - height, top, bottom - height, bottom) if 0 <= y <= image.height - height]
        places = [(x, y, x + length, y + height) for y in inside or [max(0.0, top)]]
        place = next((one for one in places if not any(_overlap(one, other) for other in taken)), places[0])
        taken.append(place)
        draw.rectangle(place, fill=color)
        start = (x + width - text_left, place[1] + width - text_top)
        draw.text(start, caption, fill="white", font=font)
    return image


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rectangles (left, top, right, bottom) have a place in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
