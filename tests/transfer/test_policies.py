"""The policy's rates, and that what is frozen does not move by a bit while the rest learns."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from unfreeze.errors import UserError
from unfreeze.transfer.optimizers import make_optimizer
from unfreeze.transfer.policies import TransferPolicy, apply_rates, parameter_groups
from unfreeze.transfer.schedules import slanted_triangular

OPTIMIZERS = ["adamw", "nt-asgd"]


class Toy(nn.Module):
    """Embedding, hidden, normalization, output: three layer groups."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.hidden = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.output = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        self.states = self.norm(torch.tanh(self.hidden(self.embedding(ids))))
        return self.output(self.states)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        middle = [*self.hidden.parameters(), *self.norm.parameters()]
        return [list(self.embedding.parameters()), middle, list(self.output.parameters())]


def toy() -> Toy:
    torch.manual_seed(3)
    return Toy()


def update(model: Toy, optimizer: torch.optim.Optimizer) -> None:
    ids = torch.arange(44) % 11
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(ids), ids % 3).backward()
    optimizer.step()


def bits(group: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in group]


def same(before: list[Tensor], after: list[nn.Parameter]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_papers_rates() -> None:
    # Howard & Ruder 2018, 3.2: each layer is 2.6 times slower than the next; 3.3: one more thaws an epoch.
    policy = TransferPolicy(learning_rate=0.01)
    assert policy.group_rates(4, 0) == [0, 0, 0, 0.01]
    assert policy.group_rates(4, 1) == pytest.approx([0, 0, 0.003846153846, 0.01])
    assert policy.group_rates(4, 2) == pytest.approx([0, 0.00147928994, 0.003846153846, 0.01])
    assert policy.group_rates(4, 3) == pytest.approx([0.00056895767, 0.00147928994, 0.003846153846, 0.01])
    assert policy.group_rates(4, 9) == policy.group_rates(4, 3)


def test_a_number_of_upper_groups_unfreezes() -> None:
    at_once = TransferPolicy(learning_rate=0.01, discriminative=2, gradual=False, unfreeze=2)
    assert at_once.group_rates(5, 0) == at_once.group_rates(5, 9) == [0, 0, 0.0025, 0.005, 0.01]
    assert at_once.group_rates(2, 0) == [0.005, 0.01]
    gradual = TransferPolicy(learning_rate=0.01, discriminative=2, unfreeze=1)
    assert gradual.group_rates(4, 0) == [0, 0, 0, 0.01]
    assert gradual.group_rates(4, 1) == gradual.group_rates(4, 5) == [0, 0, 0.005, 0.01]
    assert gradual.unfreezes(4, 1) and not gradual.unfreezes(4, 2)
    with pytest.raises(UserError, match="unfreeze must be above 0"):
        TransferPolicy(learning_rate=0.01, unfreeze=0)


def test_every_switch_off() -> None:
    assert TransferPolicy(learning_rate=0.5, gradual=False, discriminative=1).group_rates(3, 0) == [0.5] * 3
    assert TransferPolicy(learning_rate=0.5, gradual=False).group_rates(2, 0) == pytest.approx(
        [0.1923076923, 0.5]
    )
    assert TransferPolicy(learning_rate=0.5, discriminative=1).group_rates(3, 1) == [0, 0.5, 0.5]
    assert TransferPolicy(learning_rate=0.5, mode="scratch").group_rates(3, 0) == [0.5] * 3
    assert TransferPolicy(learning_rate=0.5, mode="frozen").group_rates(3, 7) == [0, 0, 0.5]
    assert TransferPolicy(learning_rate=0.5, mode="frozen").group_rates(1, 0) == [0.5]


@settings(deadline=None)
@given(
    n_groups=st.integers(1, 12),
    epoch=st.integers(0, 20),
    mode=st.sampled_from(["scratch", "frozen", "fine-tune"]),
    gradual=st.booleans(),
    discriminative=st.floats(1, 10),
)
def test_rates_never_fall_from_bottom_to_top(
    n_groups: int, epoch: int, mode: Any, gradual: bool, discriminative: float
) -> None:
    policy = TransferPolicy(learning_rate=0.02, mode=mode, gradual=gradual, discriminative=discriminative)
    rates = policy.group_rates(n_groups, epoch)
    assert len(rates) == n_groups and rates[-1] == 0.02
    assert rates == sorted(rates)
    thawed = policy.group_rates(n_groups, epoch + 1)
    assert all(later >= earlier for earlier, later in zip(rates, thawed, strict=True))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, not 0.0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0, not -1.0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, not nan"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0, not inf"),
        ({"learning_rate": 1.0, "discriminative": 0.5}, "discriminative must be .*, not 0.5"),
        ({"learning_rate": 1.0, "mode": "fine_tune"}, "fine_tune.*scratch, frozen, fine-tune"),
        ({"learning_rate": 1.0, "schedule": "triangle"}, "slanted.*triangle"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named) as raised:
        TransferPolicy(**wrong)
    assert "\n" not in str(raised.value)


