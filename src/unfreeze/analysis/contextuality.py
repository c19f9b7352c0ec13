"""How contextual the layers of an encoder are (Ethayarajh 2019, https://arxiv.org/abs/1909.00512).

For each layer: the self-similarity of words (mean cosine of a word's occurrences), the intra-sentence similarity (mean cosine of the words of
a sentence and their mean), and the maximum explainable variance (how much of a word's occurrences one vector explains). Each is also
adjusted by its baseline of unrelated words, a random word of each of random sentences: in a space where all vectors point the same
way (anisotropy), all words look alike. Isotropy score and effective dimension describe the space itself, from the same sample.

The sentences are read twice. First they are only split into pieces and words, and the occurrences that will be compared are chosen; then
they are encoded, and the vectors of these occurrences are written to a temporary file, sorted by word. The pieces are kept in another
one. So memory has the sentences, but never more vectors than those of one word, the sample, and one batch.

Legend: L layers, D_l widths, B sentences of a batch, W words of a sentence, V compared words, S sampled words.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.analysis.contextuality_files import KeptPieces, read_rows, write_rows
from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.analysis.geometry import (
    Estimate,
    Numbers,
    draw_counts,
    drawn_explained_variances,
    drawn_mean_cosines,
    drawn_means,
    effective_dimension,
    explained_variance,
    isotropy_score,
    mean_cosine,
    measures_of_words,
)
from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.features import BATCH_WORDS, words_of
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError, need_texts, setting
from unfreeze.memory import trim_heap
from unfreeze.progress import SILENT, Progress

TRIMMED = 8
"""Batches after which free blocks are returned to the system. Batches have different shapes, and these fragment the heap."""
TOGETHER = 1 << 20
"""Numbers of the vectors of words that are measured together."""
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LayerFigures:
    """The measures of one layer, each with its 95 percent bootstrap interval, over words, sentences, and the sampled words."""

    layer: int
    width: int
    anisotropy: Estimate
    """Mean cosine of unrelated words."""
    self_similarity: Estimate
    """Mean over the words of the mean cosine of their occurrences."""
    self_similarity_adjusted: Estimate
    """Minus the anisotropy."""
    intra_sentence: Estimate
    """Mean over the sentences of the mean cosine of their words and the mean of these."""
    intra_sentence_adjusted: Estimate
    """Minus the anisotropy."""
    explained: Estimate
    """Mean over the words of the share of the first squared singular value of their occurrences."""
    explained_adjusted: Estimate
    """Minus the same share of unrelated words. Of few vectors the first singular value has a larger share than of many, so words that occur
    less often than there are sampled words are above 0 even if their occurrences are no more alike than unrelated words."""
    explained_baseline: Estimate
    """The share of unrelated words."""
    isotropy: float
    """Smallest value of the partition function divided by the largest."""
    effective_dimension: float
    """Participation ratio of the sampled words, which is below their number."""

    def as_dict(self) -> dict[str, float]:
        """All numbers by name; an interval under the name with `_low` and `_high`."""
        found: dict[str, float] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                ends = {f"{field.name}_{end}": getattr(value, end) for end in ("low", "high")}
                found |= {field.name: value.value, **ends}
            else:
                found[field.name] = value
        return found


@dataclass(frozen=True)
class Contextuality:
    """What was measured of an encoder, word by word and sentence by sentence."""

    settings: ContextualitySettings
    n_sentences: int
    """Different sentences."""
    n_repeated: int
    """Sentences that were left out because they occurred before."""
    n_without_vector: int
    """Words with enough contexts that have no vector, or one of zeros, in some layer: they are left out of all layers."""
    words: list[str]
    """The V words that were compared, sorted."""
    counts: Integers
    """Their numbers of occurrences that were compared, (V,)."""
    self_similarities: Floats
    """(L, V)"""
    explained: Floats
    """(L, V)"""
    intra_sentence: Floats
    """(L, n), of the n sentences with at least two words that have vectors."""
    sample: list[Floats]
    """For each layer the vectors of the sampled words (S, D_l)."""

    def figures(self, words: Collection[str] | None = None) -> list[LayerFigures]:
        """The measures of each layer.

        Args:
            words: compare only these, such as the words that another encoder compares as well; None are all.

        Raises:
            UserError: none of them was compared.
        """
        found = []
        for number, drawn in enumerate(self._drawn(range(len(self.sample)), self._rows(words))):
            sample = self.sample[number]
            estimates = {name: Estimate.of(*each) for name, each in drawn.items()}
            isotropy, dimension = isotropy_score(sample), effective_dimension(sample)
            found.append(
                LayerFigures(
                    number, sample.shape[1], **estimates, isotropy=isotropy, effective_dimension=dimension
                )
            )
        return found

    def difference(
        self, measure: str, upper: int, lower: int, words: Collection[str] | None = None
    ) -> Estimate:
        """How much larger a measure (a name in `LayerFigures`) is in one layer than in another one.

        Both layers are measured on the same draws of words and sentences, so the interval is that of paired differences.

        Raises:
            UserError: none of the words was compared.
        """
        both = self._drawn((upper, lower), self._rows(words))
        (high, draws_high), (low, draws_low) = (each[measure] for each in both)
        return Estimate.of(high - low, draws_high - draws_low)

    def _rows(self, words: Collection[str] | None) -> list[int]:
        rows = [number for number, each in enumerate(self.words) if words is None or each in words]
        if not rows:
            raise UserError("the encoders have no word in common that occurs often enough to be compared")
        return rows

    def _drawn(self, numbers: Sequence[int], rows: list[int]) -> list[dict[str, tuple[float, Numbers]]]:
        """For each of some layers the measures and their draws, which are the same for all layers."""
        settings, generator = self.settings, np.random.default_rng(self.settings.seed)
        of_cosines, of_shares = (
            draw_counts(len(self.sample[0]), settings.draws, generator) for _ in range(2)
        )
        means: dict[str, tuple[Numbers, Numbers]] = {}
        for name, values in (
            ("self_similarity", self.self_similarities[:, rows]),
            ("intra_sentence", self.intra_sentence),
            ("explained", self.explained[:, rows]),
        ):
            own = values[list(numbers)]
            means[name] = own.mean(1, dtype=np.float64), drawn_means(own, settings.draws, generator)
        found = []
        for place, number in enumerate(numbers):
            sample = self.sample[number]
            options: dict[str, Any] = {"centered": settings.explained == "centered"}
            anisotropy = mean_cosine(sample), drawn_mean_cosines(sample, of_cosines)
            share = explained_variance(sample, **options)
            drawn = drawn_explained_variances(sample, of_shares, **options)
            # A draw has fewer different vectors than the sample, and one vector explains more of fewer: without the shift, an isotropic
            # space is outside of its own interval.
            baseline = share, drawn + (share - np.nanmean(drawn))
            own_layer = {"anisotropy": anisotropy, "explained_baseline": baseline}
            for name, (every_value, every_draw) in means.items():
                value, draws = float(every_value[place]), every_draw[place]
                base, draws_base = baseline if name == "explained" else anisotropy
                own_layer |= {name: (value, draws), f"{name}_adjusted": (value - base, draws - draws_base)}
            found.append(own_layer)
        return found

    def as_dict(
        self, figures: Sequence[LayerFigures], words: Collection[str] | None = None
    ) -> dict[str, Any]:
        """The counts, the settings, and the figures of each layer as JSON values.

        Args:
            figures: what the method of this name found for `words`.
        """
        names = ("n_sentences", "n_repeated", "n_without_vector")
        return {
            **{name: getattr(self, name) for name in names},
            "n_words": len(self.words),
            "n_compared": len(self._rows(words)),
            "n_occurrences": int(self.counts.sum()),
            "n_sampled": len(self.sample[0]),
            "settings": asdict(self.settings),
            "layers": [each.as_dict() for each in figures],
        }


def contextuality(
    encoder: TextEncoder,
    sentences: Sequence[str],
    settings: ContextualitySettings | None = None,
    *,
    number_format: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = SILENT,
) -> Contextuality:
    """Measure how contextual each layer of an encoder is on sentences.

    Args:
        sentences: n texts, one sentence each; a sentence that occurs again is left out, for it is no other context.
        number_format: makes the context in which the encoder runs, such as autocast.

    Raises:
        UserError: no word occurs in enough sentences, there are too few sentences for the sample, or the disk is full.
    """
    need_texts(sentences, "sentences")
    settings = settings or ContextualitySettings()
    unique = list(dict.fromkeys(each for each in sentences if each.strip()))
    # Without buffers, so that closing a file writes nothing.
    with tempfile.TemporaryFile(buffering=0) as file, tempfile.TemporaryFile(buffering=0) as of_pieces:
        kept = KeptPieces(of_pieces)
        chosen = _Occurrences.choose(encoder, unique, kept, settings, progress)
        sample, intra, valid = _encode(encoder, unique, kept, chosen, file, number_format, progress)
        table = _measure_words(encoder, chosen, file, valid, settings, progress)
    if not table:
        raise UserError(
            f"no word in at least {settings.least_contexts} sentences has vectors: all are unknown to the encoder"
        )
    if not intra.shape[1]:
        raise UserError(
            "no sentence has two words with vectors, which intra-sentence similarity compares: take other sentences"
        )
    if len(sample[0]) < 2:
        raise UserError(
            "fewer than two of the sampled words have vectors, which anisotropy compares: take more sentences, or raise "
            f"{setting('sample')}"
        )
    words, counts, similar, explained = zip(*table, strict=True)
    return Contextuality(
        settings,
        n_sentences=len(chosen.starts) - 1,
        n_repeated=sum(bool(each.strip()) for each in sentences) - len(unique),
        n_without_vector=len(chosen.words) - len(words),
        words=list(words),
        counts=np.array(counts),
        self_similarities=np.array(similar, np.float32).T,
        explained=np.array(explained, np.float32).T,
        intra_sentence=intra,
        sample=sample,
    )


@dataclass(frozen=True)
class _Occurrences:
    """Which occurrences are compared. Occurrences are numbered through all sentences."""

    starts: Integers
    """The number of the first occurrence of each sentence, and that after the last."""
    words: list[str]
    """The V words that are compared, sorted."""
    bounds: Integers
    """Row v to row v + 1 of the file are the occurrences of word v, (V + 1,)."""
    rows: NDArray[np.int32]
    """For each occurrence its row in the file, or -1."""
    sampled: NDArray[np.int32]
    """For each occurrence its row in the sample, or -1."""

    @classmethod
    def choose(
        cls,
        encoder: TextEncoder,
        sentences: Sequence[str],
        kept: KeptPieces,
        settings: ContextualitySettings,
        progress: Progress,
    ) -> _Occurrences:
        """Split the sentences into pieces, which are kept, and words, and choose."""
        number_of: dict[str, int] = {}
        starts, numbers = [0], array("i")  # 4 bytes an occurrence, of which there may be millions
        with progress.bar("words", total=len(sentences), unit="sentence") as bar:
            for text in sentences:
                pieces = encoder.tokenizer.encode(text)
                kept.append(pieces)
                own = words_of(pieces.words, pieces.offsets, text)
                numbers.extend([number_of.setdefault(each, len(number_of)) for each in own])
                starts.append(len(numbers))
                bar.advance(1)
        flat, bounds = np.array(numbers, np.int32), np.array(starts)
        generator = np.random.default_rng(settings.seed)

        order = np.argsort(flat, kind="stable").astype(np.int32)
        context = np.repeat(np.arange(len(sentences), dtype=np.int32), np.diff(bounds))[order]
        grouped = flat[order]
        # Of the occurrences of a word, which are together now, the first of each sentence.
        new = np.ones(len(flat), np.bool_)
        new[1:] = (grouped[1:] != grouped[:-1]) | (context[1:] != context[:-1])
        contexts = np.bincount(grouped[new], minlength=len(number_of))
        del context, grouped, new
        names = sorted((name for name, n in number_of.items() if contexts[n] >= settings.least_contexts))
        if not names:
            most = int(contexts.max(initial=0))
            raise UserError(
                f"no word occurs in {settings.least_contexts} different sentences (the most frequent one in {most} of "
                f"{len(sentences):,}): take more sentences or lower {setting('least_contexts')}"
            )
        ends = np.cumsum(np.bincount(flat, minlength=len(number_of)))
        rows, edges = np.full(len(flat), -1, np.int32), [0]
        for name in names:
            number = number_of[name]
            places = order[ends[number - 1] if number else 0 : ends[number]]
            if len(places) > settings.most_occurrences:
                places = np.sort(generator.choice(places, settings.most_occurrences, replace=False))
            rows[places] = edges[-1] + np.arange(len(places))
            edges.append(edges[-1] + len(places))

        full = np.flatnonzero(np.diff(bounds))
        some = generator.permutation(full)[: settings.sample]
        sampled = np.full(len(flat), -1, np.int32)
        sampled[bounds[some] + generator.integers(0, np.diff(bounds)[some])] = np.arange(len(some))
        return cls(bounds, names, np.array(edges), rows, sampled)


@torch.no_grad()
def _encode(
    encoder: TextEncoder,
    sentences: Sequence[str],
    kept: KeptPieces,
    chosen: _Occurrences,
    file: BinaryIO,
    number_format: Callable[[], AbstractContextManager[object]],
    progress: Progress,
) -> tuple[list[Floats], Floats, NDArray[np.bool_]]:
    """Encode the sentences, and write the chosen vectors of all layers side by side, a row for each occurrence.

    Returns:
        The sample; intra-sentence similarities; and which rows of the file have a vector in every layer.
    """
    width, lengths = sum(encoder.widths), np.diff(chosen.starts)
    sample = np.zeros((int(chosen.sampled.max()) + 1, width), np.float32)
    valid = np.zeros(int(chosen.bounds[-1]), np.bool_)
    intra = np.full((len(encoder.widths), len(sentences)), np.nan, np.float32)
    numbers = [int(number) for number in np.flatnonzero(lengths)]
    batches = token_bounded_batches([int(lengths[number]) for number in numbers], BATCH_WORDS)
    with evaluating(encoder), number_format(), progress.bar("encode", len(numbers), "sentence") as bar:
        for done, picked in enumerate(batches, start=1):
            batch = [numbers[each] for each in picked]
            texts = [sentences[number] for number in batch]
            layers, mask = encoder.word_layers(encoder.batch([kept[number] for number in batch], texts))
            layers = [each.float() for each in layers]
            for each in layers:
                mask = mask & (each.abs().amax(2) > 0)
            intra[:, batch] = torch.stack([_intra_sentence(each, mask) for each in layers]).cpu().numpy()
            joined, known = torch.cat(layers, 2).cpu().numpy(), mask.cpu().numpy()
            words = np.arange(known.shape[1])
            known &= words < lengths[batch, None]
            places = (chosen.starts[batch, None] + words)[known]  # of all words with vectors, row by row
            for targets in (chosen.rows, chosen.sampled):
                own = targets[places]
                vectors = joined[tuple(each[own >= 0] for each in np.nonzero(known))]
                own = own[own >= 0]
                if targets is chosen.rows:
                    valid[own] = True
                    write_rows(file, own, vectors)
                else:
                    sample[own] = vectors
            del layers, each, mask, joined, known, vectors  # before the next batch is encoded
            bar.advance(len(batch))
            if done % TRIMMED == 0:
                trim_heap()
    sample = sample[np.abs(sample).max(1, initial=0.0) > 0]
    edges = np.cumsum(encoder.widths)[:-1]
    return np.split(sample, edges, axis=1), intra[:, ~np.isnan(intra[0])], valid


def _intra_sentence(x: Tensor, mask: Tensor) -> Tensor:
    """(B, W, D), (B, W) -> (B,), the mean cosine of a sentence's words and their mean; NaN for fewer than two words."""
    count = mask.sum(1)
    real = x * mask[:, :, None]
    mean = torch.nn.functional.normalize(real.sum(1), dim=1)
    # No matrix product, which autocast would compute in bf16.
    cosines = (real * mean[:, None]).sum(2) / real.norm(dim=2).clamp_min(1e-12)
    return torch.where(count > 1, cosines.sum(1) / count.clamp_min(1), torch.nan)


