"""A language model: an AWD-LSTM encoder and a tied output layer for each of its directions.

What ULMFiT pre-trains (Howard & Ruder 2018): p(x_1..x_T) = prod_t p(x_t | x_1..x_{t-1}), or the same from the right.
Legend: B batch, T time, V vocabulary, E width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.layers.output import TiedSoftmax
from unfreeze.encoders.layers.recurrent import rows_of
from unfreeze.encoders.streaming import State
from unfreeze.language_models.base import Generates, MeasuredPart, ReadableText, ScoredTokens
from unfreeze.language_models.on_encoder import EncoderLanguageModel
from unfreeze.language_models.perplexity import document_batches
from unfreeze.text.batches import IGNORE, pad_sequences
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer

PIECE = 256
"""Tokens of each text that are run at once: memory does not grow with a text's length."""
READER_PIECE = 512
"""Tokens that a reader runs at once."""
BATCH_TOKENS = 16_384
"""Tokens of a batch of texts, padding included; a longer text is a batch of its own."""


class AwdLstmLanguageModel(EncoderLanguageModel, Generates):
    """Encoder and output layers, which start from the words' frequencies if the tokenizer knows them.

    Args:
        encoder: its stacks' last layers are as wide as its embedding.
        cutoffs: of the adaptive softmax; empty for the full one.
    """

    kind = AwdLstm.kind
    output_name = "outputs"
    encoder: AwdLstm

    def __init__(self, encoder: AwdLstm, cutoffs: Sequence[int] = ()) -> None:
        super().__init__()
        self.encoder, self.tokenizer = encoder, encoder.tokenizer
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
    def directions(self) -> list[str]:
        return self.encoder.directions

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Where the adaptive softmax's clusters begin."""
        return self.output(self.encoder.directions[0]).cutoffs

    def output(self, name: str) -> TiedSoftmax:
        """The output layer of a direction."""
        output = self.outputs[module_name(name)]
        assert isinstance(output, TiedSoftmax)
        return output

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

    @torch.no_grad()
    def document_log_probabilities(self, direction: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """log p of every token but the begin symbols. Each document starts from a zero state, which is carried over its pieces.

        Args:
            ids: (B, T) in the order of the text, padded on the right, longest first.
            lengths: (B,), falling: a row that has ended is run no further.

        Returns:
            (B, T - 1) in the reading order of the direction, 0 past a document's end.
        """
        device = next(self.parameters()).device
        ids, lengths = ids.to(device), lengths.to(device)
        ids = self.encoder.stack_ids(direction, ids, lengths).t()
        time = torch.arange(1, ids.shape[1], device=device)
        targets = torch.where(time < lengths[:, None], ids[:, 1:], IGNORE)
        found = torch.zeros(targets.shape, device=device)
        state: State | None = None
        for start in range(0, targets.shape[1], PIECE):
            alive, piece = int((lengths > start + 1).sum()), slice(start, start + PIECE)
            if state is not None:
                state = rows_of(state, slice(alive))
            found[:alive, piece], state = self.target_log_probabilities(
                direction, ids[:alive, :-1][:, piece], targets[:alive, piece], state
            )
        return found

    def id_log_probabilities(self, direction: str, texts: Sequence[list[int]]) -> list[list[float]]:
        """log p of every token of every text but its begin symbol, in nats.

        Args:
            texts: ids in the order of the text, each with the begin symbol first.

        Returns:
            For each text its T - 1 values, in the order of the text.
        """
        self.eval()
        found: list[list[float]] = [[] for _ in texts]
        for numbers in batches_of_similar_length([len(ids) for ids in texts]):
            ids, lengths = pad_sequences([texts[n] for n in numbers], self.tokenizer.pad_id)
            rows = self.document_log_probabilities(direction, ids, lengths).tolist()
            for number, row in zip(numbers, rows, strict=True):
                row = row[: len(texts[number]) - 1]
                found[number] = row if direction == "forward" else row[::-1]
        return found

    def token_log_probabilities(self, texts: Sequence[str]) -> list[ScoredTokens]:
        pieces = [self.tokenizer.encode(text) for text in texts]
        found = {
            name: self.id_log_probabilities(name, [piece.ids for piece in pieces]) for name in self.directions
        }
        return [
            ScoredTokens(piece.ids[1:], piece.offsets[1:], {name: rows[n] for name, rows in found.items()})
            for n, piece in enumerate(pieces)
        ]

    @torch.no_grad()
    def measure(self, store: TokenStore, tokenizer: TextTokenizer) -> Iterator[MeasuredPart]:
        self.eval()
        share = 1 / len(self.directions)
        for name in self.directions:
            for ids, lengths in document_batches(store):
                found = self.document_log_probabilities(name, ids, lengths)
                nats, n_targets = -float(found.double().sum()), int((lengths - 1).sum())
                yield MeasuredPart("mean", share * nats, share * n_targets, int(lengths.sum()))

    def output_arguments(self) -> dict[str, Any]:
        return {"cutoffs": list(self.cutoffs)}

    def reader(self, direction: str, text: ReadableText | None = None) -> StackReader:
        self.eval()
        return StackReader(self, direction)


class StackReader:
    """Reads token ids with one direction of an AWD-LSTM language model in evaluation mode."""

    def __init__(self, model: AwdLstmLanguageModel, direction: str) -> None:
        self.stack, self.output = model.encoder.stack(direction), model.output(direction)
        self._top: Tensor | None = None
        self._state: State | None = None

    @torch.no_grad()
    def read(self, ids: Sequence[int]) -> None:
        column = torch.tensor([*ids], device=self.stack.embedding.weight.device)[:, None]  # (T, 1)
        for piece in torch.split(column, READER_PIECE):
            output = self.stack(piece, self._state)
            self._top, self._state = output.top[-1], output.state

    @torch.no_grad()
    def log_probabilities(self) -> Tensor:
        assert self._top is not None, "nothing was read"
        return self.output.log_probabilities(self._top, self.stack.embedding.weight)[0].double().cpu()


def batches_of_similar_length(lengths: list[int]) -> Iterator[list[int]]:
    """Numbers of texts, longest first; no batch has more than `BATCH_TOKENS` tokens unless it is one text."""
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    while order:
        size = max(1, BATCH_TOKENS // lengths[order[0]])
        yield order[:size]
        order = order[size:]
