"""Small language models with random weights that are far from uniform, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer

TEXTS = [
    "The bank of the river was wet. A mouse sat on the bank, and the mouse was small.",
    "I am very excited! The river was HIGH, and the small bank was closed.",
    "So the mouse went to the river and sat there; the water was cold.",
    "A bank gives money. The money was small, the bank was not. I was excited.",
]


NO_DROPOUT = Dropouts(embedding=0.0, input=0.0, hidden=0.0, weight=0.0, output=0.0)
CELLS: list[CellKind] = ["lstm", "qrnn"]
CELL_ARGUMENTS: dict[CellKind, dict[str, Any]] = {
    "lstm": {},
    "qrnn": {"cell": "qrnn", "windows": (3,), "zoneout": 0.1},
}
"""The first QRNN carries two inputs on beside its cell, and zoneout counts in evaluation too."""


def word_tokenizer() -> TextTokenizer:
    """All words of `TEXTS`."""
    return train_tokenizer(TEXTS, kind="word", min_count=1, workers=1)


def random_model(
    tokenizer: TextTokenizer,
    direction: Direction = "forward",
    cutoffs: Sequence[int] = (),
    seed: int = 0,
    cell: CellKind = "lstm",
) -> AwdLstmLanguageModel:
    """Weights that are spread, so that a wrong gate, order or cluster shows."""
    torch.manual_seed(seed)
    sizes = {"embedding_size": 7, "hidden_size": 11, "n_layers": 2}
    encoder = AwdLstm(tokenizer, **sizes, direction=direction, **CELL_ARGUMENTS[cell])
    model = AwdLstmLanguageModel(encoder, cutoffs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.7)
    return model.eval()
