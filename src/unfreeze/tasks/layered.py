"""A classifier on the layers of any encoder: their mix, a biLSTM on it, concat pooling, a head.

The way of ELMo (Peters et al. 2018): the encoder is frozen by default, the task learns how much each of its layers counts.
The mix stands at the input of the body, at its output, or at both with weights of their own; static word vectors may stand
beside it at the input, as in the paper. The layers of the texts to learn from are computed once and kept in the cache, memory-mapped: epochs, seeds and heads read them again.

    CACHE/layers/DIGEST/    as `embed_text` writes it, all layers joined, 16 bits a number

Legend: B batch, W words, L layers, D_l their widths, D of the mix, H of each direction of the body.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.analysis.embedding import EmbeddedText, EmbedSettings, embed_text
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.directions import module_name, reversed_within
from unfreeze.encoders.layers.dropouts import VariationalDropout
from unfreeze.encoders.layers.layer_mix import LayerMix
from unfreeze.encoders.layers.recurrent import WeightDropLstm
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import cache_folder
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.classification import Network
from unfreeze.tasks.fit_settings import MixAt
from unfreeze.tasks.heads import HEADS, Head
from unfreeze.text.words import split_words
from unfreeze.transfer.policies import LayerGroups

logger = logging.getLogger(__name__)

MOST_WORDS = 1440
"""Words of a text that gradients go through: a longer text's beginning is read without."""
INPUT_DROPOUT, WEIGHT_DROPOUT, BODY_DROPOUT = 0.2, 0.2, 0.3
"""The paper's .5 at the input costs a small body two to three points of SST-5 (docs/lab-notes.md)."""


