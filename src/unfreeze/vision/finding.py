"""Find the files of images: those in a folder, and those that a table or an annotation names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from unfreeze.datasets.lines import is_hidden
from unfreeze.errors import UserError
from unfreeze.vision.images import IMAGE_SUFFIXES, ImageFile

_OF_SYSTEMS = frozenset(("thumbs.db", "desktop.ini"))
"""Files that operating systems leave in folders of images."""
_USUAL = ("images", "JPEGImages", "Images")
"""Names of the folder with the images, in a folder of annotations or beside it."""


def is_image_name(name: str) -> bool:
    """Whether a file has the suffix of an image, and is not hidden."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def is_clutter(path: Path) -> bool:
    """Whether a file was left in the folder by the operating system."""
    return path.name.lower() in _OF_SYSTEMS or is_hidden(path.name)


def walk_images(folder: Path) -> Iterator[Path]:
    """The images in a folder and the folders in it, in sorted order, without hidden ones."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not is_hidden(each))
        yield from (Path(parent, name) for name in sorted(files) if is_image_name(name))


def find_images(paths: Iterable[str | os.PathLike[str]], folder: Path | None = None) -> Iterator[ImageFile]:
    """The files among `paths`, and the images in the folders among them and in the folders in these, in sorted order.

    Args:
        folder: that of the list which names the paths: they are relative to it, or else to the working directory.

    Raises:
        UserError: a path does not exist, or a folder holds no image; when its turn comes.
    """
    for path in map(Path, paths):
        if folder is not None and (folder / path).exists():
            path = folder / path
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        files = list(walk_images(path)) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path}: no image in this folder")
        yield from map(ImageFile, files)


class ImageFinder:
    """Finds images by the names that a table or annotations have for them.

    Args:
        source: the file or folder of the annotations; its images are in its folder, or in a folder `images` or
            `JPEGImages` in it or beside it; names with a folder also count from the current one.
        images: the folder with the images (all folders in it are searched), in place of these.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.images = images
        folder = source if source.is_dir() else source.parent
        near = [folder, *(base / name for base in (folder, folder.parent) for name in _USUAL), folder.parent]
        self._roots = [images] if images is not None else near
        if images is not None and not images.is_dir():
            raise UserError(f"{images}: no such folder of images")

    def find(self, name: str) -> Path | None:
        """The file of an image; None if there is none. The name may lack its suffix, and have folders that are not here.

        Raises:
            UserError: several images in the folder `images` have this name.
        """
        name = name.strip().replace("\\", "/")  # annotations made on Windows
        if not name:
            return None
        suffixes = [""] if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES else ["", *_SUFFIXES]
        for root in self._roots:
            for suffix in suffixes:
                if os.path.isfile(
                    found := root / (name + suffix)
                ):  # also false for names that no file can have
                    return found
        if "/" in name and os.path.isfile(
            name
        ):  # from the current folder, as programs that write tables name files
            return Path(name)
        if self.images is None:
            # Only the last part of a path that was written on another machine.
            short = PurePosixPath(name).name
            return self.find(short) if short != name else None
        parts = PurePosixPath(name.lower())
        candidates = self._by_name.get(parts.name) or self._by_stem.get(parts.name, [])
        longest = 0
        best: list[Path] = []
        for each in candidates:  # those that share most folders at the end of the path
            shared = _shared(each.parent, parts.parent)
            if shared >= longest:
                best = [*best, each] if shared == longest else [each]
                longest = shared
        if len(best) > 1:
            raise UserError(f"{self.images}: {best[0]} and {best[1]} could both be the image {name!r}")
        return best[0] if best else None

    def beside(self, files: Iterable[Path]) -> list[Path]:
        """All images in the folder `images`; without it, those in the folders that hold these files."""
        if self.images is not None:
            return self._all
        folders = sorted({file.parent for file in files})
        return [each for folder in folders for each in sorted(folder.iterdir()) if is_image_name(each.name)]

    @cached_property
    def _all(self) -> list[Path]:
        return list(walk_images(self.images)) if self.images is not None else []

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self._all:
            found[path.name.lower()].append(path)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self._all:
            found[path.stem.lower()].append(path)
        return found


_SUFFIXES = [suffix for each in sorted(IMAGE_SUFFIXES) for suffix in (each, each.upper())]


def _shared(one: Path, other: PurePosixPath) -> int:
    """The number of folders at the end of both paths that are the same."""
    count = 0
    for left, right in zip(reversed(one.parts), reversed(other.parts), strict=False):
        if left.lower() != right.lower():
            break
        count += 1
    return count
