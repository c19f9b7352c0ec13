"""Gap words against brute force: every word of the vocabulary tried, over the equations in NumPy float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.language_models.models import CELLS, TEXTS, random_model, word_tokenizer
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.errors import UserError
from unfreeze.language_models.fill import Gap, fill_gap, split_at_gap
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer

TOKENIZER = word_tokenizer()
GAPS = ["The mouse sat on the ___ of the river.", "___ river was cold", "I am very ___", "___"]


def brute_force(
    oracle: NumpyLanguageModel, tokenizer: TextTokenizer, left: str, right: str
) -> dict[str, dict[str, float]]:
    """p(w | left), p(w | right) and the product by count, for every word, each a loop over the vocabulary."""
    words = {
        word: number
        for number, word in enumerate(tokenizer.vocabulary)
        if not word.startswith("xx") and any(c.isalnum() for c in word)
    }
    before, after = tokenizer.encode(left).ids, tokenizer.encode(right).ids
    ways = [[], [tokenizer.id("xxmaj")], [tokenizer.id("xxup")]]
    counts = tokenizer.counts
    assert counts is not None
    forward = dict.fromkeys(words, 0.0)
    for way in ways:
        table = oracle.next_log_probabilities("forward", [*before, *way])
        mark = sum(table[len(before) - 1, number] for number in way)
        for word, number in words.items():
            forward[word] += float(np.exp(mark + table[-1, number]))
    table = oracle.next_log_probabilities("backward", [after[0], *after[:0:-1]])
    backward = {word: float(np.exp(table[-1, number])) for word, number in words.items()}
    both = {word: forward[word] * backward[word] / counts[number] for word, number in words.items()}
    found = {"forward": forward, "backward": backward, "both": both}
    return {
        name: {word: share / sum(shares.values()) for word, share in shares.items()}
        for name, shares in found.items()
    }


def test_candidates_are_known_however_accents_and_apostrophes_are_written() -> None:
    gap = Gap.of_scores({"o'neill": 0, "café": 1}, {"forward": np.array([0.0, -1.0])})
    forms = ("O’Neill", "o’neill", "CAFE\u0301", "cafe\u0301")
    assert [gap.words(1, [form])[0].rank for form in forms] == [1, 1, 2, 2]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("text", GAPS)
@pytest.mark.parametrize("cutoffs", [(), (12, 25)], ids=["full", "adaptive"])
def test_words_are_those_of_brute_force(
    cell: CellKind, text: str, cutoffs: tuple[int, ...], tmp_path: Path
) -> None:
    model = random_model(TOKENIZER, "both", cutoffs, cell=cell)
    model.save_pretrained(tmp_path / "model")
    expected = brute_force(NumpyLanguageModel(tmp_path / "model"), TOKENIZER, *text.split("___"))
    words = fill_gap(model, text, top=10_000)
    assert {word.word for word in words} == set(expected["both"])
    for name, shares in expected.items():
        assert {word.word: word.probabilities[name] for word in words} == pytest.approx(shares, rel=1e-3)
    ranked = sorted(expected["both"], key=lambda word: -expected["both"][word])
    assert [word.word for word in words] == ranked
    assert [word.rank for word in words] == list(range(1, len(ranked) + 1))


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_direction_ranks_by_what_it_has(direction: Direction) -> None:
    words = fill_gap(random_model(TOKENIZER, direction), GAPS[0], top=3)
    assert len(words) == 3
    assert all(list(word.probabilities) == [direction] for word in words)
    shares = [word.probabilities[direction] for word in words]
    assert shares == sorted(shares, reverse=True)


def test_candidates_keep_their_share_among_all_words() -> None:
    model = random_model(TOKENIZER, "both")
    everything = {word.word: word for word in fill_gap(model, GAPS[0], top=10_000)}
    asked = fill_gap(model, GAPS[0], candidates=["mouse", "River", "bank", "mouse"])
    assert asked == sorted((everything[w] for w in ("mouse", "river", "bank")), key=lambda w: w.rank)


def test_neither_marks_nor_punctuation_are_proposed() -> None:
    found = {word.word for word in fill_gap(random_model(TOKENIZER), GAPS[0], top=10_000)}
    assert "river" in found and not any(word.startswith("xx") for word in found)
    assert not {",", ".", "!", ";"} & found


def test_a_subword_gap_takes_whole_pieces() -> None:
    tokenizer = train_tokenizer(TEXTS * 5, kind="subword", vocabulary_size=70, workers=1)
    model = random_model(tokenizer, "both")
    begins = {piece.removeprefix("▁") for piece in tokenizer.vocabulary if piece.startswith("▁")}
    inside = {piece for piece in tokenizer.vocabulary if not piece.startswith("▁")}
    for text, expected in ((GAPS[0], begins), ("the riv___ was high", inside)):
        words = fill_gap(model, text, top=10_000)
        assert words and {word.word for word in words} <= expected
        for name in ("forward", "backward", "both"):
            assert sum(word.probabilities[name] for word in words) == pytest.approx(1.0)


def test_what_touches_a_subword_gap_keeps_its_form(tmp_path: Path) -> None:
    """The full stop behind a gap is the piece that it is behind a word, not one that white space precedes."""
    tokenizer = train_tokenizer(TEXTS * 5, kind="subword", vocabulary_size=70, workers=1)
    model = random_model(tokenizer, "backward")
    model.save_pretrained(tmp_path / "model")
    end = tokenizer.id(".")
    assert end is not None and tokenizer.encode("the river.").ids[-1] == end
    oracle = NumpyLanguageModel(tmp_path / "model")
    table = np.exp(oracle.next_log_probabilities("backward", [tokenizer.bos_id, end])[-1])
    words = fill_gap(model, "the ___.", top=10_000)
    shares = {word.word: table[tokenizer.vocabulary.index(f"▁{word.word}")] for word in words}
    expected = {word: float(share / sum(shares.values())) for word, share in shares.items()}
    assert {word.word: word.probabilities["backward"] for word in words} == pytest.approx(expected, rel=1e-3)


def test_without_counts_words_are_as_common_as_zipf_says() -> None:
    bare = WordTokenizer.from_vocabulary(TOKENIZER.vocabulary)
    words = fill_gap(random_model(bare, "both"), GAPS[0], top=10_000)
    products = {}
    for word in words:
        frequency = 1 / (1 + bare.vocabulary.index(word.word))
        products[word.word] = word.probabilities["forward"] * word.probabilities["backward"] / frequency
    expected = {word: product / sum(products.values()) for word, product in products.items()}
    assert {word.word: word.probabilities["both"] for word in words} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no gap here", "has no gap"),
        ("a ___ and a ___", "has 2 gaps"),
        ("", "has no gap"),
        ("a __ b", "no gap"),
    ],
)
def test_a_text_needs_one_gap(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fill_gap(random_model(TOKENIZER), text)


def test_a_longer_line_is_one_gap() -> None:
    assert split_at_gap("I am _____ excited") == ("I am ", " excited")


@pytest.mark.parametrize("word", ["zebra", "very excited", "xxmaj", ","])
def test_a_candidate_has_to_be_a_word_of_the_vocabulary(word: str) -> None:
    with pytest.raises(UserError, match="not a single entry"):
        fill_gap(random_model(TOKENIZER), GAPS[0], candidates=[word])
