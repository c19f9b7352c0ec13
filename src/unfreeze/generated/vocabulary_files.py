"""The grammar that ships with the package."""

from __future__ import annotations

from functools import cache
from importlib import resources

from unfreeze.generated.grammar import Grammar


@cache
def generator_grammar() -> Grammar:
    """Read the grammar from the files in `vocabulary/`, in the order of their names."""
    folder = resources.files(__package__).joinpath("vocabulary")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".txt")), key=lambda file: file.name
    )
    return Grammar({file.name: file.read_text(encoding="utf-8") for file in files})
