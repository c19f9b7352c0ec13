"""A small translator with random weights, for tests."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from unfreeze.pretraining.translation.recipe import make_translator
from unfreeze.pretraining.translation.settings import TranslationSettings, tiny
from unfreeze.pretraining.translation.translator import Translator
from unfreeze.text.cased_words import train_cased_tokenizer
from unfreeze.text.marked_words import train_marked_words
from unfreeze.text.tokenizers import train_tokenizer

SOURCES = ["The man rides a bicycle.", "Two dogs", "a man and the dogs, a bicycle and a bicycle", "Man"]
TARGETS = ["Der Mann fährt Rad.", "Zwei Hunde", "ein Mann und die Hunde, ein Rad und ein Rad", "Mann"]


def small_translator(
    direction: Literal["both", "forward"] = "both",
    *,
    targets: list[str] = TARGETS,
    hidden_size: int = 16,
    target_size: int | None = None,
    subwords: bool = False,
    copies: bool = True,
) -> Translator:
    """Random weights, large enough that words matter, but not so large that the states are chaotic and amplify rounding.

    Args:
        copies: whether a translation may contain unknown words, which are copied from the source.
    """
    torch.manual_seed(0)
    settings = TranslationSettings(
        policy=tiny().policy,
        loop=tiny().loop,
        embedding_size=16,
        hidden_size=hidden_size,
        target_size=target_size,
        direction=direction,
    )
    source = train_cased_tokenizer(SOURCES, size=100)
    if subwords:
        target = train_tokenizer(targets, kind="subword", vocabulary_size=60, workers=1)
    else:
        target = train_marked_words(targets, size=100)
    translator = make_translator(source, target, None, settings)
    for name, parameter in translator.named_parameters():
        if "bias" not in name:
            nn.init.normal_(parameter, 0.0, 0.4)
    with torch.no_grad():
        translator.output.bias[target.bos_id] -= 2.0  # else most translations are empty
        if not copies:
            translator.output.bias[target.unknown_id] = -1000.0
    translator.encoder.clear_unknown()
    return translator.eval()
