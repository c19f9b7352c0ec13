"""Small ELMos for tests."""

from __future__ import annotations

from typing import Any

import torch

from unfreeze.encoders.elmo import Elmo
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer

WORDS = "the cat sat on mat . The dog saw a bird , and it flew away".split()
SPELLING = {"embedding": 4, "filters": [[1, 4], [2, 6], [3, 5]], "n_highway": 1}


def tokenizer(counted: bool = True) -> CasedTokenizer:
    """Special tokens and `WORDS`, frequent ones first."""
    tokens = [*CASED_SPECIAL_TOKENS, *WORDS]
    counts = [3, 0, 9, 9, *range(len(WORDS) + 1, 1, -1)]
    return CasedTokenizer(tokens, counts if counted else None)


def small_elmo(seed: int = 0, **changes: Any) -> Elmo:
    """8 numbers a direction, 16 cells, two layers, weights large enough that every part counts."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"size": 8, "cells": 16, "spelling": SPELLING, "dropout": 0.0}
    encoder = Elmo(tokenizer(), **{**sizes, **changes})
    with torch.no_grad():
        for parameter in encoder.stacks.parameters():
            parameter.mul_(2.0)
    return encoder.eval()


def small_bilm(seed: int = 0, softmax: Any = "full", **changes: Any) -> BiLanguageModel:
    """The same with an output layer."""
    return BiLanguageModel(small_elmo(seed, **changes), softmax, n_samples=8).eval()
