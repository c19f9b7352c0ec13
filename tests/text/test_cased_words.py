"""The tokenizer that keeps words as they are written: frames, places, counts, and the same ids by both ways."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer, train_cased_tokenizer
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.words import split_words

TEXTS = ["The cat sat. The cat ran!", "A dog, the dog.", ""]
TRAINED = train_cased_tokenizer(TEXTS, size=100)
raw_texts = st.text(st.sampled_from("aB. !?\n「。x'xxbos<br/>\ud800é中"), max_size=40)


def test_words_are_counted_as_they_are_written_and_sentences_with_them() -> None:
    vocabulary, counts = TRAINED.vocabulary, TRAINED.counts
    assert vocabulary[:4] == list(CASED_SPECIAL_TOKENS)
    assert counts is not None
    count_of = dict(zip(vocabulary, counts, strict=True))
    assert count_of["The"] == 2 and count_of["the"] == 1 and count_of["cat"] == 2
    assert count_of["xxbos"] == count_of["xxeos"] == 4  # an empty text is a sentence without words
    assert counts[4:] == sorted(counts[4:], reverse=True)
    encoded = [number for ids in TRAINED.encode_ids(TEXTS) for number in ids]
    assert [encoded.count(number) for number in range(len(TRAINED))] == counts


def test_rare_words_and_those_beyond_the_size_are_unknown() -> None:
    few = train_cased_tokenizer(TEXTS, size=6)
    assert len(few) == 6
    assert few.counts is not None and few.counts[few.unknown_id] == 14 - sum(few.counts[4:])
    assert TRAINED.first(6).vocabulary == few.vocabulary and TRAINED.first(6).counts == few.counts
    assert len(train_cased_tokenizer(TEXTS, size=100, min_count=2)) < len(TRAINED)


def test_more_words_keep_the_ids_of_the_others() -> None:
    more = TRAINED.with_words(["zebra", "cat", "aardvark", "zebra"])
    assert more.vocabulary == [*TRAINED.vocabulary, "aardvark", "zebra"]
    assert more.counts is not None and more.counts[-2:] == [0, 0]


@given(raw_texts)
def test_both_ways_give_the_same_ids_and_every_word_its_place(text: str) -> None:
    pieces = TRAINED.encode(text)
    assert TRAINED.encode_ids([text]) == [pieces.ids]
    words = split_words(text)
    assert [word for word in pieces.words if word >= 0] == list(range(len(words)))
    for word, (start, end) in zip(pieces.words, pieces.offsets, strict=True):
        if word >= 0:
            assert text[start:end] == words[word].text
    assert pieces.ids[0] == TRAINED.bos_id and pieces.ids[-1] == TRAINED.eos_id
    opened = pieces.ids.count(TRAINED.bos_id)
    assert opened == pieces.ids.count(TRAINED.eos_id) >= 1


@given(raw_texts)
def test_unknown_bytes_are_those_of_unknown_words(text: str) -> None:
    ((ids, unknown),) = TRAINED.encode_with_unknown_bytes([text])
    words = [word.text for word in split_words(text)]
    assert unknown == sum(
        len(word.encode("utf-8", "surrogatepass"))
        for word in words
        if TRAINED.id(word) is None or word.startswith("xx")
    )
    assert ids == TRAINED.encode(text).ids


def test_given_words_are_one_sentence() -> None:
    pieces = TRAINED.encode_words(["The", "cat", "", "nothing here"])
    assert pieces.words == [-1, 0, 1, 2, 3, -1]
    assert pieces.ids[3] == pieces.ids[4] == TRAINED.unknown_id
    assert pieces.offsets == [(0, 0), (0, 3), (4, 7), (8, 8), (9, 21), (21, 21)]
    assert TRAINED.encode_words([]).ids == [TRAINED.bos_id, TRAINED.eos_id]


def test_saved_and_loaded_it_is_the_same_and_tokenizers_reads_it(tmp_path: Path) -> None:
    TRAINED.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, CasedTokenizer)
    assert loaded.vocabulary == TRAINED.vocabulary and loaded.counts == TRAINED.counts
    assert loaded.fingerprint() == TRAINED.fingerprint()
    foreign = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert foreign.encode("The cat").ids == TRAINED.encode_words(["The", "cat"]).ids


def test_nobody_can_write_a_frame() -> None:
    assert TRAINED.encode("xxbos xxeos").ids[1:-1] == [TRAINED.unknown_id] * 2
    assert TRAINED.decode([TRAINED.bos_id, TRAINED.id("The") or 0, TRAINED.eos_id]) == "The"
