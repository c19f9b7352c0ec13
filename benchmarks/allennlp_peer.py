"""AllenNLP's side: its biLM as it embeds sentences, and a training step of its own modules. Runs in benchmarks/.peers only.

AllenNLP 2.10 has no trainer for ELMo, only the parts: `_ElmoCharacterEncoder`, `ElmoLstm` and `SampledSoftmaxLoss`, put
together here as its language model does, with torch's Adam.
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
    """A published model's layers of sentences that are split into words."""

    def __init__(self, options: Path, weights: Path) -> None:
        self.bilm = _ElmoBiLm(str(options), str(weights)).eval()

    @torch.no_grad()
    def layers(self, sentences: Sequence[list[str]]) -> list[torch.Tensor]:
        """L tensors (B, T + 2, 2 P), frames included; its state is carried from call to call."""
        found: list[torch.Tensor] = self.bilm(batch_to_ids(sentences))["activations"]
        return found

    def forget(self) -> None:
        """Begin anew: the state is dropped."""
        self.bilm._elmo_lstm.reset_states()


class TrainingPeer:
    """The biLM's loss on sentences of equal length, both directions, and Adam's step.

    Args:
        options, weights: the sizes and where it starts.
        vocabulary_size: of the output.
        n_samples: words that a target is compared with.
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
        """One step.

        Args:
            spelled: (B, T - 2, 50), AllenNLP's ids of the characters, before frames are put around.
            ids: (B, T) of the words with their frames.
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
        """Steps over `batches` as a contender; tokens are the positions of both directions."""

        def work(step: StepEnd) -> None:
            for spelled, ids in batches:
                self.update(spelled, ids)
                step(2 * ids.numel())

        return Contender(name, work)


def spell(sentences: Sequence[list[str]]) -> torch.Tensor:
    """(B, T, 50) ids of the characters of words."""
    found: torch.Tensor = batch_to_ids(sentences)
    return found
