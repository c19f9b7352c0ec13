"""Settings of translators, given word vectors, and what a training needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pretraining.translators import SOURCES, TARGETS
from unfreeze.errors import UserError
from unfreeze.pretraining.translation.evaluation import evaluate_translator
from unfreeze.pretraining.translation.recipe import _source_tokenizer, make_translator, pretrain_cove
from unfreeze.pretraining.translation.settings import PRESETS, TranslationSettings, tiny
from unfreeze.text.cased_words import train_cased_tokenizer
from unfreeze.text.marked_words import train_marked_words
from unfreeze.text.pairs import pairs_in_memory
from unfreeze.training.checkpoints import read_log
from unfreeze.vectors.table import VectorTable


def test_presets_have_the_sizes_and_the_training_that_they_name() -> None:
    found = {
        name: (
            each.hidden_size,
            each.embedding_size,
            each.tokenizer,
            each.loop.optimizer,
            each.policy.schedule,
        )
        for name, each in ((name, make()) for name, make in PRESETS.items())
    }
    assert found == {
        "tiny": (32, 32, "subword", "adamw", "cosine"),
        "small": (256, 256, "subword", "adamw", "cosine"),
        "paper": (300, 300, "word", "sgd", "plateau"),
    }
    assert {make().policy.mode for make in PRESETS.values()} == {"scratch"}
    paper = PRESETS["paper"]()
    assert (paper.policy.learning_rate, paper.loop.clip, paper.batch_size, paper.dropout) == (
        1.0,
        5.0,
        64,
        0.2,
    )
    assert paper.n_layers == 2 and paper.init_range == 0.1


def test_a_given_range_is_that_of_all_weights() -> None:
    settings = replace(tiny(), init_range=0.1, hidden_size=16, embedding_size=16)
    source, target = train_cased_tokenizer(SOURCES, size=100), train_marked_words(TARGETS, size=100)
    for name, parameter in make_translator(source, target, None, settings).named_parameters():
        if parameter.numel():
            assert 0.05 < parameter.abs().max() <= 0.1, name


def test_the_metrics_are_those_of_the_weights_that_are_kept(tmp_path: Path) -> None:
    settings = tiny()
    # A learning rate with which the held-out loss rises after some epochs.
    policy = replace(settings.policy, learning_rate=0.3, schedule="constant")
    settings = replace(settings, policy=policy, loop=replace(settings.loop, epochs=8))
    pairs = pairs_in_memory(SOURCES, TARGETS)
    held_out = pairs_in_memory(SOURCES, [*TARGETS[1:], TARGETS[0]])
    output = tmp_path / "translator"
    translator, metrics = pretrain_cove(pairs, settings, output=output, validation=held_out, precision="fp32")
    losses = [record["loss"] for record in read_log(output)]
    assert metrics["loss"] == min(losses) < losses[-1]
    measured = evaluate_translator(translator, held_out)
    assert measured.perplexity == pytest.approx(metrics["perplexity"], rel=1e-4)


# Given word vectors


def given_vectors(words: list[str]) -> VectorTable:
    return VectorTable(words, np.random.default_rng(0).normal(size=(len(words), 4)).astype(np.float32))


@pytest.mark.parametrize("train_vectors", [False, True])
def test_more_vectors_than_the_vocabulary_has_room_for(train_vectors: bool) -> None:
    extra = [f"{letter}{number}" for letter in "zya" for number in range(20)]
    vectors = given_vectors(["rides", "zebra", *extra, "the", "dogs"])
    settings = replace(tiny(), source_vocabulary_size=16, train_vectors=train_vectors, min_count=2)
    tokenizer = _source_tokenizer([*SOURCES, "the xylophone", "xylophone"], vectors, settings)
    words = [tokenizer.token(number) for number in tokenizer.word_ids]
    if not train_vectors:
        # All words that have a vector, the most frequent ones of the sources first; "The" is read as "the".
        assert words == ["dogs", "the", "The", "rides", "zebra", *extra]
        return
    # Frequent words without a vector get one; the others fill the room in the order of the file.
    assert len(tokenizer) == 16
    frequent = ["a", "bicycle", "and", "dogs", "man", "the", "xylophone"]
    assert words == [*frequent, "The", "rides", "zebra", "z0", "z1"]
    encoder = make_translator(tokenizer, train_marked_words(TARGETS, size=50), vectors, settings).encoder
    table = encoder.table()
    np.testing.assert_array_equal(table.matrix[table.index["zebra"]], vectors.matrix[1])
    assert table.matrix[table.index["xylophone"]].any()


def test_a_plateau_needs_validation_pairs(tmp_path: Path) -> None:
    settings = replace(tiny(), policy=replace(tiny().policy, schedule="plateau"))
    pairs = pairs_in_memory(SOURCES, TARGETS)  # too few to hold some out
    with pytest.raises(
        UserError, match="schedule='plateau' halves the learning rate.*there is no validation data"
    ):
        pretrain_cove(pairs, settings, output=tmp_path / "out", precision="fp32")
    assert not (tmp_path / "out" / "config.json").exists()
    pretrain_cove(
        pairs,
        replace(settings, loop=replace(settings.loop, epochs=1)),
        validation=pairs,
        output=tmp_path / "other",
        precision="fp32",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dropout": 1.0}, "dropout must be at least 0 and under 1"),
        ({"hidden_size": 0}, "hidden_size must be above 0"),
        ({"direction": "backward"}, "direction must be both or forward"),
        ({"tokenizer": "bytes"}, "tokenizer must be subword or word"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TranslationSettings(policy=tiny().policy, loop=tiny().loop, **changes)  # type: ignore[arg-type]
