"""The language model's objective: carried state, regularization and layer groups, against the definitions by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.language_models.models import CELLS, NO_DROPOUT, TEXTS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.pretraining.lm_objective import LanguageModelObjective, direction_loss
from unfreeze.text.batches import IGNORE
from unfreeze.text.token_store import TokenStore
from unfreeze.transfer.policies import TransferPolicy

DIRECTIONS: list[Direction] = ["forward", "backward", "both"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return TokenStore.build(
        TEXTS * 3, word_tokenizer(), tmp_path_factory.mktemp("store") / "tokens", workers=1
    )


def objective_for(
    store: TokenStore, direction: Direction, cell: CellKind = "lstm", **settings: object
) -> LanguageModelObjective:
    model = random_model(word_tokenizer(), direction, (12, 25), cell=cell)
    model.encoder.set_dropouts(NO_DROPOUT)
    return LanguageModelObjective(model, store, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_losses_of_an_epoch_are_that_of_its_stream_read_at_once(
    cell: CellKind, direction: Direction, store: TokenStore, tmp_path: Path
) -> None:
    """State is carried over all batches of an epoch, and begins anew with the next one."""
    objective = objective_for(store, direction, cell, batch_size=1, bptt=9, alpha=0.0, beta=0.0)
    objective.language_model.save_pretrained(tmp_path / "model")
    oracle = NumpyLanguageModel(tmp_path / "model")
    for epoch in range(2):
        streams: dict[str, list[int]] = {name: [] for name in objective.states}
        total, n_items = 0.0, 0
        for batch in objective.batches(epoch, 0):
            loss = objective.loss(batch)
            total, n_items = total + loss.total.item(), n_items + loss.n_items
            assert loss.penalty is not None and loss.penalty.item() == 0.0
            for name, lanes in batch.items():
                streams[name] += lanes.inputs[0].tolist()
        expected = 0.0
        for name, stream in streams.items():
            target = int(batch[name].targets[0, -1])
            found = oracle.next_log_probabilities(name, stream)
            expected -= sum(float(found[t, word]) for t, word in enumerate([*stream[1:], target]))
        assert n_items == len(streams) * (store.n_tokens - 1)
        assert total == pytest.approx(expected, rel=1e-5)


def regularization_by_hand(
    dropped: np.ndarray, raw: np.ndarray, real: np.ndarray, alpha: float, beta: float
) -> float:
    """Merity et al. 2018, section 4.7, over the positions that have a target; (T, B, E) twice, and (T, B)."""
    activations, differences = [], []
    for t in range(real.shape[0]):
        for b in range(real.shape[1]):
            if real[t, b]:
                activations.append(dropped[t, b] ** 2)
            if t and real[t, b] and real[t - 1, b]:
                differences.append((raw[t, b] - raw[t - 1, b]) ** 2)
    return float(alpha * np.mean(activations) + (beta * np.mean(differences) if differences else 0.0))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.0), (0.0, 1.0), (2.0, 1.0)])
def test_regularization_ignores_padding(alpha: float, beta: float) -> None:
    model = random_model(word_tokenizer(), "forward")
    model.encoder.set_dropouts(Dropouts(embedding=0.0, input=0.0, hidden=0.0, weight=0.0, output=0.5))
    stack = model.train().encoder.stack("forward")
    inputs = torch.randint(3, len(model.tokenizer), (3, 8))
    targets = torch.randint(3, len(model.tokenizer), (3, 8))
    targets[1, 5:] = IGNORE
    targets[2, 1:] = IGNORE
    torch.manual_seed(1)
    output = stack(inputs.t())
    found = []
    for padding in (1, 4):
        inputs[targets == IGNORE] = padding
        torch.manual_seed(1)
        loss, _ = direction_loss(model, "forward", inputs, targets, None, alpha=alpha, beta=beta)
        assert loss.penalty is not None
        found.append((loss.total.item(), loss.penalty.item(), loss.n_items))
    expected = regularization_by_hand(
        output.top.detach().double().numpy(),
        output.layers[-1].detach().double().numpy(),
        (targets != IGNORE).t().numpy(),
        alpha,
        beta,
    )
    for total, penalty, n_targets in found:
        assert penalty == pytest.approx(expected, rel=1e-5)
        assert total == pytest.approx(found[0][0], rel=1e-6)
        assert n_targets == 8 + 5 + 1


def test_lanes_that_have_all_ended_cost_nothing() -> None:
    """Of several processes one may have no target left in an epoch's last batch."""
    model = random_model(word_tokenizer(), "forward", (12,))
    nothing = torch.full((2, 3), IGNORE)
    loss, _ = direction_loss(
        model, "forward", torch.ones(2, 3, dtype=torch.long), nothing, None, alpha=2.0, beta=1.0
    )
    assert loss.penalty is not None
    (loss.total + loss.penalty).backward()  # type: ignore[no-untyped-call]
    assert (loss.total.item(), loss.penalty.item(), loss.n_items) == (0.0, 0.0, 0)
    for parameter in model.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_embedding_learns_fastest_together_with_the_output(
    direction: Direction, store: TokenStore
) -> None:
    objective = objective_for(store, direction, batch_size=2)
    groups = objective.layer_groups()
    rates = TransferPolicy(learning_rate=1.0, gradual=False).group_rates(len(groups), 0)
    model, name = objective.language_model, direction if direction != "both" else "backward"
    fastest = [id(parameter) for parameter in groups[rates.index(max(rates))]]
    assert rates == sorted(rates) and id(model.encoder.stack(name).embedding.weight) in fastest
    assert {id(parameter) for parameter in model.output(name).parameters()} <= set(fastest)
    held = [id(parameter) for group in groups for parameter in group]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize(("cell", "n_parts"), [("lstm", 2 + 2), ("qrnn", 2 + 1)])
