"""Nearest occurrences of words in a corpus to a word in a sentence, by contextual vectors.

The corpus is embedded once, sentence by sentence, and cached, so that further queries only search the vectors.

    CACHE/contexts/DIGEST/   in the format of `embed_text`, one layer, 16 bits per number

Shapes: N occurrences, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.encoders.base import layer_number
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.encoders.features import EmbeddedText, embed_into_cache, words_of
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError
from unfreeze.folders import cache_folder
from unfreeze.progress import SILENT, Progress
from unfreeze.text.corpus import find_files, stream_documents
from unfreeze.text.rules import normalized
from unfreeze.text.words import split_sentences

BLOCK = 1 << 15
"""Number of occurrences compared at once, which bounds memory."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Occurrence:
    """A word in a sentence of the corpus."""

    sentence: str
    word: str
    position: int
    """Index of the word in the sentence."""
    score: float
    """Cosine similarity to the query."""


def word_vector(encoder: TextEncoder, sentence: str, word: str, layer: int) -> Floats:
    """Return the vector (D,) of the first occurrence of a word in a sentence, ignoring case.

    Raises:
        UserError: the word does not occur in the sentence, or there is no such layer.
    """
    layer = layer_number(layer, len(encoder.widths))
    batch = encoder.prepare([sentence])
    words = words_of(batch.words[0], batch.offsets[0], sentence)
    positions = [number for number, token in enumerate(words) if normalized(token) == normalized(word)]
    if not positions:
        raise UserError(f"the sentence has no word {word!r}; its words are: {' '.join(words[:40])}")
    with torch.no_grad():
        layers, _ = encoder.word_layers(batch)
    vector: Floats = layers[layer][0, positions[0]].float().cpu().numpy()
    return vector


def embed_corpus(
    encoder: TextEncoder,
    weights: str,
    corpus: Sequence[str | Path],
    layer: int,
    *,
    progress: Progress = SILENT,
    **reading: Any,
) -> EmbeddedText:
    """Embed the sentences of a corpus with one layer, or load them from the cache.

    Args:
        weights: identifies the encoder, such as a digest of its weights.
        reading: keyword arguments of `stream_documents` for reading the corpus.
    """
    files = [
        (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in find_files(corpus)
    ]
    # Defaults are left out, so that caches written by versions without these options stay valid.
    defaults = signature(stream_documents).parameters
    options = sorted((name, value) for name, value in reading.items() if value != defaults[name].default)
    identity = repr((weights, files, layer, *([options] if options else [])))
    folder = cache_folder("contexts") / hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    settings = EmbedSettings(layers=layer, half=True)
    return embed_into_cache(
        encoder,
        lambda: sentences(stream_documents(corpus, **reading)),
        folder,
        settings,
        identity=identity,
        progress=progress,
    )


def sentences(documents: Iterable[str]) -> Iterator[str]:
    """Split documents into sentences, each on one line."""
    for text in documents:
        for start, end in split_sentences(text):
            yield " ".join(text[start:end].split())


def nearest_occurrences(
    text: EmbeddedText, vector: Floats, *, word: str | None = None, top: int = 10, excluded: str = ""
) -> list[Occurrence]:
    """Return the occurrences with the largest cosine similarity to `vector` (D,), best first.

    Args:
        word: only occurrences of this word, ignoring case; by default all words.
        excluded: a sentence to leave out, such as that of the query.
    """
    rows, positions = _rows(text, word, " ".join(excluded.split()))
    if not len(rows):
        return []
    unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
    scores = np.concatenate(
        [_cosines(text.vectors[rows[at : at + BLOCK], 0], unit) for at in range(0, len(rows), BLOCK)]
    )
    best = np.argsort(-scores, kind="stable")[:top].tolist()
    wanted = {positions[number]: number for number in best}
    found: dict[int, Occurrence] = {}
    for number, line in enumerate(text.lines()):
        for position, token in enumerate(line.words):
            if (number, position) in wanted:
                at = wanted[number, position]
                found[at] = Occurrence(line.text, token, position, float(scores[at]))
    return [found[number] for number in best]


def _rows(
    text: EmbeddedText, word: str | None, excluded: str
) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """Rows of the occurrences to compare, and their lines and positions."""
    rows, positions, offset = [], [], 0
    normal = None if word is None else normalized(word)
    for number, line in enumerate(text.lines()):
        if line.text != excluded:
            for position, token in enumerate(line.words):
                if normal is None or normalized(token) == normal:
                    rows.append(offset + position)
                    positions.append((number, position))
        offset += len(line.words)
    return np.array(rows, dtype=np.int64), positions


def _cosines(vectors: NDArray[np.floating], unit: Floats) -> Floats:
    exact = vectors.astype(np.float32)
    norms = np.maximum(np.linalg.norm(exact, axis=1), 1e-12)
    cosines: Floats = (exact @ unit) / norms
    return cosines
