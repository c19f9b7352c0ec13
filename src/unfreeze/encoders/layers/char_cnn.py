"""From a word's spelling to its vector: character CNN, highway layers, projection (Kim et al. 2016; Peters et al. 2018).

Legend: U words, C characters of a row, S symbols, E width of a symbol's vector, F filters, P width of a word's vector.
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
"""Of a highway's gate at the start: it passes most of its input on."""
LANES = 16
ROWS = 128
"""Words that are worth a thread."""


@dataclass(frozen=True)
class CharCnnSettings:
    """How a word's spelling is read; the defaults are the published models'."""

    embedding: int = 16
    """E."""
    filters: Sequence[Sequence[int]] = (
        (1, 32),
        (2, 32),
        (3, 64),
        (4, 128),
        (5, 256),
        (6, 512),
        (7, 1024),
    )
    """Width and number of each kind of filter."""
    n_highway: int = 2
    """Highway layers."""
    longest: int = LONGEST
    """C: two more than the bytes of a word that are read."""
    activation: Activation = "relu"
    """Behind the maximum."""

    def __post_init__(self) -> None:
        if not self.filters:
            raise UserError("a character CNN needs filters")
        if not 3 <= self.longest <= LONGEST:
            raise UserError(f"words of {self.longest} characters: it is 3 to {LONGEST}, two of them marks")
        if any(len(each) != 2 for each in self.filters):
            raise UserError("each kind of filter is two numbers, its width and how many there are")
        for width, count in self.filters:
            if not 1 <= width <= self.longest or count < 1:
                raise UserError(
                    f"{count} filters of width {width} do not fit words of {self.longest} characters"
                )
        if self.activation not in ("relu", "tanh"):
            raise UserError(f"activation {self.activation!r}: it is relu or tanh")

    @property
    def n_filters(self) -> int:
        """F."""
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
    """Rows of symbols -> vectors of words.

    Args:
        size: P.
    """

    def __init__(self, sizes: CharCnnSettings, size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.symbols = nn.Parameter(torch.empty(N_SYMBOLS, sizes.embedding).uniform_(-1.0, 1.0))
        with torch.no_grad():
            self.symbols[0] = 0.0  # the mask
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
        """(U, C) of int16 -> (U, P)."""
        x = torch.cat(self._largest(rows), dim=1) + self.bias
        x = F.relu(x) if self.sizes.activation == "relu" else torch.tanh(x)
        for highway in self.highways:
            x = highway(x)
        result: Tensor = self.projection(x)
        return result

    def _largest(self, rows: Tensor) -> list[Tensor]:
        """(U, count) of each kind of filter: the largest value over all windows, before the bias."""
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
        """One for each kind of filter; where nothing learns they are kept."""

        def make() -> list[Tensor]:
            return [_table(self.symbols, each) for each in self.filters]

        if torch.is_grad_enabled():
            return make()
        return self.cached.get("tables", (self.symbols, *self.filters), make)


def _table(symbols: Tensor, filters: Tensor) -> Tensor:
    """(width S, F): what each symbol at each place of a window adds to each filter, the filters a multiple of LANES."""
    width, _, count = filters.shape
    with torch.autocast("cpu", enabled=False):
        padded = F.pad(filters, (0, -count % LANES))
        return torch.matmul(symbols, padded).reshape(width * len(symbols), -1)


class _Largest(torch.autograd.Function):
    """table (width S, F), rows (U, C) -> (U, F)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, lengths: Tensor, width: int) -> Tensor:
        rows, n_symbols = rows.contiguous(), len(table) // width
        largest = table.new_empty(len(rows), table.shape[1])
        places = torch.empty(largest.shape, dtype=torch.bfloat16)  # whole numbers up to 256 are exact
        arrays = (rows.numpy(), lengths.numpy(), table.detach().numpy())
        results = (largest.numpy(), as_array(places))
        run_parallel(
            [
                partial(look_up, *arrays, width, n_symbols, *results, first, last)
                for first, last in split_work(len(rows), least=ROWS)
            ]
        )
        ctx.save_for_backward(rows, places)
        ctx.width, ctx.shape = width, table.shape
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, places = ctx.saved_tensors
        d_table = gradient.new_zeros(ctx.shape)
        arrays = (rows.numpy(), places.to(torch.int16).numpy(), gradient.contiguous().numpy())
        run_parallel(
            [
                partial(
                    scatter,
                    *arrays,
                    ctx.width,
                    ctx.shape[0] // ctx.width,
                    d_table.numpy(),
                    LANES * first,
                    LANES * last,
                )
                for first, last in split_work(ctx.shape[1] // LANES)
            ]
        )
        return d_table, None, None, None
