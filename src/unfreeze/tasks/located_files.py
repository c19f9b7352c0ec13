"""Found boxes as text: lines for people, tables with a box on each line, which can be read again as annotations; and as pictures."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unfreeze.folders import writing, written_file
from unfreeze.tasks.average_precision import Located
from unfreeze.vision.drawing import COLORS, with_boxes
from unfreeze.vision.images import read_image

Row = dict[str, Any]
"""An image and its boxes: {"image", "boxes": [{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}]}, some without a score."""
COLUMNS = ("image", "label", "xmin", "ymin", "xmax", "ymax", "score")
PICTURES = {".jpg": ".jpg", ".jpeg": ".jpg"}
"""The suffix of a picture by that of its image; all others become .png."""


def _caption(box: dict[str, Any]) -> str:
    """ "raccoon 0.98", or "raccoon" without a score."""
    return f"{box['label']} {box['score']:.2f}" if "score" in box else str(box["label"])


def boxes_line(row: Row) -> str:
    """ "raccoon 0.98 (12, 30, 200, 340)", of each box, a tab, and the name of the image."""
    boxes = [
        f"{_caption(each)} ({', '.join(f'{side:.0f}' for side in each['box'].values())})"
        for each in row["boxes"]
    ]
    return f"{', '.join(boxes) or '-'}\t{' '.join(row['image'].split())}"


def boxes_table(delimiter: str) -> Callable[[Row], str]:
    """A function that turns each row into the lines of a table; those of the first row follow the header.

    An image without boxes has a line with empty cells. There is no column of scores if the boxes of the first image have none.
    """
    columns: list[str] = []

    def lines(row: Row) -> str:
        boxes, written = row["boxes"], io.StringIO()
        table = csv.writer(written, delimiter=delimiter)
        if not columns:
            columns.extend(COLUMNS if not boxes or "score" in boxes[0] else COLUMNS[:-1])
            table.writerow(columns)
        for each in boxes or [{}]:
            values = {"image": row["image"], **each, **each.get("box", {})}
            table.writerow([values.get(name, "") for name in columns])
        return written.getvalue()

    return lines


class Pictures:
    """A folder of images on which boxes are drawn, named as the images are; equal names are numbered.

    Raises:
        CannotWrite: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._taken = folder, set[str]()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, image: Any, name: str, found: Located, row: Row) -> Path:
        """Draw the boxes of an image, with their labels and scores, and return the path of the picture.

        Args:
            name: of the image, whose last part is that of the picture.

        Raises:
            UserError: the image cannot be read, or the picture not be written.
        """
        stem, suffix = Path(name).stem, PICTURES.get(Path(name).suffix.lower(), ".png")
        names = (f"{stem}{f'-{count}' if count > 1 else ''}{suffix}" for count in itertools.count(1))
        own = next(each for each in names if each not in self._taken)
        self._taken.add(own)
        path = self.folder / own
        captions = [_caption(each) for each in row["boxes"]]
        colors = [COLORS[label % len(COLORS)] for label in found.labels]
        drawn = with_boxes(read_image(image), found.boxes, captions, colors)
        with written_file(path) as temporary:
            drawn.save(temporary, format="JPEG" if suffix == ".jpg" else "PNG", quality=92)
        return path
