"""The CRF against all paths written out, against pytorch-crf, and against what is forbidden."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unfreeze.encoders.layers.crf import Crf


def random_crf(n_tags: int, seed: int, spread: float = 1.5) -> Crf:
    torch.manual_seed(seed)
    crf = Crf(n_tags).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn_like(parameter) * spread)
    return crf


def path_score(crf: Crf, scores: Tensor, path: tuple[int, ...]) -> Tensor:
    pairs, first, last = crf.parameters_masked()
    total = first[path[0]] + last[path[-1]] + 0.0 * crf.transitions.sum()
    for place, tag in enumerate(path):
        total = total + scores[place, tag]
        if place:
            total = total + pairs[path[place - 1], tag]
    return total


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    n_tags=st.integers(1, 4),
    seed=st.integers(0, 99),
    spread=st.sampled_from([0.1, 1.5, 60.0]),
    weighted=st.booleans(),
)
def test_log_likelihood_gradient_and_best_path_by_enumeration(
    lengths: list[int], n_tags: int, seed: int, spread: float, weighted: bool
) -> None:
    crf = random_crf(n_tags, seed, spread)
    scores = (torch.randn(sum(lengths), n_tags, dtype=torch.float64) * spread).requires_grad_()
    tags = torch.randint(n_tags, (sum(lengths),))
    found = crf.log_likelihood(scores, tags, lengths)
    weights = (
        torch.randn(len(lengths), dtype=torch.float64) if weighted else torch.ones(len(lengths)).double()
    )
    inputs = [scores, *crf.parameters()]
    mine = torch.autograd.grad((found * weights).sum(), inputs)
    best_tags, best_scores = crf.decode(scores, lengths)
    expected, start = [], 0
    for row, length in enumerate(lengths):
        own = scores[start : start + length]
        paths = list(itertools.product(range(n_tags), repeat=length))
        every = torch.stack([path_score(crf, own, path) for path in paths])
        gold = path_score(crf, own, tuple(tags[start : start + length].tolist()))
        expected.append(gold - every.logsumexp(0))
        assert best_scores[row] == pytest.approx(float(every.detach().max()), rel=1e-9)
        chosen = path_score(crf, own, tuple(best_tags[start : start + length].tolist()))
        assert float(chosen.detach()) == pytest.approx(float(every.detach().max()), rel=1e-9)
        start += length
    wanted = torch.stack(expected)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-7)
    theirs = torch.autograd.grad((wanted * weights).sum(), inputs)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_pytorch_crf_agrees() -> None:
    torchcrf = pytest.importorskip("torchcrf")
    crf = random_crf(9, 0).float()
    theirs = torchcrf.CRF(9, batch_first=True)
    with torch.no_grad():
        theirs.transitions.copy_(crf.transitions)
        theirs.start_transitions.copy_(crf.first)
        theirs.end_transitions.copy_(crf.last)
    lengths = [12, 1, 7, 30]
    padded = torch.randn(4, 30, 9)
    mask = torch.arange(30)[None] < torch.tensor(lengths)[:, None]
    tags = torch.randint(9, (4, 30))
    mine = crf.log_likelihood(padded[mask], tags[mask], lengths)
    other = theirs(padded, tags, mask, reduction="none")
    torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)
    mine.sum().backward()
    other.sum().backward()
    torch.testing.assert_close(crf.transitions.grad, theirs.transitions.grad, rtol=1e-4, atol=1e-5)
    assert crf.decode(padded[mask], lengths)[0].tolist() == [
        tag for path in theirs.decode(padded, mask) for tag in path
    ]


def test_what_is_forbidden_is_never_chosen_and_weighs_nothing() -> None:
    pairs, begins, ends = np.ones((3, 3), bool), np.ones(3, bool), np.ones(3, bool)
    pairs[0, 1], begins[1], ends[2] = False, False, False
    torch.manual_seed(0)
    crf = Crf(3, (pairs, begins, ends))
    scores = torch.randn(200, 3)
    scores[:, 1] += 3.0
    tags, _ = crf.decode(scores, [20] * 10)
    for path in tags.reshape(10, 20).tolist():
        assert path[0] != 1 and path[-1] != 2
        assert (0, 1) not in list(itertools.pairwise(path))
    marginals = crf.marginals(scores, [20] * 10)
    torch.testing.assert_close(marginals.sum(1), torch.ones(200), rtol=1e-5, atol=1e-5)
    assert float(marginals.reshape(10, 20, 3)[:, 0, 1].max()) == 0.0
    legal = torch.tensor([0, 2, 1])
    crf.log_likelihood(scores[:3], legal, [3]).sum().backward()
    assert crf.transitions.grad is not None and crf.transitions.grad[0, 1] == 0.0
    assert crf.log_likelihood(scores[:2], torch.tensor([0, 1]), [2]).item() == -np.inf


@given(lengths=st.permutations([3, 1, 5, 2]))
@settings(deadline=None)
def test_order_and_neighbors_do_not_matter(lengths: list[int]) -> None:
    crf = random_crf(4, 1)
    generator = torch.Generator().manual_seed(0)
    known = {n: torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (1, 2, 3, 5)}
    tags, best = crf.decode(torch.cat([known[n] for n in lengths]), lengths)
    start = 0
    for row, n in enumerate(lengths):
        alone, score = crf.decode(known[n], [n])
        assert alone.tolist() == tags[start : start + n].tolist() and score[0] == best[row]
        start += n
