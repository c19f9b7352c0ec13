"""A translator: CoVe's biLSTM reads the source, an attention decoder writes the target (McCann et al. 2017, section 3).

The saved folder is the encoder's with more in it: `Encoder.from_pretrained(folder)` takes the encoder alone.

Legend: B texts, S words of the longest source, N tokens of all targets, V vocabulary of the target, E width of its embedding,
D hidden size of the decoder, which is the width of the encoder's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.layers.attention_decoder import AttentionDecoder, DecoderState, Memory
from unfreeze.encoders.layers.bi_lstm import Packing
from unfreeze.encoders.layers.output import TiedSoftmax
from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.encoders.text_encoder import TextBatch
from unfreeze.errors import column_of, need_texts
from unfreeze.folders import (
    WEIGHTS,
    Config,
    EncoderConfig,
    load_tensors,
    read_config,
    tensor_shapes,
    write_model,
    written_folder,
)
from unfreeze.pretraining.translation.bleu import corpus_scores
from unfreeze.pretraining.translation.search import (
    MOST_TEXTS,
    MOST_WORDS,
    NOTHING,
    Translation,
    translate_batch,
)
from unfreeze.pretraining.translation.settings import Search
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, find_model, push_to_hub
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.text.words import split_words

KIND = "translator"
TARGET = "target"
"""Folder of the tokenizer of the target in a saved translator."""


@dataclass(frozen=True, kw_only=True)
class TranslatorConfig(Config):
    """The config.json of a translator."""

    settings: dict[str, Any]
    """Arguments of the translator."""
    encoder: EncoderConfig = field()  # without the default of other kinds


class Translator(nn.Module):
    """Encoder, attention decoder, and an output layer over the tokens of the target language.

    Args:
        encoder: reads the source.
        target: tokenizer of the target; its length is V.
        target_size: E; None ties the embedding to the output layer, and E is D.
        dropout: of the embedded tokens and in the decoder.

    Example:
        >>> translator = Translator.from_pretrained("en-de")  # doctest: +SKIP
        >>> translator.predict(["A man rides a bicycle."])  # doctest: +SKIP
        ['Ein Mann fährt Fahrrad.']
    """

    used_by = "translate or evaluate"
    """What messages advise where a language model is needed."""

    def __init__(
        self, encoder: CoVe, target: TextTokenizer, *, target_size: int | None = None, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.encoder, self.target, self.dropout = encoder, target, dropout
        self.arguments = {"target_size": target_size, "dropout": dropout}
        width = encoder.widths[-1]
        self.embedding = nn.Embedding(len(target), width if target_size is None else target_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.decoder = AttentionDecoder(
            self.embedding.embedding_dim, width, width, n_layers=len(encoder.lstms), dropout=dropout
        )
        self.output_weight = None
        if target_size is not None:
            self.output_weight = nn.Parameter(torch.empty(len(target), width).uniform_(-0.1, 0.1))
        self.output = TiedSoftmax(len(target), width)

    # Training

    def loss(self, batch: TextBatch, inputs: Tensor, targets: Tensor, packing: Packing) -> Tensor:
        """The summed negative log-likelihood in nats.

        Args:
            batch: the sources, by falling length of their targets.
            inputs: (N,) tokens of the targets, packed, each target beginning with xxbos.
            targets: (N,) the tokens that follow; the last of each target is xxbos.
            packing: of the targets.
        """
        memory, state = self.read(batch)
        x = F.embedding(inputs, self.embedding.weight)
        if self.training and self.dropout:
            ones = x.new_ones(packing.n_texts, x.shape[1])
            x = x * F.dropout(ones, self.dropout)[packing.text]
        states, _ = self.decoder(x, packing, memory, state)
        return self.output.loss(states, self._output_matrix, targets)

    @property
    def _output_matrix(self) -> Tensor:
        """(V, D)."""
        return self.embedding.weight if self.output_weight is None else self.output_weight

    def read(self, batch: TextBatch) -> tuple[Memory, DecoderState]:
        """What the decoder attends to, and its state before the first token: the encoder's states at the ends of the text.

        Each layer of the decoder begins with the last h of each direction of the encoder's layer, its c as well as its h. The
        published translator passes the encoder's c on; here, as in JoeyNMT, a biLSTM layer gives only its h.
        """
        layers, _ = self.encoder.layers(batch)
        lengths = batch.lengths.clamp_min(1)  # a text without words is one zero vector
        if not layers[0].shape[1]:
            layers = [F.pad(layer, (0, 0, 0, 1)) for layer in layers]
        rows, size = torch.arange(len(lengths), device=lengths.device), self.encoder.hidden_size
        initial_states = []
        for layer in layers[1:]:
            last = layer[rows, lengths - 1]
            if self.encoder.is_bidirectional:
                last = torch.cat([last[:, :size], layer[:, 0, size:]], dim=1)
            initial_states.append(last)
        memory, first = self.decoder.memory(layers[-1], lengths), tuple(initial_states)
        return memory, DecoderState(first, first, torch.zeros_like(first[0]))

    def step(
        self, tokens: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """One step of each text: (B,) its last token -> log-probabilities (B, V), attention (B, S), and the new state."""
        x = F.embedding(tokens, self.embedding.weight)
        output, attention_weights, after = self.decoder.step(x, memory, state)
        return self.output.log_probabilities(output, self._output_matrix), attention_weights, after

    # Translation

    def __call__(self, texts: str | Sequence[str]) -> list[dict[str, str]]:
        """The translation of each text, in the form of transformers' pipelines: {"translation_text"}.

        Raises:
            UserError: something else than text.
        """
        found = self.predict([texts] if isinstance(texts, str) else texts)
        return [{"translation_text": text} for text in found]

    def predict(
        self, X: Any, *, beams: int = 5, length_penalty: float = 1.0, progress: Progress = SILENT
    ) -> list[str]:
        """The translation of each text; it does not depend on the other texts.

        Args:
            X: texts.
            beams: how many partial translations are kept at each step; 1 is greedy search.
            length_penalty: exponent of the length by which the log-probability of a translation is divided; 0 prefers short ones.

        Raises:
            UserError: one text instead of several, or something else than text among them.
        """
        return [
            found.text
            for found in self.translate(
                X, beams=beams, length_penalty=length_penalty, attention=False, progress=progress
            )
        ]

    @torch.no_grad()
    def translate(
        self,
        X: Any,
        *,
        beams: int = 5,
        length_penalty: float = 1.0,
        attention: bool = True,
        progress: Progress = SILENT,
    ) -> list[Translation]:
        """As `predict`, with the score and the attention of each translation.

        Args:
            attention: False leaves it out, which for a long text is most of the memory.
        """
        texts = column_of(X)
        need_texts(texts, "texts")
        search = Search(beams=beams, length_penalty=length_penalty)
        n_words = {number: len(split_words(text)) for number, text in enumerate(texts)}
        found = {number: NOTHING for number, n in n_words.items() if not n}
        order = [number for number, n in n_words.items() if n]
        with evaluating(self), progress.bar("translate", total=len(texts), unit="text") as bar:
            bar.advance(len(found))
            for batch in token_bounded_batches(
                [n_words[number] for number in order], MOST_WORDS // search.beams
            ):
                for start in range(0, len(batch), MOST_TEXTS):
                    numbers = [order[place] for place in batch[start : start + MOST_TEXTS]]
                    chosen = [texts[number] for number in numbers]
                    translations = translate_batch(self, chosen, search, attention=attention)
                    found |= zip(numbers, translations, strict=True)
                    bar.advance(len(numbers))
        return [found[number] for number in range(len(texts))]

    def score(self, X: Any, y: Any) -> float:
        """BLEU of the translations of texts, divided by 100: from 0 to 1, as scores of scikit-learn are.

        Cased, of detokenized text (sacrebleu's default, 13a). `evaluate_translator` gives BLEU and chrF from 0 to 100.

        Args:
            X: texts.
            y: the reference translation of each.

        Raises:
            UserError: there are no texts, or not as many references as texts.
            MissingExtra: sacrebleu is not installed.
        """
        references = column_of(y, "references")
        need_texts(references, "references")
        return corpus_scores(self.predict(X), references).bleu / 100

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and both tokenizers into `folder`, whole or not at all."""
        config = {"kind": KIND, "encoder": self.encoder.config(), "settings": self.arguments}
        with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
            write_model(target, config, dict(self.state_dict()))
            self.encoder.tokenizer.save(target)
            (target / TARGET).mkdir()
            self.target.save(target / TARGET)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the translator to the repository owner/name on the Hugging Face hub, which is made if needed.

        Returns:
            The address of the commit.

        Raises:
            UserError: the hub refused, or could not be reached.
        """
        return push_to_hub(self.save_pretrained, repo_id, private=private, token=token)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a translator, in evaluation mode and fp32; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, TranslatorConfig)
        encoder = CoVe.from_config(config["encoder"], folder)
        target = load_tokenizer(folder / TARGET)
        shapes = tensor_shapes(folder / WEIGHTS)
        translator = made_to_fit(cls, folder, shapes, cls.state_dict, encoder, target, **config["settings"])
        load_matching(translator, load_tensors(folder / WEIGHTS), dict(translator.state_dict()), str(folder))
        return translator.eval()
