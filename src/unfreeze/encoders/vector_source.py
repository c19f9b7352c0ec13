"""Word vectors by name: a file in anyone's format, or the vectors that a saved model keeps for its words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

from unfreeze.errors import UserError
from unfreeze.registry import HUB, find_model
from unfreeze.vectors.cache import open_vector_file
from unfreeze.vectors.table import VectorTable

FILE_SUFFIXES = (".txt", ".vec", ".bin", ".npz", ".gz")
"""A missing path with such a suffix is a missing file, and is not looked up on the hub."""


@runtime_checkable
class HasTable(Protocol):
    """An encoder that has word vectors which do not depend on the sentence."""

    def table(self, besides: Collection[str] = ()) -> VectorTable:
        """One vector a word, followed by those of the words in `besides` that can be made of n-grams."""


def open_vectors(name: str | Path, *, besides: Collection[str] = ()) -> VectorTable:
    """Word vectors by name: those in a file, or of a saved encoder, language model or classifier.

    Args:
        name: a file (word2vec, GloVe, fastText, .npz; or .gz of these), a folder, a released name, or owner/name on the hub.
        besides: words whose vectors are composed of n-grams and appended, if they are unknown and the model has n-grams.

    Raises:
        UserError: there is no such thing, it is damaged, or it holds no vectors of words.
    """
    if is_vector_file(name):
        return open_vector_file(name, besides=besides)
    return _from_folder(find_model(name), besides)


def is_vector_file(name: str | Path) -> bool:
    """Whether a name means a file, which may be missing, rather than a saved model."""
    path = Path(name)
    missing = not path.exists() and not str(name).startswith(HUB)
    return path.is_file() or (missing and path.suffix.lower() in FILE_SUFFIXES)


def _from_folder(folder: Path, besides: Collection[str]) -> VectorTable:
    from unfreeze.encoders.base import Encoder  # needs torch, which a file does not

    encoder = Encoder.from_pretrained(folder)
    if isinstance(encoder, HasTable):
        return encoder.table(besides)
    raise UserError(
        f"{folder} holds a {encoder.kind} encoder, which has no vectors of words without a sentence"
    )
