"""Word vectors by name: a file in anyone's format, or the vectors that a saved model keeps for its words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from unfreeze.errors import UserError
from unfreeze.vectors.cache import open_vector_file
from unfreeze.vectors.table import VectorTable

if TYPE_CHECKING:
    from unfreeze.encoders.awd_lstm import StackedEncoder

FILE_SUFFIXES = (".txt", ".vec", ".bin", ".npz", ".gz")
"""A name that ends so and is not there is a missing file, not a model to be asked for at the hub."""
HUB = "hf:"
"""How a name begins that means a model at the hub, whatever folders are here."""


@runtime_checkable
class HasTable(Protocol):
    """An encoder that is a table of word vectors."""

    def table(self, besides: Collection[str] = ()) -> VectorTable:
        """One vector a word, and behind them of those `besides` that can be made of n-grams."""


def open_vectors(name: str | Path, *, besides: Collection[str] = ()) -> VectorTable:
    """The vectors in a file, or those of the words of a saved encoder, language model or classifier.

    Args:
        name: a file (word2vec, GloVe, .npz, .gz of these), a folder, a released name, or owner/name on the hub (or hf:owner/name).
        besides: words that get a vector of their n-grams, behind the others, where they are unknown and the model has such.

    Raises:
        UserError: there is no such thing, it is damaged, or it holds no vectors of words.
    """
    if is_vector_file(name):
        return open_vector_file(name, besides=besides)
    from unfreeze.encoders.loading import find_model  # needs torch, which a file does not

    return _from_folder(find_model(name), besides)


def is_vector_file(name: str | Path) -> bool:
    """Whether a name means a file, which may be missing, and no saved model."""
    path = Path(name)
    missing = not path.exists() and not str(name).startswith(HUB)
    return path.is_file() or (missing and path.suffix.lower() in FILE_SUFFIXES)


def _from_folder(folder: Path, besides: Collection[str]) -> VectorTable:
    """The table of a saved folder: an encoder's own where it has one, else its embedding layer.

    This is the one place that knows how an encoder gives away its word vectors.
    """
    from unfreeze.encoders.awd_lstm import StackedEncoder
    from unfreeze.encoders.loading import load_encoder

    encoder = load_encoder(folder)
    if isinstance(encoder, HasTable):
        return encoder.table(besides)
    if isinstance(encoder, StackedEncoder):
        return _embedding_layer(encoder)
    raise UserError(
        f"{folder} holds a {encoder.kind} encoder, which has no vectors of words without a sentence"
    )


def _embedding_layer(encoder: StackedEncoder) -> VectorTable:
    """The vectors of a language model's first layer, without its special tokens."""
    tokenizer = encoder.tokenizer
    ids = [number for number in range(len(tokenizer)) if number not in tokenizer.special_ids]
    weight = encoder.stack(encoder.directions[0]).embedding.weight
    return VectorTable(
        [tokenizer.token(number) for number in ids], weight.detach()[ids].float().cpu().numpy()
    )
