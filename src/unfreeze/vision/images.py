"""Read images of any kind as arrays of pixels: 8-bit RGB, upright.

The orientation in the EXIF data is applied. Gray images, palettes, CMYK and 16 bits a channel become 8-bit RGB; transparent
places become white; color profiles are ignored. Of an animation, the first frame is read. Pillow (extra `vision`) is imported on first
use.

Images can be read at a part of their size (`at_least`), which saves memory; a JPEG is then decoded at 1/2, 1/4 or 1/8, which also
takes a fraction of the time.
"""

from __future__ import annotations

import hashlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError, import_extra, setting
from unfreeze.progress import Progress

if TYPE_CHECKING:
    import PIL.Image

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
"""An image, (height, width, 3): red, green and blue."""
Rectangle = tuple[float, float, float, float]
"""left, top, right, bottom, in pixels from the upper left corner of the image; right and bottom are edges, so width = right - left."""
Resample = Literal["bilinear", "bicubic"]

MAX_PIXELS = 89_000_000
"""Larger images are refused before they are decoded: a file of some kilobytes can ask for gigabytes. Pillow warns a bit above."""
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read. Pillow has more, some of which hand files to other programs (PostScript) or are hardly ever tested."""
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .png .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .jp2 .avif".split()
)
"""Suffixes of the files that are looked for in folders."""

# Where an upright image's axes are in the stored one, by the orientation in the EXIF data: the name of Pillow's operation that turns
# the image upright, whether it swaps the axes, and whether it then mirrors them.
_UPRIGHT = {
    2: ("FLIP_LEFT_RIGHT", False, True, False),
    3: ("ROTATE_180", False, True, True),
    4: ("FLIP_TOP_BOTTOM", False, False, True),
    5: ("TRANSPOSE", True, False, False),
    6: ("ROTATE_270", True, True, False),
    7: ("TRANSVERSE", True, True, True),
    8: ("ROTATE_90", True, False, True),
}
# What Pillow raises for damaged files (UnidentifiedImageError is an OSError).
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
)


class DamagedImage(UserError):
    """The file of an image is empty, truncated, damaged, too large, or of no format that is read."""


@dataclass(frozen=True)
class ImageFile:
    """An image that is read when it is needed, and identified by the bytes of its file."""

    path: Path
    data: bytes | None = field(default=None, repr=False)
    """The content of the file, if it is in memory (from a table or the hub); `path` is then only its name."""
    advice: str = field(default="", repr=False, compare=False)
    """What the error adds if the image is damaged."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def __fspath__(self) -> str:
        return fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def digest(self) -> str:
        """16 hex digits that identify the bytes of the file.

        Raises:
            UserError: the file cannot be read.
        """
        if self.data is not None:
            return hashlib.blake2b(self.data).hexdigest()[:16]
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
        except OSError as error:
            raise _no_file(self.path, error) from None


