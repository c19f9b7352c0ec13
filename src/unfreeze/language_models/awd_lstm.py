"""A language model: an AWD-LSTM encoder and a tied output layer for each of its directions.

What ULMFiT pre-trains (Howard & Ruder 2018): p(x_1..x_T) = prod_t p(x_t | x_1..x_{t-1}), or the same from the right.
Legend: B batch, T time, V vocabulary, E width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.layers.output import TiedSoftmax
from unfreeze.encoders.saving import load_matching, made_from_config, save_model
from unfreeze.encoders.streaming import State
from unfreeze.errors import UserError
from unfreeze.folders import WEIGHTS, load_tensors, read_config
from unfreeze.pretraining.activation_penalties import activation_penalties
from unfreeze.registry import find_model
from unfreeze.text.batches import IGNORE
from unfreeze.text.tokenizers import TextTokenizer


@dataclass(frozen=True)
class DirectionLoss:
    """What one direction says of a batch."""

    nll: Tensor
    """Summed negative log-likelihood of the targets, in nats."""
    regularization: Tensor
    """Activation and temporal regularization, a mean over the real positions."""
    n_targets: int
    """Positions that have a target."""
    state: State
    """To be carried to the next batch."""


class AwdLstmLanguageModel(nn.Module):
    """Encoder and output layers; these start from the words' frequencies, where the tokenizer knows them.

    Args:
        encoder: its stacks' last layers are as wide as its embedding.
        cutoffs: of the adaptive softmax; empty for the full one.
    """

    def __init__(self, encoder: AwdLstm, cutoffs: Sequence[int] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        width = int(encoder.arguments()["embedding_size"])
        self.outputs = nn.ModuleDict(
            {
                module_name(name): TiedSoftmax(len(encoder.tokenizer), width, cutoffs)
                for name in encoder.directions
            }
        )
        counts = encoder.tokenizer.counts
        if counts is not None:
            for name in encoder.directions:
                self.output(name).start_from_counts(counts)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The encoder's."""
        return self.encoder.tokenizer

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Where the adaptive softmax's clusters begin."""
        return self.output(self.encoder.directions[0]).cutoffs

    def output(self, name: str) -> TiedSoftmax:
        """The output layer of a direction."""
        output = self.outputs[module_name(name)]
        assert isinstance(output, TiedSoftmax)
        return output

    def direction_loss(
        self,
        name: str,
        inputs: Tensor,
        targets: Tensor,
        state: State | None,
        *,
        alpha: float = 0.0,
        beta: float = 0.0,
    ) -> DirectionLoss:
        """The loss of one direction on a batch of lanes.

        Args:
            inputs: (B, T) of ids.
            targets: (B, T) of the ids that follow, IGNORE where there is none.
            state: carried from the batch before.
            alpha: weight of activation regularization, on the dropped top states (Merity et al. 2018, section 4.7).
            beta: weight of temporal regularization, on differences of the undropped ones.

        The embedding's gradient is complete after `backward()`; `torch.autograd.grad` sees the output layer's part only.
        """
        stack = self.encoder.stack(name)
        output = stack(inputs.t(), state, tied=True)
        targets = targets.t()
        real = targets != IGNORE
        if bool(real.all()):  # as in every batch but the last ones: nothing has to be picked
            hidden, wanted = output.top.flatten(0, 1), targets.flatten()
        else:
            hidden, wanted = output.top[real], targets[real]
        nll = self.output(name).loss(hidden, stack.embedding.weight, wanted)
        penalty = activation_penalties(output.top, output.layers[-1], real, alpha, beta)
        return DirectionLoss(nll, penalty, len(hidden), output.state)

    @torch.no_grad()
    def target_log_probabilities(
        self, name: str, inputs: Tensor, targets: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """log p of every target in nats, 0 where there is none: (B, T), (B, T) -> (B, T) and the state to carry."""
        stack = self.encoder.stack(name)
        output = stack(inputs.t(), state)
        real = (targets != IGNORE).t()
        result = torch.zeros(real.shape, device=inputs.device)
        result[real] = self.output(name).target_log_probabilities(
            output.top[real].float(), stack.embedding.weight, targets.t()[real]
        )
        return result.t(), output.state

    def config(self) -> dict[str, Any]:
        """What config.json says: the encoder's, and the output layer's cutoffs."""
        return {**self.encoder.config(), "output": {"cutoffs": list(self.cutoffs)}}

    def weights(self) -> dict[str, Tensor]:
        """The tensors to be saved."""
        own = {f"encoder.{name}": tensor for name, tensor in self.encoder.weights().items()}
        return own | {f"outputs.{name}": tensor for name, tensor in self.outputs.state_dict().items()}

    def save_pretrained(
        self, folder: str | Path, *, without_output: bool = False, half: bool = False
    ) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all.

        Args:
            without_output: leave the output layer out; `score`, `fill`, `generate` and `adapt` then need another model.
            half: store fp16, for release; loading gives fp32 back.
        """
        if without_output:
            self.encoder.save_pretrained(folder)
            return
        save_model(folder, self.config(), self.weights(), self.tokenizer, half=half)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> AwdLstmLanguageModel:
        """Load a language model, in evaluation mode and fp32; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, it has no output layer, or its folder is damaged.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder)
        if config["kind"] != AwdLstm.kind or config.get("output") is None:
            raise UserError(
                f"{folder} is a {config['kind']} without a language model's output layer; this needs one"
            )
        encoder = AwdLstm.from_config(config, folder)
        cutoffs = config["output"].get("cutoffs", [])
        model = made_from_config(cls, folder, encoder, cutoffs=cutoffs)
        load_matching(model, load_tensors(folder / WEIGHTS), model.weights(), str(folder))
        return model.eval()


def start_from_vectors(model: AwdLstmLanguageModel, matrix: Tensor) -> None:
    """Start the embedding, and with it the tied output, from word vectors (V, E) scaled to the embedding's size.

    Word vectors come with norms that differ from run to run; a tied softmax wants rows of a known, small scale, so the
    whole matrix is divided by one number and the directions between words are kept.
    """
    scale = 0.1 / matrix.std().clamp_min(1e-8)
    model.encoder.start_embedding(matrix * scale, range(len(matrix)))
