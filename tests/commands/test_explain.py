"""`predict --explain`: the words that decided, on the terminal, as JSON and on a page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import reviews, write_table
from unfreeze.tasks.text_classifier import TextClassifier

TEXTS = ["A superb <b>plot</b> & story.", "The film was dull, really dull."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "model"
    rows = reviews(60, seed=1)
    classifier = TextClassifier(transfer="frozen", pooling="vectors")
    classifier.fit([text for text, _ in rows], [label for _, label in rows]).save_pretrained(folder)
    return folder


def test_the_terminal_and_json_name_the_words(model: Path) -> None:
    lines = succeed("predict", model, *TEXTS, "xyzzy", "--explain").out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("pos ") and "  for pos: superb +" in lines[1] and "(exact)" in lines[1]
    assert lines[2].startswith("neg ") and lines[3].startswith("  for neg: dull +")
    assert lines[5] == "  no word decided"
    rows = succeed("predict", model, *TEXTS, "xyzzy", "--explain", "--json").rows
    for text, row in zip(TEXTS, rows, strict=False):
        found = row["explanation"]
        assert found["label"] == row["label"] and found["method"] == "exact"
        total = found["bias"] + sum(word["contribution"] for word in found["words"])
        assert total == pytest.approx(found["evidence"])
        assert all(text[word["start"] : word["end"]] == word["word"] for word in found["words"])
    assert rows[2]["explanation"] is None and rows[2]["unknown"] is True
    (row,) = succeed("predict", model, TEXTS[0], "--explain", "--explain-by", "occlusion", "--json").rows
    assert row["explanation"]["method"] == "occlusion" and row["explanation"]["bias"] is None


class Page(HTMLParser):
    """The text and the marked words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.paragraphs: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "p":
            self.paragraphs.append("")

    def handle_data(self, data: str) -> None:
        if self.paragraphs:
            self.paragraphs[-1] += data.rstrip("\n") if self.tags[-1] == "h2" else data


def test_a_page_holds_the_texts_unchanged_and_their_words_colored(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "texts.csv", [(text, "pos") for text in TEXTS])
    line = ["predict", model, "--file", table, "--explain", "--output", tmp_path / "words.html"]
    succeed(*line)
    written = (tmp_path / "words.html").read_text(encoding="utf-8")
    assert "&lt;" in written and "<b>" not in written and "<script" not in written
    page = Page()
    page.feed(written)
    assert len(page.paragraphs) == 2 and page.paragraphs[0].startswith(TEXTS[0])
    assert page.tags.count("mark") > 8
    assert "exists" in fail(*line)


def test_what_cannot_be_explained_is_said(model: Path, tmp_path: Path) -> None:
    assert "has no effect without --explain" in fail("predict", model, "a", "--explain-by", "exact")
    wrong = fail("predict", model, "a", "--explain", "--output", tmp_path / "a.csv")
    assert "has to end in .jsonl or .html" in wrong
    assert "--explain writes a page" in fail("predict", model, "a", "--output", tmp_path / "a.html")
    assert not list(tmp_path.iterdir())
