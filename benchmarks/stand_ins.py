"""Stubs for modules and names that AllenNLP and flair import, but that the comparisons do not need.

Runs in benchmarks/.peers only.

There is no build of torchvision for this version of torch, cached_path depends on the clients of two cloud providers, and
huggingface_hub has removed two names since 2022. None of the stubs is used in what is measured.
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
"""Names that have been removed from these modules."""


class _Nothing:
    """Placeholder for a name."""


def _same(path: str, **_: Any) -> str:
    """cached_path for local files."""
    return path


class _Empty(ModuleType):
    """A module in which every public name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _same if name == "cached_path" else _Nothing


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import hook that returns an empty module for imports below `ROOTS`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOTS:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""


def install() -> None:
    """Install the stubs; call it before importing the peers. transformers is imported first, so that it does not see torchvision."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for module, names in GONE.items():
        found = importlib.import_module(module)
        for name in names:
            setattr(found, name, _Nothing)
    sys.meta_path.insert(0, _Finder())
