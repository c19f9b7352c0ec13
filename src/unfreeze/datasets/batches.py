"""Batches of examples of similar length: shuffled ones for training, and bounded ones for predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def bucketed_batches(lengths: Sequence[int], *, batch_size: int, seed: int | None = None) -> list[list[int]]:
    """Group examples of similar length, so that there is little padding.

    Args:
        lengths: the length of each example.
        batch_size: examples per batch; one more if a single example would be left over and the batch before it is too small
            to give one away. A batch size of 1 is treated as 2, because batch norm cannot train on one example.
        seed: shuffles examples of about the same length and the batches; use another one for each epoch. None: the longest
            first, so that a batch that does not fit into memory fails at once.

    Returns:
        Lists of example numbers. Every number occurs once, and no list has a single number unless there is one example.
    """
    batch_size = max(2, batch_size)
    keys = np.asarray(lengths, dtype=np.float64)
    random = None if seed is None else np.random.default_rng(seed)
    if random is not None:
        keys = (keys + 1.0) * random.uniform(0.9, 1.1, size=len(keys))
    ordered: list[int] = np.argsort(-keys, kind="stable").tolist()
    batches = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        left_over = batches.pop()
        if batch_size > 2:
            batches.append([batches[-1].pop(), *left_over])
        else:
            batches[-1] += left_over
    if random is not None:
        batches = [batches[i] for i in random.permutation(len(batches))]
    return batches


def token_bounded_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of examples of similar lengths, longest first, with at most `batch_tokens` positions a batch, padding included."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    batch: list[int] = []
    for number in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
