"""The biLM that pre-trains ELMo: its encoder and one softmax over words, shared by both directions.

    log p(w_t | w_1..w_(t-1)) + log p(w_t | w_(t+1)..w_n), the sum over all words of a text      (Peters et al. 2018, 3.1)

The begin and end symbols that frame a sentence are read like words. The forward direction predicts the end of a sentence, the
backward one its beginning; a beginning that follows an end with certainty is not a target. Every text starts from a zero state,
which is then carried over its sentences.

Legend: B batch, T time, U different words, V vocabulary, P projection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.directions import reversed_within
from unfreeze.encoders.elmo import DIRECTIONS, Elmo, SpelledBatch, States
from unfreeze.encoders.layers.word_softmax import SoftmaxKind, WordSoftmax
from unfreeze.errors import UserError
from unfreeze.language_models.base import MeasuredPart, ReadableText, ScoredTokens
from unfreeze.language_models.on_encoder import EncoderLanguageModel
from unfreeze.language_models.perplexity import document_batches
from unfreeze.text.batches import IGNORE
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.text.words import word_texts

PIECE = 256
"""Steps of a text that are run at once."""
MEASURED_PIECE = 128
"""Steps that are run at once of each document of a batch, when a store is measured."""


class BiLanguageModel(EncoderLanguageModel):
    """Encoder and output layer, which starts from the words' frequencies if the tokenizer knows them.

    Args:
        softmax: adaptive, full or sampled.
        n_samples: words that a target is compared with in training, where the softmax is sampled.
    """

    kind = Elmo.kind
    output_name = "output"
    encoder: Elmo
    described = "an ELMo, which reads from both ends"
    made_by = "`unfreeze pretrain elmo`"
    tokenizer: CasedTokenizer

    def __init__(self, encoder: Elmo, softmax: SoftmaxKind = "adaptive", n_samples: int = 8192) -> None:
        super().__init__()
        if n_samples < 1:
            raise UserError(f"{n_samples} samples for a target: at least 1")
        self.encoder, self.tokenizer = encoder, encoder.tokenizer
        self.output = WordSoftmax(len(encoder.tokenizer), encoder.size, softmax, n_samples)
        counts = encoder.tokenizer.counts
        if counts is not None:
            self.output.layer.start_from_counts(counts)
        self.dropout = nn.Dropout(encoder.dropout.p)

    @property
    def directions(self) -> list[str]:
        return list(DIRECTIONS)

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

    def word_rows(self, ids: Tensor, tokenizer: CasedTokenizer) -> tuple[Tensor, Tensor]:
        """What the encoder reads of the words that ids name.

        Args:
            ids: of any shape.
            tokenizer: of the ids; the model's vocabulary is its beginning, and it may name more words.

        Returns:
            The rows of the U different words, and the place of each id among them, in the shape of `ids`.
        """
        different, places = torch.unique(ids, return_inverse=True)
        numbers = different.tolist()
        rows = self.encoder.spell([tokenizer.token(number) for number in numbers])
        frames = (tokenizer.bos_id, tokenizer.eos_id)
        for frame, row in zip(frames, self.encoder.frames(), strict=True):
            if frame in numbers:
                rows[numbers.index(frame)] = row
        return rows, places

    @torch.no_grad()
    def token_log_probabilities(self, texts: Sequence[str]) -> list[ScoredTokens]:
        self.eval()
        scored = []
        for text in texts:
            pieces = self.tokenizer.encode(text)
            batch = self.encoder.batch([pieces], [text])
            # The frames of sentences are read and not scored: a text's log-probability is that of its words.
            words = [n for n, word in enumerate(pieces.words) if word >= 0]
            found = {}
            for name in DIRECTIONS:
                values = self._log_probabilities(batch, pieces.ids, name)
                found[name] = [values[n] for n in words]
            scored.append(
                ScoredTokens([pieces.ids[n] for n in words], [pieces.offsets[n] for n in words], found)
            )
        return scored

    def _log_probabilities(self, batch: SpelledBatch, ids: Sequence[int], name: str) -> list[float]:
        """log p of each token of one text given all that the direction has read before it; 0 for the first of them."""
        order = self.reading_order(name, len(ids))
        targets = torch.tensor(ids, device=batch.ids.device)[order]
        reader, found = BilmReader(self, name, batch.rows), [0.0] * len(ids)
        for start, hidden in reader.states(batch.ids[0][order][:-1]):
            wanted = targets[start + 1 : start + 1 + len(hidden)]
            values = self.output.target_log_probabilities(hidden, wanted).tolist()
            for n, value in enumerate(values, start + 1):
                found[order[n]] = value
        return found

    def store_tokenizer(self, documents: Iterable[str]) -> CasedTokenizer:
        """A tokenizer that names all words of the documents: those that the output lacks are read by their characters too."""
        return self.tokenizer.with_words(word for text in documents for word in word_texts(text))

    @torch.no_grad()
    def measure(self, store: TokenStore, tokenizer: TextTokenizer) -> Iterator[MeasuredPart]:
        """Targets are the words and, in each direction, the frame that ends a sentence."""
        assert isinstance(tokenizer, CasedTokenizer)
        self.eval()
        for ids, lengths in document_batches(store):
            turned = {"forward": ids, "backward": reversed_within(ids, lengths, first=0)}
            found = self._measure(tokenizer, turned, lengths)
            unknown = ids[ids >= len(self.tokenizer)].tolist()
            unknown_bytes = sum(len(tokenizer.token(number).encode()) for number in unknown)
            for name, (nats, n_targets) in found.items():
                yield MeasuredPart(name, nats, n_targets, int(lengths.sum()), unknown_bytes)
                unknown_bytes = 0  # count them once

    def _measure(
        self, tokenizer: CasedTokenizer, turned: dict[str, Tensor], lengths: Tensor
    ) -> dict[str, tuple[float, int]]:
        """The nats that the targets of a batch cost each direction, and how many targets there are."""
        device = next(self.parameters()).device
        total, count = dict.fromkeys(DIRECTIONS, 0.0), dict.fromkeys(DIRECTIONS, 0)
        states: States | None = None
        ends = lengths.tolist()
        for start in range(0, max(ends) - 1, MEASURED_PIECE):
            stop = min(start + MEASURED_PIECE, max(ends) - 1)
            active = [sum(end - 1 > t for end in ends) for t in range(start, stop)]
            alive = active[0]
            if states is not None:
                states = {n: [(h[:alive], c[:alive]) for h, c in layers] for n, layers in states.items()}
            rows, places = self.word_rows(
                torch.stack([turned[name][:alive, start:stop] for name in DIRECTIONS]), tokenizer
            )
            inputs = {name: places[number].to(device) for number, name in enumerate(DIRECTIONS)}
            top, states = self.top_states(inputs, rows.to(device), states, active)
            real = torch.arange(start, stop)[None, :] < lengths[:alive, None] - 1
            for name in DIRECTIONS:
                ids = torch.where(real, turned[name][:alive, start + 1 : stop + 1], IGNORE)
                targets = word_targets(ids, self.tokenizer, name).t().to(device)
                wanted = targets != IGNORE
                found = self.output.target_log_probabilities(top[name][wanted].float(), targets[wanted])
                total[name] -= float(found.double().sum())
                count[name] += int(wanted.sum())
        return {name: (total[name], count[name]) for name in DIRECTIONS}

    def readable(self, text: str) -> ReadableText:
        batch = self.encoder.batch([self.tokenizer.encode(text)], [text])
        return ReadableText(batch.ids[0].tolist(), batch.offsets[0], batch.rows)

    def reading_order(self, direction: str, n_tokens: int) -> list[int]:
        """From one end to the other: a text begins and ends in frames."""
        return list(range(n_tokens))[:: 1 if direction == "forward" else -1]

    def output_arguments(self) -> dict[str, Any]:
        return {"softmax": self.output.kind, "n_samples": self.output.n_samples}

    def reader(self, direction: str, text: ReadableText | None = None) -> BilmReader:
        self.eval()
        return BilmReader(self, direction, None if text is None else text.rows)


class BilmReader:
    """Reads words with one direction of a biLM in evaluation mode.

    Args:
        rows: what the ids to be read are rows of; None reads ids of the vocabulary.
    """

    def __init__(self, model: BiLanguageModel, direction: str, rows: Tensor | None) -> None:
        self.model, self.direction, self.rows = model, direction, rows
        self._top: Tensor | None = None
        self._states: States | None = None

    def states(self, places: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Read (T,) ids: where each piece of them begins, and its top states (n, P)."""
        rows = self.rows
        if rows is None:
            found, places = self.model.word_rows(places, self.model.tokenizer)
            rows = found.to(places.device)
        for start in range(0, len(places), PIECE):
            piece = places[None, start : start + PIECE]
            top, self._states = self.model.top_states(
                {self.direction: piece}, rows, self._states, [1] * piece.shape[1]
            )
            yield start, top[self.direction][:, 0].float()

    @torch.no_grad()
    def read(self, ids: Sequence[int]) -> None:
        for _, hidden in self.states(torch.tensor([*ids], device=next(self.model.parameters()).device)):
            self._top = hidden[-1:]

    @torch.no_grad()
    def log_probabilities(self) -> Tensor:
        assert self._top is not None, "nothing was read"
        return self.model.output.log_probabilities(self._top)[0].double().cpu()


def word_targets(ids: Tensor, tokenizer: CasedTokenizer, name: str) -> Tensor:
    """Targets from ids of a larger vocabulary that begins with the model's.

    Words that the model's vocabulary lacks are the unknown word. The beginning that follows an end with certainty (backward, the
    end before a beginning) is not a target: IGNORE.
    """
    certain = tokenizer.bos_id if name == "forward" else tokenizer.eos_id
    targets = torch.where(ids < len(tokenizer), ids, tokenizer.unknown_id)
    return torch.where((ids == certain) | (ids == IGNORE), IGNORE, targets)
