"""Empty modules and names in the place of those that AllenNLP and flair import and that what we compare does not need.

Runs in benchmarks/.peers only.

torchvision has no build that fits this torch, cached_path pulls in the clients of two clouds, and the hub's client has
dropped two names since 2022. Nothing that a comparison measures comes from here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

ROOTS = ("torchvision", "cached_path", "fairscale")
GONE = {
    "huggingface_hub": ("HfFolder", "Repository"),
    "transformers": ("LayoutLMv2FeatureExtractor", "LayoutLMv3FeatureExtractor"),
}
"""What these no longer have."""


class _Nothing:
    """Whatever was asked for."""


def _same(path: str, **_: Any) -> str:
    """cached_path of a file that is here already."""
    return path


class _Empty(ModuleType):
    """A module in which every public name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _same if name == "cached_path" else _Nothing


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module for every import below `ROOTS`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOTS:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def install() -> None:
    """Before the peers are imported. transformers is imported first: it must see that there is no torchvision."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for module, names in GONE.items():
        found = importlib.import_module(module)
        for name in names:
            setattr(found, name, _Nothing)
    sys.meta_path.insert(0, _Finder())
