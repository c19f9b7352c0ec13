"""Opening word vectors by name: those in a file of any supported format, or those of a saved model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

from unfreeze.errors import UserError
from unfreeze.registry import HUB, find_model
from unfreeze.vectors.cache import open_vector_file
from unfreeze.vectors.table import VectorTable

FILE_SUFFIXES = (".txt", ".vec", ".bin", ".npz", ".gz")
"""A path that does not exist but has one of these suffixes is a missing file and is not looked up on the hub."""


@runtime_checkable
class HasTable(Protocol):
    """An encoder that has word vectors which do not depend on the sentence."""

    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        """One vector a word, followed by those of the `extra_words` that can be composed of n-grams."""


def open_vectors(name: str | Path, *, extra_words: Collection[str] = ()) -> VectorTable:
    """Open the word vectors in a file, or those of a saved encoder, language model or classifier.

    Args:
        name: a file (word2vec, GloVe, fastText, .npz; or .gz of these), a folder, a released name, or owner/name on the hub.
        extra_words: words whose vectors are composed of n-grams and appended, if they are unknown and the model has n-grams.

    Raises:
        UserError: nothing of that name exists, it is damaged, or it has no word vectors.
    """
    if is_vector_file(name):
        return open_vector_file(name, extra_words=extra_words)
    from unfreeze.encoders.base import Encoder  # imports torch, which vectors in a file do not need

    folder = find_model(name)
    encoder = Encoder.from_pretrained(folder)
    if isinstance(encoder, HasTable):
        return encoder.table(extra_words)
    raise UserError(
        f"{folder} holds an encoder of kind {encoder.kind}, which has no vectors of words without a sentence"
    )


def need_vectors(name: str | Path) -> None:
    """Raise UserError if `open_vectors` would find nothing of that name; no vectors are read yet."""
    if not is_vector_file(name):
        find_model(name)
    elif not Path(name).exists():
        raise UserError(f"{name}: no such file of word vectors")


def is_vector_file(name: str | Path) -> bool:
    """Whether a name refers to a file, which may be missing, and not to a saved model."""
    path = Path(name)
    missing = not path.exists() and not str(name).startswith(HUB)
    return path.is_file() or (missing and path.suffix.lower() in FILE_SUFFIXES)
