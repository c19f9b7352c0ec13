"""Our side of the language-model benchmarks: the package's own training loop, with its optimizer and schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any, Literal

from benchmarks.turns import Contender, StepEnd
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.pretraining.language_model import LanguageModel
from unfreeze.pretraining.lm_objective import Batches, LanguageModelObjective
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.loop import LoopSettings, train
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import TransferPolicy

Softmax = Literal["adaptive", "full"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a language model is trained."""

    rate: float = 3e-3
    """Maximal."""
    batch_size: int = 64
    """Lanes."""
    bptt: int = 70
    """Tokens a lane and step."""
    variable_bptt: bool = False
    """Draw `bptt` anew for each step."""
    alpha: float = 2.0
    """Activation regularization."""
    beta: float = 1.0
    """Temporal activation regularization."""
    dropout_scale: float = 1.0
    """Factor on AWD-LSTM's dropouts."""


def language_model(
    tokenizer: TextTokenizer, sizes: Sequence[int], softmax: Softmax, dropout_scale: float = 1.0
) -> LanguageModel:
    """A model with random weights; sizes are embedding, hidden width and number of layers."""
    encoder = AwdLstm(
        tokenizer,
        embedding_size=sizes[0],
        hidden_size=sizes[1],
        n_layers=sizes[2],
        dropouts=Dropouts().times(dropout_scale),
    )
    return LanguageModel(encoder, default_cutoffs(len(tokenizer)) if softmax == "adaptive" else ())


class SteppedObjective(LanguageModelObjective):
    """A run of exactly `n_steps` batches, over as many epochs as they take; `step` hears of each."""

    def __init__(
        self, model: LanguageModel, store: TokenStore, *, n_steps: int, step: StepEnd, **options: Any
    ) -> None:
        super().__init__(model, store, **options)
        self.n_steps, self.step = n_steps, step

    def n_batches(self, epoch: int) -> int:
        """To which the loop fits its schedule."""
        return self.n_steps

    def batches(self, epoch: int, start: int) -> Iterator[Batches]:
        """The loop asks for the next batch when the update is made."""
        parent = super().batches
        for batch in islice(chain.from_iterable(parent(number, 0) for number in count()), self.n_steps):
            yield batch
            self.step(sum(lanes.inputs.numel() for lanes in batch.values()))


def training(
    name: str,
    model: LanguageModel,
    store: TokenStore,
    recipe: Recipe,
    *,
    n_steps: int,
    precision: Precision = "auto",
) -> Contender:
    """`unfreeze.training.loop.train` on `model` as a contender."""
    accelerator = make_accelerator(precision)

    def work(step: StepEnd) -> None:
        objective = SteppedObjective(
            model,
            store,
            n_steps=n_steps,
            step=step,
            batch_size=recipe.batch_size,
            bptt=recipe.bptt,
            variable=recipe.variable_bptt,
            alpha=recipe.alpha,
            beta=recipe.beta,
        )
        train(
            objective,
            policy=TransferPolicy(mode="scratch", rate=recipe.rate, schedule="cosine"),
            settings=LoopSettings(epochs=1),
            accelerator=accelerator,
        )

    return Contender(name, work, n_steps)
