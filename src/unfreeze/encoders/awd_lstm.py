"""AWD-LSTM, the encoder of ULMFiT (Merity, Keskar & Socher 2018; Howard & Ruder 2018).

Embedding and three LSTMs of one direction, the last one as wide as the embedding because the output layer is tied to
it. The layers may be QRNNs instead, as in MultiFiT (Eisenschlos et al. 2019). Two directions are two such stacks,
concatenated layer by layer; by default they share the embedding, which saves most of a small model's weights (the paper
trains two separate models).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unfreeze.encoders.directions import (
    Direction,
    direction_of,
    gather_words,
    module_name,
    reversed_within,
    stack_names,
    word_positions,
)
from unfreeze.encoders.feature_settings import Pool
from unfreeze.encoders.layers.cell_settings import CellKind, CellSettings, need_layers
from unfreeze.encoders.layers.recurrent import CLASSIFIER_DROPOUTS, Dropouts, RecurrentStack
from unfreeze.encoders.text_encoder import TextBatch, TextEncoder
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.vectors.table import VectorTable

LONG_TEXT = 1 << 14
"""Tokens from which on `encode` reads a text piece by piece: the layers of a longer one would take a gigabyte."""
PIECE = 1 << 12


class StackedEncoder(TextEncoder):
    """An encoder of one or two stacks of one direction, each of which can read a text piece by piece (`Streaming`)."""

    stacks: nn.ModuleDict
    votes = False
    shared: bool
    """Whether the stacks share one embedding."""

    def stack(self, name: str) -> RecurrentStack:
        """The recurrent layers of a direction, "forward" or "backward"."""
        stack = self.stacks[module_name(name)]
        assert isinstance(stack, RecurrentStack)
        return stack

    @property
    def directions(self) -> list[str]:
        """The names of the stacks: forward, backward or both."""
        return [direction_of(key) for key in self.stacks]

    @property
    def widths(self) -> list[int]:
        """D_l, the sum over directions."""
        per_stack = [self.stack(name).widths for name in self.directions]
        return [sum(widths) for widths in zip(*per_stack, strict=True)]

    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        """The vectors of the embedding layer, without special tokens; `extra_words` cannot get any."""
        ids = self.tokenizer.word_ids
        weight = self.stack(self.directions[0]).embedding.weight
        words = [self.tokenizer.token(number) for number in ids]
        return VectorTable(words, weight.detach()[ids].float().cpu().numpy())

    def set_dropout_scale(self, scale: float) -> None:
        """Set the dropouts for fine-tuning on a task, multiplied by `scale`."""
        self.set_dropouts(CLASSIFIER_DROPOUTS.times(scale))

    def set_dropouts(self, dropouts: Dropouts) -> None:
        """Change the dropouts of all stacks."""
        for name in self.directions:
            self.stack(name).set_dropouts(dropouts)

    def stack_ids(self, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in the order of the text -> (T, B) in the order in which the stack reads."""
        return (ids if name == "forward" else reversed_within(ids, lengths)).t()

    def _stack_layers(self, name: str, batch: TextBatch) -> list[Tensor]:
        output = self.stack(name)(self.stack_ids(name, batch.ids, batch.lengths))
        layers = [layer.transpose(0, 1) for layer in output.layers]
        if name == "backward":
            layers = [reversed_within(layer, batch.lengths) for layer in layers]
        return [layer[:, 1:] for layer in layers]

    def layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, T, D_l) in the order of the text without the begin symbol, and the mask (B, T)."""
        per_stack = [self._stack_layers(name, batch) for name in self.directions]
        return _side_by_side(per_stack), batch.real_pieces

    def word_layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, W, D_l): a word's last piece forward, its first backward; and the mask (B, W)."""
        picked = [
            gather_words(self._stack_layers(name, batch), batch.words, last=name == "forward")
            for name in self.directions
        ]
        return _side_by_side([layers for layers, _ in picked]), picked[0][1]

    def _pooled(self, batch: TextBatch, layer: int, pool: Pool) -> Tensor:
        if len(batch.ids) == 1 and batch.ids.shape[1] > LONG_TEXT:
            return torch.cat([self._pooled_pieces(name, batch, layer, pool) for name in self.directions])[
                None
            ]
        return super()._pooled(batch, layer, pool)

    def _pooled_pieces(self, name: str, batch: TextBatch, layer: int, pool: Pool) -> Tensor:
        """One text -> (D,) of one direction, of the vectors in `word_layers`, in memory for one piece of the text."""
        stack, (places,) = self.stack(name), word_positions(batch.words, last=name == "forward")[0]
        ids = self.stack_ids(name, batch.ids, batch.lengths)
        # Behind the begin symbol, a backward stack reads id T - p at place p.
        read = torch.tensor(places if name == "forward" else [len(ids) - place for place in places])
        total = torch.zeros(stack.widths[layer], dtype=torch.float64, device=ids.device)
        largest, last = torch.full_like(total, -torch.inf), torch.zeros_like(total)
        state = stack.initial_state(1)
        for start in range(0, len(ids), PIECE):
            output = stack(ids[start : start + PIECE], state)
            state, found = output.state, output.layers[layer][:, 0].double()
            inside = read[(start <= read) & (read < start + PIECE)].to(ids.device) - start
            if len(inside):
                total += found[inside].sum(0)
                largest = torch.maximum(largest, found[inside].amax(0))
                if start <= int(read[-1]) < start + PIECE:
                    last = found[int(read[-1]) - start]
        if not places:
            return total.float()
        return {"mean": total / len(places), "max": largest, "last": last}[pool].float()

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The embedding, then each layer with both directions in one group; a shared embedding is there once."""
        per_stack = [self.stack(name).layer_groups() for name in self.directions]
        groups = [[p for part in parts for p in part] for parts in zip(*per_stack, strict=True)]
        return [list(dict.fromkeys(group)) for group in groups]

    def weights(self) -> dict[str, Tensor]:
        """The tensors to save; a shared embedding has the name of the first stack only."""
        tensors = self.state_dict()
        if self.shared:
            for name in self.directions[1:]:
                del tensors[f"stacks.{module_name(name)}.embedding.weight"]
        return tensors


def _side_by_side(per_stack: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The layers of each direction, concatenated along their width."""
    return [torch.cat(parts, dim=2) for parts in zip(*per_stack, strict=True)]


