"""The biLM as an objective of the training loop: two independent streams of sentences, one for each direction.

The vocabulary of the token store is larger than that of the model: it has every word of the text, so that the encoder reads
the characters of words that the output layer lacks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unfreeze.encoders.elmo import DIRECTIONS, States
from unfreeze.language_models.bilm import BiLanguageModel, word_targets
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.text.batches import IGNORE, LaneBatch, LanguageModelLanes
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.training.objective import Loss
from unfreeze.transfer.policies import LayerGroups

Batches = dict[str, LaneBatch]
BACKWARD_SEED = 7_919
"""Added to the seed of the backward stream's order."""


class BilmObjective:
    """Train a biLM on a token store.

    Args:
        model: trained in place.
        tokenizer: the store's; its vocabulary begins with the model's.
        store: the corpus.
        validation: held-out documents; None skips validation.
        batch_size: lanes over all processes.
        bptt: length of a batch in tokens.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        model: BiLanguageModel,
        tokenizer: CasedTokenizer,
        store: TokenStore,
        validation: TokenStore | None = None,
        *,
        batch_size: int = 128,
        bptt: int = 20,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.model: nn.Module = model
        self.bilm = model
        self.tokenizer = tokenizer
        self.validation = validation
        self.rank, self.world_size = rank, world_size
        self.states: States | None = None
        self.lanes = {
            name: LanguageModelLanes(
                store,
                batch_size=batch_size,
                bptt=bptt,
                variable=False,
                direction="forward" if name == "forward" else "reversed",
                seed=seed if name == "forward" else seed + BACKWARD_SEED,
                rank=rank,
                world_size=world_size,
            )
            for name in DIRECTIONS
        }

    def layer_groups(self) -> LayerGroups:
        """Each LSTM layer, then the word encoder together with the output layer."""
        words, *lstms = self.bilm.encoder.layer_groups()
        return [*lstms, words + list(self.bilm.output.parameters())]

    def n_batches(self, epoch: int) -> int:
        """Number of batches in an epoch, the same for both directions."""
        return self.lanes["forward"].n_batches(epoch)

    def batches(self, epoch: int, start: int) -> Iterator[Batches]:
        """One batch for each direction at each step."""
        pairs = zip(*(self.lanes[name].epoch(epoch, start) for name in DIRECTIONS), strict=True)
        for pair in pairs:
            yield dict(zip(DIRECTIONS, pair, strict=True))

    def loss(self, batch: Batches) -> Loss:
        """The loss summed over both directions; keeps the states for the next batch."""
        device = next(self.model.parameters()).device
        ids = torch.stack([batch[name].inputs for name in DIRECTIONS])
        rows, places = self.bilm.word_rows(ids, self.tokenizer)
        top, self.states = self.bilm.top_states(
            {name: places[number].to(device) for number, name in enumerate(DIRECTIONS)},
            rows.to(device),
            None if batch["forward"].first else self.states,
            [ids.shape[1]] * ids.shape[2],
        )
        hidden = torch.cat([self.bilm.dropout(top[name]).flatten(0, 1) for name in DIRECTIONS])
        targets = [word_targets(batch[name].targets, self.bilm.tokenizer, name) for name in DIRECTIONS]
        wanted = torch.cat([each.t().flatten() for each in targets]).to(device)
        real = wanted != IGNORE
        return Loss(self.bilm.output.loss(hidden[real], wanted[real]), int(real.sum()))

    def rate_scale(self, batch: Batches) -> float:
        """1: every batch has the same learning rate."""
        return 1.0

    def carried(self) -> dict[str, Tensor]:
        """h and c of every layer, lanes first."""
        if self.states is None:
            return {}
        return {
            f"{name}.{layer}.{part}": tensor
            for name, layers in self.states.items()
            for layer, pair in enumerate(layers)
            for part, tensor in zip("hc", pair, strict=True)
        }

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Select this process's lanes from all lanes."""
        device = next(self.model.parameters()).device
        mine = {name: t.chunk(self.world_size)[self.rank].to(device).float() for name, t in tensors.items()}
        if not mine:
            self.states = None
            return
        self.states = {
            name: [
                (mine[f"{name}.{layer}.h"], mine[f"{name}.{layer}.c"])
                for layer in range(self.bilm.encoder.n_layers)
            ]
            for name in DIRECTIONS
        }

    def validate(self) -> dict[str, float]:
        """Exact perplexity of the held-out documents; the score is the loss, negated."""
        if self.validation is None:
            return {}
        found = evaluate_perplexity(self.bilm, self.validation, self.tokenizer)
        return {**found.metrics(), "score": -found.loss}