def test_groups_are_in_one_order_and_vectors_take_no_decay() -> None:
    model = toy()
    groups = parameter_groups(model.layer_groups(), [0.1, 0.2, 0.3], weight_decay=0.5)
    found = [
        (group["layer_group"], group["lr"], group["weight_decay"], [tuple(p.shape) for p in group["params"]])
        for group in groups
    ]
    assert found == [
        (0, 0.1, 0.5, [(11, 8)]),
        (1, 0.2, 0.5, [(8, 8)]),
        (1, 0.2, 0.0, [(8,), (8,), (8,)]),
        (2, 0.3, 0.5, [(3, 8)]),
        (2, 0.3, 0.0, [(3,)]),
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_shrinks_matrices_only(name: Any) -> None:
    # With zero gradients an update is the decay alone: w * (1 - rate * decay), in AdamW as in SGD.
    model = toy()
    layer_groups = model.layer_groups()
    optimizer = make_optimizer(name, parameter_groups(layer_groups, [0.0, 0.1, 0.2], weight_decay=0.5))
    before = [bits(group) for group in layer_groups]
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for old_group, new_group, factor in zip(before, layer_groups, [1.0, 0.95**3, 0.9**3], strict=True):
        for old, new in zip(old_group, new_group, strict=True):
            torch.testing.assert_close(new.detach(), old * (factor if old.ndim > 1 else 1.0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_below_moves_when_frozen(name: Any) -> None:
    model = toy()
    layer_groups = model.layer_groups()
    policy = TransferPolicy(learning_rate=0.01)
    optimizer = make_optimizer(
        name, parameter_groups(layer_groups, policy.group_rates(3, 0), weight_decay=0.1)
    )
    for epoch in range(3):
        before = [bits(group) for group in layer_groups]
        for step in range(4):
            rates = policy.group_rates(3, epoch)
            apply_rates(optimizer, layer_groups, rates, slanted_triangular(4 * epoch + step, 12))
            update(model, optimizer)
        stayed = [same(old, new) for old, new in zip(before, layer_groups, strict=True)]
        assert stayed == [[True, True, False], [True, False, False], [False, False, False]][epoch]


def test_backward_stops_below_the_lowest_learning_group() -> None:
    model = toy()
    layer_groups = model.layer_groups()
    optimizer = make_optimizer("adamw", parameter_groups(layer_groups, [0, 0, 1.0], weight_decay=0.0))
    apply_rates(optimizer, layer_groups, [0, 0, 1.0])
    update(model, optimizer)
    assert not model.states.requires_grad  # no graph at all below the output layer
    assert [all(p.grad is not None for p in group) for group in layer_groups] == [False, False, True]
    apply_rates(optimizer, layer_groups, [0.1, 0, 1.0])  # frozen above a learning group: gradients must pass
    update(model, optimizer)
    assert model.states.requires_grad and all(p.grad is not None for p in model.parameters())


def test_rates_are_multiplied() -> None:
    layer_groups = toy().layer_groups()
    optimizer = make_optimizer("adamw", parameter_groups(layer_groups, [1.0, 2.0, 3.0], weight_decay=0.0))
    apply_rates(optimizer, layer_groups, [0.0, 0.2, 0.4], 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.05, 0.05, 0.1, 0.1]


def test_a_frozen_group_keeps_its_adam_state() -> None:
    model = toy()
    layer_groups = model.layer_groups()
    optimizer = make_optimizer("adamw", parameter_groups(layer_groups, [0.1] * 3, weight_decay=0.1))
    for _ in range(3):
        update(model, optimizer)
    lower = [*layer_groups[0], *layer_groups[1]]
    before = [{key: value.clone() for key, value in optimizer.state[p].items()} for p in lower]
    assert all(state["exp_avg"].abs().sum() > 0 for state in before)
    values = bits(lower)
    # The gradients of the last update still stand: freezing has to take them away.
    apply_rates(optimizer, layer_groups, [0, 0, 0.1])
    optimizer.step()
    for _ in range(3):
        update(model, optimizer)
    assert same(values, lower)
    for state, parameter in zip(before, lower, strict=True):
        assert all(torch.equal(value, optimizer.state[parameter][key]) for key, value in state.items())


def test_one_saved_state_serves_the_next_epoch() -> None:
    policy = TransferPolicy(learning_rate=0.01)
    weights = []
    for interrupted in (False, True):
        model = toy()
        layer_groups = model.layer_groups()
        state = None
        for epoch in range(3):
            if epoch == 0 or interrupted:
                groups = parameter_groups(layer_groups, policy.group_rates(3, epoch), weight_decay=0.1)
                optimizer = make_optimizer("adamw", groups)
                if state is not None:
                    optimizer.load_state_dict(state)
            for _ in range(3):
                apply_rates(optimizer, layer_groups, policy.group_rates(3, epoch))
                update(model, optimizer)
            state = copy.deepcopy(optimizer.state_dict())
        weights.append(bits(list(model.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_tied_weights_belong_to_the_lowest_group() -> None:
    embedding = nn.Embedding(5, 4)
    output = nn.Linear(4, 5)
    output.weight = embedding.weight
    layer_groups = [list(embedding.parameters()), list(output.parameters())]
    groups = parameter_groups(layer_groups, [0.1, 0.2], weight_decay=0.0)
    assert [(group["lr"], len(group["params"])) for group in groups] == [(0.1, 1), (0.2, 1)]
    assert groups[0]["params"][0] is embedding.weight and groups[1]["params"][0] is output.bias
    optimizer = make_optimizer("adamw", groups)
    apply_rates(optimizer, layer_groups, [0, 0.2])
    assert not embedding.weight.requires_grad and output.bias.requires_grad
