"""What the benchmarks count, against torch's own counter of operations and the parameters of real models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ours
from benchmarks.matrix_share import recurrent_operations, softmax_operations, training_operations
from benchmarks.sizes import EQUAL, Sizes, count_parameters, equal_hidden_size
from tests.language_models.models import NO_DROPOUT
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.pretraining.lm_objective import direction_loss
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer

STEPS, BATCH = 5, 3
CELLS: tuple[CellKind, ...] = ("lstm", "qrnn")


def made_up(n_words: int) -> WordTokenizer:
    """A vocabulary of made-up words."""
    words = [f"word{number}" for number in range(n_words - len(SPECIAL_TOKENS))]
    return WordTokenizer.from_vocabulary([*SPECIAL_TOKENS, *words])


def counted(model: AwdLstmLanguageModel, inputs: torch.Tensor, targets: torch.Tensor) -> int:
    """Operations of a training step, by torch."""
    with FlopCounterMode(display=False) as counter:
        loss, _ = direction_loss(model, "forward", inputs, targets, None)
        loss.total.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sizes", [(16, 48, 1), (16, 48, 2), (32, 16, 4)])
def test_forward_products_of_layers_as_torch_counts_them(cell: CellKind, sizes: Sizes) -> None:
    # In float64, since oneDNN's LSTM is one operation, which torch does not count.
    encoder = ours.encoder(made_up(64), sizes, cell).eval().double()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.stack("forward")(torch.randint(0, 64, (STEPS, BATCH)))
    assert counter.get_total_flops() == STEPS * BATCH * recurrent_operations(sizes, cell)


@pytest.mark.parametrize(("n_words", "cutoffs"), [(64, ()), (47, (15,)), (110, (14, 62))])
def test_products_of_a_training_step_as_torch_counts_them(n_words: int, cutoffs: tuple[int, ...]) -> None:
    """The parts of the softmax have multiples of 16 columns here: others are filled up to them, which does not count."""
    sizes = (32, 48, 3)
    encoder = ours.encoder(made_up(n_words), sizes, "qrnn")
    encoder.set_dropouts(NO_DROPOUT)
    inputs, targets = torch.randint(0, n_words, (2, BATCH, STEPS))
    shares = np.bincount(targets.flatten().numpy(), minlength=n_words) / targets.numel()
    expected = targets.numel() * training_operations(sizes, "qrnn", shares, cutoffs)
    assert counted(AwdLstmLanguageModel(encoder, cutoffs), inputs, targets) == pytest.approx(
        expected, rel=1e-12
    )


def test_the_adaptive_softmax_is_counted_where_it_is_computed() -> None:
    """Half of the text in the cluster of 6 words: the head's 4 + 1 entries and, every second time, the cluster's."""
    shares = np.array([0.2, 0.1, 0.1, 0.1, *[0.5 / 6] * 6])
    assert softmax_operations(7, shares, (4,)) == pytest.approx(2 * 7 * (5 + 3))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sizes", [(16, 48, 1), (24, 40, 2), (32, 16, 4)])
@pytest.mark.parametrize("cutoffs", [(), (20, 50)])
def test_parameters_of_real_models(cell: CellKind, sizes: Sizes, cutoffs: tuple[int, ...]) -> None:
    model = AwdLstmLanguageModel(ours.encoder(made_up(100), sizes, cell), cutoffs)
    assert count_parameters(sizes, cell, 100, len(cutoffs)) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("sizes", "n_words", "hidden"), [((256, 640, 3), 16_000, 1136), ((400, 1152, 3), 60_000, 2080)]
)
def test_a_qrnn_with_as_many_parameters_as_an_lstm(sizes: Sizes, n_words: int, hidden: int) -> None:
    """A multiple of 32 where one is within a percent, and of 16 else."""
    found = equal_hidden_size(sizes, n_words)
    tokenizer = made_up(n_words)
    lstm, qrnn = (
        ours.language_model(tokenizer, widths, cell, "full")
        for widths, cell in ((sizes, CELLS[0]), ((sizes[0], found, sizes[2]), CELLS[1]))
    )
    counts = [sum(p.numel() for p in model.parameters()) for model in (lstm, qrnn)]
    assert found == hidden
    assert abs(counts[1] / counts[0] - 1) <= EQUAL


def test_no_hidden_width_without_hidden_layers() -> None:
    with pytest.raises(ValueError, match="no hidden size"):
        equal_hidden_size((400, 1152, 1), 1_000)
