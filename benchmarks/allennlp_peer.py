"""AllenNLP's side: embedding of sentences by its biLM, and a training step with its modules. Runs in benchmarks/.peers only.

AllenNLP 2.10 has no trainer for ELMo, only its parts: `_ElmoCharacterEncoder`, `ElmoLstm` and `SampledSoftmaxLoss`. They are
combined here as in its language model, with torch's Adam.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import stand_ins
from benchmarks.turns import Contender, StepEnd

stand_ins.install()

from allennlp.modules.elmo import _ElmoBiLm, _ElmoCharacterEncoder, batch_to_ids  # noqa: E402
from allennlp.modules.elmo_lstm import ElmoLstm  # noqa: E402
from allennlp.modules.sampled_softmax_loss import SampledSoftmaxLoss  # noqa: E402


class EmbeddingPeer:
    """Layers of a published model for tokenized sentences."""

    def __init__(self, options: Path, weights: Path) -> None:
        self.bilm = _ElmoBiLm(str(options), str(weights)).eval()

    @torch.no_grad()
    def layers(self, sentences: Sequence[list[str]]) -> list[torch.Tensor]:
        """Return L tensors (B, T + 2, 2 P), including boundaries; the state is carried from call to call."""
        found: list[torch.Tensor] = self.bilm(batch_to_ids(sentences))["activations"]
        return found

    def forget(self) -> None:
        """Reset the state."""
        self.bilm._elmo_lstm.reset_states()


class TrainingPeer:
    """Loss of the biLM in both directions on sentences of equal length, and an update by Adam.

    Args:
        options, weights: files with the sizes and the initial weights.
        vocabulary_size: of the output.
        n_samples: number of negative samples.
    """

    def __init__(self, options: Path, weights: Path, vocabulary_size: int, n_samples: int) -> None:
        sizes = json.loads(options.read_text(encoding="utf-8"))["lstm"]
        self.words = _ElmoCharacterEncoder(str(options), str(weights), requires_grad=True)
        self.lstm = ElmoLstm(
            input_size=sizes["projection_dim"],
            hidden_size=sizes["projection_dim"],
            cell_size=sizes["dim"],
            num_layers=sizes["n_layers"],
            memory_cell_clip_value=sizes["cell_clip"],
            state_projection_clip_value=sizes["proj_clip"],
            requires_grad=True,
        )
        self.lstm.load_weights(str(weights))
        self.softmax = SampledSoftmaxLoss(vocabulary_size, sizes["projection_dim"], n_samples)
        parts = (self.words, self.lstm, self.softmax)
        self.optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], lr=1e-3)
        for part in parts:
            part.train()

    def update(self, spelled: torch.Tensor, ids: torch.Tensor) -> None:
        """Make one update.

        Args:
            spelled: character ids of AllenNLP (B, T - 2, 50), without boundaries.
            ids: word ids (B, T) with boundaries.
        """
        read = self.words(spelled)
        top = self.lstm(read["token_embedding"], read["mask"])[-1]
        forward, backward = top.chunk(2, dim=-1)
        hidden = torch.cat([forward[:, :-1].flatten(0, 1), backward[:, 1:].flatten(0, 1)])
        targets = torch.cat([ids[:, 1:].flatten(), ids[:, :-1].flatten()])
        loss = self.softmax(hidden, targets) / len(targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def training(self, name: str, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Contender:
        """Training on `batches` as a contender; tokens are the positions of both directions."""

        def work(step: StepEnd) -> None:
            for spelled, ids in batches:
                self.update(spelled, ids)
                step(2 * ids.numel())

        return Contender(name, work)


def spell(sentences: Sequence[list[str]]) -> torch.Tensor:
    """Character ids of words (B, T, 50)."""
    found: torch.Tensor = batch_to_ids(sentences)
    return found
