"""From images to the squares that a network sees, and boxes along with them.

A `View` says which rectangle of an image fills the square, and moves boxes forth and back exactly. An `ImageTransform` chooses the
view of every image in the same way, and is the processor of an encoder; an `Augmentation` draws one at random for training. Pixels are
resampled once, from the image to the square, with antialiasing.

Legend: B images, S side of the square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from unfreeze.checked import need_positive, need_setting_types, read_json_file, shown
from unfreeze.errors import UserError, setting
from unfreeze.folders import write_json
from unfreeze.vision.boxes import Boxes
from unfreeze.vision.images import ImageInput, LoadedImage, Pixels, Rectangle, Resample, load_image

if TYPE_CHECKING:
    from torch import Tensor

PREPROCESSOR = "preprocessor_config.json"
MAX_SIZE = 4096
"""Largest side of the square, in pixels."""
Fit = Literal["crop", "stretch", "pad"]


@dataclass(frozen=True, slots=True)
class View:
    """The rectangle of an image that fills the square which the network sees."""

    source: Rectangle
    """left, top, right, bottom in pixels of the image; it may reach beyond the image, where the square is filled with one color."""
    size: int
    """S, the side of the square."""
    mirrored: bool = False
    """Whether left and right are exchanged."""

    def to_view(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the image -> in pixels of the square; neither cut off nor rounded. (N, 4) -> (N, 4)."""
        left, top, right, bottom = self.source
        scale = self.size / np.array([right - left, bottom - top] * 2)
        return self._mirror((boxes - np.array([left, top] * 2)) * scale)

    def to_image(self, boxes: Boxes) -> Boxes:
        """The inverse of `to_view`: boxes in pixels of the square -> in pixels of the image. (N, 4) -> (N, 4)."""
        left, top, right, bottom = self.source
        scale = np.array([right - left, bottom - top] * 2) / self.size
        return np.asarray(self._mirror(boxes) * scale + np.array([left, top] * 2))

    def _mirror(self, boxes: Boxes) -> Boxes:
        if not self.mirrored:
            return boxes
        return np.stack([self.size - boxes[:, 2], boxes[:, 1], self.size - boxes[:, 0], boxes[:, 3]], axis=1)

    def render(self, image: LoadedImage, fill: Sequence[int], resample: Resample) -> Pixels:
        """The square, (S, S, 3); `fill` is the color, red, green and blue, of places beyond the image."""
        import PIL.Image

        width, height = image.size
        inside = (
            max(0.0, self.source[0]),
            max(0.0, self.source[1]),
            min(float(width), self.source[2]),
            min(float(height), self.source[3]),
        )
        if inside == self.source:
            picture = image.resized(inside, (self.size, self.size), resample)
        else:
            scale_x = self.size / (self.source[2] - self.source[0])
            scale_y = self.size / (self.source[3] - self.source[1])
            # `ImageTransform.view` lets the edges of the image fall on edges of the square's pixels; other views are off by
            # less than half a pixel here.
            left, right = (round((x - self.source[0]) * scale_x) for x in (inside[0], inside[2]))
            top, bottom = (round((y - self.source[1]) * scale_y) for y in (inside[1], inside[3]))
            picture = PIL.Image.new("RGB", (self.size, self.size), (fill[0], fill[1], fill[2]))
            if right > left and bottom > top:
                picture.paste(image.resized(inside, (right - left, bottom - top), resample), (left, top))
        if self.mirrored:
            picture = picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(picture)


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """How every image becomes a square of numbers; the processor of encoders of images."""

    size: int = 224
    """S, the side of the square, in pixels."""
    fit: Fit = "crop"
    """What happens to images that are no squares: the middle is cut out, the image is stretched, or it is padded."""
    crop_fraction: float = 1.0
    """The side of the middle that is cut out, as a fraction of the image's shorter side (published networks: 0.875)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of red, green and blue, as fractions of 255: subtracted from them. By default that of ImageNet, as published networks expect."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of red, green and blue, by which they are divided."""
    resample: Resample = "bilinear"
    """How pixels are interpolated; antialiased in both cases."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # lists, as JSON has them
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        need_setting_types(self)
        need_positive(self, "size")
        if self.size > MAX_SIZE:
            raise UserError(f"{setting('size')} must be at most {MAX_SIZE:,}, not {shown(self.size)}")
        if self.fit not in ("crop", "stretch", "pad"):
            raise UserError(f"{setting('fit')} is crop, stretch or pad, not {shown(self.fit)}")
        if self.resample not in ("bilinear", "bicubic"):
            raise UserError(f"{setting('resample')} is bilinear or bicubic, not {shown(self.resample)}")
        if not 0 < self.crop_fraction <= 1:
            raise UserError(
                f"{setting('crop_fraction')} must be above 0 and at most 1, not {self.crop_fraction}"
            )
        if not all(0 < each < math.inf for each in self.std):
            raise UserError(f"{setting('std')} must hold three numbers above 0, not {shown(self.std)}")

    def view(self, width: int, height: int) -> View:
        """What the network sees of an image of this width and height."""
        if self.fit == "crop":
            side = min(width, height) * self.crop_fraction
            left, top = (width - side) / 2, (height - side) / 2
            return View((left, top, left + side, top + side), self.size)
        return self.view_of((0.0, 0.0, float(width), float(height)))

    def view_of(self, region: Rectangle, mirrored: bool = False) -> View:
        """A view of a region of an image: padded to a square if `fit` is "pad", otherwise stretched to one."""
        if self.fit != "pad":
            return View(region, self.size, mirrored)
        left, top, right, bottom = region
        scale = self.size / max(right - left, bottom - top)
        # The region takes a whole number of pixels, so the scales of the axes may differ by a fraction of a pixel.
        inner = [max(1, round(side * scale)) for side in (right - left, bottom - top)]
        before = [(self.size - each) // 2 for each in inner]
        scale_x, scale_y = inner[0] / (right - left), inner[1] / (bottom - top)
        x, y = left - before[0] / scale_x, top - before[1] / scale_y
        return View((x, y, x + self.size / scale_x, y + self.size / scale_y), self.size, mirrored)

    @property
    def at_least(self) -> int:
        """Pixels that both sides of an image need so that nothing is enlarged; see `read_image`."""
        return math.ceil(self.size / self.crop_fraction) if self.fit == "crop" else self.size

    @property
    def fill(self) -> tuple[int, int, int]:
        """The color of places beyond the image: the mean, which becomes 0."""
        red, green, blue = (min(255, max(0, round(255 * each))) for each in self.mean)
        return red, green, blue

    def square(self, image: ImageInput | LoadedImage) -> tuple[Pixels, View]:
        """Read an image: the pixels of the square, (S, S, 3), and the view that moves boxes there and back.

        Raises:
            UserError: the image cannot be read; the message names it.
        """
        loaded = load_image(image, at_least=self.at_least)
        view = self.view(*loaded.size)
        return view.render(loaded, self.fill, self.resample), view

    def squares(self, images: Sequence[ImageInput | LoadedImage]) -> tuple[Pixels, list[View]]:
        """Read images: (B, S, S, 3) of 8 bits, and the views of B images."""
        pixels = np.empty((len(images), self.size, self.size, 3), dtype=np.uint8)
        views = []
        for number, image in enumerate(images):
            pixels[number], view = self.square(image)
            views.append(view)
        return pixels, views

    def normalized(self, pixels: Pixels | Tensor) -> Tensor:
        """(B, S, S, 3) of 8 bits -> (B, 3, S, S) of fp32, minus the mean and divided by the standard deviation.

        The result is in the memory format channels_last, so no transposed copy is made; a tensor stays on its device.
        """
        import torch

        found = pixels if isinstance(pixels, torch.Tensor) else torch.from_numpy(pixels)
        mean = torch.tensor(self.mean, device=found.device) * 255
        std = torch.tensor(self.std, device=found.device) * 255
        return (found - mean).div_(std).permute(0, 3, 1, 2)  # in fp32, by the promotion of types

    def save(self, folder: str | Path) -> None:
        """Write preprocessor_config.json into the folder of a model."""
        values = asdict(self)
        own = {"image_mean": values.pop("mean"), "image_std": values.pop("std")}
        write_json(Path(folder) / PREPROCESSOR, {**values, **own})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, or the file of that name of a published ConvNet (in the format of transformers).

        Raises:
            UserError: the file is missing or damaged, or asks for something that is not supported.
        """
        path = Path(folder) / PREPROCESSOR
        values = read_json_file(path)
        if not isinstance(values, dict):
            raise UserError(f"{path} holds no object: the file is damaged")
        for step in ("do_resize", "do_rescale", "do_normalize"):
            if values.get(step, True) is not True:
                raise UserError(
                    f"{path}: {step} is {shown(values[step])}, and images are always prepared in this way"
                )
        size, resample = _side(values.get("size", 224)), values.get("resample", 2)
        fraction = values.get("crop_fraction", values.get("crop_pct", 1.0))
        cropped = _side(values.get("crop_size"))
        if values.get("do_center_crop", True) is True and isinstance(cropped, int) and isinstance(size, int):
            # The shorter side becomes `size`, and the middle of `crop_size` is cut out.
            size, fraction = cropped, cropped / max(1, size)
        known = {
            "size": size,
            "fit": values.get("fit", "crop"),
            "crop_fraction": fraction,
            "mean": values.get("image_mean", cls.mean),
            "std": values.get("image_std", cls.std),
            "resample": {2: "bilinear", 3: "bicubic"}[resample] if resample in (2, 3) else resample,
        }
        try:
            return cls(**known)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _side(size: Any) -> Any:
    """The side of a square in transformers' format: 224, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    if not isinstance(size, dict):
        return size
    sides = list(size.values())
    return sides[0] if sides and all(side == sides[0] for side in sides) else None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crops, flips and colors of training images, drawn from a generator that the caller seeds."""

    area: tuple[float, float] = (0.35, 1.0)
    """Smallest and largest share of the image's area that a crop has; with (1, 1) there are no crops."""
    aspect: tuple[float, float] = (0.75, 4 / 3)
    """Smallest and largest ratio of a crop's width to its height; relative to the image's if images are stretched or padded."""
    flip: float = 0.5
    """Probability that an image is mirrored."""
    jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation (common: 0.4)."""

    def __post_init__(self) -> None:
        need_setting_types(self)
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"{setting('area')} must be two shares from above 0 to 1, not {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise UserError(f"{setting('aspect')} must be two ratios above 0, not {self.aspect}")
        if not 0 <= self.flip <= 1 or not 0 <= self.jitter < 1:
            raise UserError(
                f"{setting('flip')} must be from 0 to 1, and {setting('jitter')} from 0 to below 1"
            )

    def view(
        self,
        transform: ImageTransform,
        width: int,
        height: int,
        generator: np.random.Generator,
        *,
        keep: Boxes | None = None,
    ) -> View:
        """Draw a view of an image (Szegedy et al. 2015): a crop of random area and aspect, anywhere in the image.

        Args:
            width, height: of the image.
            keep: boxes that must stay in sight, (N, 4): the crop is enlarged to contain them, with a random margin.
        """
        area, aspect, x, y, flip = generator.random(5).tolist()
        if self.area[0] == 1:  # no crops, nor those that only a random aspect would make
            return replace(transform.view(width, height), mirrored=flip < self.flip)
        share = self.area[0] + area * (self.area[1] - self.area[0])
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        ratio = math.exp(low + aspect * (high - low)) * (1 if transform.fit == "crop" else width / height)
        crop_width = min(width, math.sqrt(share * width * height * ratio))
        crop_height = min(height, crop_width / ratio)
        crop_width = min(crop_width, crop_height * ratio)
        left, top = x * (width - crop_width), y * (height - crop_height)
        region = np.array([left, top, left + crop_width, top + crop_height])
        if keep is not None and len(keep):
            # An edge that would cut a box off is drawn anew, between the box and the edge of the image: with the box at the edge of
            # nearly every crop, a network would learn that boxes end there.
            near, far = keep[:, :2].min(0), keep[:, 2:].max(0)
            margins = generator.random(4)
            region[:2] = np.where(region[:2] > near, near * margins[:2], region[:2])
            beyond = far + (np.array([width, height]) - far) * margins[2:]
            region[2:] = np.where(region[2:] < far, beyond, region[2:])
        limits = np.array([width, height] * 2, dtype=np.float64)
        left, top, right, bottom = np.clip(region, 0.0, limits).tolist()
        return transform.view_of((left, top, right, bottom), mirrored=flip < self.flip)

    def colored(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """Change brightness, contrast and saturation of a square at random: (S, S, 3) -> (S, S, 3), both of 8 bits."""
        if not self.jitter:
            return pixels
        brightness, contrast, saturation = generator.uniform(1 - self.jitter, 1 + self.jitter, 3).tolist()
        found = pixels.astype(np.float32) * np.float32(brightness)
        gray = found @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        # One map for both: colors move towards their gray value, and everything towards the mean gray value of the image.
        found = gray[..., None] + np.float32(saturation) * (found - gray[..., None])
        mean = gray.mean()
        found = mean + np.float32(contrast) * (found - mean)
        colored: Pixels = found.round().clip(0, 255).astype(np.uint8)
        return colored
