"""The biLM that ELMo is pre-trained as: its encoder and one softmax over words, shared by both directions.

    log p(w_t | w_1..w_(t-1)) + log p(w_t | w_(t+1)..w_n), the sum over all words of a text      (Peters et al. 2018, 3.1)

A sentence's frames are read like words. The end of a sentence is to be predicted by the forward direction, its beginning
by the backward one; what is bound to come, the beginning that follows an end, is no target of either.

Legend: B batch, T time, U different words, V vocabulary, P projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.elmo import Elmo, States
from unfreeze.encoders.layers.word_softmax import SoftmaxKind, WordSoftmax
from unfreeze.encoders.saving import load_matching, made_from_config, save_model
from unfreeze.errors import UserError
from unfreeze.folders import WEIGHTS, load_tensors, read_config
from unfreeze.registry import find_model
from unfreeze.text.batches import IGNORE
from unfreeze.text.cased_words import CasedTokenizer


@dataclass(frozen=True)
class BilmLoss:
    """What both directions say of a batch."""

    nll: Tensor
    """Summed over the targets of both, in nats; sampled in training where the softmax is."""
    n_targets: int
    """Positions of both that have a target."""
    states: States
    """To be carried to the next batch."""


class BiLanguageModel(nn.Module):
    """Encoder and output layer, which starts from the words' frequencies where the tokenizer knows them.

    Args:
        softmax: adaptive, full or sampled.
        n_samples: words that a target is compared with in training, where the softmax is sampled.
    """

    def __init__(self, encoder: Elmo, softmax: SoftmaxKind = "adaptive", n_samples: int = 8192) -> None:
        super().__init__()
        if n_samples < 1:
            raise UserError(f"{n_samples} samples for a target: at least 1")
        self.encoder = encoder
        self.output = WordSoftmax(len(encoder.tokenizer), encoder.size, softmax, n_samples)
        counts = encoder.tokenizer.counts
        if counts is not None:
            self.output.layer.start_from_counts(counts)
        self.dropout = nn.Dropout(encoder.dropout.p)

    @property
    def tokenizer(self) -> CasedTokenizer:
        """The encoder's."""
        return self.encoder.tokenizer

    def top_states(
        self, inputs: dict[str, Tensor], rows: Tensor, states: States | None, active: Sequence[int]
    ) -> tuple[dict[str, Tensor], States]:
        """The top layer of each direction, (T, B, P), and the states to carry.

        Args:
            inputs: (B, T) of places in `rows` for each direction, in the order in which it reads, longest first.
            rows: the spellings (or ids) of the batch's different words.
            active: (T,) how many rows each step still runs.
        """
        vectors = self.encoder.token_vectors(rows)
        read = {name: F.embedding(places.t(), vectors) for name, places in inputs.items()}
        layers, after = self.encoder.run(read, states, active)
        return {name: found[-1] for name, found in layers.items()}, after

    def loss(
        self, inputs: dict[str, Tensor], rows: Tensor, targets: dict[str, Tensor], states: States | None
    ) -> BilmLoss:
        """The loss on a batch of lanes.

        Args:
            inputs: (B, T) of places in `rows` for each direction.
            targets: (B, T) of ids of the vocabulary, IGNORE where there is none.
        """
        batch, n_steps = next(iter(inputs.values())).shape
        top, after = self.top_states(inputs, rows, states, [batch] * n_steps)
        hidden = torch.cat([self.dropout(x).flatten(0, 1) for x in top.values()])
        wanted = torch.cat([targets[name].t().flatten() for name in top])
        real = wanted != IGNORE
        return BilmLoss(self.output.loss(hidden[real], wanted[real]), int(real.sum()), after)

    def config(self) -> dict[str, Any]:
        """What config.json says: the encoder's, and the output layer's kind."""
        output = {"softmax": self.output.kind, "n_samples": self.output.n_samples}
        return {**self.encoder.config(), "output": output}

    def weights(self) -> dict[str, Tensor]:
        """The tensors to be saved."""
        own = {f"encoder.{name}": tensor for name, tensor in self.encoder.weights().items()}
        return own | {f"output.{name}": tensor for name, tensor in self.output.state_dict().items()}

    def save_pretrained(
        self, folder: str | Path, *, without_output: bool = False, half: bool = False
    ) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all.

        Args:
            without_output: leave the output layer out; `score`, `fill` and `adapt` then need another model.
            half: store fp16, for release; loading gives fp32 back.
        """
        if without_output:
            self.encoder.save_pretrained(folder)
            return
        save_model(folder, self.config(), self.weights(), self.tokenizer, half=half)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> BiLanguageModel:
        """Load a biLM, in evaluation mode and fp32; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, it has no output layer, or its folder is damaged.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder)
        if config["kind"] != Elmo.kind or config.get("output") is None:
            raise UserError(f"{folder} is a {config['kind']} without a biLM's output layer; this needs one")
        encoder = Elmo.from_config(config, folder)
        model = made_from_config(cls, folder, encoder, **config["output"])
        load_matching(model, load_tensors(folder / WEIGHTS), model.weights(), str(folder))
        return model.eval()


def word_targets(ids: Tensor, tokenizer: CasedTokenizer, name: str) -> Tensor:
    """Targets from ids of a larger vocabulary that begins with the model's: what it lacks is unknown, what is bound to come
    (the beginning behind an end, or the end before a beginning) none."""
    certain = tokenizer.bos_id if name == "forward" else tokenizer.eos_id
    targets = torch.where(ids < len(tokenizer), ids, tokenizer.unknown_id)
    return torch.where((ids == certain) | (ids == IGNORE), IGNORE, targets)
