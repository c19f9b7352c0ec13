"""The translator: its search against greedy and exhaustive search, and what its translations must not depend on."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.layers.bi_lstm import Packing
from unfreeze.errors import MissingExtra, UserError
from unfreeze.pretraining.translation import search
from unfreeze.pretraining.translation.evaluation import evaluate_translator
from unfreeze.pretraining.translation.objective import EncodedPairs, TranslationObjective, mean_loss
from unfreeze.pretraining.translation.recipe import _source_tokenizer, make_translator, pretrain_cove
from unfreeze.pretraining.translation.settings import PRESETS, TranslationSettings, tiny
from unfreeze.pretraining.translation.translator import Translator
from unfreeze.text.cased_words import train_cased_tokenizer
from unfreeze.text.marked_words import train_marked_words
from unfreeze.text.pairs import pairs_in_memory
from unfreeze.text.tokenizers import train_tokenizer
from unfreeze.vectors.table import VectorTable

SOURCES = ["The man rides a bicycle.", "Two dogs", "a man and the dogs, a bicycle and a bicycle", "Man"]
TARGETS = ["Der Mann fährt Rad.", "Zwei Hunde", "ein Mann und die Hunde, ein Rad und ein Rad", "Mann"]


def small_translator(
    direction: Literal["both", "forward"] = "both",
    *,
    targets: list[str] = TARGETS,
    hidden_size: int = 16,
    target_size: int | None = None,
    subwords: bool = False,
    copies: bool = True,
) -> Translator:
    """Random weights, large enough that words matter, but not so large that the states are chaotic and amplify rounding.

    Args:
        copies: whether a translation may contain unknown words, which are copied from the source.
    """
    torch.manual_seed(0)
    settings = TranslationSettings(
        policy=tiny().policy,
        loop=tiny().loop,
        embedding_size=16,
        hidden_size=hidden_size,
        target_size=target_size,
        direction=direction,
    )
    source = train_cased_tokenizer(SOURCES, size=100)
    if subwords:
        target = train_tokenizer(targets, kind="subword", vocabulary_size=60, workers=1)
    else:
        target = train_marked_words(targets, size=100)
    translator = make_translator(source, target, None, settings)
    for name, parameter in translator.named_parameters():
        if "bias" not in name:
            nn.init.normal_(parameter, 0.0, 0.4)
    with torch.no_grad():
        translator.output.bias[target.bos_id] -= 2.0  # else most translations are empty
        if not copies:
            translator.output.bias[target.unknown_id] = -1000.0
    translator.encoder.clear_unknown()
    return translator.eval()


def log_probability(translator: Translator, text: str, ids: list[int], *, ended: bool = True) -> float:
    """Of a translation, by the code that trains."""
    batch = translator.encoder.prepare([text])
    bos = translator.target.bos_id
    targets = [*ids, bos] if ended else ids
    inputs = [bos, *ids][: len(targets)]
    packing = Packing(torch.tensor([len(inputs)]))
    with torch.no_grad():
        return -float(translator.loss(batch, torch.tensor(inputs), torch.tensor(targets), packing))


# The search


@pytest.mark.parametrize("target_size", [None, 8])
def test_one_beam_is_greedy_search(target_size: int | None) -> None:
    translator = small_translator(target_size=target_size)
    for text in SOURCES:
        memory, state = translator.read(translator.encoder.prepare([text]))
        token, ids, attention, total = translator.target.bos_id, [], [], 0.0
        longest = search.LONGEST_FACTOR * len(translator.encoder.piece_ids([text])[0])
        while len(ids) < longest + search.LONGEST_EXTRA:
            found, shares, state = translator.step(torch.tensor([token]), memory, state)
            found[0, translator.target.pad_id] = -torch.inf
            token = int(found[0].argmax())
            total += float(found[0, token])
            if token == translator.target.bos_id:
                break
            ids.append(token)
            attention.append(shares[0].numpy())
        (ours,) = translator.translate([text], beams=1, length_penalty=0.0)
        assert ours.text == translator.target.decode(ids) or translator.target.unknown_id in ids
        assert len(ours.tokens) == len(ids) and ours.score == pytest.approx(total, rel=1e-4)
        np.testing.assert_allclose(
            ours.attention, np.stack(attention)[:, : len(ours.source_words)], atol=1e-5
        )
        np.testing.assert_allclose(ours.attention.sum(1), 1.0, atol=1e-5)


def test_all_beams_find_what_exhaustive_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 4
    monkeypatch.setattr(search, "LONGEST_FACTOR", 0)
    monkeypatch.setattr(search, "LONGEST_EXTRA", longest)
    translator = small_translator(targets=["x y z"])
    target = translator.target
    tokens = [number for number in range(len(target)) if number not in (target.bos_id, target.pad_id)]
    for text in SOURCES:
        scores = {}
        for length in range(longest + 1):
            for ids in product(tokens, repeat=length):
                # A translation of the largest length ends without its end.
                scores[ids] = log_probability(translator, text, list(ids), ended=length < longest)
        best = max(scores, key=lambda ids: scores[ids])
        (found,) = translator.translate([text], beams=len(target) ** longest, length_penalty=0.0)
        assert found.score == pytest.approx(scores[best], rel=1e-4)
        assert len(found.tokens) == len(best)
        (some,) = translator.translate([text], beams=2, length_penalty=0.0)
        assert some.score <= scores[best] + 1e-4


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0])
def test_the_score_is_the_log_probability_over_a_power_of_the_length(penalty: float) -> None:
    translator = small_translator(subwords=True, copies=False)
    target = translator.target
    for text in SOURCES:
        (found,) = translator.translate([text], beams=3, length_penalty=penalty)
        ids = [target.id(token) for token in found.tokens]
        known = [number for number in ids if number is not None]
        assert known == ids
        words = len(found.source_words)
        ended = len(ids) < search.LONGEST_FACTOR * words + search.LONGEST_EXTRA
        expected = log_probability(translator, text, known, ended=ended) / (len(ids) + ended) ** penalty
        assert found.score == pytest.approx(expected, rel=1e-4)


def test_a_larger_penalty_never_gives_shorter_translations_of_these_texts() -> None:
    translator = small_translator()
    with torch.no_grad():
        translator.output.bias[translator.target.bos_id] += 2.0
    lengths = [
        sum(len(found.tokens) for found in translator.translate(SOURCES, beams=4, length_penalty=penalty))
        for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


@pytest.mark.parametrize("beams", [1, 3, 80])
def test_a_translation_does_not_depend_on_the_others(beams: int) -> None:
    translator = small_translator(subwords=True)
    before = {name: tensor.clone() for name, tensor in translator.state_dict().items()}
    texts = [" ".join(SOURCES[: 1 + n % 4][::-1])[: 5 + 7 * n] for n in range(8)] + ["", "  "]
    texts = texts * 4 if beams == 1 else texts  # more than are translated together
    together = translator.translate(texts, beams=beams)
    backwards = translator.translate(texts[::-1], beams=beams)[::-1]
    alone = [translator.translate([text], beams=beams)[0] for text in texts]
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert one.text == two.text == three.text
        assert [one.score, one.score] == pytest.approx([two.score, three.score], abs=1e-5)
        np.testing.assert_allclose(one.attention, three.attention, atol=1e-5)
    for name, tensor in translator.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_unknown_words_are_copied_from_where_the_attention_is() -> None:
    translator = small_translator()
    with torch.no_grad():
        translator.output.bias[translator.target.unknown_id] = 1000.0
    (found,) = translator.translate(["The man Xylophone"], beams=1)
    assert found.source_words == ["The", "man", "Xylophone"]
    words = [found.source_words[place] for place in found.attention.argmax(1)]
    assert [token.lstrip("▁") for token in found.tokens] == words
    assert found.text == " ".join(words) and len(set(words)) >= 1
    assert len(words) == 3 * search.LONGEST_FACTOR + search.LONGEST_EXTRA


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beams": 0}, "beams must be above 0, not 0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, not -1.0"),
        ({"length_penalty": float("nan")}, "length_penalty must be at least 0, not nan"),
        ({"length_penalty": 1e9}, "length_penalty must be at most 10"),
    ],
)
def test_a_search_that_cannot_work(options: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small_translator().predict(["The man"], **options)


def test_one_text_instead_of_several_is_refused() -> None:
    with pytest.raises(UserError, match="texts come in a list, and 'The man' is one text"):
        small_translator().predict("The man")
    assert small_translator().predict([]) == []
    assert small_translator().predict(np.array(["", "."]))[0] == ""


# The encoder


def first_states(direction: Literal["both", "forward"], texts: list[str]) -> torch.Tensor:
    """The top layer's state of the first word of each text."""
    encoder = small_translator(direction).encoder
    with torch.no_grad():
        return encoder.layers(encoder.prepare(texts))[0][-1][:, 0]