class BiLstm(nn.Module):
    """One biLSTM layer over vectors: two one-direction LSTMs, the backward one on what is reversed within its length.

    Args:
        size: of the vectors.
        hidden_size: H.
    """

    def __init__(self, size: int, hidden_size: int, weight_dropout: float = WEIGHT_DROPOUT) -> None:
        super().__init__()
        self.forwards = WeightDropLstm(size, hidden_size, weight_dropout)
        self.backwards = WeightDropLstm(size, hidden_size, weight_dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, D), (B,) -> (B, W, 2 H); gradients go through the last `MOST_WORDS` that each direction reads."""
        left = _run(self.forwards, x.transpose(0, 1))
        turned = _run(self.backwards, reversed_within(x, lengths, first=0).transpose(0, 1))
        right = reversed_within(turned.transpose(0, 1), lengths, first=0)
        return torch.cat([left.transpose(0, 1), right], dim=2)


def _run(lstm: WeightDropLstm, x: Tensor) -> Tensor:
    """(W, B, D) -> (W, B, H), the beginning of a long text without gradients."""
    first = max(0, len(x) - MOST_WORDS) if torch.is_grad_enabled() else 0
    parts, state = [], None
    if first:
        with torch.no_grad():
            beginning, state = lstm(x[:first], None)
        parts.append(beginning)
    states, _ = lstm(x[first:], state)
    return torch.cat([*parts, states])


class LayeredNetwork(Network):
    """Encoder -> mix -> biLSTM -> pooled text -> logits.

    Args:
        n_labels: K.
        hidden_size: H.
        layers: "mix", or the number of the one layer that is used.
        mix_at: where the mix stands.
        mix_l2: strength of the L2 penalty on its weights.
        layer_norm: normalize each layer first.
        input_dropout: of the mix and the word vectors.
        frozen: the encoder is in no layer group: it never moves, and its layers may come from the cache.
        vectors: static word vectors beside the mix at the input; they never move.
    """

    def __init__(
        self,
        encoder: Encoder,
        n_labels: int,
        *,
        multi_label: bool = False,
        head: Head = "two-layer",
        hidden_size: int = 128,
        layers: Literal["mix"] | int = "mix",
        mix_at: MixAt = "input",
        mix_l2: float = 0.0,
        layer_norm: bool = False,
        input_dropout: float = INPUT_DROPOUT,
        frozen: bool = True,
        vectors: WordVectors | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.multi_label, self.frozen = encoder, multi_label, frozen
        widths = encoder.widths
        if layers != "mix" and not -len(widths) <= layers < len(widths):
            raise UserError(f"there is no layer {layers}: the encoder has {len(widths)}, from 0")
        self.chosen = list(range(len(widths))) if layers == "mix" else [layers % len(widths)]
        own = [widths[number] for number in self.chosen]
        self.mixes = nn.ModuleDict(
            {
                place: LayerMix(own, layer_norm=layer_norm)
                for place in ("input", "output")
                if mix_at in (place, "both")
            }
        )
        width = max(own)
        self.mix_l2 = mix_l2
        self.input_dropout = VariationalDropout(input_dropout)
        self.hidden_dropout = VariationalDropout(BODY_DROPOUT)
        self.vectors = vectors
        reads = (width if "input" in self.mixes else own[0]) + (0 if vectors is None else vectors.size)
        self.body = BiLstm(reads, hidden_size)
        size = 2 * hidden_size + (width if "output" in self.mixes else 0)
        self.heads = nn.ModuleDict({module_name("joint"): HEADS[head](3 * size, n_labels)})
        self.kept: dict[str, NDArray[Any]] = {}

    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """The texts themselves."""
        return list(texts)

    def length(self, text: str) -> int:
        """About its words."""
        return 1 + len(text) // 5

    def layer_groups(self) -> LayerGroups:
        """The encoder's groups unless it is frozen, then all that is new."""
        new = [p for module in (self.mixes, self.body, self.heads) for p in module.parameters()]
        if self.frozen:
            for parameter in self.encoder.parameters():
                parameter.requires_grad_(False)
            return [new]
        return [*self.encoder.layer_groups(), new]

    def penalty(self) -> Tensor | None:
        """L2 of the weights of the mixes."""
        if not self.mix_l2:
            return None
        return torch.stack([mix.penalty(self.mix_l2) for mix in self._mixes().values()]).sum()

    def own_tensors(self) -> dict[str, Tensor]:
        """What is saved beside the encoder; the word vectors are an encoder of their own."""
        return {name: t for name, t in super().own_tensors().items() if not name.startswith("vectors.")}

    def mix_shares(self) -> dict[str, list[float]]:
        """How much each layer counts, where there is a mix: by its place, bottom to top, and gamma at the end."""
        if len(self.chosen) == 1:
            return {}
        return {place: [*mix.shares.tolist(), *mix.gamma.tolist()] for place, mix in self._mixes().items()}

    def _mixes(self) -> dict[str, LayerMix]:
        found = {}
        for place, mix in self.mixes.items():
            assert isinstance(mix, LayerMix)
            found[place] = mix
        return found

    def train(self, mode: bool = True) -> LayeredNetwork:
        """A frozen encoder stays in evaluation mode: its layers are always the same."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> (B, P)."""
        layers, lengths = self._layers(texts)
        if self.vectors is not None:
            layers.append(self._static(texts, int(lengths.max())))
        # A long text runs by itself: how far its gradient goes does not depend on the others of its batch.
        alone = (lengths > MOST_WORDS).nonzero()[:, 0].tolist() if torch.is_grad_enabled() else []
        together = [row for row in range(len(texts)) if row not in set(alone)]
        order = [row for rows in (together, *([row] for row in alone)) for row in rows]
        parts = [
            self._pooled([layer[rows] for layer in layers], lengths[rows])
            for rows in (together, *([row] for row in alone))
            if rows
        ]
        return {"joint": torch.cat(parts)[torch.tensor(order).argsort()]}

    def _pooled(self, layers: list[Tensor], lengths: Tensor) -> Tensor:
        longest = int(lengths.max())
        return pool_words(self._states([layer[:, :longest] for layer in layers], lengths), lengths)

    def _states(self, layers: list[Tensor], lengths: Tensor) -> Tensor:
        """L times (B, W, D_l), and perhaps word vectors -> what is pooled, (B, W, 2 H) or wider."""
        mixes = self._mixes()
        static = layers[len(self.chosen) :]
        layers = layers[: len(self.chosen)]
        x = torch.cat([mixes["input"](layers) if "input" in mixes else layers[0], *static], dim=2)
        x = self.input_dropout(x.transpose(0, 1)).transpose(0, 1)
        states: Tensor = self.body(x, lengths)
        states = self.hidden_dropout(states.transpose(0, 1)).transpose(0, 1)
        if "output" not in mixes:
            return states
        beside = self.input_dropout(mixes["output"](layers).transpose(0, 1)).transpose(0, 1)
        return torch.cat([states, beside.to(states.dtype)], dim=2)

    # Where the layers come from

    def _layers(self, texts: Sequence[str]) -> tuple[list[Tensor], Tensor]:
        """The chosen layers of each text, (B, W, D_l), and its words, (B,); a text without words has one zero vector."""
        device = next(self.parameters()).device
        if all(text in self.kept for text in texts):
            return self._from_cache(texts, device)
        full = [number for number, text in enumerate(texts) if text.strip()]
        lengths = torch.ones(len(texts), dtype=torch.long, device=device)
        if not full:
            return [
                torch.zeros(len(texts), 1, self.encoder.widths[n], device=device) for n in self.chosen
            ], lengths
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found, mask = self.encoder.word_layers(self.encoder.prepare_text([texts[n] for n in full]))
        lengths[full] = mask.sum(1).clamp_min(1)
        if len(full) < len(texts):
            place = torch.tensor(full, device=device)
            found = [x.new_zeros(len(texts), *x.shape[1:]).index_copy(0, place, x) for x in found]
        return [found[number].float() for number in self.chosen], lengths

    @torch.no_grad()
    def _static(self, texts: Sequence[str], longest: int) -> Tensor:
        """(B, longest, E) word vectors, zeros where there is no word."""
        assert self.vectors is not None
        found = self.vectors.embedding.new_zeros(len(texts), longest, self.vectors.size)
        full = [number for number, text in enumerate(texts) if text.strip()]
        if full:
            (layer,), mask = self.vectors.word_layers(self.vectors.prepare_text([texts[n] for n in full]))
            found[torch.tensor(full, device=found.device), : layer.shape[1]] = layer * mask[:, :, None]
        return found

    def _from_cache(self, texts: Sequence[str], device: torch.device) -> tuple[list[Tensor], Tensor]:
        rows = [self.kept[text] for text in texts]
        lengths = torch.tensor([max(1, len(each)) for each in rows])
        joined = torch.zeros(len(rows), int(lengths.max()), sum(self.encoder.widths))
        for row, each in zip(joined, rows, strict=True):
            row[: len(each)] = torch.from_numpy(each.astype(np.float32))
        layers = torch.split(joined.to(device), self.encoder.widths, dim=2)
        return [layers[number] for number in self.chosen], lengths.to(device)

    def keep_layers(self, texts: Sequence[str], weights: str, *, progress: Progress = SILENT) -> None:
        """Compute the layers of these texts once, or find them in the cache; for a frozen encoder.

        Args:
            weights: tells the encoder from others, such as a digest of its weights.
        """
        different = list(dict.fromkeys(texts))
        embedded = cached_layers(self.encoder, different, weights, progress=progress)
        for text, line in zip(different, embedded.lines(), strict=True):
            self.kept[text] = line.vectors[:, 0]


