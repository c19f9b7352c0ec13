"""Files of word pairs and analogies, as their publishers wrote them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.conftest import data_folder
from unfreeze.analysis.word_sets import read_analogies, read_pairs, read_sets
from unfreeze.errors import UserError

FORMS = {
    "tabs": "tiger\tcat\t7.35\ntiger\ttiger\t10.00\n",
    "windows": "tiger\tcat\t7.35\r\n\r\ntiger\ttiger\t10.00",
    "byte order mark": "\ufefftiger\tcat\t7.35\ntiger\ttiger\t10\n",
    "WordSim-353": "Word 1,Word 2,Human (mean)\ntiger,cat,7.35\ntiger,tiger,10\n",
    "semicolons": "tiger; cat; 7.35\ntiger; tiger; 10\n",
    "MEN": "tiger cat 7.35\ntiger tiger 10.00\n",
    "SimLex-999": "word1\tword2\tPOS\tSimLex999\tconc\ntiger\tcat\tN\t7.35\t4\ntiger\ttiger\tN\t10\t4\n",
    "RareWords": "tiger\tcat\t7.35\t1\t2\t3\ntiger\ttiger\t10\t4\t5\t6\n",
    "remarks": "# of people\ntiger\tcat\t7.35\n# more\ntiger\ttiger\t10\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_pairs_in_every_form(form: str, tmp_path: Path) -> None:
    path = tmp_path / "EN-animals.txt"
    path.write_bytes(FORMS[form].encode())
    found = read_pairs(path)
    assert (found.name, found.pairs) == ("EN-animals", [("tiger", "cat"), ("tiger", "tiger")])
    assert found.scores == [7.35, 10.0]


def test_hidden_files_of_a_folder_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "._a.txt", "notes.md"):
        (tmp_path / name).write_text(FORMS["tabs"], encoding="utf-8")
    assert [each.name for each in read_sets(tmp_path)[0]] == ["a"]
    assert caplog.messages == [f"{tmp_path}: files that are not read: 1 hidden, 1 of other kinds (.md)"]


def test_words_of_several_parts_between_tabs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv.gz"
    path.write_bytes(gzip.compress(b"New York\tice cream\t1\n"))
    assert read_pairs(path).pairs == [("New York", "ice cream")]
    assert read_pairs(path).name == "pairs"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "contains no word pairs"),
        ("word1\tword2\tscore\n", "contains no word pairs"),
        ("tiger\tcat\t7\ntiger\tcat\n", ":2: expected two words and a score, got 'tiger\\tcat'"),
        ("tiger\tcat\t7\ntiger\tcat\tmuch\n", ":2: expected two words and a score, got 'tiger\\tcat\\tmuch'"),
        ("tiger\tcat\t7\n\n\tcat\t1\n", ":3: expected two words and a score, got 'cat\\t1'"),
        ("tiger\tcat\t7\ntiger\tcat\tnan\n", ":2: "),
        ("tiger\tcat\tnan\ntiger\tcat\t7\n", ":1: "),
        ("a text of no kind\nand more of it\n", ":2: "),
        ("the 0.1 0.2 0.3\n", ":1: expected two words and a score, got 'the 0.1 0.2 0.3'"),
        ("tiger\tcat\t7\ncaf\udce9\tcat\t7\n", ":2:4: not utf-8"),
    ],
)
def test_what_is_no_file_of_pairs(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        read_pairs(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (": family\n", "contains no analogies"),
        (
            ": family\nboy girl king\n",
            ":2: expected four words after a line ': section', got 'boy girl king'",
        ),
        (
            "boy girl king queen\n",
            ":1: expected four words after a line ': section', got 'boy girl king queen'",
        ),
    ],
)
def test_what_is_no_file_of_analogies(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_analogies(path)
    assert said in str(caught.value)


def test_a_folder_is_read_by_name_and_by_content(tmp_path: Path) -> None:
    for name in ("b.txt", "a.csv"):
        (tmp_path / name).write_text("tiger,cat,1\n", encoding="utf-8")
    (tmp_path / "q.txt").write_text(": one\na b c d\n: two\ne f g h\na b c d\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("no set", encoding="utf-8")
    (tmp_path / "folder.txt").mkdir()
    pairs, sections = read_sets(tmp_path)
    assert [each.name for each in pairs] == ["a", "b"]
    assert [(each.name, len(each.questions)) for each in sections] == [("one", 1), ("two", 2)]
    assert read_sets(tmp_path / "b.txt")[0] == pairs[1:]
    assert read_sets(tmp_path / "q.txt") == ([], sections)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no files of word pairs or analogies"):
        read_sets(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_sets(tmp_path / "missing")


def test_published_sets() -> None:
    pairs, sections = read_sets(data_folder("wordsim"))
    counts = {each.name: len(each.pairs) for each in pairs}
    assert len(counts) == 13
    assert counts["EN-SIMLEX-999"] == 999 and counts["EN-WS-353-ALL"] == 353 and counts["EN-RG-65"] == 65
    assert len(sections) == 14 and sum(len(section.questions) for section in sections) == 19_544