def test_carried_states_are_dealt_to_other_numbers_of_processes(
    cell: CellKind, n_parts: int, store: TokenStore
) -> None:
    """An LSTM carries (h, c), a QRNN c and, in the first layer, the inputs that its window still sees."""
    whole = objective_for(store, "both", cell, batch_size=4, bptt=6)
    batches = whole.batches(0, 0)
    whole.loss(next(batches))
    carried = {name: tensor.detach().clone() for name, tensor in whole.carried().items()}
    assert len(carried) == 2 * n_parts and all(len(tensor) == 4 for tensor in carried.values())
    expected = whole.loss(next(batches))
    parts = []
    for rank in range(2):
        half = objective_for(store, "both", cell, batch_size=4, bptt=6, rank=rank, world_size=2)
        half.carry(carried)
        assert all(torch.equal(t, carried[n][2 * rank : 2 * rank + 2]) for n, t in half.carried().items())
        parts.append(half.loss(next(half.batches(0, 1))))
    assert sum(part.n_items for part in parts) == expected.n_items
    assert sum(part.total.item() for part in parts) == pytest.approx(expected.total.item(), rel=1e-5)
    fresh = objective_for(store, "both", cell, batch_size=4)
    fresh.carry({})
    assert fresh.states == {"forward": None, "backward": None}


def test_states_of_earlier_checkpoints_are_read(store: TokenStore) -> None:
    """Before there were QRNNs h and c were kept as (B, D), under their letters."""
    whole = objective_for(store, "forward", batch_size=4, bptt=6)
    batches = whole.batches(0, 0)
    whole.loss(next(batches))
    carried = {
        f"{name[:-1]}{'hc'[int(name[-1])]}": tensor[:, 0].detach().clone()
        for name, tensor in whole.carried().items()
    }
    assert sorted(carried)[:2] == ["forward.0.c", "forward.0.h"]
    expected = whole.loss(next(batches)).total
    later = objective_for(store, "forward", batch_size=4, bptt=6)
    later.carry(carried)
    torch.testing.assert_close(later.loss(next(later.batches(0, 1))).total, expected)


def test_figures_of_held_out_documents(store: TokenStore) -> None:
    assert objective_for(store, "forward", batch_size=2).validate() == {}
    figures = objective_for(store, "forward", batch_size=2, validation=store).validate()
    assert figures["perplexity"] == pytest.approx(np.exp(figures["loss"]))
    assert figures["score"] == -figures["loss"] and figures["bits_per_byte"] > 0
