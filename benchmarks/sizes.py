"""Number of weights of a language model: those multiplied per token, and all parameters.

The matrices of a layer have 4 H (I + H) elements for an LSTM (input and state) and 3 H K I for a QRNN (the last K inputs):
with the same widths a QRNN has about half as many. It is therefore also compared with the hidden size at which all parameters
of the model, including the embedding, are as many as those of the LSTM.

Shapes: V vocabulary, E embedding size, I input and H output size of a layer, K window.
"""

from __future__ import annotations

from itertools import chain, pairwise, repeat

from unfreeze.encoders.layers.cell_settings import CellKind, CellSettings

Sizes = tuple[int, int, int]
"""Embedding size, hidden size and number of layers."""

EQUAL = 0.01
"""Relative difference up to which two numbers of parameters are considered equal."""
MULTIPLES = (32, 16)
"""Hidden sizes are multiples of one of these, for efficient products; the first one that comes close enough is used."""


def layer_weights(sizes: Sizes, cell: CellKind) -> list[tuple[int, int]]:
    """Number of elements of the matrices of each layer, each multiplied once per token, and of its biases."""
    embedding, hidden, n_layers = sizes
    shapes = pairwise([embedding] + [hidden] * (n_layers - 1) + [embedding])
    if cell == "lstm":
        return [(4 * width * (inputs + width), 8 * width) for inputs, width in shapes]
    windows = chain(CellSettings(kind=cell).windows, repeat(1))
    return [
        (3 * width * window * inputs, 3 * width)
        for (inputs, width), window in zip(shapes, windows, strict=False)
    ]


def count_parameters(sizes: Sizes, cell: CellKind, n_words: int, n_clusters: int = 0) -> int:
    """Number of parameters of a unidirectional language model.

    Args:
        n_words: V.
        n_clusters: of the adaptive softmax; 0 for the full one.
    """
    layers = sum(weights + biases for weights, biases in layer_weights(sizes, cell))
    return layers + (n_words + n_clusters) * (sizes[0] + 1)


def equal_hidden_size(sizes: Sizes, n_words: int) -> int:
    """Hidden size at which a QRNN has as many parameters as an LSTM of the given sizes.

    Raises:
        ValueError: no multiple of 16 comes within one percent.
    """
    wanted = count_parameters(sizes, "lstm", n_words)

    def difference(hidden: int) -> float:
        return abs(count_parameters((sizes[0], hidden, sizes[2]), "qrnn", n_words) / wanted - 1)

    for multiple in MULTIPLES:
        hidden = min(range(multiple, 8 * sizes[1], multiple), key=difference)
        if difference(hidden) <= EQUAL:
            return hidden
    raise ValueError(f"no hidden size gives a QRNN the {wanted:,} parameters of an LSTM of sizes {sizes}")
