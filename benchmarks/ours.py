"""Our side of the training benchmarks: the training loop of the package, with its optimizer and schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any, Literal

from benchmarks.sizes import Sizes
from benchmarks.turns import Contender, StepEnd
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.text.batches import LaneBatch
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.loop import train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import TransferPolicy

Softmax = Literal["adaptive", "full"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training settings of a language model."""

    rate: float = 3e-3
    """Maximum learning rate."""
    batch_size: int = 64
    """Number of parallel sequences."""
    bptt: int = 70
    """Tokens per sequence and step."""
    variable_bptt: bool = False
    """Draw the length at random for each step."""
    alpha: float = 2.0
    """Activation regularization."""
    beta: float = 1.0
    """Temporal activation regularization."""
    dropout_scale: float = 1.0
    """Factor of AWD-LSTM's dropouts."""


def encoder(tokenizer: TextTokenizer, sizes: Sizes, cell: CellKind, dropout_scale: float = 1.0) -> AwdLstm:
    """With random weights."""
    return AwdLstm(
        tokenizer,
        embedding_size=sizes[0],
        hidden_size=sizes[1],
        n_layers=sizes[2],
        cell=cell,
        dropouts=Dropouts().times(dropout_scale),
    )


def cutoffs(softmax: Softmax, n_words: int) -> tuple[int, ...]:
    """Cutoffs as chosen by `pretrain lm`."""
    return default_cutoffs(n_words) if softmax == "adaptive" else ()


def language_model(
    tokenizer: TextTokenizer, sizes: Sizes, cell: CellKind, softmax: Softmax, dropout_scale: float = 1.0
) -> AwdLstmLanguageModel:
    """Create a model with random weights."""
    return AwdLstmLanguageModel(
        encoder(tokenizer, sizes, cell, dropout_scale), cutoffs(softmax, len(tokenizer))
    )


def stepped(objective: Objective, n_steps: int, step: StepEnd, tokens: Callable[[Any], int]) -> Objective:
    """A run of exactly `n_steps` batches, over as many epochs as needed; calls `step` with the tokens of each."""
    batches = objective.batches

    def limited(epoch: int, start: int) -> Iterator[Any]:
        """The training loop requests the next batch after the update."""
        for batch in islice(chain.from_iterable(batches(number, 0) for number in count()), n_steps):
            yield batch
            step(tokens(batch))

    objective.batches = limited  # type: ignore[method-assign]
    objective.n_batches = lambda epoch: n_steps  # type: ignore[method-assign]
    return objective


def contender(
    name: str,
    make: Callable[[], Objective],
    policy: TransferPolicy,
    *,
    n_steps: int,
    precision: Precision,
    tokens: Callable[[Any], int],
) -> Contender:
    """Run `unfreeze.training.loop.train` on an objective."""
    accelerator = make_accelerator(precision)

    def work(step: StepEnd) -> None:
        objective = stepped(make(), n_steps, step, tokens)
        train(objective, policy=policy, settings=LoopSettings(epochs=1), accelerator=accelerator)

    return Contender(name, work, n_steps)


def lane_tokens(batch: dict[str, LaneBatch]) -> int:
    """Number of tokens in all directions."""
    return sum(lanes.inputs.numel() for lanes in batch.values())


def training(
    name: str,
    model: AwdLstmLanguageModel,
    store: TokenStore,
    recipe: Recipe,
    *,
    n_steps: int,
    precision: Precision = "auto",
) -> Contender:
    """Training of a language model as a contender."""

    def make() -> LanguageModelObjective:
        return LanguageModelObjective(
            model,
            store,
            batch_size=recipe.batch_size,
            bptt=recipe.bptt,
            variable=recipe.variable_bptt,
            alpha=recipe.alpha,
            beta=recipe.beta,
        )

    policy = TransferPolicy(mode="scratch", learning_rate=recipe.rate, schedule="cosine")
    return contender(name, make, policy, n_steps=n_steps, precision=precision, tokens=lane_tokens)
