"""A stack of unidirectional recurrent layers (LSTMs or QRNNs) over word ids, with all dropouts of AWD-LSTM.

Tensors are time-major (T, B, D), the layout on which oneDNN's LSTM works without a copy. oneDNN also requires unpacked
batches, no projection, and fp32 or bf16; anything else falls back to a slow path without a warning. Batches are
therefore bucketed by length and padded on the right, where padding never affects the positions before it.

Shapes: T time, B batch, V vocabulary, E embedding size, H hidden size, D width of a layer (H, or E for the last).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from unfreeze.encoders.layers.cell_settings import CellSettings
from unfreeze.encoders.layers.dropouts import VariationalDropout, drop_weight, embed_with_dropout
from unfreeze.encoders.layers.products import compute_type
from unfreeze.encoders.layers.qrnn import QrnnLayer
from unfreeze.encoders.streaming import StackOutput, State
from unfreeze.errors import UserError, setting


@dataclass(frozen=True, kw_only=True)
class Dropouts:
    """Dropout probabilities of a stack. The defaults are those of AWD-LSTM language models; `times` scales them."""

    embedding: float = 0.02
    """Of whole words in the embedding matrix (dropout_e in the paper)."""
    input: float = 0.25
    """Of features of the embeddings, the same at all time steps (dropout_i)."""
    hidden: float = 0.15
    """Of features between layers, the same at all time steps (dropout_h)."""
    weight: float = 0.2
    """Of the hidden-to-hidden weights of LSTMs and the input weights of QRNNs (wdrop)."""
    output: float = 0.1
    """Of features of the last layer, the same at all time steps (dropout_o)."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < 1.0:
                raise UserError(f"{name} dropout must be at least 0 and below 1, got {value}")

    def times(self, factor: float) -> Dropouts:
        """Return all dropouts multiplied by a factor (`drop_mult` in fastai).

        Raises:
            UserError: a dropout becomes 1 or more.
        """
        for name, value in asdict(self).items():
            if not 0.0 <= value * factor < 1.0:
                raise UserError(
                    f"{setting('dropout_scale')} {factor:g} makes the {name} dropout {value * factor:g}: "
                    "it must be at least 0 and below 1"
                )
        return Dropouts(**{name: value * factor for name, value in asdict(self).items()})


CLASSIFIER_DROPOUTS = Dropouts(embedding=0.05, input=0.4, hidden=0.3, weight=0.5, output=0.4)


class WeightDropLstm(nn.Module):
    """One LSTM layer with dropout on its hidden-to-hidden weights in training.

    Parameters have the names and the gate order (input, forget, cell, output) of `torch.nn.LSTM`.
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
        """Initialize uniformly in +-1/sqrt(H), as `torch.nn.LSTM` does."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return zeros for (h, c), each (1, B, H)."""
        zeros = self.weight_hh.new_zeros(1, batch, self.hidden_size)
        return zeros, zeros.clone()

    def forward(self, x: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, B, input) and (h, c), each (1, B, H) -> (T, B, H) and the new (h, c)."""
        state = self.initial_state(x.shape[1]) if state is None else state
        weight_hh = drop_weight(self.weight_hh, self.weight_dropout, self.training, compute_type(x))
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        output, h, c = torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, False)
        return output, (h, c)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, weight_dropout={self.weight_dropout}"


Cell = WeightDropLstm | QrnnLayer


def make_cell(
    settings: CellSettings, number: int, input_size: int, hidden_size: int, weight_dropout: float
) -> Cell:
    """Create layer `number` of a stack, counted from the bottom."""
    if settings.kind == "lstm":
        return WeightDropLstm(input_size, hidden_size, weight_dropout)
    window = settings.windows[number] if number < len(settings.windows) else 1
    return QrnnLayer(input_size, hidden_size, weight_dropout, window=window, zoneout=settings.zoneout)


class RecurrentStack(nn.Module):
    """An embedding and unidirectional recurrent layers.

    Args:
        embedding: (V, E), possibly shared with another stack.
        hidden_size: H, the width of all layers except the last.
        output_size: width of the last layer; E if the output layer is tied to the embedding.
        n_layers: number of recurrent layers, at least 1.
        dropouts: dropout probabilities.
        cells: kind of the layers; the names of their tensors in saved files begin with `lstms` or `qrnns`.
    """

    def __init__(
        self,
        embedding: nn.Embedding,
        *,
        hidden_size: int,
        output_size: int,
        n_layers: int,
        dropouts: Dropouts,
        cells: CellSettings | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        cells = cells or CellSettings()
        self.widths = [embedding.embedding_dim]
        layers = nn.ModuleList()
        for number in range(n_layers):
            self.widths.append(hidden_size if number < n_layers - 1 else output_size)
            layers.append(make_cell(cells, number, self.widths[-2], self.widths[-1], dropouts.weight))
        self._layers_name = f"{cells.kind}s"
        self.add_module(self._layers_name, layers)
        self.embedding_dropout = dropouts.embedding
        self.input_dropout = VariationalDropout(dropouts.input)
        self.hidden_dropout = VariationalDropout(dropouts.hidden)
        self.output_dropout = VariationalDropout(dropouts.output)

    @property
    def cells(self) -> list[Cell]:
        """The layers, bottom to top."""
        return list(self.get_submodule(self._layers_name).children())  # type: ignore[arg-type]

    def initial_state(self, batch: int) -> State:
        """Return the state before the first text: zeros, for each layer as in its `initial_state`."""
        return [cell.initial_state(batch) for cell in self.cells]

    def set_dropouts(self, dropouts: Dropouts) -> None:
        """Set the dropouts for the next stage of training."""
        self.embedding_dropout = dropouts.embedding
        self.input_dropout.probability = dropouts.input
        self.hidden_dropout.probability = dropouts.hidden
        self.output_dropout.probability = dropouts.output
        for cell in self.cells:
            cell.weight_dropout = dropouts.weight

    def forward(self, ids: Tensor, state: State | None = None, *, tied: bool = False) -> StackOutput:
        """Run on a piece of text.

        Args:
            ids: word ids (T, B), padded at the end.
            state: state after the preceding text; None for the beginning of a text.
            tied: whether the embedding is shared with an output layer, so that its gradient is dense.
        """
        embedding, dropout = self.embedding.weight, self.embedding_dropout
        x = embed_with_dropout(ids, embedding, dropout, self.training, tied=tied)
        layers, new_state = [x], []
        x = self.input_dropout(x)
        cells = self.cells
        for number, cell in enumerate(cells):
            x, layer_state = cell(x, None if state is None else state[number])
            layers.append(x)
            new_state.append(layer_state)
            x = self.hidden_dropout(x) if number + 1 < len(cells) else self.output_dropout(x)
        return StackOutput(layers, x, new_state)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters bottom to top: the embedding, then each layer."""
        return [list(self.embedding.parameters()), *(list(cell.parameters()) for cell in self.cells)]


def detached(state: State) -> State:
    """Detach a state from the graph, so that back-propagation stops here."""
    return [tuple(tensor.detach() for tensor in layer) for layer in state]


def rows_of(state: State, rows: slice | Tensor) -> State:
    """Select rows of the batch from a state."""
    return [tuple(tensor[:, rows].contiguous() for tensor in layer) for layer in state]
