"""Character CNN with highway layers and projection (Kim et al. 2016; Peters et al. 2018): characters of a word -> vector.

Shapes: U words, C characters per word, S symbols, E symbol embedding size, F filters, P output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.char_cnn_kernel import look_up, scatter
from unfreeze.encoders.layers.parallel import as_array, run_parallel, split_work
from unfreeze.encoders.layers.weight_cache import CachedLinear, WeightCache
from unfreeze.errors import UserError
from unfreeze.text.characters import LONGEST, N_SYMBOLS, PADDING

Activation = Literal["relu", "tanh"]
CARRY_BIAS = -2.0
"""Initial bias of the gate of a highway layer; a negative value lets most of the input through unchanged."""
LANES = 16
ROWS = 128
"""Minimum number of words per thread."""


@dataclass(frozen=True)
class CharCnnSettings:
    """Sizes of a character CNN; the defaults are those of the published ELMo models."""

    embedding: int = 16
    """E, size of the embedding of a symbol."""
    filters: Sequence[Sequence[int]] = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
    """Width and number of the filters of each kind."""
    n_highway: int = 2
    """Number of highway layers."""
    longest: int = LONGEST
    """C, maximum number of symbols of a word: its bytes and two marks."""
    activation: Activation = "relu"
    """Activation after max pooling."""

    def __post_init__(self) -> None:
        if not self.filters:
            raise UserError("a character CNN needs at least one kind of filter")
        if not 3 <= self.longest <= LONGEST:
            raise UserError(
                f"words of {self.longest} characters: longest must be 3 to {LONGEST}, including two marks"
            )
        if any(len(each) != 2 for each in self.filters):
            raise UserError(
                "each kind of filter is given by two numbers, its width and the number of filters"
            )
        for width, count in self.filters:
            if not 1 <= width <= self.longest or count < 1:
                raise UserError(
                    f"{count} filters of width {width} do not fit words of {self.longest} characters"
                )
        if self.activation not in ("relu", "tanh"):
            raise UserError(f"unknown activation {self.activation!r}: use relu or tanh")

    @property
    def n_filters(self) -> int:
        """F, the total number of filters."""
        return sum(count for _, count in self.filters)


class Highway(nn.Module):
    """g * relu(W_t x + b_t) + (1 - g) * x with g = sigmoid(W_c x + b_c) (Srivastava, Greff & Schmidhuber 2015)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.carry, self.transform = CachedLinear(size, size), CachedLinear(size, size)
        for linear in (self.carry, self.transform):
            nn.init.normal_(linear.weight, std=size**-0.5)
            nn.init.zeros_(linear.bias)
        nn.init.constant_(self.carry.bias, CARRY_BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """(U, F) -> (U, F)."""
        gate = torch.sigmoid(self.carry(x))
        return torch.lerp(x, F.relu(self.transform(x)).to(x.dtype), gate.to(x.dtype))


class CharCnn(nn.Module):
    """Words as rows of symbols (U, C) -> vectors (U, P).

    Args:
        sizes: sizes of the CNN.
        size: P.
    """

    def __init__(self, sizes: CharCnnSettings, size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.symbols = nn.Parameter(torch.empty(N_SYMBOLS, sizes.embedding).uniform_(-1.0, 1.0))
        with torch.no_grad():
            self.symbols[0] = 0.0  # padding
        self.filters = nn.ParameterList()
        for width, count in sizes.filters:
            bound = (3.0 / (width * sizes.embedding)) ** 0.5
            self.filters.append(torch.empty(width, sizes.embedding, count).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(sizes.n_filters))
        self.highways = nn.ModuleList(Highway(sizes.n_filters) for _ in range(sizes.n_highway))
        self.projection = CachedLinear(sizes.n_filters, size)
        self.cached = WeightCache()
        nn.init.normal_(self.projection.weight, std=sizes.n_filters**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """(U, C) in int16 -> (U, P)."""
        x = torch.cat(self._largest(rows), dim=1) + self.bias
        x = F.relu(x) if self.sizes.activation == "relu" else torch.tanh(x)
        for highway in self.highways:
            x = highway(x)
        result: Tensor = self.projection(x)
        return result

    def _largest(self, rows: Tensor) -> list[Tensor]:
        """Maximum of each filter over all windows (U, count) before the bias, for each kind of filter."""
        if rows.device.type == "cpu" and self.symbols.dtype == torch.float32:
            order = (rows != PADDING).sum(1)
            found = []
            for each, table in zip(self.filters, self._tables(), strict=True):
                width, _, count = each.shape
                largest: Tensor = _Largest.apply(table, rows, order, width)  # type: ignore[no-untyped-call]
                found.append(largest[:, :count])
            return found
        embedded = F.embedding(rows.long(), self.symbols).transpose(1, 2)
        return [F.conv1d(embedded, each.permute(2, 1, 0)).amax(2) for each in self.filters]

    def _tables(self) -> list[Tensor]:
        """Lookup table of each kind of filter, cached for passes without gradients."""

        def make() -> list[Tensor]:
            return [_table(self.symbols, each) for each in self.filters]

        if torch.is_grad_enabled():
            return make()
        return self.cached.get("tables", (self.symbols, *self.filters), make)


def _table(symbols: Tensor, filters: Tensor) -> Tensor:
    """Contribution (width S, F) of each symbol at each position of a window to each filter, with F padded to LANES."""
    width, _, count = filters.shape
    with torch.autocast("cpu", enabled=False):
        padded = F.pad(filters, (0, -count % LANES))
        return torch.matmul(symbols, padded).reshape(width * len(symbols), -1)


class _Largest(torch.autograd.Function):
    """Convolution and max pooling by lookup: table (width S, F), rows (U, C) -> (U, F)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, lengths: Tensor, width: int) -> Tensor:
        rows, n_symbols = rows.contiguous(), len(table) // width
        largest = table.new_empty(len(rows), table.shape[1])
        positions = torch.empty(largest.shape, dtype=torch.bfloat16)  # represents integers up to 256 exactly
        arrays = (rows.numpy(), lengths.numpy(), table.detach().numpy())
        results = (largest.numpy(), as_array(positions))
        parts = split_work(len(rows), least=ROWS)
        run_parallel([partial(look_up, *arrays, width, n_symbols, *results, *part) for part in parts])
        ctx.save_for_backward(rows, positions)
        ctx.width, ctx.shape = width, table.shape
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, positions = ctx.saved_tensors
        d_table = gradient.new_zeros(ctx.shape)
        arrays = (rows.numpy(), positions.to(torch.int16).numpy(), gradient.contiguous().numpy())
        arguments = (*arrays, ctx.width, ctx.shape[0] // ctx.width, d_table.numpy())
        parts = split_work(ctx.shape[1] // LANES)
        run_parallel([partial(scatter, *arguments, LANES * first, LANES * last) for first, last in parts])
        return d_table, None, None, None
