"""How large a fitted model is, and how much of it started pre-trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

from unfreeze.tasks.bodies import PooledLayers, PooledStream

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of buffers that are measured, not learned."""
PRETRAINED = ("body.encoder.", "body.word_vectors", "body.words.encoder.", "body.words.vectors.")
PRETRAINED_WORDS = ("words.encoder.", "words.vectors.")
"""How the names of tensors begin that a task takes over from encoders and word vectors; the second of tasks on words."""


def parameter_counts(network: nn.Module, *, scratch: bool, first_layer: bool = False) -> tuple[int, int]:
    """How many numbers the predictions of a network depend on, and how many of them started pre-trained.

    Frozen tables of word vectors count, statistics of batch norms do not. Where only the mean word vector of an encoder is
    read, the layers above its embedding do not count either.

    Args:
        scratch: nothing was pre-trained.
        first_layer: of the encoder, only the embedding was pre-trained: word vectors under a new biLSTM.
    """
    total = pretrained = 0
    for name, tensor in _learned(network):
        total += tensor.numel()
        own = name.startswith((*PRETRAINED, *PRETRAINED_WORDS))
        if own and not scratch and (not first_layer or "embedding" in name):
            pretrained += tensor.numel()
    return total, pretrained


def _learned(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    body = getattr(network, "body", None)
    reads_vectors_only = isinstance(body, (PooledStream, PooledLayers)) and body.pooling == "vectors"
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if name.endswith(STATISTICS):
            continue
        if reads_vectors_only and name.startswith("body.encoder.") and "embedding" not in name:
            continue
        yield name, tensor


def saved_size(save: Callable[[Path], None]) -> int:
    """The bytes of a model's folder."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def tfidf_size(vocabulary: dict[str, int], n_weights: int) -> tuple[int, int]:
    """Parameters of TF-IDF with a linear model, and the bytes of its terms and of the parameters in 32 bits."""
    parameters = len(vocabulary) + n_weights
    return parameters, 4 * parameters + sum(len(term.encode()) for term in vocabulary)


def epochs_of(updates: int, batch_size: int, fewest: int, most: int, count: int) -> int:
    """The number of epochs that a task chooses for `count` examples."""
    return max(fewest, min(most, math.ceil(updates * batch_size / max(1, count))))
