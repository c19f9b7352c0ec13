"""NT-ASGD against torch's ASGD and against algorithm 1 in NumPy; that a resumed run is the same run."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unfreeze.errors import UserError
from unfreeze.transfer.optimizers import NtAsgd, make_optimizer
from unfreeze.transfer.policies import apply_rates

# Three checks improve, then nothing does: with n = 5 the ninth is the first that looks back at the third.
STAGNATING = [5.0, 4.0, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5]


def stagnate(optimizer: NtAsgd) -> None:
    """Report until the trigger fires."""
    for loss in STAGNATING[:-1]:
        assert not optimizer.report(loss)
    assert optimizer.report(STAGNATING[-1])


def set_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def make_parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5,)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def averages(optimizer: NtAsgd, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    with optimizer.averaged():
        return [parameter.detach().clone() for parameter in parameters]


@settings(deadline=None)
@given(
    losses=st.lists(st.integers(0, 6).map(float), max_size=25),
    n=st.integers(1, 6),
)
def test_trigger_is_algorithm_1(losses: list[float], n: int) -> None:
    optimizer = NtAsgd(make_parameters(), lr=0.1, non_monotone=n)
    # By its definition: check t fires if t > n and v > min(logs[0], ..., logs[t - n - 1]); never back.
    fires = [t > n and losses[t] > np.min(losses[: t - n]) for t in range(len(losses))]
    assert [optimizer.report(loss) for loss in losses] == np.logical_or.accumulate(fires).tolist()


def test_it_is_torchs_asgd_from_the_trigger_on() -> None:
    trigger, updates = 7, 30
    ours, theirs = make_parameters(torch.float64), make_parameters(torch.float64)
    optimizer = NtAsgd(ours, lr=0.3, weight_decay=0.02)
    # torch copies the weights up to update t0 + 2 and averages from the next one on: its t0 = T - 2 is the
    # paper's T, whose mean begins with the weights at the trigger.
    peer = torch.optim.ASGD(theirs, lr=0.3, lambd=0, alpha=0, t0=trigger - 2, weight_decay=0.02)
    for update in range(updates):
        if update == trigger:
            stagnate(optimizer)
        for parameters, which in ((ours, optimizer), (theirs, peer)):
            set_gradients(parameters, update)
            which.step()
    for one, other, mean in zip(ours, theirs, averages(optimizer, ours), strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(mean, peer.state[other]["ax"])
        assert not torch.allclose(mean, one)


def test_algorithm_1_in_numpy_with_changing_rates_and_groups() -> None:
    """Brute force: every iterate is kept and the mean is taken at the end, w_T + ... + w_K over K - T + 1."""
    rng = np.random.default_rng(1)
    trigger, updates, decays = 5, 17, (0.1, 0.0)
    rates = rng.uniform(0.01, 0.5, (updates, 2))
    gradients = [rng.normal(size=(updates, 4, 3)), rng.normal(size=(updates, 5))]
    start = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    parameters = [nn.Parameter(torch.tensor(value)) for value in start]
    groups = [
        {"params": [p], "lr": 1.0, "weight_decay": decay} for p, decay in zip(parameters, decays, strict=True)
    ]
    optimizer = NtAsgd(groups)
    iterates = [[value] for value in start]
    for update in range(updates):
        if update == trigger:
            stagnate(optimizer)
        for index, parameter in enumerate(parameters):
            optimizer.param_groups[index]["lr"] = rates[update, index]
            parameter.grad = torch.tensor(gradients[index][update])
            w = iterates[index][-1]
            iterates[index].append(w - rates[update, index] * (gradients[index][update] + decays[index] * w))
        optimizer.step()
    for index, mean in enumerate(averages(optimizer, parameters)):
        np.testing.assert_allclose(parameters[index].detach().numpy(), iterates[index][-1], rtol=1e-12)
        np.testing.assert_allclose(mean.numpy(), np.mean(iterates[index][trigger:], axis=0), rtol=1e-12)


def test_averaged_swaps_and_gives_back_the_same_bits() -> None:
    parameters = make_parameters()
    optimizer = NtAsgd(parameters, lr=0.1)
    for update in range(9):
        if update == 4:
            stagnate(optimizer)
        set_gradients(parameters, update)
        optimizer.step()
    own = [parameter.detach().clone() for parameter in parameters]
    storage = [parameter.data_ptr() for parameter in parameters]
    first = averages(optimizer, parameters)
    with pytest.raises(RuntimeError, match="interrupted"), optimizer.averaged():
        assert not torch.equal(parameters[0], own[0])
        assert [parameter.data_ptr() for parameter in parameters] == storage
        raise RuntimeError("interrupted")
    assert all(torch.equal(one, other) for one, other in zip(own, parameters, strict=True))
    assert all(
        torch.equal(one, other) for one, other in zip(first, averages(optimizer, parameters), strict=True)
    )


def test_nothing_is_swapped_before_the_trigger() -> None:
    parameters = make_parameters()
    optimizer = NtAsgd(parameters, lr=0.1)
    set_gradients(parameters, 0)
    optimizer.step()
    own = [parameter.detach().clone() for parameter in parameters]
    assert all(
        torch.equal(one, other) for one, other in zip(own, averages(optimizer, parameters), strict=True)
    )
    assert not optimizer.averaging and not optimizer.state_dict()["state"]  # and no memory is taken


def test_no_update_and_no_checkpoint_of_swapped_weights() -> None:
    parameters = make_parameters()
    optimizer = NtAsgd(parameters, lr=0.1)
    with optimizer.averaged():
        for forbidden in (optimizer.step, optimizer.state_dict, optimizer.averaged().__enter__):
            with pytest.raises(AssertionError):
                forbidden()


def test_a_frozen_group_stays_exactly_in_its_average() -> None:
    frozen, learning = make_parameters()
    layer_groups = [[frozen], [learning]]
    groups = [
        {"params": [frozen], "lr": 0.0, "layer_group": 0},
        {"params": [learning], "lr": 0.1, "layer_group": 1},
    ]
    optimizer = NtAsgd(groups)
    before = frozen.detach().clone()
    for update in range(12):
        if update == 2:
            stagnate(optimizer)
        apply_rates(optimizer, layer_groups, [0.0, 0.1])
        set_gradients([learning], update)
        optimizer.step()
    assert torch.equal(frozen, before) and torch.equal(averages(optimizer, [frozen])[0], before)


@pytest.mark.parametrize("name", ["adamw", "nt-asgd"])
@pytest.mark.parametrize("stop", [1, 6, 14])
def test_a_resumed_run_is_the_same_run(name: Any, stop: int) -> None:
    """Stopped before the first check, between checks (n = 2) and after the trigger."""

    def new(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        groups = [{"params": [p], "lr": 0.1 * (i + 1)} for i, p in enumerate(parameters)]
        return make_optimizer(name, groups, weight_decay=0.01, non_monotone=2)

    losses = [5.0, 4.0, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7]
    results = []
    for interrupted in (False, True):
        parameters = make_parameters()
        optimizer = new(parameters)
        for update in range(20):
            if interrupted and update == stop:
                file = io.BytesIO()
                torch.save([optimizer.state_dict(), [p.detach() for p in parameters]], file)
                file.seek(0)
                state, values = torch.load(file, weights_only=True)
                parameters = [nn.Parameter(value) for value in values]
                optimizer = new(parameters)
                optimizer.load_state_dict(state)
            set_gradients(parameters, update)
            optimizer.step()
            if isinstance(optimizer, NtAsgd) and update % 2 == 1:
                optimizer.report(losses[update // 2])
        if isinstance(optimizer, NtAsgd):
            assert optimizer.averaging
            results.append([*parameters, *averages(optimizer, parameters)])
        else:
            results.append(list(parameters))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_snapshot_does_not_change_afterwards() -> None:
    optimizer = NtAsgd(make_parameters(), lr=0.1)
    optimizer.report(3.0)
    snapshot = optimizer.state_dict()
    optimizer.report(4.0)
    assert snapshot["param_groups"][0]["losses"] == (3.0,)


def test_adamw_is_adam_in_numpy_with_our_betas() -> None:
    """Loshchilov & Hutter 2019, algorithm 2, in float64."""
    rng = np.random.default_rng(2)
    gradients = rng.normal(size=(9, 6))
    w = rng.normal(size=6)
    parameter = nn.Parameter(torch.tensor(w))
    optimizer = make_optimizer("adamw", [{"params": [parameter], "lr": 0.05}])
    m, v = np.zeros(6), np.zeros(6)
    for t, gradient in enumerate(gradients, start=1):
        m = 0.8 * m + 0.2 * gradient
        v = 0.99 * v + 0.01 * gradient**2
        w = w - 0.05 * ((m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) + 0.01 * w)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_allclose(parameter.detach().numpy(), w, rtol=1e-10)


def test_step_takes_a_closure() -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = NtAsgd([parameter], lr=0.5)

    def closure() -> float:
        loss = (parameter**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert parameter.item() == 0.0


@pytest.mark.parametrize(
    ("name", "wrong", "named"),
    [
        ("rmsprop", {}, "rmsprop.*adamw, nt-asgd"),
        ("adamw", {"betas": (0.9, 1.5)}, "1.5"),
        ("adamw", {"weight_decay": -1.0}, "-1.0"),
        ("nt-asgd", {"weight_decay": -1.0}, "-1.0"),
        ("nt-asgd", {"non_monotone": 0}, "non_monotone .* 0"),
    ],
)
def test_a_wrong_value_is_named(name: Any, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        make_optimizer(name, [{"params": make_parameters(), "lr": 0.1}], **wrong)
