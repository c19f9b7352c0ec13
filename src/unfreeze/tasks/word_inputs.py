"""The representation of words that a body reads: a mix of encoder layers, static vectors and characters, concatenated.

This is how ELMo is used (Peters et al. 2018): the encoder is frozen by default, and the task learns the weight of each
layer. The mix is concatenated to the input of the body, to its output, or to both with weights of their own. The layers
of a frozen encoder for the training texts are computed once and memory-mapped from the cache in every epoch and run.

    CACHE/layers/DIGEST/    as `embed_text` writes it, all layers joined, 16 bits a number

`BiLstmStack` is the body that reads them in all tasks.

Legend: B batch, W words, L layers, D_l their widths, D of the vectors, E of static vectors, C of characters, H of each
direction of the biLSTM.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.display import counted
from unfreeze.encoders.base import layer_number
from unfreeze.encoders.directions import reversed_within
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.encoders.features import EmbeddedText, embed_into_cache
from unfreeze.encoders.layers.char_cnn import CharCnn, CharCnnSettings
from unfreeze.encoders.layers.dropouts import VariationalDropout
from unfreeze.encoders.layers.layer_mix import LayerMix
from unfreeze.encoders.layers.recurrent import WeightDropLstm
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError, setting
from unfreeze.folders import cache_folder
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.settings import Layers, MixAt
from unfreeze.text.characters import spell
from unfreeze.text.words import split_words
from unfreeze.training.precision import Precision, prediction_format
from unfreeze.transfer.policies import LayerGroups

logger = logging.getLogger(__name__)
INPUT_DROPOUT = 0.2
"""With 0.5, as in the paper, a small body loses two to three points on SST-5 (docs/lab-notes.md)."""
LONGEST_WORD = 32
FILTERS = [[1, 16], [2, 32], [3, 64], [4, 64]]
"""[width, number] of the filters of the character CNN."""
MAX_WORDS = 1440
"""Gradients pass only through this number of last words of a text."""
WEIGHT_DROPOUT, BODY_DROPOUT = 0.2, 0.3


@dataclass(frozen=True)
class Words:
    """A batch of texts in the form that a body reads."""

    inputs: Tensor
    """(B, W, size)."""
    output_mix: Tensor | None
    """(B, W, output_mix_size), to be concatenated to the output of the body; None without a mix there."""
    lengths: Tensor
    """(B,) number of words; a text without words has length 1 and a zero vector."""


class WordInputs(nn.Module):
    """Texts -> vectors of their words.

    Args:
        encoder: the encoder whose layers are mixed, if there is one.
        layers: "mix", the number of the only layer to use, or "bottom+top": the bottom and the top layer, concatenated
            instead of mixed (McCann et al. 2017); None for the encoder's `usual_layers`.
        mix_at: where the layers are concatenated: input, output or both.
        mix_l2: factor of the L2 penalty on the weights of the mix.
        layer_norm: normalize each layer before it is mixed.
        input_dropout: dropout of the concatenated vectors.
        frozen: the encoder is not trained, and its layers may come from the cache.
        vectors: static word vectors, concatenated to the mix at the input.
        vectors_learn: train the word vectors with the task.
        characters: width of the vectors of a character CNN that is trained with the task; 0 for none.
        tokenized: texts consist of words separated by single spaces; otherwise they are raw text, to be split.

    Raises:
        UserError: there is nothing to read, the encoder has no such layer, or settings of a mix are given without one.
    """

    def __init__(
        self,
        encoder: TextEncoder | None,
        *,
        layers: Layers | None = None,
        mix_at: MixAt = "input",
        mix_l2: float = 0.0,
        layer_norm: bool = False,
        input_dropout: float = INPUT_DROPOUT,
        frozen: bool = True,
        vectors: WordVectors | None = None,
        vectors_learn: bool = False,
        characters: int = 0,
        tokenized: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.vectors = encoder, vectors
        self.frozen, self.vectors_learn, self.tokenized, self.mix_l2 = (
            frozen,
            vectors_learn,
            tokenized,
            mix_l2,
        )
        self.widths = [] if encoder is None else encoder.widths
        if layers is None:
            layers = "mix" if encoder is None else encoder.usual_layers
        self.layers = layers
        self.chosen = _chosen(self.widths, layers)
        own = [self.widths[number] for number in self.chosen]
        self.places = [place for place in ("input", "output") if own and mix_at in (place, "both")]
        if self.is_concatenated and (mix_l2 or layer_norm):
            name = "mix_l2" if mix_l2 else "layer_norm"
            raise UserError(f"{setting(name)} is for a learned mix: add {setting('layers', 'mix')}")
        self.mixes = nn.ModuleDict(
            {place: LayerMix(own, layer_norm=layer_norm) for place in self.places if not self.is_concatenated}
        )
        self.characters = None
        if characters:
            sizes = CharCnnSettings(embedding=16, filters=FILTERS, n_highway=0, longest=LONGEST_WORD)
            self.characters = CharCnn(sizes, characters)
        self.dropout = VariationalDropout(input_dropout)
        of_place = sum(own) if self.is_concatenated else max(own, default=0)
        of_layers = (of_place if "input" in self.places else own[0]) if own else 0
        self.size = of_layers + (0 if vectors is None else vectors.size) + characters
        if not self.size:
            raise UserError("there is nothing to read: use an encoder, word vectors or characters")
        self.output_mix_size = of_place if "output" in self.places else 0
        self.cached: dict[str, NDArray[Any]] = {}

    @property
    def is_concatenated(self) -> bool:
        """Whether layers are concatenated instead of mixed."""
        return self.layers == "bottom+top"

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder unless it is frozen, and then all other parameters."""
        new = list(self.mixes.parameters())
        if self.characters is not None:
            new += self.characters.parameters()
        if self.vectors is not None:
            for parameter in self.vectors.parameters():
                parameter.requires_grad_(self.vectors_learn)
            new += self.vectors.parameters() if self.vectors_learn else []
        if self.encoder is None:
            return [new]
        if self.frozen:
            for parameter in self.encoder.parameters():
                parameter.requires_grad_(False)
            return [new]
        return [*self.encoder.layer_groups(), new]

    def own_tensors(self) -> dict[str, Tensor]:
        """The tensors besides those of the encoder and the word vectors, which are saved as encoders."""
        others = ("encoder.", "vectors.")
        return {name: t for name, t in self.state_dict().items() if not name.startswith(others)}

    def penalty(self) -> Tensor | None:
        """L2 penalty on the weights of the mixes, if there is one."""
        if not self.mix_l2 or not len(self.mixes):
            return None
        return torch.stack([mix.penalty(self.mix_l2) for mix in self._mixes().values()]).sum()

    def mix_shares(self) -> dict[str, list[float]]:
        """For each place of a mix the weights of the layers, bottom to top, followed by gamma."""
        if len(self.chosen) <= 1 or self.is_concatenated:
            return {}
        return {place: [*mix.shares.tolist(), *mix.gamma.tolist()] for place, mix in self._mixes().items()}

    def _mixes(self) -> dict[str, LayerMix]:
        found = {}
        for place, mix in self.mixes.items():
            assert isinstance(mix, LayerMix)
            found[place] = mix
        return found

    def train(self, mode: bool = True) -> WordInputs:
        """Set the mode; a frozen encoder stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.frozen and self.encoder is not None:
            self.encoder.eval()
        return self

    def words_of(self, text: str) -> list[str]:
        """The words of a text."""
        if self.tokenized:
            return text.split(" ") if text else []
        return [word.text for word in split_words(text)]

    def forward(self, texts: Sequence[str]) -> Words:
        """Texts -> vectors of their words."""
        layers, lengths = self._layers(texts)
        longest = int(lengths.max())
        parts = [self._joined("input", layers) if "input" in self.places else layers[0]] if layers else []
        if self.vectors is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.vectors_learn):
                parts.append(self.vectors.look_up([self.words_of(text) for text in texts]))
        if self.characters is not None:
            parts.append(self._spelled(texts, longest))
        x = self._dropped(torch.cat(parts, dim=2))
        output_mix = self._dropped(self._joined("output", layers)) if "output" in self.places else None
        return Words(x, output_mix, lengths)

    def _joined(self, place: str, layers: list[Tensor]) -> Tensor:
        """The chosen layers (B, W, D_l) as one vector a word: their mix, or all of them."""
        if self.is_concatenated:
            return torch.cat(layers, dim=2)
        mixed: Tensor = self.mixes[place](layers)
        return mixed

    def _dropped(self, x: Tensor) -> Tensor:
        result: Tensor = self.dropout(x.transpose(0, 1)).transpose(0, 1)
        return result

    def _spelled(self, texts: Sequence[str], longest: int) -> Tensor:
        """Vectors of the character CNN, computed once for each distinct word: (B, longest, C), zeros in the padding."""
        assert self.characters is not None
        numbers: dict[str, int] = {}
        places = np.zeros((len(texts), longest), dtype=np.int64)
        for row, text in zip(places, texts, strict=True):
            words = self.words_of(text)
            row[: len(words)] = [1 + numbers.setdefault(word, len(numbers)) for word in words]
        device = next(self.characters.parameters()).device
        vectors = self.characters(torch.from_numpy(spell(list(numbers) or [""], LONGEST_WORD)).to(device))
        table = torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])
        return nn.functional.embedding(torch.from_numpy(places).to(device), table)

    # Where the layers come from

    def _layers(self, texts: Sequence[str]) -> tuple[list[Tensor], Tensor]:
        """The chosen layers (B, W, D_l), and the number of words of each text (B,)."""
        if self.encoder is None:
            counts = [max(1, len(self.words_of(text))) for text in texts]
            return [], torch.tensor(counts, device=next(self.parameters()).device)
        if all(text in self.cached for text in texts):
            return self._from_cache(texts, next(self.parameters()).device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found, lengths = self._word_layers(self.encoder, texts)
        return [found[number].float() for number in self.chosen], lengths

    def _word_layers(self, encoder: TextEncoder, texts: Sequence[str]) -> tuple[list[Tensor], Tensor]:
        """All layers of an encoder, with zeros in the padding, and the number of words of each text, at least 1."""
        device = next(encoder.parameters()).device
        full = [number for number, text in enumerate(texts) if self.words_of(text)]
        lengths = torch.ones(len(texts), dtype=torch.long, device=device)
        if not full:
            return [torch.zeros(len(texts), 1, width, device=device) for width in encoder.widths], lengths
        chosen = [texts[number] for number in full]
        batch = (
            encoder.prepare_words([self.words_of(text) for text in chosen])
            if self.tokenized
            else encoder.prepare(chosen)
        )
        found, mask = encoder.word_layers(batch)
        lengths[full] = mask.sum(1).clamp_min(1)
        if len(full) < len(texts):
            place = torch.tensor(full, device=device)
            found = [x.new_zeros(len(texts), *x.shape[1:]).index_copy(0, place, x) for x in found]
        return found, lengths

    def _from_cache(self, texts: Sequence[str], device: torch.device) -> tuple[list[Tensor], Tensor]:
        rows = [self.cached[text] for text in texts]
        lengths = torch.tensor([max(1, len(each)) for each in rows])
        joined = torch.zeros(len(rows), int(lengths.max()), sum(self.widths))
        for row, each in zip(joined, rows, strict=True):
            row[: len(each)] = torch.from_numpy(each.astype(np.float32))
        layers = torch.split(joined.to(device), self.widths, dim=2)
        return [layers[number] for number in self.chosen], lengths.to(device)

    def cache_layers(
        self,
        texts: Sequence[str],
        weights: str,
        *,
        precision: Precision = "fp32",
        progress: Progress = SILENT,
    ) -> None:
        """Compute the layers of a frozen encoder for these texts, or load them from the cache.

        Args:
            weights: identifies the encoder, such as a digest of its weights.
            precision: number format of the computation.
        """
        if self.encoder is None or not self.frozen:
            return
        different = list(dict.fromkeys(texts))
        settings = EmbedSettings(layers="joined", half=True, tokenized=self.tokenized)
        embedded = cached_layers(
            self.encoder,
            different,
            f"{weights} {precision}",
            settings,
            precision=precision,
            progress=progress,
        )
        for text, line in zip(different, embedded.lines(), strict=True):
            self.cached[text] = line.vectors[:, 0]


def _chosen(widths: Sequence[int], layers: Layers) -> list[int]:
    if layers == "mix" or not widths:
        return list(range(len(widths)))
    if layers == "bottom+top":
        return sorted({0, len(widths) - 1})
    return [layer_number(layers, len(widths))]


def cached_layers(
    encoder: TextEncoder,
    texts: Sequence[str],
    weights: str,
    settings: EmbedSettings,
    *,
    precision: Precision,
    progress: Progress = SILENT,
) -> EmbeddedText:
    """All layers of each text, from the cache if they are in it."""
    identity = hashlib.blake2b(f"{weights} {settings.tokenized}".encode(), digest_size=12)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        identity.update(len(data).to_bytes(8, "little") + data)
    folder = cache_folder("layers") / identity.hexdigest()
    sample = texts[:200]
    size = 2 * sum(encoder.widths) * sum(len(split_words(text)) for text in sample)
    logger.info(
        "the layers of the encoder for %s are cached in %s (about %.1f GB; `unfreeze cache` lists and deletes)",
        counted(len(texts), "text"),
        folder,
        size / max(1, len(sample)) * len(texts) / 1e9,
    )
    options: dict[str, Any] = {
        "identity": identity.hexdigest(),
        "number_format": lambda: prediction_format(precision, next(encoder.parameters()).device),
        "progress": progress,
    }
    return embed_into_cache(encoder, lambda: texts, folder, settings, **options)


class NetworkOnWords(nn.Module):
    """A network that reads `words`."""

    words: WordInputs

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder unless it is frozen, and then all other parameters."""
        *groups, new = self.words.layer_groups()
        own = [parameter for name, parameter in self.named_parameters() if not name.startswith("words.")]
        return [*groups, [*new, *own]]

    def own_tensors(self) -> dict[str, Tensor]:
        """The tensors besides those of the encoder and the word vectors, which are saved as encoders."""
        others = ("words.encoder.", "words.vectors.")
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(others)}


