"""Reading tagged sentences: columns, JSON lines, and what is wrong in them, with its line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.conftest import data_folder
from unfreeze.errors import UserError
from unfreeze.text.tagged import read_split, read_tagged, tagged_set

CONLL = """-DOCSTART- -X- O O

U.N. NNP I-NP I-ORG
official NN I-NP O
Ekeus NNP I-NP I-PER

Baghdad NNP I-NP I-LOC
"""


def written(tmp_path: Path, text: str, name: str = "a.conll") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns(tmp_path: Path) -> None:
    found = read_tagged(written(tmp_path, CONLL))
    assert found.scheme == "iob1" and found.n_words == 4
    assert [each.tokens for each in found.examples] == [("U.N.", "official", "Ekeus"), ("Baghdad",)]
    assert [each.number for each in found.examples] == [3, 7]
    assert found.in_scheme("bio").examples[0].tags == ("B-ORG", "O", "B-PER")
    assert found.in_scheme("bioes").tag_names() == ["O", "S-LOC", "S-ORG", "S-PER"]
    speech = read_tagged(written(tmp_path, CONLL), tag_column=1)
    assert speech.scheme == "plain" and speech.examples[0].tags == ("NNP", "NN", "NNP")
    tabs = read_tagged(written(tmp_path, "New York\tB-LOC\nis\tO\n"))
    assert tabs.examples[0].tokens == ("New_York", "is")


def test_json_lines(tmp_path: Path) -> None:
    text = '{"tokens": ["a", "b"], "ner_tags": ["B-X", "I-X"], "pos": ["D", "N"]}\n\n{"tokens": [], "tags": []}\n'
    found = read_tagged(written(tmp_path, text, "a.jsonl"))
    assert found.scheme == "bio" and len(found) == 1
    assert read_tagged(written(tmp_path, text.splitlines()[0], "a.jsonl"), tag_column="pos").scheme == "plain"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a O\nb\n", "a.conll", "a.conll:2: 1 columns, but other words have 2"),
        (
            "a O\nb B-X\n\nc B-X\nd I-Y\n",
            "a.conll",
            "a.conll:5: I-Y cannot follow B-X",
        ),
        ("a S-X\nb I-X\n", "a.conll", "a.conll:2: I-X cannot follow S-X"),
        ("\n\n", "a.conll", "holds no sentence"),
        ('{"tokens": ["a"], "tags": []}', "a.jsonl", "a.jsonl:1: 1 tokens and 0 tags"),
        ('{"tokens": ["a"]}', "a.jsonl", "there is no 'tags' or"),
        ('{"tokens": "a", "tags": ["O"]}', "a.jsonl", "'tokens' is not a list of strings"),
        ("{", "a.jsonl", "a.jsonl:1:2: not JSON"),
        ("\n" + "[" * 100_000, "a.jsonl", "a.jsonl:2: lists or objects are nested too deeply"),
        (
            '{"tokens": ["a"], "tags": [%s]}' % ("9" * 5000),
            "a.jsonl",
            "a.jsonl:1: a number has more than 4,300",
        ),
    ],
)
def test_mistakes_have_their_line(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match="(?s).*") as caught:
        read_tagged(written(tmp_path, text, name))
    assert message in str(caught.value)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = written(tmp_path, CONLL)
    for options in (
        {"tag_column": 4},
        {"tag_column": "ner"},
        {"token_column": -5},
        {"tag_column": "9" * 5000},
    ):
        with pytest.raises(UserError, match="column") as caught:
            read_tagged(path, **options)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 300
    with pytest.raises(UserError, match="sentence 1: 2 tokens and 1 tags"):
        tagged_set([["a", "b"]], [["O"]])


def test_conll_2003_whole() -> None:
    folder = data_folder("conll2003")
    counts = {"eng.train": (14_041, 23_499), "eng.testa": (3_250, 5_942), "eng.testb": (3_453, 5_648)}
    for name, (n_sentences, n_entities) in counts.items():
        found = read_tagged(folder / name)
        assert found.scheme == "iob1" and len(found) == n_sentences
        tags = [tag for each in found.in_scheme("bio").examples for tag in each.tags]
        assert sum(tag.startswith("B-") for tag in tags) == n_entities


def test_odd_files(tmp_path: Path) -> None:
    bioul = read_tagged(written(tmp_path, "New B-LOC\nYork L-LOC\nAda U-PER\n"))
    assert bioul.scheme == "bioes" and bioul.examples[0].tags == ("B-LOC", "E-LOC", "S-PER")
    tabs = read_tagged(written(tmp_path, "# text = hi\n1\thi\tX\tO\n# a b c\n2\tyou\tX\tO\n"), token_column=1)
    assert [each.tokens for each in tabs.examples] == [("hi",), ("you",)]
    spaces = read_tagged(written(tmp_path, "10\u00a0000 O\nAda B-PER\n"))
    assert spaces.examples[0].tokens == ("10_000", "Ada")
    surrogate = read_tagged(
        written(tmp_path, '{"tokens": ["\\ud83d", "b"], "tags": ["O", "B-P"]}', "a.jsonl")
    )
    assert surrogate.examples[0].tokens == ("\ufffd", "b")
    found = tagged_set([["New York", "x"], []], [["B-LOC", "O"], []])
    assert len(found) == 1 and found.examples[0].tokens == ("New_York", "x")


@pytest.mark.parametrize("other", ["\u00a0", "\v", "\u2003", "\x1c"])
def test_spaces_alone_are_between_columns(tmp_path: Path, other: str) -> None:
    lines = f"  New{other}York   B-LOC \n{other}is O{other}\na{other}{other}b O\n {other} \nAda  B-PER\n"
    found = read_tagged(written(tmp_path, lines))
    assert [each.tokens for each in found.examples] == [("New_York", "is", "a_b"), ("Ada",)]
    assert found.examples[0].tags == ("B-LOC", "O", "O")
    tabs = read_tagged(written(tmp_path, "New York\tB-LOC\n\tO\n \t \nAda\t B-PER\n"))
    assert [each.tokens for each in tabs.examples] == [("New_York", "_"), ("Ada",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a B-PER\nb I-PER\nc BPER\n", "a.conll:3: 'BPER' is not a tag of a span, as most tags are"),
        ("a\tB-PER\nb\t\n", "a.conll:2: the tag is empty"),
    ],
)
def test_one_bad_tag_does_not_make_all_plain(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_tagged(written(tmp_path, text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("# O\n1 O\nGermany I-LOC\n", [("#", "1", "Germany")]),
        ("#RT O\nGermany I-LOC\n\n#EU I-ORG\nhere O\n", [("#RT", "Germany"), ("#EU", "here")]),
        ("#1 NN O\n\n#2 NN O\n", [("#1",), ("#2",)]),
        ("# a comment of five words\n#1 NN O\nx NN O\n", [("#1", "x")]),
    ],
)
def test_words_that_look_like_comments(tmp_path: Path, text: str, tokens: list[tuple[str, ...]]) -> None:
    assert [each.tokens for each in read_tagged(written(tmp_path, text)).examples] == tokens


def test_a_word_within_a_sentence_is_no_comment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a.conll:2: 3 columns, but other words have 4"):
        read_tagged(written(tmp_path, "a b c O\n#hash 2 O\n"))
    with pytest.raises(UserError, match="words and tags are both in column 1"):
        read_tagged(written(tmp_path, "a O\n"), token_column=1)
    with pytest.raises(UserError, match="but of numbers: write the tags' names"):
        read_tagged(written(tmp_path, '{"tokens": ["a"], "ner_tags": [3]}', "a.json"))


SENTENCE = "Oslo NNP I-NP B-LOC\nwins VB I-VP O\n"


def test_a_comment_of_as_many_columns_is_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "\n".join(f"# sent_id = {number}\n{SENTENCE}" for number in range(1, 6))
    found = read_tagged(written(tmp_path, text))
    assert found.scheme == "bio" and len(found) == 5 and found.n_words == 10
    assert {each.tokens for each in found.examples} == {("Oslo", "wins")}
    assert [each.number for each in found.examples] == [2, 6, 10, 14, 18]
    assert "lines that begin with # are read as comments (5, the first is line 1)" in caplog.text
    assert read_tagged(written(tmp_path, text), comments="words").examples[0].tokens == ("#", "Oslo", "wins")
    assert [each.tokens for each in read_split(written(tmp_path, text))] == [("Oslo", "wins")] * 5


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("is\tO\n#ibm B-ORG\n", [("is", "#ibm")]),
        ("#ibm\tB-ORG\nis\tO\n", [("#ibm", "is")]),
        ("#ibm B-ORG\n\nAda\tB-PER\nis\tO\n", [("#ibm",), ("Ada", "is")]),
        ("is\tO\n# a comment\nAda\tB-PER\n", [("is",), ("Ada",)]),
        ("is VB\n\n#win VB\n", [("is",), ("#win",)]),
        ("#new comment\nis VB\n", [("is",)]),
        ("# x = VB\nis VB O VB\n", [("is",)]),
        ("# a = b\n#ibm B-ORG\n", [("#ibm",)]),
    ],
)
def test_a_hash_begins_a_word_or_a_comment(tmp_path: Path, text: str, tokens: list[tuple[str, ...]]) -> None:
    path = written(tmp_path, text)
    assert [each.tokens for each in read_tagged(path).examples] == tokens
    assert [each.tokens for each in read_split(path)] == tokens
    skipped = [[token for token in own if token[0] != "#"] for own in tokens]
    if any(skipped):
        found = read_tagged(path, comments="skip").examples
        assert [list(each.tokens) for each in found] == [own for own in skipped if own]


def test_a_word_that_lacks_a_column_is_no_comment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a.conll:1: 2 columns, but other words have 3"):
        read_tagged(written(tmp_path, "#ibm B-ORG\nis\tVB\tO\n"))


CONLLU = "# sent_id = 1\n" + "".join(
    "\t".join([str(number), word, word.lower(), tag, "_", "_", "0", "root", "_", misc]) + "\n"
    for number, (word, tag, misc) in enumerate(
        [
            ("They", "PRON", "_"),
            ("buy", "VERB", "_"),
            ("books", "NOUN", "SpaceAfter=No"),
            (".", "PUNCT", "_"),
        ],
        1,
    )
)


@pytest.mark.parametrize("name", ["a.conllu", "a.txt"])
def test_words_of_conllu_are_forms_and_its_tags_parts_of_speech(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, CONLLU, name)
    (sentence,) = read_tagged(path).examples
    assert sentence.tokens == ("They", "buy", "books", ".") and sentence.tags == (
        "PRON",
        "VERB",
        "NOUN",
        "PUNCT",
    )
    assert "is CoNLL-U: words are column 1 and tags column 3" in caplog.text
    assert read_split(path)[0].tokens == sentence.tokens
    assert read_tagged(path, token_column=2, tag_column=0).examples[0].tokens == (
        "they",
        "buy",
        "books",
        ".",
    )


def test_sentences_that_begin_with_a_hash_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "# a comment O\nOslo N X B-LOC\nwins V X O\n\n# NN X O\n1 CD X O\n", "a.conll")
    assert len(read_tagged(path).examples[0].tokens) == 3
    assert "sentences begin with the word # (2, the first in line 1)" in caplog.text
    assert read_tagged(path, comments="skip").examples[0].tokens == ("Oslo", "wins")


def test_conllu_has_lines_that_are_no_words(tmp_path: Path) -> None:
    rows = ["1-2 don't _", "1 do AUX", "2 n't PART", "2.1 so ADV", "3 go VERB"]
    lines = ["{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n".format(*row.split()) for row in rows]
    path = written(tmp_path, "# sent_id = 1\n# text = don't go\n" + "".join(lines), "a.conllu")
    (found,) = read_tagged(path, token_column=1, tag_column=3).examples
    assert found.tokens == ("do", "n't", "go") and found.tags == ("AUX", "PART", "VERB")
    other = written(tmp_path, "".join(lines).replace("3\tgo", "x\tgo"))  # numbers are words there
    assert read_tagged(other, tag_column=3).examples[0].tokens == ("1-2", "1", "2", "2.1", "x")


def test_what_is_guessed_of_tags_is_said_and_can_be_said_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = written(tmp_path, "a B-PER\nb O\n\nc VB\nd NN\n")
    assert read_tagged(mixed).scheme == "plain"
    assert "some tags are spans (1, such as B-PER) and others are not (2, such as VB," in caplog.text
    assert f"{mixed}:4)" in caplog.text
    with pytest.raises(UserError, match="a.conll:4: 'VB' is not a tag of bio"):
        read_tagged(mixed, scheme="bio")
    caplog.clear()
    letters = written(tmp_path, "a B\nb I\nc O\n")
    assert read_tagged(letters).scheme == "bio"
    assert "its tags (B, I) name no type: they are read as spans of one type" in caplog.text
    caplog.clear()
    assert read_tagged(letters, scheme="plain").scheme == "plain"
    assert tagged_set([["a", "b"]], [["S", "O"]], scheme="bioes").scheme == "bioes"
    assert not caplog.text


def test_words_without_tags(tmp_path: Path) -> None:
    words = read_split(written(tmp_path, "-DOCSTART-\n\n# two words\nNew York\tx\nis\tx\n\nOslo\tx\n"))
    assert [each.tokens for each in words] == [("New_York", "is"), ("Oslo",)]
    assert words[0].lines == ("New York\tx", "is\tx")
    text = "Oslo B-LOC\nwins O\n\n#ibm B-ORG\n\n# a comment\nhere O\n"
    last = [each.tokens for each in read_split(written(tmp_path, text), token_column=0)]
    assert last == [("Oslo", "wins"), ("#ibm",), ("here",)]  # the tag tells it, whatever is asked for
    alone = read_split(written(tmp_path, "#ibm\nis\n\n# a comment\nhere\n"))
    assert [each.tokens for each in alone] == [("#ibm", "is"), ("here",)]
    lines = read_split(written(tmp_path, '{"tokens": ["a", "b"]}\n{"tokens": []}\n', "a.jsonl"))
    assert [each.tokens for each in lines] == [("a", "b"), ()]
    with pytest.raises(UserError, match="a.conll:1: there is no column 1 of 1"):
        read_split(written(tmp_path, "a\n"), token_column=1)
    with pytest.raises(UserError, match="holds no sentence"):
        read_split(written(tmp_path, "\n"))


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(CONLL,))
    writer.start()
    assert read_tagged(pipe).n_words == 4
    writer.join()
