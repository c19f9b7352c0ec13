"""The compiled step and walk of word2vec against NumPy float64 with the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.pretraining.word2vec.groups import GROUP
from unfreeze.pretraining.word2vec.step import make_scratch, train_mean, train_rows
from unfreeze.pretraining.word2vec.tables import bag_table, make_tables
from unfreeze.pretraining.word2vec.walk import Mode, Tables, make_workspace, train_block

V = 30


def reference_rows(
    contexts: list[int],
    targets: list[int],
    signs: list[int],
    rate: float,
    inputs: np.ndarray,
    outputs: np.ndarray,
) -> float:
    """The update in float64: all gradients from the values before it."""
    x, y, s = inputs[contexts], outputs[targets], np.array(signs)
    u = -s * (x @ y.T)
    error = rate * s / (1 + np.exp(-u))
    np.add.at(inputs, contexts, error @ y)
    np.add.at(outputs, targets, error.T @ x)
    return float(np.logaddexp(0, u).sum())


def reference_mean(
    bag: list[int], targets: list[int], signs: list[int], rate: float, inputs: np.ndarray, outputs: np.ndarray
) -> float:
    """The same for the mean of a bag, every row of which gets the whole gradient."""
    mean = inputs[bag].mean(0, keepdims=True)
    before = mean.copy()
    loss = reference_rows([0], targets, signs, rate, mean, outputs)
    np.add.at(inputs, bag, np.repeat(mean - before, len(bag), axis=0))
    return loss


class ReferenceRandom:
    """splitmix64 on Python's integers."""

    def __init__(self, state: int) -> None:
        self.state = state

    def __call__(self) -> int:
        mask = 2**64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)


def below(bits: int, n: int) -> int:
    return ((bits >> 32) * n) >> 32


def fraction(bits: int) -> float:
    return (bits & 0xFFFFFFFF) / 2**32


