"""Convert published CoVe weights (MT-LSTM of salesforce/cove): the state dictionary of a bare `nn.LSTM`, and its word vectors.

The `.pth` file has the weights of the LSTM alone, as `nn.LSTM(300, 300, 2, bidirectional=True)` names them: `weight_ih_l0`,
`weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then `..._l0_reverse`, `..._l1` and so on. Its input are GloVe vectors (840B, 300
dimensions, for the published weights), which are given as a file of their own; words without a vector are zero. The gates are
in our order, so weights are copied. LSTMs of other sizes, numbers of layers and of one direction are read as well.

No code in the file is executed. Words are split by our rules, of which the text of the original training differed slightly. A
word without a vector is looked up in lower case, which the published code does not do: there it is zero.

Shapes: V words, E width of the word vectors, H hidden size of a direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfreeze.display import counted
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.errors import UserError
from unfreeze.formats.torch_files import read_state
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer

_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NAME = re.compile(rf"({'|'.join(_PARTS)})_l(\d+)(_reverse)?")


def is_mt_lstm(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names of a bare LSTM of torch."""
    return "weight_ih_l0" in state


def read_mt_lstm(weights: str | Path, word_vectors: str | Path) -> CoVe:
    """Read a published MT-LSTM as an encoder, in evaluation mode.

    Args:
        weights: file of torch.save with the state dictionary of an `nn.LSTM` in one direction or two.
        word_vectors: file or folder of the vectors that the LSTM reads; all their words are known to the encoder.

    Raises:
        UserError: a file cannot be read, the tensors are not those of such an LSTM, or its input is not as wide as the vectors.
    """
    path = Path(weights)
    state = read_state(
        path, origin="salesforce/cove's torch.save", advice="save it with torch.save(lstm.state_dict(), NAME)"
    )
    arguments = _sizes(state, path)
    table = open_vectors(word_vectors)
    if table.size != arguments["size"]:
        raise UserError(
            f"{word_vectors} has vectors of {counted(table.size, 'number')}, and the LSTM of {path} reads {arguments['size']}: "
            "give the vectors that it was trained with"
        )
    words = [word for word in dict.fromkeys(table.words) if word not in CASED_SPECIAL_TOKENS]
    tokenizer = CasedTokenizer([*CASED_SPECIAL_TOKENS, *words])
    encoder = CoVe(tokenizer, dropout=0.0, **arguments)
    rows = [table.index[word] for word in words]
    none = np.zeros((len(CASED_SPECIAL_TOKENS), table.size), np.float32)
    tensors = {"words.weight": torch.from_numpy(np.concatenate([none, table.matrix[rows]]))}
    for name, tensor in state.items():
        match = _NAME.fullmatch(name)
        assert match is not None  # checked by _sizes
        part, number, reverse = match.groups("")
        tensors[f"lstms.{number}.{part}_l0{reverse}"] = tensor
    encoder.load_weights(tensors, str(path))
    return encoder.eval()


def _sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of CoVe.

    Raises:
        UserError: a tensor is missing, unknown, of another shape, or has something else than finite numbers.
    """
    if not is_mt_lstm(state):
        some = ", ".join(list(state)[:3]) or "nothing"
        raise UserError(
            f"{path} has no tensor weight_ih_l0: it is no MT-LSTM of CoVe (it begins with {some})"
        )
    if unknown := [name for name in state if not _NAME.fullmatch(name)]:
        raise UserError(f"{path} has the tensor {unknown[0]!r}, which no MT-LSTM of CoVe has")
    found = [match for name in state if (match := _NAME.fullmatch(name))]
    n_layers = len({match[2] for match in found})
    ends = ("", "_reverse") if any(match[3] for match in found) else ("",)
    wanted = [f"{part}_l{n}{end}" for n, end, part in product(range(n_layers), ends, _PARTS)]
    if missing := [name for name in wanted if name not in state]:
        raise UserError(f"{path} lacks the tensor {missing[0]}: the file is incomplete")
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if state[name].ndim != 2 or not state[name].numel():
            raise UserError(f"{path}: tensor {name} is {list(state[name].shape)}, no matrix")
    size, hidden_size = state["weight_ih_l0"].shape[1], state["weight_hh_l0"].shape[1]
    for name in wanted:
        below = size if "_l0" in name else hidden_size * len(ends)
        width = {"weight_ih": [below], "weight_hh": [hidden_size]}.get(name.partition("_l")[0], [])
        shape = [4 * hidden_size, *width]
        if list(state[name].shape) != shape:
            raise UserError(f"{path}: tensor {name} is {list(state[name].shape)}, not {shape}")
        if not state[name].is_floating_point() or not state[name].isfinite().all():
            raise UserError(f"{path}: tensor {name} has other values than finite floating-point numbers")
    return {
        "size": size,
        "hidden_size": hidden_size,
        "n_layers": n_layers,
        "direction": "both" if len(ends) == 2 else "forward",
    }
