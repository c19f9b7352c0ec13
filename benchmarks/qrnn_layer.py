"""A single QRNN layer compared with torch's nn.LSTM and with the same QRNN in torch operations.

    benchmarks/.peers/bin/python -m benchmarks --only qrnn-layer

1,152 inputs and outputs, a window of one, 70 steps of 64 and of 32 rows, in fp32 and under autocast to bf16, with inputs in
bf16 as from a layer below. "Forward and backward" includes the gradients of inputs and weights, without dropout; "forward" is
in evaluation mode without gradients. The peers have the same number of outputs: nn.LSTM needs 8 products of 1,152 x 1,152 per
position where a QRNN needs 3, and the plain QRNN follows the equations, with one nn.Linear for all steps and a loop over
time. That both QRNNs compute the same is also checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor, autocast, nn, set_grad_enabled

from benchmarks.report import Row, speed_row
from benchmarks.turns import rates_in_turns
from unfreeze.encoders.layers.qrnn import QrnnLayer

SIZE, STEPS, BATCHES = 1152, 70, (64, 32)
SECONDS = 0.5
"""Minimum duration of a turn."""
TOLERANCE = 1e-5
"""Maximum relative difference of outputs and gradients."""
LSTM, PLAIN = "nn.LSTM", "a QRNN in torch's operations"


class PlainQrnn(nn.Module):
    """A layer with a window of one, following the equations.

    Args:
        like: layer to copy the weights from.
    """

    def __init__(self, like: QrnnLayer) -> None:
        super().__init__()
        self.linear = nn.Linear(like.input_size, 3 * like.hidden_size)
        self.linear.load_state_dict({"weight": like.weight, "bias": like.bias})

    def forward(self, x: Tensor, state: None) -> tuple[Tensor, Tensor]:
        """(T, B, I) -> (T, B, H) and the last cells, starting from zeros."""
        z, f, o = self.linear(x).chunk(3, dim=2)
        z, f, o = z.tanh(), f.sigmoid(), o.sigmoid()
        cell, cells = torch.zeros_like(z[0]), []
        for candidate, forget in zip(z, f, strict=True):
            cell = forget * cell + (1.0 - forget) * candidate
            cells.append(cell)
        return o * torch.stack(cells), cell


def run(rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Compare the results of the two QRNNs, and all speeds."""
    torch.manual_seed(0)
    ours = QrnnLayer(SIZE, SIZE, 0.0)
    layers = {"ours": ours, LSTM: nn.LSTM(SIZE, SIZE), PLAIN: PlainQrnn(ours)}
    difference = largest_difference(ours, layers[PLAIN])
    rows = [
        Row(
            what=f"QRNN layer {SIZE}: largest relative difference of outputs and gradients; theirs {PLAIN}",
            ours=difference,
            goal=f"< {TOLERANCE:g}",
            failed=not difference < TOLERANCE,
        )
    ]
    for dtype, batch, learns in product((torch.float32, torch.bfloat16), BATCHES, (True, False)):
        x = torch.randn(STEPS, batch, SIZE).to(dtype).requires_grad_(learns)
        d_out = torch.randn(STEPS, batch, SIZE).to(dtype)
        calls = {name: partial(once, layer.train(learns), x, d_out) for name, layer in layers.items()}
        speeds = rates_in_turns(calls, STEPS * batch, rounds, SECONDS)
        what = (
            f"QRNN layer {SIZE}, {'fp32' if dtype == torch.float32 else 'bf16'}, {batch} rows, "
            f"{'forward and backward' if learns else 'forward'}, tokens/s"
        )
        say(f"{what}: " + "; ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
        rows += [speed_row(f"{what}; theirs {peer}", speeds["ours"], speeds[peer]) for peer in (LSTM, PLAIN)]
    return rows


def once(layer: nn.Module, x: Tensor, d_out: Tensor) -> list[Tensor]:
    """Outputs and, if x requires gradients, the gradients of x and of all weights, given those of the outputs."""
    learns = x.requires_grad
    with set_grad_enabled(learns), autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        out, _ = layer(x, None)
    gradients = torch.autograd.grad(out, [x, *layer.parameters()], d_out) if learns else ()
    return [out.detach(), *gradients]


def largest_difference(ours: nn.Module, theirs: nn.Module) -> float:
    """Largest difference of outputs and gradients in fp32, relative to the largest element of each tensor."""
    x, d_out = (
        torch.randn(STEPS, BATCHES[-1], SIZE, requires_grad=True),
        torch.randn(STEPS, BATCHES[-1], SIZE),
    )
    pairs = zip(once(ours, x, d_out), once(theirs, x, d_out), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
