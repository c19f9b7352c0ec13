"""The benchmark of contextuality embeds the same batches as the measures, and its sentences differ."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.contextuality_speed import embed_alone, generated_sentences, same_batches, sentences
from benchmarks.texts import Texts
from tests.encoders.elmos import small_elmo
from unfreeze.analysis.contextuality import contextuality
from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.text.tokenizers import Pieces


def test_both_sides_encode_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(islice(sentences(Texts(tmp_path, tmp_path)), 300))
    assert len(set(texts)) == 300
    encoder, seen = small_elmo(), list[list[str]]()
    original = encoder.batch

    def batch(pieces: list[Pieces], inputs: list[str]) -> object:
        seen.append(list(inputs))
        return original(pieces, inputs)

    monkeypatch.setattr(encoder, "batch", batch)
    embed_alone(encoder, texts, same_batches(encoder, texts))
    alone, seen[:] = list(seen), []
    contextuality(encoder, texts, ContextualitySettings(draws=2))
    assert alone == seen and len(seen) > 1
    assert sorted(text for batch in seen for text in batch) == sorted(texts)


def test_generated_words_follow_zipfs_law() -> None:
    texts = list(islice(generated_sentences(), 200))
    words = [word for text in texts for word in text.rstrip(".").split()]
    frequent = max(words, key=words.count)
    assert 0.05 < words.count(frequent) / len(words) < 0.5 and len(set(words)) > 300
    assert all(5 <= len(text.split()) <= 35 for text in texts)
