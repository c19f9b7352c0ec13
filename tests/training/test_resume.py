"""A run that is killed at any step ends with the weights of one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import train_tokenizer
from unfreeze.training.checkpoints import Checkpoints
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import TransferPolicy

DOCUMENTS = [
    f"the {word} river runs past bank number {n} again and again" for n, word in enumerate("abcdefghij" * 12)
]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Objective(LanguageModelObjective):
    """Language modelling that dies before a given step."""

    dies_at: int | None = None

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        for number, batch in enumerate(super().batches(epoch, start), start):
            if self.dies_at == (epoch, number):
                raise Killed
            yield batch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    tokenizer = train_tokenizer(DOCUMENTS, min_count=1, workers=1)
    found = TokenStore.build(DOCUMENTS, tokenizer, tmp_path_factory.mktemp("store") / "tokens", workers=1)
    found.tokenizer = tokenizer  # type: ignore[attr-defined]
    return found


CELLS: dict[CellKind, dict[str, Any]] = {
    "lstm": {},
    "qrnn": {"cell": "qrnn", "windows": (2,), "zoneout": 0.1},
}


def run(
    store: TokenStore,
    folder: Path,
    dies_at: Any = None,
    optimizer: Any = "adamw",
    cell: CellKind = "lstm",
) -> dict[str, torch.Tensor]:
    seed_everything(0)
    sizes = {"embedding_size": 8, "hidden_size": 12, "n_layers": 2}
    encoder = AwdLstm(store.tokenizer, **sizes, direction="both", **CELLS[cell])  # type: ignore[attr-defined]
    model = AwdLstmLanguageModel(encoder, (10,))
    objective = Objective(model, store, store, batch_size=4, bptt=12)
    objective.dies_at = dies_at
    settings = LoopSettings(epochs=2, checkpoint_minutes=0.0, optimizer=optimizer, keep_best=False)
    rate = 5e-3 if optimizer == "adamw" else 2.0
    train(
        objective,
        policy=TransferPolicy(mode="fine-tune", learning_rate=rate, gradual=False),
        settings=settings,
        checkpoints=Checkpoints(folder / "training"),
        accelerator=make_accelerator("fp32"),
    )
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("cell", "optimizer", "dies_at"),
    [
        *(("lstm", optimizer, at) for optimizer in ("adamw", "nt-asgd") for at in ((0, 0), (0, 3), (1, 2))),
        ("qrnn", "adamw", (0, 3)),
        ("qrnn", "nt-asgd", (1, 2)),
    ],
)
def test_a_killed_run_ends_with_the_same_bits(
    store: TokenStore, tmp_path: Path, cell: CellKind, optimizer: str, dies_at: tuple[int, int]
) -> None:
    expected = run(store, tmp_path / "whole", optimizer=optimizer, cell=cell)
    with pytest.raises(Killed):
        run(store, tmp_path / "killed", dies_at, optimizer, cell)
    torch.randn(7)  # whatever happened in between
    found = run(store, tmp_path / "killed", optimizer=optimizer, cell=cell)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_after_a_damaged_checkpoint_it_starts_again_and_ends_with_the_same_bits(
    store: TokenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run(store, tmp_path / "whole")
    with pytest.raises(Killed):
        run(store, tmp_path / "killed", (0, 3))
    checkpoint = tmp_path / "killed" / "training" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-300])
    caplog.clear()
    found = run(store, tmp_path / "killed")
    assert f"{checkpoint} is damaged: training starts again from the beginning" in caplog.messages
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_run_needs_a_bound() -> None:
    with pytest.raises(UserError, match="needs a limit"):
        LoopSettings(epochs=None)
