"""One-direction stacks put together: the order of the text, and one vector a word.

A backward stack reads each text from its end: its input is the begin symbol and then the rest reversed within its
length, so that right padding never reaches a real position. What it returns is put back into the order of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unfreeze.errors import UserError

Direction = Literal["forward", "backward", "both"]


def module_name(direction: str) -> str:
    """The key of a direction's module in a `ModuleDict`, where "forward" itself is taken by `nn.Module.forward`."""
    return f"{direction}s"


def direction_of(module_name: str) -> str:
    """The direction whose module has this name: the inverse of `module_name`."""
    return module_name.removesuffix("s")


def stack_names(direction: Direction) -> list[str]:
    """The names of the stacks of a direction: for "both" there are two.

    Raises:
        UserError: the direction is unknown.
    """
    if direction not in ("forward", "backward", "both"):
        raise UserError(f"direction {direction!r}: it is forward, backward or both")
    return ["forward", "backward"] if direction == "both" else [direction]


def reversed_within(x: Tensor, lengths: Tensor, first: int = 1) -> Tensor:
    """Reverse every row from `first` to its length; the positions before and the padding stay in place.

    Args:
        x: (B, T) or (B, T, D).
        lengths: (B,).
    """
    if len(x) == 1:  # a single sentence is common, and for it an index takes longer than the reversal
        end = int(lengths)
        return torch.cat([x[:, :first], x[:, first:end].flip(1), x[:, end:]], dim=1)
    time = torch.arange(x.shape[1], device=x.device)[None, :]
    inside = (time >= first) & (time < lengths[:, None])
    index = torch.where(inside, first + lengths[:, None] - 1 - time, time)
    if x.dim() == 2:
        return x.gather(1, index)
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def word_positions(words: list[list[int]], last: bool) -> tuple[list[list[int]], int]:
    """For every text the position of each word's first (or last) piece, and the largest number of words.

    Repeated words that the tokenizer folded into one (xxwrep 3 so) share its piece, so that word i of the text stays at place i.
    """
    positions = []
    for row in words:
        of_word: dict[int, int] = {}
        for position, word in enumerate(row):
            if word >= 0 and (last or word not in of_word):
                of_word[word] = position
        places: list[int] = []
        for word in range(max(of_word, default=-1) + 1):
            places.append(of_word[word] if word in of_word else places[-1])
        positions.append(places)
    return positions, max(map(len, positions), default=0)


def gather_words(
    layers: Sequence[Tensor], words: list[list[int]], last: bool, stripped: int = 1
) -> tuple[list[Tensor], Tensor]:
    """Select the vector of one piece for each word.

    Args:
        layers: (B, T, D_l) whose first position is id number `stripped`.
        words: the word index of every id, begin symbol included.
        last: take a word's last piece (a forward model has then read all of it), else its first.

    Returns:
        For each layer (B, W, D_l) with zeros past a text's last word, and the mask (B, W).
    """
    positions, longest = word_positions(words, last)
    device = layers[0].device
    places = np.zeros((len(words), longest), dtype=np.int64)
    real = np.zeros((len(words), longest), dtype=np.bool_)
    for row, own in enumerate(positions):
        places[row, : len(own)] = own
        real[row, : len(own)] = True
    index, mask = torch.from_numpy(places - stripped * real).to(device), torch.from_numpy(real).to(device)
    if longest == 0:
        return [layer.new_zeros(len(words), 0, layer.shape[2]) for layer in layers], mask
    if len(words) == 1:
        return [layer.index_select(1, index[0]) for layer in layers], mask
    shown = mask[:, :, None]
    return [
        layer.gather(1, index[:, :, None].expand(-1, -1, layer.shape[2])) * shown for layer in layers
    ], mask
