"""The compiled loop of word2vec over a block of documents, which decides which rows predict which others.

Skip-gram lets every context word predict the center; CBOW lets their mean do it (Mikolov et al. 2013). A word is predicted
among negatives drawn by count^0.75, or by the turns of its path through a Huffman tree (Morin & Bengio 2005). With character
n-grams (Bojanowski et al. 2017) a word's vector is the mean of its own row and those of its n-grams, and then the center
predicts the contexts, which takes one mean instead of ten.

Frequent words are subsampled; windows shrink at random and never cross documents. All random decisions of a block come
from one random state, so that they do not depend on the other threads, which update the same two matrices (Hogwild, Niu et
al. 2011).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled.decorators import compiled, inlined
from unfreeze.pretraining.word2vec.groups import (
    GROUP,
    Draws,
    GroupSpace,
    draw_groups,
    make_draws,
    make_group_space,
    train_group,
)
from unfreeze.pretraining.word2vec.random_numbers import below, fraction, next_random
from unfreeze.pretraining.word2vec.step import (
    Floats,
    Ids,
    Scratch,
    make_scratch,
    train_mean,
    train_rows,
)


class Tables(NamedTuple):
    """Tables by word; arrays that a mode does not use are empty."""

    keep: NDArray[np.float64]
    """(V,) the probability that subsampling keeps an occurrence; 0 for ids that are neither center nor context."""
    acceptance: Floats
    """(V,), together with `alias` the table from which negatives are drawn."""
    alias: Ids
    path_starts: NDArray[np.int64]
    """(V + 1,) where the path of each word begins in `path_nodes`, and where the last one ends."""
    path_nodes: Ids
    """Row numbers of the outputs, one for each inner node of the tree."""
    path_signs: Floats
    """1 where the path turns left, -1 where it turns right."""
    bag_starts: NDArray[np.int64]
    """(V + 1,) where the bag of each word begins in `bag_rows`, and where the last one ends."""
    bag_rows: Ids
    """Row numbers of the inputs: that of the word, then those of its n-grams."""


class Mode(NamedTuple):
    """The variant of word2vec, as a named tuple because numba does not accept dataclasses."""

    cbow: bool
    """The mean of the context predicts the center; otherwise each context word predicts it."""
    hierarchical: bool
    """Predict paths through the tree; otherwise distinguish the word from negatives."""
    bags: bool
    """The vector of a word is the mean of its bag; otherwise its own row."""
    window: int
    """Largest number of words to each side."""
    negatives: int


class Workspace(NamedTuple):
    """Buffers of one thread."""

    kept: Ids
    """The words of a document that survive subsampling."""
    draws: Draws
    scratch: Scratch
    contexts: Ids
    bag: Ids
    targets: Ids
    signs: Floats
    group: GroupSpace


def make_workspace(mode: Mode, tables: Tables, size: int, longest_block: int) -> Workspace:
    """Return buffers for the largest window, the longest path and bag, and blocks of at most `longest_block` tokens."""
    longest_path = int(np.diff(tables.path_starts).max(initial=0))
    longest_bag = int(np.diff(tables.bag_starts).max(initial=1))
    contexts = 2 * mode.window
    predicted = contexts if mode.bags and not mode.cbow else 1
    targets = predicted * (longest_path if mode.hierarchical else mode.negatives + 1)
    bag = longest_bag * (contexts if mode.cbow else 1)
    return Workspace(
        np.empty(longest_block, np.int32),
        make_draws(longest_block, mode.negatives),
        make_scratch(contexts, targets, size),
        np.empty(contexts, np.int32),
        np.empty(bag, np.int32),
        np.empty(targets, np.int32),
        np.empty(targets, np.float32),
        make_group_space(mode.window, mode.negatives, size),
    )


@inlined
def _subsample(
    tokens: Any, start: int, stop: int, keep: NDArray[np.float64], state: NDArray[np.uint64], kept: Ids
) -> tuple[int, int]:
    """Write the tokens of a document that subsampling keeps to `kept`; return their number and that of all words."""
    n = words = 0
    for position in range(start, stop):
        token = tokens[position]
        if keep[token] > 0:
            words += 1
            if fraction(next_random(state)) < keep[token]:
                kept[n] = token
                n += 1
    return n, words


@inlined
def _add_targets(
    word: Any, m: int, mode: Mode, tables: Tables, state: NDArray[np.uint64], targets: Ids, signs: Floats
) -> int:
    """Append the targets of a word after the first `m`: the nodes of its path, or the word itself and its negatives.

    Negatives are drawn by Walker's alias method and left out where they are the word itself. Returns the new number of targets.
    """
    if mode.hierarchical:
        for k in range(tables.path_starts[word], tables.path_starts[word + 1]):
            targets[m], signs[m] = tables.path_nodes[k], tables.path_signs[k]
            m += 1
        return m
    targets[m], signs[m] = word, np.float32(1.0)
    m += 1
    for _ in range(mode.negatives):
        bits = next_random(state)
        negative = below(bits, len(tables.alias))
        if fraction(bits) >= tables.acceptance[negative]:
            negative = tables.alias[negative]
        if negative != word:
            targets[m], signs[m] = negative, np.float32(-1.0)
            m += 1
    return m


@inlined
def _add_bag(word: Any, n: int, mode: Mode, tables: Tables, bag: Ids) -> int:
    """Append the rows that make up a word after the first `n`; return the new number of rows."""
    if not mode.bags:
        bag[n] = word
        return n + 1
    for k in range(tables.bag_starts[word], tables.bag_starts[word + 1]):
        bag[n] = tables.bag_rows[k]
        n += 1
    return n


@inlined
def _train_center(
    center: Any,
    n: int,
    mode: Mode,
    tables: Tables,
    learning_rate: Any,
    inputs: Floats,
    outputs: Floats,
    state: NDArray[np.uint64],
    space: Workspace,
) -> float:
    """Make one update from a center and its first `n` contexts; return the loss in nats."""
    contexts, bag, targets, signs = space.contexts, space.bag, space.targets, space.signs
    m = size = 0
    if mode.bags and not mode.cbow:
        for j in range(n):
            m = _add_targets(contexts[j], m, mode, tables, state, targets, signs)
        size = _add_bag(center, size, mode, tables, bag)
        return train_mean(bag, size, targets, signs, m, learning_rate, inputs, outputs, space.scratch)
    m = _add_targets(center, m, mode, tables, state, targets, signs)
    if not mode.cbow:
        return train_rows(contexts, n, targets, signs, m, learning_rate, inputs, outputs, space.scratch)
    for j in range(n):
        size = _add_bag(contexts[j], size, mode, tables, bag)
    return train_mean(bag, size, targets, signs, m, learning_rate, inputs, outputs, space.scratch)


@inlined
def _fill_window(
    kept: Ids, n_kept: int, i: int, window: int, state: NDArray[np.uint64], contexts: Ids
) -> int:
    """Write the words around center number i to `contexts`; return their number."""
    width = 1 + below(next_random(state), window)
    n = 0
    for j in range(max(0, i - width), min(n_kept, i + width + 1)):
        if j != i:
            contexts[n] = kept[j]
            n += 1
    return n


@compiled
def train_block(
    tokens: Any,
    starts: NDArray[np.int64],
    mode: Mode,
    tables: Tables,
    inputs: Floats,
    outputs: Floats,
    learning_rates: tuple[float, float],
    state: NDArray[np.uint64],
    space: Workspace,
) -> tuple[float, int, int]:
    """Train on a block of documents; the learning rate falls linearly over it from `learning_rates[0]` to `[1]`.

    Args:
        tokens: (T,) ids of any unsigned type, at most as many as `space` was made for.
        starts: (documents + 1,) where each document starts, and T.
        state: (1,) the random state. For each document one number per word is drawn, and then for each center the width
            of its window and, if the window is not empty, one number per negative of each predicted word (for groups of
            centers as in `draw_groups`).

    Returns:
        The loss in nats, the number of predictions over which it is summed (one per context word; in CBOW one per
        center), and the number of words before subsampling.
    """
    kept, contexts, draws = space.kept, space.contexts, space.draws
    grouped = not (mode.cbow or mode.hierarchical or mode.bags)
    loss, predictions, words = 0.0, 0, 0
    for document in range(len(starts) - 1):
        start, stop = starts[document], starts[document + 1]
        n_kept, seen = _subsample(tokens, start, stop, tables.keep, state, kept)
        words += seen
        if grouped:
            draw_groups(n_kept, mode.window, mode.negatives, tables.acceptance, tables.alias, state, draws)
        for i in range(0, n_kept, GROUP if grouped else 1):
            done = (start + (stop - start) * i / n_kept) / len(tokens)
            learning_rate = np.float32(learning_rates[0] + (learning_rates[1] - learning_rates[0]) * done)
            if grouped:
                found, n = train_group(
                    kept, n_kept, i, mode.negatives, draws, learning_rate, inputs, outputs, space.group
                )
                loss += found
                predictions += n
                continue
            n = _fill_window(kept, n_kept, i, mode.window, state, contexts)
            if n > 0:
                loss += _train_center(kept[i], n, mode, tables, learning_rate, inputs, outputs, state, space)
                predictions += 1 if mode.cbow else n
    return loss, predictions, words