def test_only_a_forward_encoders_first_state_ignores_later_words() -> None:
    texts = ["The man rides", "The dogs and a bicycle", "The"]
    forward, both = first_states("forward", texts), first_states("both", texts)
    assert forward.shape == both.shape  # a forward encoder has as many cells in its one direction
    torch.testing.assert_close(forward, forward[:1].expand_as(forward), rtol=0, atol=1e-6)
    assert (both - both[:1]).abs().amax(1)[1:].min() > 0.01
    # The forward half of the first layer ignores them in both; it is the backward one that knows.
    encoder = small_translator("both").encoder
    with torch.no_grad():
        lowest = encoder.layers(encoder.prepare(texts))[0][1][:, 0]
    own, other = lowest.chunk(2, dim=1)
    torch.testing.assert_close(own, own[:1].expand_as(own), rtol=0, atol=1e-6)
    assert (other - other[:1]).abs().amax(1)[1:].min() > 0.01


def test_the_encoder_of_a_saved_translator_is_loaded_alone(tmp_path: Path) -> None:
    translator = small_translator(target_size=8)
    translator.save_pretrained(tmp_path / "translator")
    again = Translator.from_pretrained(tmp_path / "translator")
    assert again.predict(SOURCES) == translator.predict(SOURCES)
    encoder = Encoder.from_pretrained(tmp_path / "translator")
    assert isinstance(encoder, CoVe)
    for layer in range(3):
        np.testing.assert_array_equal(
            encoder.encode(SOURCES, layer=layer), translator.encoder.encode(SOURCES, layer=layer)
        )
    encoder.save_pretrained(tmp_path / "encoder")
    assert not (tmp_path / "encoder" / "target").exists()
    with pytest.raises(UserError, match="is of kind 'cove', which cannot be used here"):
        Translator.from_pretrained(tmp_path / "encoder")