class Reference:
    """`train_block` as the papers tell it in words."""

    def __init__(
        self, mode: Mode, tables: Tables, inputs: np.ndarray, outputs: np.ndarray, seed: int
    ) -> None:
        self.mode, self.tables, self.inputs, self.outputs = mode, tables, inputs, outputs
        self.random = ReferenceRandom(seed)

    def targets(self, word: int) -> tuple[list[int], list[int]]:
        t = self.tables
        if self.mode.hierarchical:
            path = slice(t.path_starts[word], t.path_starts[word + 1])
            return t.path_nodes[path].tolist(), t.path_signs[path].astype(int).tolist()
        found = [word]
        for bits in [self.random() for _ in range(self.mode.negatives)]:
            column = below(bits, len(t.alias))
            negative = column if fraction(bits) < t.acceptance[column] else int(t.alias[column])
            found += [negative] if negative != word else []
        return found, [1] + [-1] * (len(found) - 1)

    def bag(self, word: int) -> list[int]:
        t = self.tables
        return t.bag_rows[t.bag_starts[word] : t.bag_starts[word + 1]].tolist() if self.mode.bags else [word]

    def center(self, center: int, contexts: list[int], rate: float) -> float:
        if self.mode.cbow:
            bag = [row for word in contexts for row in self.bag(word)]
            return reference_mean(bag, *self.targets(center), rate, self.inputs, self.outputs)
        if not self.mode.bags:
            return reference_rows(contexts, *self.targets(center), rate, self.inputs, self.outputs)
        pairs = [self.targets(word) for word in contexts]
        targets = [row for rows, _ in pairs for row in rows]
        signs = [sign for _, many in pairs for sign in many]
        return reference_mean(self.bag(center), targets, signs, rate, self.inputs, self.outputs)

    def group(self, kept: list[int], first: int, rate: float) -> tuple[float, int]:
        """Neighboring centers that share negatives; gradients of all pairs at the values before."""
        places = range(first, min(first + GROUP, len(kept)))
        widths = [1 + below(self.random(), self.mode.window) for _ in places]
        shared = -(-self.mode.negatives // 4) * 4
        negatives = []
        for bits in [self.random() for _ in range(shared)]:
            column = below(bits, len(self.tables.alias))
            kept_column = fraction(bits) < self.tables.acceptance[column]
            negatives.append(column if kept_column else int(self.tables.alias[column]))
        inputs, outputs = self.inputs.copy(), self.outputs.copy()
        loss, pairs = 0.0, 0
        for place, width in zip(places, widths, strict=True):
            for context in range(max(0, place - width), min(len(kept), place + width + 1)):
                if context == place:
                    continue
                pairs += 1
                weighted = [(kept[place], 1, 1.0)]
                weighted += [(n, -1, self.mode.negatives / shared) for n in negatives if n != kept[place]]
                for target, sign, weight in weighted:
                    x, y = inputs[kept[context]], outputs[target]
                    u = -sign * float(x @ y)
                    error = rate * weight * sign / (1 + np.exp(-u))
                    self.inputs[kept[context]] += error * y
                    self.outputs[target] += error * x
                    loss += weight * float(np.logaddexp(0, u))
        return loss, pairs

    def block(self, documents: list[np.ndarray], rates: tuple[float, float]) -> tuple[float, int, int]:
        keep, random = self.tables.keep, self.random
        loss, predictions, words = 0.0, 0, 0
        total, before = sum(map(len, documents)), 0
        for document in documents:
            seen = [int(token) for token in document if keep[token] > 0]
            words += len(seen)
            kept = [token for token in seen if fraction(random()) < keep[token]]
            if not (self.mode.cbow or self.mode.hierarchical or self.mode.bags):
                for first in range(0, len(kept), GROUP):
                    done = (before + len(document) * first / len(kept)) / total
                    found, pairs = self.group(kept, first, rates[0] + (rates[1] - rates[0]) * done)
                    loss, predictions = loss + found, predictions + pairs
                before += len(document)
                continue
            for i, center in enumerate(kept):
                width = 1 + below(random(), self.mode.window)
                contexts = kept[max(0, i - width) : i] + kept[i + 1 : i + 1 + width]
                if not contexts:
                    continue
                done = (before + len(document) * i / len(kept)) / total
                loss += self.center(center, contexts, rates[0] + (rates[1] - rates[0]) * done)
                predictions += 1 if self.mode.cbow else len(contexts)
            before += len(document)
        return loss, predictions, words


@settings(deadline=None)
@given(
    contexts=st.lists(st.integers(0, 9), min_size=1, max_size=10),
    targets=st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, -1])), min_size=1, max_size=8),
    size=st.integers(1, 40),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    mean=st.booleans(),
)
def test_a_step_equals_float64(
    contexts: list[int], targets: list[tuple[int, int]], size: int, scale: float, mean: bool
) -> None:
    rng = np.random.default_rng(size)
    inputs, outputs = scale * rng.normal(size=(2, 10, size))
    ours = inputs.astype(np.float32), outputs.astype(np.float32)
    scratch = make_scratch(10, 8, size)
    for rows in scratch[:4]:
        rows[:, :size] = 99  # what an earlier step left behind must not matter
    ids, signs = map(list, zip(*targets, strict=True))
    step, reference = (train_mean, reference_mean) if mean else (train_rows, reference_rows)
    loss = step(
        np.array(contexts, np.int32),
        len(contexts),
        np.array(ids, np.int32),
        np.array(signs, np.float32),
        len(ids),
        np.float32(0.05),
        *ours,
        scratch,
    )
    assert loss == pytest.approx(reference(contexts, ids, signs, 0.05, inputs, outputs), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(ours[0], inputs, rtol=1e-4, atol=2e-5 * scale)
    np.testing.assert_allclose(ours[1], outputs, rtol=1e-4, atol=2e-5 * scale)


def test_the_loss_of_many_targets_does_not_overflow() -> None:
    inputs, outputs = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
    targets, signs = np.zeros(3000, np.int32), np.ones(3000, np.float32)
    bag = np.zeros(1, np.int32)
    loss = train_mean(
        bag, 1, targets, signs, 3000, np.float32(0.1), inputs, outputs, make_scratch(1, 3000, 4)
    )
    assert loss == pytest.approx(3000 * np.log(2))


@pytest.mark.parametrize("bags", [False, True])
@pytest.mark.parametrize("hierarchical", [False, True])
@pytest.mark.parametrize("cbow", [False, True])
@pytest.mark.parametrize(("window", "negatives", "size"), [(5, 5, 100), (2, 1, 7), (3, 8, 32)])
def test_a_block_equals_float64_with_the_same_random_numbers(
    cbow: bool, hierarchical: bool, bags: bool, window: int, negatives: int, size: int
) -> None:
    rng = np.random.default_rng(window)
    documents = [rng.integers(0, V, n) for n in (1, 40, 2, 0, 150)]
    counts = np.bincount(np.concatenate(documents), minlength=V).astype(float)
    counts[[0, 7]] = 0
    table = bag_table([[word, *rng.integers(V, V + 12, rng.integers(0, 6))] for word in range(V)])
    tables = make_tables(counts, subsample=1e-2, hierarchical=hierarchical, bags=table if bags else None)
    mode = Mode(cbow, hierarchical, bags, window, negatives)
    inputs, outputs = (
        rng.normal(size=(V + 12, size)) / np.sqrt(size),
        rng.normal(size=(V, size)) / np.sqrt(size),
    )
    ours = inputs.astype(np.float32), outputs.astype(np.float32)
    rates, seed = (0.05, 0.01), 2**63 + 11
    result = train_block(
        np.concatenate(documents).astype(np.uint16),
        np.cumsum([0, *map(len, documents)]),
        mode,
        tables,
        *ours,
        rates,
        np.array([seed], np.uint64),
        make_workspace(mode, tables, size, sum(map(len, documents))),
    )
    expected = Reference(mode, tables, inputs, outputs, seed).block(documents, rates)
    assert result[1:] == expected[1:] and result[1] > 50
    assert result[0] == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(ours[0], inputs, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours[1], outputs, rtol=1e-3, atol=1e-5)
