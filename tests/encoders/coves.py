"""Small CoVes for tests."""

from __future__ import annotations

from typing import Any

import torch

from tests.encoders.elmos import tokenizer
from unfreeze.encoders.cove import CoVe


def small_cove(seed: int = 0, **changes: Any) -> CoVe:
    """Vectors of 5 numbers and 3 a direction, two layers, weights large enough that every part counts."""
    torch.manual_seed(seed)
    encoder = CoVe(tokenizer(), **{"size": 5, "hidden_size": 3, **changes})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter))
        encoder.clear_unknown()
    return encoder.eval()
