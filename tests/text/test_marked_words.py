"""The tokenizer of translations in words: its ids give the text back, and a saved one gives the same ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.errors import UserError
from unfreeze.text.marked_words import MarkedWordTokenizer, joined, train_marked_words
from unfreeze.text.tokenizer_files import load_tokenizer

TEXTS = ["Der Hund, der bellt.", "Ein Hund bellt (laut)!", "நான் திரைப்படத்தை ரசித்தேன்."]
TRAINED = train_marked_words(TEXTS, size=100)
texts = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Cn", "Co")), min_size=1, max_size=30
)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_give_the_text_back(text: str) -> None:
    (ids,) = TRAINED.encode_ids([text])
    assert ids[0] == TRAINED.bos_id and TRAINED.unknown_id not in ids
    assert TRAINED.decode(ids) == text
    assert TRAINED.encode(text).ids == ids


@given(texts)
def test_any_text_of_known_words_comes_back_with_single_spaces(text: str) -> None:
    text = text.replace("▁", "")  # which is written "_"
    try:
        tokenizer = train_marked_words([text], size=1000)
    except UserError:
        assert not text.split()
        return
    (ids,) = tokenizer.encode_ids([text])
    if tokenizer.unknown_id not in ids:  # a word that looks like a special token is unknown
        assert tokenizer.decode(ids) == " ".join(text.split())


@given(st.text(st.sampled_from("Der Hund,()bellt .x▁\nx"), max_size=40))
def test_both_ways_give_the_same_ids_and_every_token_its_place(text: str) -> None:
    pieces = TRAINED.encode(text)
    assert TRAINED.encode_ids([text]) == [pieces.ids]
    for number, (start, end) in zip(pieces.ids, pieces.offsets, strict=True):
        if number not in TRAINED.special_ids:
            assert text[start:end] == TRAINED.token(number).lstrip("▁")


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    TRAINED.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, MarkedWordTokenizer)
    assert again.vocabulary == TRAINED.vocabulary and again.counts == TRAINED.counts
    more = [*TEXTS, "Der Kater, unbekannt!", ""]
    assert again.encode_ids(more) == TRAINED.encode_ids(more)


def test_unknown_words_are_shown_as_such_and_capitals_are_kept() -> None:
    (ids,) = TRAINED.encode_ids(["Der Kater bellt."])
    assert ids.count(TRAINED.unknown_id) == 1
    assert TRAINED.token(ids[2]) == "xxunk"
    assert TRAINED.id("▁Der") != TRAINED.id("▁der") and TRAINED.id("▁DER") is None


def test_rare_words_are_unknown_and_the_size_is_a_limit() -> None:
    frequent = train_marked_words(TEXTS, size=100, min_count=2)
    words = set(frequent.vocabulary) - {frequent.token(number) for number in frequent.special_ids}
    assert words == {"▁Hund", "▁bellt", "."}
    assert len(train_marked_words(TEXTS, size=8)) == 8
    with pytest.raises(UserError):
        train_marked_words(["", " "], size=100)


def test_joined() -> None:
    assert joined(["▁Der", "▁Hund", ",", "▁der"]) == "Der Hund, der" and joined([]) == ""