def test_words_fall_back_to_lower_case_and_unknown_ones_are_zeros() -> None:
    encoder = small_translator().encoder
    assert encoder.word_id("DOGS") == encoder.word_id("dogs") != encoder.tokenizer.unknown_id
    assert encoder.word_id("The") != encoder.word_id("the")
    assert encoder.word_id("xylophone") == encoder.word_id("xxbos") == encoder.tokenizer.unknown_id
    with torch.no_grad():
        vectors = encoder.layers(encoder.prepare(["dogs xylophone"]))[0][0][0]
    assert vectors[0].abs().sum() > 0 and not vectors[1].any()


def test_training_gives_unknown_words_no_vector() -> None:
    translator = small_translator().train()
    encoder = translator.encoder
    pairs = EncodedPairs.of(translator, pairs_in_memory(["The xylophone rides"], TARGETS[:1]))
    optimizer = torch.optim.AdamW(translator.parameters(), 0.1)
    for _ in range(2):
        TranslationObjective(translator, pairs).loss([0]).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        vectors = encoder.eval().layers(encoder.prepare(["dogs xylophone"]))[0][0][0]
    assert vectors[0].any() and not vectors[1].any()
    assert not encoder.words.weight[encoder.tokenizer.unknown_id].any()


def test_processes_that_get_no_pair_of_the_last_batch_take_part_in_the_update() -> None:
    translator = small_translator()
    pairs = EncodedPairs.of(translator, pairs_in_memory(SOURCES[:3], TARGETS[:3]))
    parts = [
        list(TranslationObjective(translator, pairs, batch_size=3, rank=rank, world_size=4).batches(0, 0))
        for rank in range(4)
    ]
    assert parts[3] == [[]]
    objective = TranslationObjective(translator, pairs)
    empty = objective.loss([])
    assert empty.total.item() == 0 and empty.n_items == 0
    empty.total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or not p.grad.any() for p in translator.parameters())
    losses = [objective.loss(batch) for part in parts for batch in part]
    whole = objective.loss([0, 1, 2])
    assert sum(loss.n_items for loss in losses) == whole.n_items
    assert sum(loss.total.item() for loss in losses) == pytest.approx(whole.total.item(), rel=1e-5)


# Measuring


def test_perplexity_is_that_of_the_tokens_one_by_one() -> None:
    translator = small_translator(subwords=True)
    ids = translator.target.encode_ids(TARGETS)
    pairs = EncodedPairs.of(translator, pairs_in_memory(SOURCES, TARGETS))
    with torch.no_grad():
        mean, n_tokens = mean_loss(translator, pairs)
    assert n_tokens == sum(map(len, ids))  # each target has one end instead of its beginning
    total = sum(log_probability(translator, text, own[1:]) for text, own in zip(SOURCES, ids, strict=True))
    assert mean == pytest.approx(-total / n_tokens, rel=1e-4)


def test_score_is_bleu_from_0_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    translator = small_translator()
    assert translator.score(SOURCES, translator.predict(SOURCES)) == pytest.approx(1.0)
    guesses = ["Der Mann fährt ein Rad.", "Zwei Hunde", "ein Mann und Hunde, ein Rad und ein Rad", "Frau"]
    monkeypatch.setattr(translator, "predict", lambda *_, **__: guesses)
    expected = sacrebleu.corpus_bleu(guesses, [TARGETS])
    assert translator.score(SOURCES, np.array(TARGETS)) == pytest.approx(expected.score / 100)
    report = evaluate_translator(translator, pairs_in_memory(SOURCES, TARGETS))
    assert report.scores.bleu == pytest.approx(expected.score)
    assert report.scores.chrf == pytest.approx(sacrebleu.corpus_chrf(guesses, [TARGETS]).score)
    assert "tok:13a" in report.scores.bleu_signature and "nc:6" in report.scores.chrf_signature
    assert str(report).startswith(f"BLEU {expected.score:.2f} (nrefs:1|case:mixed")
    with pytest.raises(UserError, match="4 translations and 3 references"):
        translator.score(SOURCES, TARGETS[:3])


def test_without_sacrebleu_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sacrebleu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"pip install 'unfreeze\[translation\]'"):
        evaluate_translator(small_translator(), pairs_in_memory(SOURCES, TARGETS))
    with pytest.raises(MissingExtra, match=r"pip install 'unfreeze\[translation\]'"):
        small_translator().score(SOURCES, TARGETS)


# Settings


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
