"""Images that are decoded once and then held in memory, or in a temporary file if they are large.

An epoch of training then costs no decoding. Images are held at the smallest size at which a transform reads them (`at_least`), so that
the squares are the same as those of the files.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from unfreeze.folders import writing
from unfreeze.progress import SILENT, Progress
from unfreeze.vision.images import ImageInput, LoadedImage, Rectangle, load_image

LARGEST_IN_MEMORY = 256 << 20
"""Bytes of pixels that are held in memory; more of them go to a temporary file, which is mapped into memory."""


class ImageStore(Sequence[LoadedImage]):
    """Decoded images, in order. Each access makes a `LoadedImage` of the pixels, which costs a copy of them.

    Args:
        images: anything that `load_image` reads.
        at_least: pixels that both sides have to keep; see `read_image`. None keeps images in full.

    Raises:
        UserError: an image cannot be read.
        CannotWrite: the folder of temporary files (TMPDIR) has no room for the pixels.
    """

    def __init__(
        self,
        images: Sequence[ImageInput],
        *,
        at_least: int | None = None,
        largest_in_memory: int = LARGEST_IN_MEMORY,
        progress: Progress = SILENT,
    ) -> None:
        self._geometry: list[tuple[tuple[int, int], Rectangle]] = []
        self._pixels: list[NDArray[np.uint8]] = []
        shapes: list[tuple[int, ...]] = []
        n_bytes = 0
        place = Path(tempfile.gettempdir())
        with writing(place), tempfile.TemporaryFile() as file:
            with progress.bar("read images", total=len(images), unit="image") as bar:
                for each in images:
                    loaded = load_image(each, at_least=at_least)
                    self._geometry.append((loaded.size, loaded.extent))
                    self._pixels.append(np.asarray(loaded.picture))
                    shapes.append(self._pixels[-1].shape)
                    n_bytes += self._pixels[-1].size
                    if n_bytes > largest_in_memory:
                        _move(self._pixels, file)
                    bar.advance()
            if file.tell():
                _move(self._pixels, file)
                file.flush()
                flat = np.asarray(
                    np.memmap(file, dtype=np.uint8, mode="r")
                )  # keeps the file, which has no name
                ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
                parts = zip(np.split(flat, ends), shapes, strict=True)
                self._pixels = [part.reshape(shape) for part, shape in parts]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each image in full."""
        return [size for size, _ in self._geometry]

    def __len__(self) -> int:
        return len(self._pixels)

    @overload
    def __getitem__(self, number: int) -> LoadedImage: ...
    @overload
    def __getitem__(self, number: slice) -> list[LoadedImage]: ...
    def __getitem__(self, number: int | slice) -> LoadedImage | list[LoadedImage]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        import PIL.Image

        return LoadedImage(PIL.Image.fromarray(self._pixels[number]), *self._geometry[number])


def _move(pixels: list[NDArray[np.uint8]], file: IO[bytes]) -> None:
    """Append arrays to a file and remove them from the list."""
    for each in pixels:
        file.write(np.ascontiguousarray(each).data)
    pixels.clear()
