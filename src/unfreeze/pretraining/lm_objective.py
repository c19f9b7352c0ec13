"""Language modeling as an objective of the training loop: lanes with carried state, for each direction of the model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unfreeze.encoders.layers.recurrent import detached
from unfreeze.encoders.streaming import State
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.pretraining.activation_penalties import activation_penalties
from unfreeze.text.batches import IGNORE, LaneBatch, LanguageModelLanes
from unfreeze.text.token_store import TokenStore
from unfreeze.training.objective import Loss
from unfreeze.transfer.policies import LayerGroups

Batches = dict[str, LaneBatch]


def direction_loss(
    model: AwdLstmLanguageModel,
    name: str,
    inputs: Tensor,
    targets: Tensor,
    state: State | None,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> tuple[Loss, State]:
    """The loss of one direction on a batch of lanes, and the state for the next batch.

    Args:
        inputs: (B, T) of ids.
        targets: (B, T) of the ids that follow, IGNORE where there is none.
        state: carried from the batch before.
        alpha: weight of activation regularization, on the dropped top states (Merity et al. 2018, section 4.7).
        beta: weight of temporal regularization, on differences of the undropped ones.

    The embedding's gradient is complete after `backward()`; `torch.autograd.grad` sees the output layer's part only.
    """
    stack = model.encoder.stack(name)
    output = stack(inputs.t(), state, tied=True)
    targets = targets.t()
    real = targets != IGNORE
    if bool(real.all()):  # as in every batch but the last ones: nothing has to be selected
        hidden, wanted = output.top.flatten(0, 1), targets.flatten()
    else:
        hidden, wanted = output.top[real], targets[real]
    nll = model.output(name).loss(hidden, stack.embedding.weight, wanted)
    penalty = activation_penalties(output.top, output.layers[-1], real, alpha, beta)
    return Loss(nll, len(hidden), penalty), output.state


class LanguageModelObjective:
    """Train a language model on a token store.

    Args:
        model: trained in place.
        store: the corpus.
        validation: held-out documents; None skips validation.
        batch_size: lanes over all processes.
        bptt: base length of a batch in tokens.
        variable: draw the length for each batch, instead of using the same one.
        alpha: activation regularization.
        beta: temporal activation regularization.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        model: AwdLstmLanguageModel,
        store: TokenStore,
        validation: TokenStore | None = None,
        *,
        batch_size: int = 32,
        bptt: int = 70,
        variable: bool = True,
        alpha: float = 2.0,
        beta: float = 1.0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.model: nn.Module = model
        self.language_model = model
        self.validation = validation
        self.alpha, self.beta = alpha, beta
        self.rank, self.world_size = rank, world_size
        self.states: dict[str, State | None] = dict.fromkeys(model.encoder.directions)
        self.lanes = {
            name: LanguageModelLanes(
                store,
                batch_size=batch_size,
                bptt=bptt,
                variable=variable,
                direction="forward" if name == "forward" else "backward",
                seed=seed,
                rank=rank,
                world_size=world_size,
            )
            for name in model.encoder.directions
        }

    def layer_groups(self) -> LayerGroups:
        """Each layer, then the embedding with the tied output layer: new words must learn fastest."""
        embedding, *layers = self.language_model.encoder.layer_groups()
        return [*layers, embedding + list(self.language_model.outputs.parameters())]

    def n_batches(self, epoch: int) -> int:
        """Number of batches in an epoch: the same for all directions, which draw the same lengths."""
        return next(iter(self.lanes.values())).n_batches(epoch)

    def batches(self, epoch: int, start: int) -> Iterator[Batches]:
        """One batch for each direction at each step."""
        names = list(self.lanes)
        for batches in zip(*(lanes.epoch(epoch, start) for lanes in self.lanes.values()), strict=True):
            yield dict(zip(names, batches, strict=True))

    def loss(self, batch: Batches) -> Loss:
        """The loss summed over directions; keeps the states for the next batch."""
        device = next(self.model.parameters()).device
        total = penalty = torch.zeros((), device=device)
        n_items = 0
        for name, lanes in batch.items():
            loss, state = direction_loss(
                self.language_model,
                name,
                lanes.inputs.to(device),
                lanes.targets.to(device),
                None if lanes.first else self.states[name],
                alpha=self.alpha,
                beta=self.beta,
            )
            assert loss.penalty is not None
            self.states[name] = detached(state)
            total, penalty = total + loss.total, penalty + loss.penalty / len(batch)
            n_items += loss.n_items
        return Loss(total, n_items, penalty)

    def rate_scale(self, batch: Batches) -> float:
        """The learning rate is proportional to the length of a batch."""
        return next(iter(batch.values())).rate_scale

    def carried(self) -> dict[str, Tensor]:
        """The state of every layer, lanes first: (B, k, D)."""
        return {
            f"{name}.{layer}.{part}": tensor.transpose(0, 1)
            for name, state in self.states.items()
            if state is not None
            for layer, tensors in enumerate(state)
            for part, tensor in enumerate(tensors)
        }

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Select this process's lanes from all lanes, as fp32: the run may have begun in another precision."""
        device = next(self.model.parameters()).device
        states: dict[str, dict[str, list[Tensor]]] = {name: {} for name in self.states}
        for key, tensor in tensors.items():
            name, layer, _ = key.split(".")
            if tensor.dim() == 2:  # of a checkpoint from before there were QRNNs: h, then c, (B, D)
                tensor = tensor[:, None]
            mine = tensor.chunk(self.world_size)[self.rank].transpose(0, 1)
            states[name].setdefault(layer, []).append(mine.contiguous().to(device).float())
        for name, layers in states.items():
            self.states[name] = [tuple(parts) for parts in layers.values()] or None

    def validate(self) -> dict[str, float]:
        """Perplexity of the held-out documents; the score is the loss, negated."""
        if self.validation is None:
            return {}
        found = evaluate_perplexity(self.language_model, self.validation)
        return {
            "loss": found.loss,
            "perplexity": found.perplexity,
            "bits_per_byte": found.bits_per_byte,
            "score": -found.loss,
        }
