"""The translator: its search against greedy and exhaustive search, and what its translations must not depend on."""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from tests.pretraining.translators import SOURCES, TARGETS, small_translator
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.layers.bi_lstm import Packing
from unfreeze.errors import MissingExtra, UserError
from unfreeze.pretraining.translation import objective as objective_module
from unfreeze.pretraining.translation import search
from unfreeze.pretraining.translation import settings as settings_module
from unfreeze.pretraining.translation import translator as translator_module
from unfreeze.pretraining.translation.evaluation import evaluate_translator
from unfreeze.pretraining.translation.objective import (
    EncodedPairs,
    EncodedTexts,
    TranslationObjective,
    mean_loss,
    perplexity_of,
)
from unfreeze.pretraining.translation.translator import Translator
from unfreeze.text.pairs import pairs_in_memory


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
            found, weights, state = translator.step(torch.tensor([token]), memory, state)
            found[0, translator.target.pad_id] = -torch.inf
            token = int(found[0].argmax())
            total += float(found[0, token])
            if token == translator.target.bos_id:
                break
            ids.append(token)
            attention.append(weights[0].numpy())
        (ours,) = translator.translate([text], beams=1, length_penalty=0.0)
        words = [ours.source_words[weights.argmax()] for weights in ours.attention]
        expected = [
            f"▁{word}" if number == translator.target.unknown_id else translator.target.token(number)
            for number, word in zip(ids, words, strict=True)
        ]
        assert ours.tokens == expected and ours.text == "".join(expected).replace("▁", " ").strip()
        assert len(ours.tokens) == len(ids) and ours.score == pytest.approx(total, rel=1e-4)
        np.testing.assert_allclose(
            ours.attention, np.stack(attention)[:, : len(ours.source_words)], atol=1e-5
        )
        np.testing.assert_allclose(ours.attention.sum(1), 1.0, atol=1e-5)


def test_all_beams_find_what_exhaustive_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 4
    monkeypatch.setattr(search, "LONGEST_FACTOR", 0)
    monkeypatch.setattr(search, "LONGEST_EXTRA", longest)
    monkeypatch.setattr(settings_module, "MOST_BEAMS", 10_000)
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


@torch.no_grad()
def plain_beam_search(
    translator: Translator, text: str, beams: int, penalty: float
) -> tuple[float, list[int]]:
    """The score and the ids of a translation: one state a beam, and all tokens of the vocabulary as candidates."""
    memory, state = translator.read(translator.encoder.prepare([text]))
    bos, finished = translator.target.bos_id, [(-math.inf, [0])]
    live, longest = [(0.0, [bos], state)], search.LONGEST_FACTOR * len(text.split()) + search.LONGEST_EXTRA
    for step in range(1, longest + 1):
        candidates = []
        for score, ids, before in live:
            found, _, after = translator.step(torch.tensor(ids[-1:]), memory, before)
            found[0, translator.target.pad_id] = -torch.inf
            candidates += [
                (score + gained, [*ids, token], after) for token, gained in enumerate(found[0].tolist())
            ]
        candidates.sort(key=lambda each: -each[0])
        over = [each for each in candidates[:beams] if each[1][-1] == bos or step == longest]
        finished += [(score / step**penalty, ids) for score, ids, _ in over]
        live = [each for each in candidates if each[1][-1] != bos][:beams]
        if max(finished)[0] >= live[0][0] / step**penalty:
            break
    score, ids = max(finished)
    return score, [token for token in ids if token != bos]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 4])
def test_beams_are_those_of_a_plain_search(beams: int, penalty: float) -> None:
    translator = small_translator(subwords=True, copies=False)
    with torch.no_grad():  # states that matter more, and ends that are neither rare nor certain
        for parameter in (*translator.decoder.parameters(), translator.embedding.weight):
            parameter.mul_(1.5)
        translator.output.bias[translator.target.bos_id] += 1.0
    texts = ["The man rides", "Two dogs", "a man and the dogs", "Man", "a a dogs a"]
    for text, found in zip(
        texts, translator.translate(texts, beams=beams, length_penalty=penalty), strict=True
    ):
        score, ids = plain_beam_search(translator, text, beams, penalty)
        assert found.tokens == [translator.target.token(number) for number in ids]
        assert found.score == pytest.approx(score, rel=1e-4)


