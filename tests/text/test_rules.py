"""ULMFiT's rules: fastai's published examples, places, and the way back to text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.text.rules import (
    MAX_REPEATS,
    SPECIAL_TOKENS,
    chunk_tokens,
    fold_placed,
    join_tokens,
    normalized,
    place_chunks,
)
from unfreeze.text.words import find_chunks


def tokens_of(text: str, mark_letters: bool = True) -> list[str]:
    chunks = list(find_chunks(text))
    placed = place_chunks(chunks, lambda chunk: chunk_tokens(chunk, mark_letters))
    fold_placed([chunk for chunk, _ in chunks], placed)
    return [token.text for tokens in placed for token in tokens]


# Oracle: the examples of fastai's documentation (text.core: replace_rep, replace_wrep, replace_maj, replace_all_caps),
# as tokens of our splitter (I'M is i 'm), with fastai's habit for single letters.
FASTAI = [
    ("aa", "aa"),
    ("aaaa", "xxrep 4 a"),
    ("bla bla", "bla bla"),
    ("bla bla bla", "xxwrep 3 bla"),
    ("bla bla bla.", "xxwrep 3 bla ."),
    ("bla bla bla bla bla", "xxwrep 5 bla"),
    ("bla bla blattttt", "bla bla bla xxrep 5 t"),
    ("Jeremy Howard", "xxmaj jeremy xxmaj howard"),
    ("I don't think there is any maj here", "i do n't think there is any maj here"),
    ("SHOUTING", "xxup shouting"),
    ("I speak English", "i speak xxmaj english"),
]


@pytest.mark.parametrize(("text", "expected"), FASTAI)
def test_the_examples_of_fastai(text: str, expected: str) -> None:
    assert tokens_of(text, mark_letters=False) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I A", "xxmaj i xxmaj a"),
        ("U.S. A1 iPhone McDonald", "xxup u.s. xxmaj a1 iphone mcdonald"),
        ("Sooooo NOOOO", "xxmaj s xxrep 5 o xxmaj n xxrep 4 xxmaj o"),
        ("wow!!!! ok....", "wow xxrep 4 ! ok xxrep 4 ."),
        ('"No no no no!" no', '" xxmaj no xxwrep 3 no ! " no'),
        ("No No No no", "xxwrep 3 xxmaj no no"),
        ("- - - -", "- - - -"),
        ("don't don't don't", "do n't do n't do n't"),
        ("aaaa aaaa aaaa", "xxrep 4 a xxrep 4 a xxrep 4 a"),
        ("ha ha <br /> ha", "xxwrep 3 ha"),
        ("don’t cafe\u0301", "do n't café"),
        ("xxmaj XXUNK xxfld xx", "xxunk xxup xxunk xxunk xx"),
        ("\ud800", "\ufffd"),
    ],
)
def test_our_rules(text: str, expected: str) -> None:
    assert tokens_of(text) == expected.split()


def test_a_folded_run_has_the_place_of_all_its_words() -> None:
    chunks = list(find_chunks("a so so so, b"))
    placed = place_chunks(chunks, chunk_tokens)
    fold_placed([chunk for chunk, _ in chunks], placed)
    assert [tuple(token) for tokens in placed for token in tokens] == [
        ("a", 0, 0, 1),
        ("xxwrep", -1, 2, 10),
        ("3", -1, 2, 10),
        ("so", 1, 2, 10),
        (",", 4, 10, 11),
        ("b", 5, 12, 13),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "I don't think it's \"really\" well-known (or is it?), Mr. Smith!",
        "'Back to the future' was my dogs' favorite in the '80s.",
        "\"No,\" SHE said, 'no no no!' It cost $3.50... 100% of it.",
        "Sooooo good!!!! The U.S. and/or l'homme; e.g. this: that.",
        "我爱北京。你好！",
    ],
)
def test_what_is_joined_reads_like_the_text(text: str) -> None:
    assert join_tokens(tokens_of(text)) == text


@given(
    st.lists(
        st.sampled_from([*SPECIAL_TOKENS, "a", "5", "999999999999", "'", '"', "(", "n't", "我", "²", ""])
    )
)
def test_any_tokens_can_be_joined(tokens: list[str]) -> None:
    joined = join_tokens([token for token in tokens if token])
    assert not joined.startswith(" ") and not joined.endswith(" ") and "  " not in joined
    assert not any(token in joined for token in SPECIAL_TOKENS[1:])


def test_a_model_cannot_ask_for_gigabytes() -> None:
    assert len(join_tokens(["xxrep", "999999999", "a"])) == MAX_REPEATS
    assert len(join_tokens(["xxrep", "999999999"] * 5 + ["a"])) == MAX_REPEATS


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("N’T", "n't"),
        ("O’Neill", "o'neill"),
        ("Cafe\u0301", "café"),
        ("CAFÉ", "café"),
        ("’", "’"),  # alone it is a quotation mark
        ("ΟΔΟΣ", "οδος"[:-1] + "ς"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_what_a_vocabulary_knows_a_word_by(word: str, expected: str) -> None:
    assert normalized(word) == expected == normalized(expected)
    if " " not in word and word != "’":
        assert tokens_of(word)[-1] == expected