class BiLstm(nn.Module):
    """A biLSTM layer: two LSTMs, the backward one over the vectors in reverse order, without their padding.

    Args:
        size: D.
        hidden_size: H.
    """

    def __init__(self, size: int, hidden_size: int, weight_dropout: float = WEIGHT_DROPOUT) -> None:
        super().__init__()
        self.forwards = WeightDropLstm(size, hidden_size, weight_dropout)
        self.backwards = WeightDropLstm(size, hidden_size, weight_dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, D), (B,) -> (B, W, 2 H); gradients pass through the last `MAX_WORDS` words that each direction reads."""
        left = _run(self.forwards, x.transpose(0, 1))
        turned = _run(self.backwards, reversed_within(x, lengths, first=0).transpose(0, 1))
        right = reversed_within(turned.transpose(0, 1), lengths, first=0)
        return torch.cat([left.transpose(0, 1), right], dim=2)


class BiLstmStack(nn.Module):
    """BiLSTM layers with dropout after each.

    Args:
        size: D.
        hidden_size: H.
        n_layers: at least 1.
        dropout: after each layer.
    """

    def __init__(self, size: int, hidden_size: int, n_layers: int = 1, dropout: float = BODY_DROPOUT) -> None:
        super().__init__()
        sizes = chain([size], repeat(2 * hidden_size, n_layers - 1))
        self.layers = nn.ModuleList(BiLstm(each, hidden_size) for each in sizes)
        self.dropout = VariationalDropout(dropout)
        self.size = 2 * hidden_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, D), (B,) -> (B, W, 2 H).

        In training, a text of more than `MAX_WORDS` runs by itself, so that its gradient does not depend on the batch.
        """
        alone = (lengths > MAX_WORDS).nonzero()[:, 0].tolist() if torch.is_grad_enabled() else []
        if not alone or len(x) == 1:
            return self._run(x, lengths)
        together = [row for row in range(len(x)) if row not in set(alone)]
        result = x.new_zeros(len(x), x.shape[1], self.size)
        for rows in [rows for rows in (together, *([row] for row in alone)) if rows]:
            longest = int(lengths[rows].max())
            places = torch.tensor(rows, device=x.device)
            part = self._run(x[places, :longest], lengths[places])
            padded = nn.functional.pad(part, (0, 0, 0, x.shape[1] - longest))
            result = result.to(part.dtype).index_copy(0, places, padded)
        return result

    def _run(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.dropout(layer(x, lengths).transpose(0, 1)).transpose(0, 1)
        return x


def _run(lstm: WeightDropLstm, x: Tensor) -> Tensor:
    """(W, B, D) -> (W, B, H); in training, the beginning of a long text is read without gradients."""
    first = max(0, len(x) - MAX_WORDS) if torch.is_grad_enabled() else 0
    parts, state = [], None
    if first:
        with torch.no_grad():
            beginning, state = lstm(x[:first], None)
        parts.append(beginning)
    states, _ = lstm(x[first:], state)
    return torch.cat([*parts, states])
