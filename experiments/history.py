"""How much of its history a language model uses: its loss when older tokens are removed or shuffled.

Khandelwal et al. 2018, "Sharp Nearby, Fuzzy Far Away" (https://arxiv.org/abs/1805.04623), section 3: a model is trained once
on whole histories and measured on changed ones. Here are two changes, both at the same target positions:

    cut       log p(x_t | x_(t-k)..x_(t-1)): the recurrent state is zero before the first of the k tokens
    shuffled  log p(x_t | a permutation of x_(t-W)..x_(t-k-1), then x_(t-k)..x_(t-1)): the words are there, their order is not

All positions of one k are rows of a batch as long as k, and only the last step of a row is scored: 4,000 positions cost as
much as reading 4,000 k tokens.

Legend: N positions, W window (tokens of history at hand), B batch, T time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import BATCH_TOKENS, AwdLstmLanguageModel
from unfreeze.language_models.ngram import NgramModel
from unfreeze.text.batches import IGNORE, pad_sequences

DOCUMENTS = 32
"""Documents in a batch when the whole history is read."""

Positions = NDArray[np.int64]
"""(N, 2): the number of a document, and the place of the target among its tokens."""


def sample_positions(lengths: Sequence[int], count: int, window: int, seed: int) -> Positions:
    """`count` different positions, drawn evenly from all that have `window` tokens and the begin symbol before them.

    Args:
        lengths: tokens of each document, the begin symbol included.

    Returns:
        (N, 2), in the order of the documents.

    Raises:
        UserError: there are not so many.
    """
    begins = np.concatenate([[0], np.cumsum(np.maximum(np.array(lengths, dtype=np.int64) - window - 1, 0))])
    if count > begins[-1]:
        raise UserError(
            f"{count:,} positions of the held-out text were asked for, but only {begins[-1]:,} stand behind "
            f"{window} tokens of their document: ask for fewer, or give more text"
        )
    chosen = np.sort(np.random.default_rng(seed).choice(int(begins[-1]), count, replace=False))
    documents = np.searchsorted(begins, chosen, side="right") - 1
    return np.stack([documents, chosen - begins[documents] + window + 1], axis=1)


def cut_windows(
    documents: Sequence[Sequence[int]], positions: Positions, window: int
) -> tuple[Tensor, Tensor]:
    """The `window` tokens before each position, (N, W), and the tokens at the positions, (N,)."""
    rows = [documents[document][place - window : place + 1] for document, place in positions.tolist()]
    ids = torch.tensor(rows, dtype=torch.long)
    return ids[:, :-1], ids[:, -1]


def shuffled_beyond(contexts: Tensor, k: int, seed: int) -> Tensor:
    """(N, W) -> (N, W): the last k tokens of each row stay, those before them stand in a random order of their own."""
    far = contexts.shape[1] - k
    shuffled = np.random.default_rng(seed).permuted(contexts[:, :far].numpy(), axis=1)
    return torch.cat([torch.from_numpy(shuffled), contexts[:, far:]], dim=1)


@torch.no_grad()
def history_losses(
    model: AwdLstmLanguageModel, contexts: Tensor, targets: Tensor, k: int, *, begin: int | None = None
) -> Tensor:
    """-log p(target | the last k tokens of its context) under the forward direction, in nats, from a state of zeros.

    Args:
        contexts: (N, W) ids, W at least k.
        targets: (N,) ids.
        begin: an id that is put before the k tokens, for example the begin symbol's.

    Returns:
        (N,) in fp32; no row depends on another.
    """
    assert 1 <= k <= contexts.shape[1], "a history of some tokens, and not more than there are"
    model.eval()
    device = next(model.parameters()).device
    ids = contexts[:, -k:]
    if begin is not None:
        ids = torch.cat([ids.new_full((len(ids), 1), begin), ids], dim=1)
    losses, size = [], max(1, BATCH_TOKENS // ids.shape[1])
    for rows, wanted in zip(torch.split(ids, size), torch.split(targets, size), strict=True):
        last = torch.full_like(rows, IGNORE)
        last[:, -1] = wanted
        found, _ = model.target_log_probabilities("forward", rows.to(device), last.to(device), None)
        losses.append(-found[:, -1].cpu())
    return torch.cat(losses)


@torch.no_grad()
def whole_losses(
    model: AwdLstmLanguageModel,
    documents: Sequence[Sequence[int]],
    positions: Positions,
    *,
    batch_size: int = DOCUMENTS,
) -> Tensor:
    """-log p(target | its document from the begin symbol on), as `unfreeze.language_models.score` has it: (N,) in nats.

    Args:
        documents: ids, each with the begin symbol first; they are read up to their last position only.
    """
    model.eval()
    ends = np.zeros(len(documents), dtype=np.int64)
    np.maximum.at(ends, positions[:, 0], positions[:, 1] + 1)
    order = [number for number in np.argsort(-ends, kind="stable").tolist() if ends[number]]
    losses = torch.empty(len(positions))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        ids, lengths = pad_sequences([documents[n][: ends[n]] for n in numbers], model.tokenizer.pad_id)
        found = model.document_log_probabilities("forward", ids, lengths).cpu()
        for row, number in enumerate(numbers):
            own = np.flatnonzero(positions[:, 0] == number)
            losses[own] = -found[row, positions[own, 1] - 1]
    return losses


def ngram_losses(model: NgramModel, contexts: Tensor, targets: Tensor) -> Tensor:
    """-log p(target | the last n - 1 tokens of its context) under a model of order n, in nats: (N, W), (N,) -> (N,).

    Raises:
        UserError: the contexts are shorter than that.
    """
    before = contexts.shape[1] - (model.order - 1)
    if before < 0:
        raise UserError(f"an n-gram model of order {model.order} needs {model.order - 1} tokens of history")
    # Rows are concatenated; only each row's last token, whose history lies within the row, is used.
    rows = torch.cat([contexts[:, before:], targets[:, None]], dim=1)
    found = model.id_log_probabilities(rows.reshape(-1).numpy())
    return -torch.from_numpy(found).reshape(rows.shape)[:, -1].float()


def clustered_error(values: NDArray[np.floating[Any]], groups: NDArray[np.integer[Any]]) -> float:
    """Standard error of the mean of (N,) values that come in groups, here documents, whose members are alike.

    Liang & Zeger 1986, for a mean: sqrt(sum over groups of (the sum of a group's deviations from the mean)^2) / N.
    """
    deviations = np.asarray(values, np.float64) - np.mean(values, dtype=np.float64)
    return float(np.sqrt((np.bincount(groups, weights=deviations) ** 2).sum()) / len(deviations))