class AwdLstm(StackedEncoder):
    """Embedding and LSTMs, or QRNNs, with AWD-LSTM's dropouts.

    Args:
        tokenizer: its length is V.
        embedding_size: E, also the width of the last layer.
        hidden_size: H of the layers between.
        n_layers: number of recurrent layers.
        direction: forward, backward, or both.
        share_embedding: with both directions, whether they have one embedding.
        cell: lstm or qrnn.
        windows: of QRNNs: how many inputs a step of the first layers sees; layers beyond those named see 1.
        zoneout: of QRNNs: probability of a forget gate to be 1 in training.
        dropouts: the language model's, by default.
    """

    kind = "awd_lstm"
    votes = True  # the paper averages two classifiers, one for each direction

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        embedding_size: int = 400,
        hidden_size: int = 1152,
        n_layers: int = 3,
        direction: Direction = "forward",
        share_embedding: bool = True,
        cell: CellKind = "lstm",
        windows: Sequence[int] = (2,),
        zoneout: float = 0.0,
        dropouts: Dropouts | None = None,
    ) -> None:
        super().__init__()
        cells = CellSettings(kind=cell, windows=tuple(windows), zoneout=zoneout)
        need_layers(n_layers, cells)
        self.processor, self.cell = tokenizer, cell
        self._arguments: dict[str, Any] = {
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "n_layers": n_layers,
            "direction": direction,
            "share_embedding": share_embedding,
        }
        if cell == "qrnn":  # left out for LSTMs, so that earlier versions can read their folders
            self._arguments |= {"cell": cell, "windows": list(cells.windows), "zoneout": zoneout}
        names = stack_names(direction)
        self.shared = share_embedding and len(names) > 1
        self.stacks = nn.ModuleDict()
        embedding: nn.Embedding | None = None
        for name in names:
            if embedding is None or not self.shared:
                embedding = nn.Embedding(len(tokenizer), embedding_size)
                nn.init.uniform_(embedding.weight, -0.1, 0.1)
            self.stacks[module_name(name)] = RecurrentStack(
                embedding,
                hidden_size=hidden_size,
                output_size=embedding_size,
                n_layers=n_layers,
                dropouts=dropouts or Dropouts(),
                cells=cells,
            )

    @torch.no_grad()
    def start_embedding(self, rows: Tensor, ids: Sequence[int]) -> None:
        """Overwrite the embedding of `ids` with `rows` (n, E), in every stack."""
        for name in self.directions:
            self.stack(name).embedding.weight[list(ids)] = rows.to(self.stack(name).embedding.weight)