T = TypeVar("T")
ImageInput: TypeAlias = "str | PathLike[str] | ImageFile | PIL.Image.Image | NDArray[Any]"
"""What users call an image: the name of a file, an image of Pillow, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""


@dataclass(frozen=True)
class LoadedImage:
    """An upright RGB image, which may be decoded at a part of its size."""

    picture: PIL.Image.Image
    size: tuple[int, int]
    """Width and height of the image in full, to which boxes refer."""
    extent: Rectangle
    """Where the image lies in `picture`. A JPEG of 9 x 9 pixels read at half its size has 5 x 5, of which 4.5 x 4.5 are the image."""

    def resized(
        self, source: Rectangle, size: tuple[int, int], resample: Resample = "bilinear"
    ) -> PIL.Image.Image:
        """A part of the image, resized with antialiasing in one step.

        Args:
            source: the part, in pixels of the image in full; what lies outside of the image is cut off.
            size: width and height of the result.
        """
        import PIL.Image

        left, top, right, bottom = self.extent
        scales = (right - left) / self.size[0], (bottom - top) / self.size[1]
        corners = [
            min(max(offset + place * scale, 0.0), float(most))
            for place, offset, scale, most in zip(
                source, (left, top) * 2, scales * 2, self.picture.size * 2, strict=True
            )
        ]
        box = (corners[0], corners[1], corners[2], corners[3])
        method = PIL.Image.Resampling[resample.upper()]
        return self.picture.resize(size, method, box=box, reducing_gap=3.0)


def read_image(source: ImageInput, *, at_least: int | None = None) -> Pixels:
    """Read an image as an array (height, width, 3) of 8-bit RGB.

    Args:
        source: the name of a file, an `ImageFile`, an image of Pillow, or an array.
        at_least: the image may be read at 1/2, 1/3, ... of its size, as long as both sides have at least so many pixels.

    Raises:
        UserError: the image is missing, empty, truncated, damaged, too large, or none at all; the message names it.
        MissingExtra: Pillow is not installed.
    """
    return np.array(load_image(source, at_least=at_least).picture)  # a copy that can be written to


def image_size(source: ImageInput) -> tuple[int, int]:
    """Width and height of an image, upright; the pixels of a file are not decoded.

    Raises:
        UserError: as `read_image`, but damage to the pixels goes unnoticed.
    """
    return upright_size(*stored_size(source))


def stored_size(source: ImageInput) -> tuple[tuple[int, int], int]:
    """Width and height of an image as it is stored, and the orientation in its EXIF data, from 1 (upright) to 8; errors as `image_size`."""
    if not _is_file_like(source):
        height, width = _checked_array(source)[0].shape[:2]
        return (width, height), 1
    with _opened(source) as image:
        return image.size, _orientation(image)


def upright_size(stored: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of the upright image."""
    return (stored[1], stored[0]) if orientation > 4 else stored


def is_image_input(value: object) -> bool:
    """Whether a value is one image, rather than several or something else."""
    if isinstance(value, np.ndarray):
        return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))
    return isinstance(value, LoadedImage) or _is_file_like(value)


def need_image(value: object, name: str) -> None:
    """Raise UserError for a value that is no image, or an array that cannot be one; the message begins with `name`."""
    if isinstance(value, np.ndarray):
        _checked_array(value, name)
    elif not is_image_input(value):
        kind = type(value).__name__
        raise UserError(
            f"{name} is {kind}: an image is the name of a file, an array (H, W, 3) or an image of Pillow"
        )


def with_advice(image: Any) -> Any:
    """The image, whose error names the setting that leaves damaged images out, if it is a file."""
    advice = f"; {setting('skip_damaged', True)} leaves damaged images out"
    return replace(image, advice=advice) if isinstance(image, ImageFile) else image


def undamaged(
    items: Sequence[T], image_of: Callable[[T], ImageInput], source: str, progress: Progress
) -> list[T]:
    """The items whose image can be read; the damaged ones are logged. Each is decoded, a JPEG at an eighth of its size.

    Raises:
        UserError: all images are damaged.
    """
    kept: list[T] = []
    damaged: list[str] = []
    with progress.bar("look for damaged images", total=len(items), unit="image") as bar:
        for item in items:
            try:
                load_image(image_of(item), at_least=1)
                kept.append(item)
            except DamagedImage as error:
                damaged.append(str(error))
            bar.advance()
    if damaged and not kept:
        raise UserError(f"{source}: all of its {len(items):,} images are damaged, the first is {damaged[0]}")
    if damaged:
        named, count = "; ".join(damaged[:10]), f"{len(damaged):,} of {len(items):,}"
        more = "; ..." if len(damaged) > 10 else ""
        _log.warning("%s: %s images are damaged and left out: %s", source, count, named + more)
    return kept


