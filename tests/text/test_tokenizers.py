"""Both tokenizers: ids, places, counts, files, and what must not matter."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.conftest import data_folder
from unfreeze.errors import UserError
from unfreeze.text import tokenizer_training, words
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer
from unfreeze.text.words import split_words

SENTENCES = [
    "The cat sat on the mat, and the dog didn't.",
    "They said they were very, very happy!!!! SO HAPPY",
    "no no no no! I like the U.S. and the cat's mat <br /> They like it.",
    "Über cafés they said: the dogs and the cats sat there...",
]
FASTAI = "xxunk xxpad xxbos xxeos xxfld xxrep xxwrep xxup xxmaj the . , cat i xxfake xxfake".split()
WORD = train_tokenizer(SENTENCES * 3, workers=1)
SUBWORD = train_tokenizer(SENTENCES * 3, kind="subword", vocabulary_size=80, workers=1)
IMPORTED = WordTokenizer.from_vocabulary(FASTAI)
ALL = [WORD, SUBWORD, IMPORTED]
SNIPPETS = "the The THE they cat cats dog's didn't very so so so no no no! aaaa U.S. . , !!!! xxbos xxunk ▁ \ud800 <br /> 我 é e\u0301 5 zebra".split()  # fmt: skip
texts = st.one_of(
    st.text(), st.lists(st.sampled_from([*SNIPPETS, "\n", "no no no"]), max_size=12).map(" ".join)
)
tokenizers = st.sampled_from(ALL)


def named(tokenizer: TextTokenizer, text: str) -> list[str]:
    return [tokenizer.token(number) for number in tokenizer.encode(text).ids]


def test_word_level_ids() -> None:
    expected = "xxbos xxmaj the cat sat , xxwrep 3 no ! xxmaj xxunk"
    known = [token if WORD.id(token) is not None else "xxunk" for token in expected.split()]
    assert named(WORD, "The cat sat, no no no! Zebra") == known
    assert WORD.vocabulary[: len(SPECIAL_TOKENS)] == list(SPECIAL_TOKENS)
    counts = WORD.counts
    assert counts is not None
    words_with_counts = list(zip(counts, WORD.vocabulary, strict=True))[len(SPECIAL_TOKENS) :]
    assert words_with_counts == sorted(words_with_counts, key=lambda pair: (-pair[0], pair[1]))


def test_an_imported_vocabulary_keeps_its_ids() -> None:
    assert IMPORTED.encode("I, the Cat. xxeos").ids == [2, 13, 11, 9, 8, 12, 10, 0]
    assert (IMPORTED.unknown_id, IMPORTED.pad_id, IMPORTED.bos_id) == (0, 1, 2)
    assert IMPORTED.special_ids == frozenset(range(9))
    assert len(IMPORTED) == len(FASTAI) and IMPORTED.counts is None
    assert IMPORTED.token(15) != IMPORTED.token(14) == "xxfake"
    shuffled = [*FASTAI[9:14], *reversed(FASTAI[:9])]
    assert named(WordTokenizer.from_vocabulary(shuffled), "The cat") == ["xxbos", "xxmaj", "the", "cat"]
    with pytest.raises(UserError, match="xxmaj"):
        WordTokenizer.from_vocabulary(FASTAI[:8])
    with pytest.raises(UserError, match="16 tokens, but 1"):
        WordTokenizer.from_vocabulary(FASTAI, counts=[1])


@given(tokenizers, st.lists(texts, max_size=4))
def test_the_fast_way_gives_the_same_ids(tokenizer: TextTokenizer, batch: list[str]) -> None:
    expected = [tokenizer.encode(text).ids for text in batch]
    assert tokenizer.encode_ids(batch) == expected
    assert [ids for ids, _ in tokenizer.encode_with_unknown_bytes(batch)] == expected


@given(tokenizers, texts)
def test_pieces_know_their_words_and_places(tokenizer: TextTokenizer, text: str) -> None:
    pieces = tokenizer.encode(text)
    split = split_words(text)
    assert len(pieces.ids) == len(pieces.words) == len(pieces.offsets)
    assert (pieces.ids[0], pieces.words[0], pieces.offsets[0]) == (tokenizer.bos_id, -1, (0, 0))
    of_words = [(word, place) for word, place in zip(pieces.words, pieces.offsets, strict=True) if word >= 0]
    assert of_words == sorted(of_words)
    covered: set[int] = set()
    for word, (start, end) in of_words:
        assert split[word].start <= start <= end
        covered |= {number for number, other in enumerate(split) if start < other.end and other.start < end}
    assert covered == set(range(len(split)))  # a folded run covers all its words
    assert all(
        number not in tokenizer.special_ids or number == tokenizer.unknown_id
        for number, word in zip(pieces.ids, pieces.words, strict=True)
        if word >= 0
    ), "a text can write a special token"


@given(
    tokenizers,
    st.lists(st.one_of(st.text(), st.sampled_from([*SNIPPETS, "no", "no", "U.S.-based"])), max_size=8),
)
def test_words_that_are_split_already(tokenizer: TextTokenizer, sentence: list[str]) -> None:
    pieces = tokenizer.encode_words(sentence)
    assert [word for word in dict.fromkeys(pieces.words) if word >= 0] == list(range(len(sentence)))
    starts = [sum(len(word) + 1 for word in sentence[:index]) for index in range(len(sentence))]
    for word, (start, end) in zip(pieces.words, pieces.offsets, strict=True):
        assert word < 0 or starts[word] <= start <= end <= starts[word] + len(sentence[word])


def test_a_huge_word_takes_linear_time() -> None:
    for tokenizer in ALL:
        [(ids, unknown)] = tokenizer.encode_with_unknown_bytes(["я?" * 50_000])
        assert tokenizer.encode("я?" * 50_000).ids == ids
        assert unknown >= 100_000 and len(ids) > 100_000


@given(tokenizers, texts)
def test_unknown_bytes(tokenizer: TextTokenizer, text: str) -> None:
    unfolded = tokenizer.encode_words([word.text for word in split_words(text)])  # no word stands for others
    if not tokenizer.is_word_level:
        return  # "▁" would stand before every word
    unknown = {
        w for number, w in zip(unfolded.ids, unfolded.words, strict=True) if number == tokenizer.unknown_id
    }
    sizes = [len(word.text.encode("utf-8", "surrogatepass")) for word in split_words(text)]
    lower, [(_, counted)] = (
        sum(sizes[w] for w in unknown if w >= 0),
        tokenizer.encode_with_unknown_bytes([text]),
    )
    if "xxrep" not in [tokenizer.token(number) for number in unfolded.ids]:
        assert counted == lower
    else:  # the number behind xxrep may be unknown too
        assert lower <= counted <= sum(sizes)


@pytest.mark.parametrize("kind", ["word", "subword"])
def test_counts_are_those_of_the_encoded_corpus(kind: str) -> None:
    tokenizer = WORD if kind == "word" else SUBWORD
    counted = Counter(number for ids in tokenizer.encode_ids(SENTENCES * 3) for number in ids)
    assert tokenizer.counts == [counted[number] for number in range(len(tokenizer))]


@pytest.mark.parametrize("kind", ["word", "subword"])
def test_the_number_of_workers_does_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_training, "BATCH_CHARACTERS", 150)
    tokenizer = WORD if kind == "word" else SUBWORD
    size = None if kind == "word" else 80
    again = train_tokenizer(iter(SENTENCES * 3), kind=kind, vocabulary_size=size, workers=2)  # type: ignore[arg-type]
    assert (again.fingerprint(), again.counts) == (tokenizer.fingerprint(), tokenizer.counts)


def test_rare_words_are_dropped_when_the_table_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_training, "BATCH_CHARACTERS", 1)
    monkeypatch.setattr(tokenizer_training, "MAX_DISTINCT", 3)
    tokenizer = train_tokenizer(["a b a b", "a b c", "a b d", "a b e"], min_count=1, workers=1)
    assert tokenizer.vocabulary[len(SPECIAL_TOKENS) :][:2] == ["a", "b"]
    assert tokenizer.counts is not None and sum(tokenizer.counts) == 13 + 4  # nothing lost: the rest is xxunk


def test_a_full_cache_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = WORD.encode_with_unknown_bytes(SENTENCES)
    monkeypatch.setattr(words, "CACHED_CHUNKS", 2)
    fresh = WordTokenizer(WORD.vocabulary, WORD.counts)
    assert fresh.encode_with_unknown_bytes(SENTENCES * 3) == expected * 3


@pytest.mark.parametrize("tokenizer", ALL, ids=["word", "subword", "imported"])
def test_what_is_saved_is_loaded(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    pickled = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301 - our own bytes
    for other in (load_tokenizer(tmp_path), pickled):
        assert type(other) is type(tokenizer)
        assert other.vocabulary == tokenizer.vocabulary and other.counts == tokenizer.counts
        assert other.fingerprint() == tokenizer.fingerprint()
        assert other.encode_ids(SENTENCES) == tokenizer.encode_ids(SENTENCES)
    assert len({other.fingerprint() for other in ALL}) == len(ALL)


def test_counts_of_an_earlier_tokenizer_do_not_stay(tmp_path: Path) -> None:
    WORD.save(tmp_path)
    IMPORTED.save(tmp_path)
    assert load_tokenizer(tmp_path).counts is None


@pytest.mark.parametrize("tokenizer", [WORD, SUBWORD], ids=["word", "subword"])
def test_the_library_tokenizers_reads_the_file(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    # Oracle: tokenizers' own pipeline. At word level it encodes tokens with spaces between, else raw text.
    tokenizer.save(tmp_path)
    model = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in SENTENCES:
        text = text.replace("<br /> ", "")
        raw = " ".join(named(tokenizer, text)[1:]) if tokenizer.is_word_level else text
        assert model.encode(raw).ids == tokenizer.encode(text).ids[1:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ('{"model": {"type": "WordLevel", "voc', r"tokenizer\.json:1:\d+: not JSON"),
        ("[" * 100_000, r"tokenizer\.json: lists or objects are nested too deeply"),
        (
            '{"model": {"type": "WordLevel", "vocab": {"a": %s}}}' % ("9" * 5000),
            r"json: a number has more than 4,300",
        ),
        (
            '{"model": {"type": "WordLevel", "vocab": {"a": true}}}',
            r"vocab is an object, not an object of whole numbers",
        ),
        ('{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 2}}}', "the ids do not count from 0"),
        ('{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}', "vocab is a list, not a list of lists"),
        ("[]", "not a tokenizer of the library"),
        ('{"model": {"type": "BPE"}}', "BPE model"),
        ('{"model": {"type": "WordLevel", "vocab": {"a": 0}}}', "lacks the special token xxunk"),
    ],
)
def test_a_damaged_file_is_a_clear_error(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_a_corpus_that_gives_no_vocabulary_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no document with a word"):
        train_tokenizer([])
    with pytest.raises(UserError, match="no document with a word"):
        train_tokenizer([" \n"], kind="subword")
    with pytest.raises(UserError, match="occurs 3 times: give more text or lower min_count"):
        train_tokenizer(["a b c"])
    with pytest.raises(UserError, match="more than 7"):
        train_tokenizer(["a a a"], vocabulary_size=7)
    with pytest.raises(UserError, match="larger vocabulary_size"):
        train_tokenizer(SENTENCES, kind="subword", vocabulary_size=3)


def test_at_most_as_many_tokens_as_asked_for() -> None:
    assert len(train_tokenizer(SENTENCES, vocabulary_size=12, min_count=1, workers=1)) == 12
    assert len(SUBWORD) <= 80
    # All characters are rare here; they must not crowd out the pieces, nor make the vocabulary larger than asked for.
    rare = ["the cat " * 50, "".join(map(chr, range(0x4E00, 0x4E00 + 500)))]
    tokenizer = train_tokenizer(rare, kind="subword", vocabulary_size=40, workers=1)
    assert len(tokenizer) <= 40 and tokenizer.id("▁the") is not None


def test_frequent_whole_words_are_subwords() -> None:
    # The trainer of `tokenizers` by itself leaves "▁they" out, since it begins no other word.
    assert {"▁they", "▁the"} <= set(SUBWORD.vocabulary)


@given(st.lists(st.sampled_from(["The", "cat", "cats", "they", "sat,", "mat.", "said:", "didn't"])))
def test_subwords_lose_nothing_but_kinds_of_white_space(chunks: list[str]) -> None:
    assert SUBWORD.decode(SUBWORD.encode("\n ".join(chunks)).ids) == " ".join(chunks)


@given(tokenizers, st.lists(st.integers(0, 15)))
def test_any_ids_can_be_decoded(tokenizer: TextTokenizer, ids: list[int]) -> None:
    text = tokenizer.decode(ids)
    assert "xxpad" not in text and "xxbos" not in text and text == text.strip()


def test_real_reviews_survive_encoding_and_decoding() -> None:
    path = data_folder("imdb") / "unsupervised.jsonl"
    with path.open(encoding="utf-8") as lines:
        reviews = [json.loads(line)["text"] for line, _ in zip(lines, range(150), strict=False)]
    tokenizer = train_tokenizer(reviews, min_count=1, workers=1)
    encoded = tokenizer.encode_ids(reviews)
    same = sum(ids == again for ids, again in zip(encoded, tokenizer.encode_ids(list(map(tokenizer.decode, encoded))), strict=True))  # fmt: skip
    assert same >= 0.9 * len(reviews)
