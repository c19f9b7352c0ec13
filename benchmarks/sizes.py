"""How many weights a language model has, by its sizes: what is multiplied for a token, and what is trained.

A layer's matrices are an LSTM's 4 H (I + H), input and state, or a QRNN's 3 H K I, the last K inputs and no state: with the
same widths a QRNN has about half as many. So it is also given the hidden width at which all parameters of the model, the
embedding among them, are as many as the LSTM's.

Legend: V vocabulary, E embedding width, I input and H output width of a layer, K its window.
"""

from __future__ import annotations

from itertools import chain, pairwise, repeat

from unfreeze.encoders.layers.cell_settings import CellKind, CellSettings

Sizes = tuple[int, int, int]
"""Embedding, hidden width, layers."""

EQUAL = 0.01
"""By how much of the whole two counts of parameters may differ and still be called as many."""
MULTIPLES = (32, 16)
"""Of which hidden widths are multiples, for the sake of the products: the first one that comes close enough."""


def layer_weights(sizes: Sizes, cell: CellKind) -> list[tuple[int, int]]:
    """The entries of each layer's matrices, of which a token multiplies every one once, and of its biases."""
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
    """All parameters of a language model of one direction.

    Args:
        n_words: V.
        n_clusters: of the adaptive softmax; 0 for the full one.
    """
    layers = sum(weights + biases for weights, biases in layer_weights(sizes, cell))
    return layers + (n_words + n_clusters) * (sizes[0] + 1)


def equal_hidden_size(sizes: Sizes, n_words: int) -> int:
    """The hidden width at which a QRNN has as many parameters as an LSTM of these sizes.

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
    raise ValueError(f"no hidden width gives a QRNN the {wanted:,} parameters of an LSTM of sizes {sizes}")
