"""A stack of one-direction LSTMs over word ids, with all of AWD-LSTM's dropouts: the engine of two rungs.

Time comes first inside (T, B, D): oneDNN's LSTM works on that layout without a copy. It also wants unpacked batches,
no projection and fp32 or bf16; anything else falls back, silently and slowly. So batches are bucketed by length and
padded on the right, where a one-direction LSTM never lets padding reach a real position.

Legend: T time, B batch, V vocabulary, E embedding width, H hidden width, D a layer's width (H, and E for the last).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from unfreeze.encoders.layers.dropouts import VariationalDropout, drop_weight, embed_with_dropout
from unfreeze.errors import UserError

State = list[tuple[Tensor, Tensor]]
"""(h, c), each (1, B, D), for every layer."""


@dataclass(frozen=True, kw_only=True)
class Dropouts:
    """The dropouts of a stack. Defaults are AWD-LSTM's for language models, to be scaled by `times`."""

    embedding: float = 0.02
    """Of whole words in the embedding matrix (the paper's dropout_e)."""
    input: float = 0.25
    """Of features of the embedded words, the same at all time steps (dropout_i)."""
    hidden: float = 0.15
    """Of features between the LSTMs, the same at all time steps (dropout_h)."""
    weight: float = 0.2
    """Of hidden-to-hidden weights (wdrop)."""
    output: float = 0.1
    """Of features that the output layer or the head sees (dropout_o)."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < 1.0:
                raise UserError(f"{name} dropout is {value}: a dropout is at least 0 and under 1")

    def times(self, factor: float) -> Dropouts:
        """All of them scaled (fastai's `drop_mult`)."""
        return Dropouts(**{name: value * factor for name, value in asdict(self).items()})


NO_DROPOUT = Dropouts(embedding=0.0, input=0.0, hidden=0.0, weight=0.0, output=0.0)
CLASSIFIER_DROPOUTS = Dropouts(embedding=0.05, input=0.4, hidden=0.3, weight=0.5, output=0.4)


class WeightDropLstm(nn.Module):
    """One LSTM layer whose hidden-to-hidden weights are dropped in training.

    Parameters carry the names and the gate order (input, forget, cell, output) of `torch.nn.LSTM`.
    """

    def __init__(self, input_size: int, hidden_size: int, weight_dropout: float) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.weight_dropout = input_size, hidden_size, weight_dropout
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(H), as `torch.nn.LSTM` starts."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, B, input) and (h, c) of (1, B, H) -> (T, B, H) and the new (h, c)."""
        if state is None:
            zeros = x.new_zeros(1, x.shape[1], self.hidden_size)
            state = (zeros, zeros)
        weight_hh = drop_weight(self.weight_hh, self.weight_dropout, self.training)
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        output, h, c = torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, False)
        return output, (h, c)

    def extra_repr(self) -> str:
        """What `print(module)` shows."""
        return f"{self.input_size}, {self.hidden_size}, weight_dropout={self.weight_dropout}"


@dataclass(frozen=True)
class StackOutput:
    """What a stack computes from a piece of text."""

    layers: list[Tensor]
    """The embedded words and every LSTM's states as the next one reads them, undropped: (T, B, D_l) each."""
    top: Tensor
    """The last LSTM's states after the output dropout: (T, B, E)."""
    state: State
    """To be carried to the text that follows."""


class LstmStack(nn.Module):
    """Embedding and one-direction LSTMs; the last one's width is `output_size`.

    Args:
        embedding: (V, E), possibly shared with another stack.
        hidden_size: H of every LSTM but the last.
        output_size: width of the last LSTM; E where the output layer is tied to the embedding.
        n_layers: LSTMs; with none the embedded words are the top.
    """

    def __init__(
        self,
        embedding: nn.Embedding,
        *,
        hidden_size: int,
        output_size: int,
        n_layers: int,
        dropouts: Dropouts,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        sizes = [embedding.embedding_dim] + [hidden_size] * (n_layers - 1) + [output_size] * (n_layers > 0)
        self.lstms = nn.ModuleList(
            WeightDropLstm(inputs, outputs, dropouts.weight)
            for inputs, outputs in zip(sizes, sizes[1:], strict=False)
        )
        self.widths = sizes
        self.embedding_dropout = dropouts.embedding
        self.input_dropout = VariationalDropout(dropouts.input)
        self.hidden_dropout = VariationalDropout(dropouts.hidden)
        self.output_dropout = VariationalDropout(dropouts.output)

    def set_dropouts(self, dropouts: Dropouts) -> None:
        """Change the dropouts, as the next stage of training wants them."""
        self.embedding_dropout = dropouts.embedding
        for module, value in (
            (self.input_dropout, dropouts.input),
            (self.hidden_dropout, dropouts.hidden),
            (self.output_dropout, dropouts.output),
        ):
            module.probability = value
        for lstm in self.lstms:
            assert isinstance(lstm, WeightDropLstm)
            lstm.weight_dropout = dropouts.weight

    def forward(self, ids: Tensor, state: State | None = None) -> StackOutput:
        """Run over a piece of text.

        Args:
            ids: (T, B), padded at the end.
            state: what the stack returned for the text before; None starts anew.
        """
        x = embed_with_dropout(ids, self.embedding.weight, self.embedding_dropout, self.training)
        layers, new_state = [x], []
        x = self.input_dropout(x)
        for number, lstm in enumerate(self.lstms):
            x, layer_state = lstm(x, None if state is None else state[number])
            layers.append(x)
            new_state.append(layer_state)
            x = self.hidden_dropout(x) if number + 1 < len(self.lstms) else self.output_dropout(x)
        return StackOutput(layers, x, new_state)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Bottom to top: the embedding, then each LSTM."""
        return [list(self.embedding.parameters()), *(list(lstm.parameters()) for lstm in self.lstms)]


def need_layers(n_layers: int) -> None:
    """Raise the UserError for an encoder of LSTMs that would have none."""
    if n_layers < 1:
        raise UserError(f"{n_layers} LSTM layers: at least one is needed")


def detached(state: State) -> State:
    """The same values without their history: back-propagation stops here."""
    return [(h.detach(), c.detach()) for h, c in state]
