"""How well a biLM predicts held-out text, by each of its directions: exact, whatever softmax it was trained with.

Every document starts from a zero state, which is then carried over its sentences, so that a figure never depends on the
batch size. Targets are words and the frame that ends a sentence in the direction's order. Bits per byte is the whole code
length over the text's UTF-8 bytes, where a word outside of the vocabulary pays for its unknown symbol and then eight bits
for each of its bytes; it compares with all other language models, perplexity with those of the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unfreeze.encoders.directions import reversed_within
from unfreeze.encoders.elmo import DIRECTIONS, States
from unfreeze.language_models.bilm import BiLanguageModel, word_targets
from unfreeze.language_models.perplexity import Perplexity, document_batches
from unfreeze.language_models.surfaces import Surfaces
from unfreeze.progress import SILENT, Progress
from unfreeze.text.batches import IGNORE
from unfreeze.text.token_store import TokenStore

PIECE = 128
"""Tokens of each document that are run at once."""
BATCH = 32


@dataclass(frozen=True)
class BilmPerplexity:
    """Held-out figures of each direction."""

    directions: dict[str, Perplexity]

    @property
    def mean(self) -> Perplexity:
        """Both directions together."""
        every = list(self.directions.values())
        loss = sum(found.loss for found in every) / len(every)
        return Perplexity(
            loss,
            float(np.exp(min(loss, 700.0))),
            sum(found.bits_per_byte for found in every) / len(every),
            every[0].n_tokens,
            every[0].unknown_share,
        )

    def figures(self) -> dict[str, float]:
        """As metrics.json has them: means of the directions, and each direction's perplexity."""
        own = {f"perplexity_{name}": found.perplexity for name, found in self.directions.items()}
        return {**self.mean.figures(), **own}


@torch.no_grad()
def evaluate_bilm(
    model: BiLanguageModel,
    surfaces: Surfaces,
    store: TokenStore,
    *,
    progress: Progress = SILENT,
) -> BilmPerplexity:
    """Measure `model` on all documents of `store`.

    Args:
        surfaces: the store's words, as the encoder reads them.
    """
    model.eval()
    nats, n_targets = dict.fromkeys(DIRECTIONS, 0.0), dict.fromkeys(DIRECTIONS, 0)
    unknown_bytes = store.unknown_bytes
    with progress.bar("perplexity", total=store.n_tokens, unit="token") as bar:
        for ids, lengths in document_batches(store, BATCH, store.pad_id):
            turned = {"forward": ids, "backward": reversed_within(ids, lengths, first=0)}
            found = _measure(model, surfaces, turned, lengths)
            for name in DIRECTIONS:
                nats[name] += found[name][0]
                n_targets[name] += found[name][1]
            unknown_bytes += surfaces.unknown_bytes(ids)
            bar.advance(int(lengths.sum()))
    return BilmPerplexity(
        {
            name: Perplexity.of(nats[name], n_targets[name], store.n_bytes, unknown_bytes)
            for name in DIRECTIONS
        }
    )


def _measure(
    model: BiLanguageModel, surfaces: Surfaces, turned: dict[str, Tensor], lengths: Tensor
) -> dict[str, tuple[float, int]]:
    """The nats that the targets of a batch cost each direction, and how many they are."""
    device = next(model.parameters()).device
    total, count = dict.fromkeys(DIRECTIONS, 0.0), dict.fromkeys(DIRECTIONS, 0)
    states: States | None = None
    ends = lengths.tolist()
    for start in range(0, max(ends) - 1, PIECE):
        stop = min(start + PIECE, max(ends) - 1)
        active = [sum(end - 1 > t for end in ends) for t in range(start, stop)]
        alive = active[0]
        if states is not None:
            states = {n: [(h[:alive], c[:alive]) for h, c in layers] for n, layers in states.items()}
        rows, places = surfaces.read(torch.stack([turned[name][:alive, start:stop] for name in DIRECTIONS]))
        inputs = {name: places[number].to(device) for number, name in enumerate(DIRECTIONS)}
        top, states = model.top_states(inputs, rows.to(device), states, active)
        real = torch.arange(start, stop)[None, :] < lengths[:alive, None] - 1
        for name in DIRECTIONS:
            ids = torch.where(real, turned[name][:alive, start + 1 : stop + 1], IGNORE)
            targets = word_targets(ids, model.tokenizer, name).t().to(device)
            wanted = targets != IGNORE
            found = model.output.target_log_probabilities(top[name][wanted].float(), targets[wanted])
            total[name] -= float(found.double().sum())
            count[name] += int(wanted.sum())
    return {name: (total[name], count[name]) for name in DIRECTIONS}
