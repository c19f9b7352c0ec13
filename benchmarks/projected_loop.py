"""A layer of LSTMs with projection in both directions, under autocast to bf16: ours, and torch's own nn.LSTM."""

from __future__ import annotations

from torch import Tensor, autocast, bfloat16, nn, set_grad_enabled

from unfreeze.encoders.layers.projected_lstm import Clips, ProjectedLstm, run_layers


class OurLoop:
    """Two directions, clips as ELMo has them.

    Args:
        size: of the input and the states.
        cells: of the memory.
    """

    def __init__(self, size: int, cells: int) -> None:
        self.layers = nn.ModuleList(ProjectedLstm(size, cells, size) for _ in range(2))

    def run(self, x: Tensor, learns: bool) -> None:
        """(T, B, D), once."""
        clips, active = Clips(3.0, 3.0), [x.shape[1]] * len(x)
        layers = [layer for layer in self.layers if isinstance(layer, ProjectedLstm)]
        with set_grad_enabled(learns), autocast("cpu", bfloat16):
            found, _ = run_layers([x, x.flip(0)], layers, [None, None], active, clips)
            if learns:
                (found[0].float().sum() + found[1].float().sum()).backward()


class TorchLoop:
    """torch's, without clips, which it does not have."""

    def __init__(self, size: int, cells: int) -> None:
        self.lstm = nn.LSTM(size, cells, proj_size=size, bidirectional=True)

    def run(self, x: Tensor, learns: bool) -> None:
        """(T, B, D), once."""
        with set_grad_enabled(learns), autocast("cpu", bfloat16):
            found, _ = self.lstm(x)
            if learns:
                found.float().sum().backward()
