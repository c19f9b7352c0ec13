"""A layer of LSTMs with projection in both directions, under autocast to bf16: ours, and torch's own nn.LSTM."""

from __future__ import annotations

from torch import Tensor, autocast, bfloat16, nn, set_grad_enabled

from unfreeze.encoders.layers.projected_lstm import Clips, ProjectedLstm, run_layers


class OurLoop:
    """Two directions, with clipping as in ELMo.

    Args:
        projection_size: of the input and the states.
        hidden_size: of the cells.
    """

    def __init__(self, projection_size: int, hidden_size: int) -> None:
        self.layers = nn.ModuleList(
            ProjectedLstm(projection_size, hidden_size, projection_size) for _ in range(2)
        )

    def run(self, x: Tensor, learns: bool) -> None:
        """Run on an input (T, B, D)."""
        clips, active = Clips(3.0, 3.0), [x.shape[1]] * len(x)
        layers = [layer for layer in self.layers if isinstance(layer, ProjectedLstm)]
        with set_grad_enabled(learns), autocast("cpu", bfloat16):
            found, _ = run_layers([x, x.flip(0)], layers, [None, None], active, clips)
            if learns:
                (found[0].float().sum() + found[1].float().sum()).backward()


class TorchLoop:
    """torch's LSTM, which cannot clip."""

    def __init__(self, projection_size: int, hidden_size: int) -> None:
        self.lstm = nn.LSTM(projection_size, hidden_size, proj_size=projection_size, bidirectional=True)

    def run(self, x: Tensor, learns: bool) -> None:
        """Run on an input (T, B, D)."""
        with set_grad_enabled(learns), autocast("cpu", bfloat16):
            found, _ = self.lstm(x)
            if learns:
                found.float().sum().backward()