def test_long_texts_and_many_beams_are_translated_in_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    translator, sizes = small_translator(subwords=True), list[tuple[int, int]]()
    texts = ["a man and the dogs " * n for n in (1, 4, 1, 2, 1)]
    expected = translator.translate(texts, beams=3)
    run = search.translate_batch

    def recording(owner: Translator, chosen: list[str], *others: Any, **options: Any) -> Any:
        sizes.append((len(chosen), max(len(text.split()) for text in chosen)))
        return run(owner, chosen, *others, **options)

    monkeypatch.setattr(translator_module, "translate_batch", recording)
    monkeypatch.setattr(translator_module, "MOST_WORDS", 3 * 11)
    found = translator.translate(texts, beams=3)
    assert sizes == [(1, 20), (1, 10), (2, 5), (1, 5)]
    assert [each.text for each in found] == [each.text for each in expected]
    assert [each.source_words for each in found] == [text.split() for text in texts]


def test_attention_that_is_not_wanted_is_left_out_and_unknown_words_are_copied_all_the_same() -> None:
    translator = small_translator()
    with torch.no_grad():
        translator.output.bias[translator.target.unknown_id] += 2.0
    whole = translator.translate(SOURCES, beams=3)
    some = translator.translate(SOURCES, beams=3, attention=False)
    for one, other in zip(whole, some, strict=True):
        assert one.tokens == other.tokens and one.score == other.score
        assert one.attention.shape == (len(one.tokens), len(one.source_words))
        assert other.attention.shape == (0, len(one.source_words))


@torch.no_grad()
def test_tokens_keep_the_attention_of_their_own_words_alone() -> None:
    translator = small_translator(subwords=True)
    batch = translator.encoder.prepare(SOURCES)
    counts = batch.lengths.tolist()
    for wanted in (True, False):
        found = search._search(translator, batch, counts, settings_module.Search(), wanted)
        for n_words, best in zip(counts, found, strict=True):
            for token in best.tokens():
                assert token.attention.base is None and len(token.attention) == (n_words if wanted else 1)


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
    assert found.text == " ".join(words) and set(words) == {"The", "man", "Xylophone"}
    assert len(words) == 3 * search.LONGEST_FACTOR + search.LONGEST_EXTRA


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beams": 0}, "beams must be above 0, not 0"),
        ({"beams": 2.5}, "beams must be a whole number, not 2.5"),
        ({"beams": True}, "beams must be a whole number, not True"),
        ({"beams": 101}, "beams must be at most 100, not 101"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, not -1.0"),
        ({"length_penalty": float("nan")}, "length_penalty must be a number, not nan"),
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


def test_encoded_texts_are_those_of_the_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective_module, "TEXTS_AT_ONCE", 3)
    translator = small_translator(subwords=True)
    expected = translator.target.encode_ids(TARGETS)
    pairs = EncodedPairs.of(translator, pairs_in_memory(SOURCES, TARGETS))
    assert len(TARGETS) > 3 and [pairs.targets[number] for number in range(len(TARGETS))] == expected
    assert pairs.targets.lengths == [len(ids) for ids in expected]
    assert pairs.targets.ids.nbytes == 4 * sum(pairs.targets.lengths)
    assert EncodedTexts(translator.target.encode_ids, []).lengths == []


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
    again = evaluate_translator(translator.train(), pairs_in_memory(SOURCES, TARGETS))
    assert again == report and translator.training  # measured without dropout all the same


def test_called_like_a_function_it_gives_what_pipelines_give() -> None:
    translator = small_translator()
    [written] = translator.predict(SOURCES[:1])
    assert written and translator(SOURCES[0]) == [{"translation_text": written}]
    assert translator(SOURCES[:2])[0] == {"translation_text": written}


def test_a_perplexity_beyond_the_range_of_numbers_is_infinite() -> None:
    assert perplexity_of(math.log(7)) == pytest.approx(7) and perplexity_of(1000.0) == math.inf


def test_without_sacrebleu_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sacrebleu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"pip install 'unfreeze\[translation\]'"):
        evaluate_translator(small_translator(), pairs_in_memory(SOURCES, TARGETS))
    with pytest.raises(MissingExtra, match=r"pip install 'unfreeze\[translation\]'"):
        small_translator().score(SOURCES, TARGETS)
