"""N-gram models against Kneser-Ney in dictionaries, what must not matter, and what a fixed context cannot know."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.language_models.kneser_ney import KneserNey
from tests.language_models.models import TEXTS, word_tokenizer
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.errors import UserError
from unfreeze.folders import load_tensors, save_tensors
from unfreeze.language_models import ngram, ngram_counts
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.ngram import FALLBACK, NgramModel, estimate_discounts
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.language_models.score import score_texts
from unfreeze.pretraining.lm_objective import direction_loss
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer

LETTERS = "b c d f g".split()
TOKENIZER = WordTokenizer.from_vocabulary([*SPECIAL_TOKENS, *LETTERS])
DOCUMENTS = st.lists(
    st.lists(st.sampled_from([*LETTERS[:4], "unseen"]), min_size=0, max_size=25).map(" ".join),
    min_size=1,
    max_size=12,
)


def fitted(documents: Sequence[str], order: int, tokenizer: TextTokenizer = TOKENIZER) -> NgramModel:
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.build(documents, tokenizer, Path(folder) / "tokens", workers=1)
        return NgramModel.fit(store, tokenizer, order)


def reference(documents: Sequence[str], order: int, tokenizer: TextTokenizer = TOKENIZER) -> KneserNey:
    ids = tokenizer.encode_ids(documents)
    return KneserNey(ids, order, len(tokenizer), tokenizer.bos_id, tokenizer.pad_id)


def markov_documents(count: int, seed: int) -> list[str]:
    """Text in which some words follow others more often: enough for discounts from counts of counts."""
    random = Random(seed)
    documents = []
    for _ in range(count):
        words = [random.choice(LETTERS)]
        for _ in range(random.randint(0, 20)):
            at = LETTERS.index(words[-1]) if words[-1] in LETTERS else 0
            words.append(LETTERS[(at + random.choice([1, 1, 1, 2, 3])) % 5] if random.random() < 0.9 else "x")
        documents.append(" ".join(words))
    return documents


@settings(max_examples=40, deadline=None)
@given(
    documents=DOCUMENTS, held_out=DOCUMENTS, order=st.integers(1, 6), chunk=st.sampled_from([1, 5, 1 << 22])
)
def test_probabilities_are_those_of_the_formulas(
    documents: list[str], held_out: list[str], order: int, chunk: int
) -> None:
    documents = [*documents, "b c"]
    oracle = reference(documents, order)
    with patch.object(ngram_counts, "CHUNK", chunk):
        model = fitted(documents, order)
    ids = TOKENIZER.encode_ids([*documents, *held_out])
    expected = [
        0.0 if place == 0 else math.log(oracle.p(word, text[:place]))
        for text in ids
        for place, word in enumerate(text)
    ]
    assert model.id_log_probabilities(np.concatenate(ids)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    documents=DOCUMENTS,
    order=st.integers(1, 6),
    context=st.lists(st.integers(2, 11), max_size=7),
    at_begin=st.booleans(),
)
def test_every_context_sums_to_one(
    documents: list[str], order: int, context: list[int], at_begin: bool
) -> None:
    documents = [*documents, "b c"]
    model, oracle = fitted(documents, order), reference(documents, order)
    context = [number for number in context if number != TOKENIZER.bos_id]
    context = [TOKENIZER.bos_id, *context] if at_begin else context
    found = model.next_probabilities(context)
    assert found.sum() == pytest.approx(1, abs=1e-6)
    assert found == pytest.approx([oracle.p(word, context) for word in range(len(TOKENIZER))], rel=1e-6)
    assert [number for number in range(len(TOKENIZER)) if found[number] == 0] == [
        TOKENIZER.pad_id,
        TOKENIZER.bos_id,
    ]


@pytest.mark.parametrize("order", range(1, 7))
def test_discounts_come_from_counts_of_counts_where_there_are_enough(order: int) -> None:
    documents = markov_documents(150, seed=1)
    model, oracle = fitted(documents, order), reference(documents, order)
    for length, discounts in enumerate(model.discounts, 1):
        assert discounts == pytest.approx(oracle.discounts[length][1:])
    assert order < 4 or model.discounts[-1] != FALLBACK
    ids = TOKENIZER.encode_ids(markov_documents(20, seed=2))
    expected = [math.log(oracle.p(word, text[:n])) if n else 0 for text in ids for n, word in enumerate(text)]
    assert model.id_log_probabilities(np.concatenate(ids)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_discounts_of_a_worked_example() -> None:
    counts = np.repeat([1, 2, 3, 4, 5, 9], [8, 4, 2, 1, 7, 1])  # Y = 8 / (8 + 2 * 4) = 1/2
    assert estimate_discounts(counts) == pytest.approx((1 - 2 / 4, 2 - 3 / 4, 3 - 4 / 4))
    assert estimate_discounts(np.repeat([1, 2, 4], [8, 4, 2])) == FALLBACK  # no count of 3
    assert estimate_discounts(np.repeat([1, 2, 3, 4], [8, 1, 8, 1])) == FALLBACK  # D2 would be below 0


def test_a_bigram_by_hand() -> None:
    """Two documents "b c" and "b d": what follows b, by the fallback discounts."""
    model = fitted(["b c", "b d"], 2)
    b, c, f = (TOKENIZER.id(word) or 0 for word in "bcf")
    unigram = (1 - 0.5) / 3 + 0.5 * 3 / 3 / 10  # 3 different bigrams, each word ends one of them; 10 words
    found = model.next_probabilities([b])
    assert found[c] == pytest.approx((1 - 0.5) / 2 + 0.5 * unigram)
    assert found[f] == pytest.approx(0.5 * 0.5 / 10)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_perplexity_is_that_of_the_token_scores_whatever_the_batch(
    order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = word_tokenizer()
    model = fitted(TEXTS[:3], order, tokenizer)
    documents = [*TEXTS, "A wombat sat on the bank.", "I"]
    values = [
        token.log_probability
        for score in score_texts(model, documents)
        for token in score.directions["forward"].tokens
    ]
    loss = -sum(values) / len(values)
    n_bytes = sum(len(text.encode()) for text in documents)
    bits = loss * len(values) / math.log(2) + 8 * sum(map(len, ["wombat"]))
    store = TokenStore.build(documents, tokenizer, tmp_path / "tokens", workers=1)
    for batch_tokens in (1, 2, 7, 1 << 20):
        monkeypatch.setattr(ngram, "BATCH_TOKENS", batch_tokens)
        found = evaluate_perplexity(model, store)
        assert found.loss == pytest.approx(loss, rel=1e-9)
        assert found.perplexity == pytest.approx(math.exp(loss))
        assert found.n_tokens == len(values)
        assert found.bits_per_byte == pytest.approx(bits / n_bytes)


def test_a_score_depends_on_its_text_alone_and_knows_places() -> None:
    model = fitted(TEXTS, 3, word_tokenizer())
    together = score_texts(model, [*TEXTS, ""])
    assert together[0] == score_texts(model, TEXTS[:1])[0]
    tokens = together[0].directions["forward"].tokens
    assert [(token.token, token.start, token.end) for token in tokens[:3]] == [
        ("xxmaj", 0, 3),
        ("the", 0, 3),
        ("bank", 4, 8),
    ]
    assert together[-1].directions["forward"].tokens == [] and score_texts(model, []) == []


def test_the_counts_depend_neither_on_workers_nor_on_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = markov_documents(80, seed=3)
    models = []
    for number, (workers, chunk) in enumerate([(1, 1 << 22), (2, 17), (2, 400)]):
        monkeypatch.setattr(ngram_counts, "CHUNK", chunk)
        place = tmp_path / str(number)
        store = TokenStore.build(documents, TOKENIZER, place, workers=workers, shard_characters=200)
        models.append(NgramModel.fit(store, TOKENIZER, 4))
    for model in models[1:]:
        for level, expected in zip(model.levels, models[0].levels, strict=True):
            assert np.array_equal(level.keys, expected.keys)
            assert np.array_equal(level.probabilities, expected.probabilities)
            assert np.array_equal(level.weights, expected.weights)


@pytest.mark.parametrize("order", [1, 3])
def test_saved_and_loaded_it_is_the_same(order: int, tmp_path: Path) -> None:
    model = fitted(TEXTS, order, word_tokenizer())
    model.save_pretrained(tmp_path / "model")
    loaded = NgramModel.from_pretrained(tmp_path / "model")
    assert (loaded.order, loaded.discounts, loaded.n_ngrams) == (order, model.discounts, model.n_ngrams)
    assert score_texts(loaded, TEXTS) == score_texts(model, TEXTS)


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    fitted(TEXTS, 3, word_tokenizer()).save_pretrained(tmp_path / "good")
    tensors = load_tensors(tmp_path / "good" / "model.safetensors")

    def damaged(name: str, content: bytes | None = None) -> Path:
        shutil.copytree(tmp_path / "good", tmp_path / "bad", dirs_exist_ok=True)
        path = tmp_path / "bad" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
        return tmp_path / "bad"

    config = json.loads((tmp_path / "good" / "config.json").read_text())
    for changes, said in (
        ({"order": 4}, "fit"),
        ({"order": 2}, "fit"),
        ({"discounts": []}, "fit"),
        ({"order": "x"}, "order is 'x', not a whole number"),
        ({"order": True}, "order is true, not a whole number"),
        ({"order": 10**9}, "fit"),
        ({"discounts": [1, 2, 3]}, "discounts is a list, not a list of lists"),
    ):
        with pytest.raises(UserError, match=said):
            NgramModel.from_pretrained(damaged("config.json", json.dumps(config | changes).encode()))
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        with pytest.raises(UserError, match=f"{name}.*damaged"):
            NgramModel.from_pretrained(damaged(name))
    for name in ("keys.2", "probabilities.3", "weights.1"):
        damaged("config.json", json.dumps(config | {"digests": {}}).encode())
        save_tensors(tmp_path / "bad" / "model.safetensors", tensors | {name: tensors[name][:-1]})
        with pytest.raises(UserError, match="damaged"):
            NgramModel.from_pretrained(tmp_path / "bad")


def test_what_cannot_be_counted(tmp_path: Path) -> None:
    for order in (0, 7):
        with pytest.raises(UserError, match="from 1 to 6"):
            fitted(TEXTS, order)
    for text in ("", "b"):
        with pytest.raises(UserError, match="at least 2"):
            fitted([text], 2)


def test_it_writes_what_it_counted() -> None:
    model = fitted(["b c d f", "b c d f", "g g"], 3)
    written = model.generate("b", tokens=3, temperature=0)
    assert written == "b c d f"
    draws = {model.generate("b c", tokens=5, seed=seed, top_k=3) for seed in (1, 1, 2, 3)}
    assert 1 < len(draws) <= 3
    whole, parts = model.reader("forward"), model.reader("forward")
    ids = TOKENIZER.encode_ids(["b c d g b c d"])[0]
    whole.read(ids)
    for number in ids:
        parts.read([number])
    assert torch.equal(whole.log_probabilities(), parts.log_probabilities())


# What a fixed context cannot know: the last word is told by the first one, with the same words between.

CUES, ENDS = ["cue" + letter for letter in "abcd"], ["end" + letter for letter in "abcd"]


def distant_pairs(distance: int) -> tuple[TextTokenizer, list[str], list[str]]:
    """A tokenizer, the four documents "cue, `distance` words, end", and all sixteen combinations of cue and end."""
    between = " ".join(f"word{letter}" for letter in "abcdefghij"[:distance])
    tokenizer = WordTokenizer.from_vocabulary([*SPECIAL_TOKENS, *CUES, *ENDS, *between.split()])
    right = [f"{cue} {between} {end}" for cue, end in zip(CUES, ENDS, strict=True)]
    return tokenizer, right, [f"{cue} {between} {end}" for cue in CUES for end in ENDS]


def accuracy(last: Sequence[float]) -> float:
    """The share of cues whose own end is likelier than each other; a tie is none."""
    table = np.reshape(last, (4, 4))
    return float(np.mean([table[n, n] > np.delete(table[n], n).max() for n in range(4)]))


@pytest.mark.parametrize(
    ("distance", "order", "expected"), [(4, 5, 0.0), (4, 6, 1.0), (6, 6, 0.0), (1, 2, 0.0), (1, 3, 1.0)]
)
def test_ngrams_see_no_further_than_their_order(distance: int, order: int, expected: float) -> None:
    tokenizer, right, combinations = distant_pairs(distance)
    random = Random(0)
    model = fitted([random.choice(right) for _ in range(400)] + right, order, tokenizer)
    scores = score_texts(model, combinations)
    last = [score.directions["forward"].tokens[-1].log_probability for score in scores]
    guesses = np.reshape(last, (4, 4)).argmax(axis=1)
    if expected == 0:  # the same guess whatever the cue: chance
        assert len(set(guesses.tolist())) == 1 and accuracy(last) <= 0.25
    else:
        assert accuracy(last) == 1


def test_an_lstm_sees_further() -> None:
    """Of the same four documents; other seeds learn it too (5 of 5 within 470 steps)."""
    tokenizer, right, combinations = distant_pairs(6)
    torch.manual_seed(0)
    encoder = AwdLstm(tokenizer, embedding_size=64, hidden_size=64, n_layers=1)
    encoder.set_dropouts(Dropouts().times(0.0))
    model = AwdLstmLanguageModel(encoder).train()
    ids = torch.tensor(tokenizer.encode_ids(right))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(800):
        loss, _ = direction_loss(model, "forward", ids[:, :-1], ids[:, 1:], None)
        optimizer.zero_grad()
        (loss.total / loss.n_items).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    found = model.id_log_probabilities("forward", tokenizer.encode_ids(combinations))
    assert accuracy([values[-1] for values in found]) == 1
