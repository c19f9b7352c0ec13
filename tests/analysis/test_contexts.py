"""Words in their sentences: which occurrence is meant, and what is found of it in a corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unfreeze.analysis.contexts import embed_corpus, nearest_occurrences, word_vector
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.encoders.features import embed_text
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.vectors.table import VectorTable


@pytest.mark.parametrize("word", ["café", "CAFE\u0301", "o’neill", "O'Neill"])
def test_a_word_is_found_however_accents_and_apostrophes_are_written(word: str, tmp_path: Path) -> None:
    matrix = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    encoder = WordVectors.from_table(VectorTable(["café", "o'neill", "a"], matrix))
    vector = word_vector(encoder, "a Cafe\u0301 of O’Neill", word, -1)
    assert vector.tolist() == ([0, 1] if word[0] in "oO" else [1, 0])
    lines = ["a caf\u00e9", "a cafe\u0301", "a O'Neill", "o’neill"]
    text = embed_text(encoder, lines, tmp_path / "text", EmbedSettings(layers=-1))
    found = nearest_occurrences(text, vector, word=word)
    assert [each.sentence for each in found] == (lines[2:] if word[0] in "oO" else lines[:2])
    assert [each.score for each in found] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("reading", "as_earlier"),
    [
        ({}, True),
        ({"encoding": "utf-8"}, True),
        ({"encoding": "utf-8", "header": None, "text_column": None}, True),
        ({"encoding": "latin-1"}, False),
        ({"header": True}, False),
    ],
)
def test_caches_of_earlier_versions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: dict[str, Any], as_earlier: bool
) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    encoder = WordVectors.from_table(VectorTable(["a", "b"], np.eye(2, dtype=np.float32)))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a b\n", encoding="utf-8")
    embed_corpus(encoder, "weights", [corpus], -1, **reading)
    facts = [(str(corpus.resolve()), corpus.stat().st_size, corpus.stat().st_mtime_ns)]
    earlier = hashlib.blake2b(repr(("weights", facts, -1)).encode(), digest_size=12).hexdigest()
    assert (tmp_path / "cache" / "contexts" / earlier).exists() == as_earlier
    assert len(list((tmp_path / "cache" / "contexts").glob("*[0-9a-f]"))) == 1