def load_image(source: ImageInput | LoadedImage, *, at_least: int | None = None) -> LoadedImage:
    """Read an image with the size that it has in full; arguments and errors as for `read_image`."""
    if isinstance(source, LoadedImage):
        return source
    if not _is_file_like(source):
        source = _pillow().fromarray(_array_pixels(source))
    with _opened(source) as image:
        size, orientation = image.size, _orientation(image)
        drafted = None
        if at_least and image is not source and hasattr(image, "draft"):  # not to an image that a user opened
            drafted = image.draft(None, (at_least, at_least))
        if getattr(image, "is_animated", False) and image.format != "MPO":  # cameras store previews in an MPO
            _log.warning("%s is animated; its first frame is read", _name(source))
        picture = _as_rgb(image, _name(source))
        # Both ways of reading at a part of the size round the size up: the last row and column may be partly outside.
        extent = [float(place) for place in (drafted[1] if drafted else (0, 0, *size))]
        if at_least and (factor := min(picture.size) // at_least) > 1:
            picture, extent = picture.reduce(factor), [place / factor for place in extent]
        if orientation in _UPRIGHT:
            method, swap, mirror_x, mirror_y = _UPRIGHT[orientation]
            picture = picture.transpose(getattr(_pillow().Transpose, method))
            if swap:
                extent = [0.0, 0.0, extent[3], extent[2]]
            for axis, mirrored in enumerate((mirror_x, mirror_y)):
                if mirrored:
                    extent[axis], extent[axis + 2] = picture.size[axis] - extent[axis + 2], picture.size[axis]
    edges = (extent[0], extent[1], extent[2], extent[3])
    return LoadedImage(picture, upright_size(size, orientation), edges)


def upright_boxes(
    boxes: NDArray[np.float64], stored: tuple[int, int], orientation: int
) -> NDArray[np.float64]:
    """Turn boxes (N, 4), left, top, right, bottom, with an image: from the pixels as they are stored to those of the upright image."""
    _, swap, *mirrored = _UPRIGHT.get(orientation, ("", False, False, False))
    turned = boxes[:, [1, 0, 3, 2] if swap else [0, 1, 2, 3]]
    for axis, (is_mirrored, side) in enumerate(zip(mirrored, upright_size(stored, orientation), strict=True)):
        if is_mirrored:
            turned[:, [axis, axis + 2]] = side - turned[:, [axis + 2, axis]]
    return turned


def _pillow() -> Any:
    return import_extra("PIL", "vision", "PIL.Image")


@cache
def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow was built with."""
    pillow = _pillow()
    pillow.init()
    return [each for each in FORMATS if each in pillow.OPEN]


def _is_file_like(source: Any) -> bool:
    """Whether Pillow reads `source`, or has read it; an array otherwise."""
    return isinstance(source, (str, PathLike, ImageFile)) or hasattr(source, "getexif")


def _name(source: Any) -> str:
    """What messages call an image."""
    if isinstance(source, (str, PathLike)):
        return fspath(source)
    return str(getattr(source, "filename", "")) or "the image"


@contextmanager
def _opened(source: Any) -> Iterator[Any]:
    """Open a file with Pillow, or yield an image of Pillow as it is; errors within the block become UserErrors."""
    pillow, name = _pillow(), _name(source)
    data, advice = (source.data, source.advice) if isinstance(source, ImageFile) else (None, "")
    try:
        if hasattr(source, "getexif"):
            yield source
            return
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            image = pillow.open(fspath(source) if data is None else io.BytesIO(data), formats=_formats())
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(name, f"{width:,} x {height:,} pixels are", advice)
            yield image
    except UserError:
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
        raise _too_large(name, "its pixels are", advice) from None
    except pillow.UnidentifiedImageError:
        empty = not (len(data) if data is not None else Path(source).stat().st_size)
        reason = (
            "the file is empty" if empty else f"not an image of a format that is read ({', '.join(FORMATS)})"
        )
        raise DamagedImage(f"{name}: {reason}{advice}") from None
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise _no_file(name, error) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedImage(f"{name}: the image is truncated or damaged ({reason}){advice}") from None


def _no_file(name: object, error: OSError) -> UserError:
    missing = isinstance(error, FileNotFoundError)
    return UserError(f"{name}: no such file" if missing else f"{name}: cannot be read: {error.strerror}")


def _too_large(name: str, what: str, advice: str) -> DamagedImage:
    most = f"more than the {MAX_PIXELS // 1_000_000} million that are read"
    return DamagedImage(f"{name}: {what} {most}: make the image smaller first{advice}")


def _orientation(image: Any) -> int:
    """The orientation in the EXIF data; 1 is upright."""
    if image.format == "TIFF":  # Pillow turns TIFF files itself
        return 1
    try:
        found = int(image.getexif().get(0x0112, 1))
        return found if found in _UPRIGHT else 1
    except _DAMAGE:  # damaged EXIF data is no reason to refuse the image
        return 1


def _as_rgb(image: Any, name: str) -> Any:
    """Convert an image of Pillow to RGB; messages begin with `name`."""
    if image.mode == "RGB" and not image.has_transparency_data:
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if image.mode == "I" and image.format not in (None, "TIFF"):
            values = values.astype(np.uint16)  # Pillow holds 16 bits of some formats, such as PGM, in 32
        return _pillow().fromarray(_array_pixels(values, name))
    if image.has_transparency_data:
        found = image.convert("RGBA")
        white = _pillow().new("RGBA", found.size, "white")
        return _pillow().alpha_composite(white, found).convert("RGB")
    return image.convert("RGB")


def _array_pixels(source: Any, name: str = "the image") -> Pixels:
    """An array (H, W), or (H, W, C) of 1, 3 or 4 channels, as 8-bit RGB."""
    found, scale = _checked_array(source, name)
    if found.dtype != np.uint8:
        found = np.rint(found * scale).astype(np.uint8)
    if found.shape[2] == 4:
        alpha = found[:, :, 3:].astype(np.float32) / 255
        found = np.rint(found[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(found, (*found.shape[:2], 3)))


def _checked_array(source: Any, name: str = "the image") -> tuple[NDArray[Any], float]:
    """An image as an array (H, W, C), and its `pixel_scale`."""
    if not hasattr(source, "__array__"):
        advice = "name a file, or give an image of Pillow or an array (height, width, 3)"
        raise UserError(f"{name} cannot be of type {type(source).__name__}: {advice}")
    found = np.asarray(source)
    if found.ndim == 2:
        found = found[:, :, None]
    shape = "x".join(map(str, np.shape(source)))
    if found.ndim != 3 or found.shape[2] not in (1, 3, 4) or not found.size:
        first = found.ndim == 3 and found.shape[0] in (1, 3, 4)
        hint = ": transpose(1, 2, 0) puts the channels last" if first else ""
        raise UserError(f"{name} is an array of shape {shape}, not (height, width, 3){hint}")
    return found, pixel_scale(found, name)


def pixel_scale(values: NDArray[Any], name: str) -> float:
    """What to multiply the values of an image with, or of several, for a range from 0 to 255.

    Values are truth values, whole numbers from 0 to 255, of the type uint16 from 0 to 65,535, or fractions from 0 to 1. The type
    alone decides, because a dark image has small values, too.

    Args:
        values: at least one.

    Raises:
        UserError: values of this type cannot be so large, or negative; the message begins with `name`.
    """
    if values.dtype == np.uint8:
        return 1.0
    low, high = values.min(), values.max()
    is_whole = np.issubdtype(values.dtype, np.integer)
    if is_whole and low >= 0:
        if values.dtype.kind == "u" and values.dtype.itemsize == 2:
            return 1 / 257
        if high <= 255:
            return 1.0
    if values.dtype == bool or (np.issubdtype(values.dtype, np.floating) and low >= 0 and high <= 1):
        return 255.0
    wide = ", to uint16 (0 to 65,535)" if is_whole else ""
    raise UserError(
        f"{name} has values from {low:g} to {high:g} of the type {values.dtype}: "
        f"convert them to uint8 (0 to 255){wide} or to fractions from 0 to 1"
    )