def pool_words(states: Tensor, lengths: Tensor) -> Tensor:
    """(B, W, D), (B,) -> (B, 3 D): the last, the largest and the mean."""
    states = states.float()
    real = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, :, None]
    last = states[torch.arange(len(states), device=states.device), lengths - 1]
    largest = states.masked_fill(~real, -torch.inf).amax(1)
    return torch.cat([last, largest, (states * real).sum(1) / lengths[:, None]], dim=1)


def cached_layers(
    encoder: Encoder, texts: Sequence[str], weights: str, *, progress: Progress = SILENT
) -> EmbeddedText:
    """All layers of each text, from the cache where they are there already."""
    identity = hashlib.blake2b(weights.encode(), digest_size=12)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        identity.update(len(data).to_bytes(8, "little") + data)
    folder = cache_folder("layers") / identity.hexdigest()
    size = 2 * sum(encoder.widths) * sum(len(split_words(text)) for text in texts[:200])
    logger.info(
        "the encoder's layers of %d texts are kept in %s (about %.1f GB)",
        len(texts),
        folder,
        size / max(1, min(200, len(texts))) * len(texts) / 1e9,
    )
    settings = EmbedSettings(layers="joined", half=True)
    return embed_text(encoder, texts, folder, settings, identity=identity.hexdigest(), progress=progress)