def _measure_words(
    encoder: TextEncoder,
    chosen: _Occurrences,
    file: BinaryIO,
    valid: NDArray[np.bool_],
    settings: ContextualitySettings,
    progress: Progress,
) -> list[tuple[str, int, list[float], list[float]]]:
    """For each word with vectors its number of occurrences, and for each layer self-similarity and explained variance.

    Words with the same number of occurrences are measured together, a million numbers at once.
    """
    width, edges = sum(encoder.widths), np.cumsum(encoder.widths)[:-1]
    counts = np.diff(chosen.bounds)
    has_vectors = np.logical_and.reduceat(valid, chosen.bounds[:-1])
    found: dict[int, tuple[str, int, list[float], list[float]]] = {}
    with progress.bar("measure", total=len(chosen.words), unit="word") as bar:
        for count in np.unique(counts[has_vectors]).tolist():
            numbers = np.flatnonzero(has_vectors & (counts == count)).tolist()
            size = max(1, TOGETHER // (count * width))
            for start in range(0, len(numbers), size):
                own = numbers[start : start + size]
                x = np.empty((len(own), count, width), np.float32)
                for each, number in zip(x, own, strict=True):
                    read_rows(file, int(chosen.bounds[number]), each)
                centered = settings.explained == "centered"
                layers = [measures_of_words(layer, centered=centered) for layer in np.split(x, edges, axis=2)]
                for place, number in enumerate(own):
                    similar, explained = ([float(layer[kind][place]) for layer in layers] for kind in (0, 1))
                    found[number] = chosen.words[number], count, similar, explained
                bar.advance(len(own))
        bar.advance(int((~has_vectors).sum()))
    return [found[number] for number in sorted(found)]


def shared_words(reports: Sequence[Contextuality]) -> Iterator[str]:
    """The words that every one of several encoders compared, sorted."""
    others = [set(each.words) for each in reports[1:]]
    return (word for word in reports[0].words if all(word in other for other in others))
