"""`contextuality` and `senses`: files, figures and clusters on small encoders, and what cannot be measured."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import write_corpus
from tests.encoders.elmos import WORDS, small_elmo
from unfreeze.analysis.contextuality_plots import SENSE_STYLES
from unfreeze.commands.senses import MOST_DRAWN


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, an ELMo, and word vectors that lack some of its words."""
    folder = tmp_path_factory.mktemp("contextuality")
    choose = np.random.default_rng(0)
    texts = [" ".join(choose.choice(WORDS, size=choose.integers(2, 8))) + "." for _ in range(80)]
    write_corpus(folder / "texts.txt", [*dict.fromkeys(texts), *texts[:3]])
    write_corpus(folder / "unknown.txt", ["cat qqq", "xxx cat", "cat zzz"])
    small_elmo().save_pretrained(folder / "elmo")
    known = sorted({word.lower() for word in WORDS if word.isalpha()})[:-2]
    rows = (" ".join([word, *map(str, choose.normal(size=5).round(3))]) for word in known)
    (folder / "vectors.txt").write_text("\n".join(rows) + "\n")
    return folder


def test_figures_of_two_encoders(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "found"
    asked = ("contextuality", place / "vectors.txt", place / "elmo", "--corpus", place / "texts.txt")
    outcome = succeed(*asked, "--output", output, "--sample", 30, "--draws", 20)
    assert "words that both have" in outcome.err and "different sentences; 3 repeated ones are" in outcome.err
    header, first, *_ = outcome.out.splitlines()
    assert len(set(header.split())) == len(header.split()) == 8 and "adjusted" in outcome.out.splitlines()[-1]
    assert first.split()[:2] == ["vectors.txt", "0"] and first.split()[3] == "1.000"
    with (output / "contextuality.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["encoder"], row["layer"]) for row in rows] == [
        ("vectors.txt", "0"),
        *(("elmo", str(layer)) for layer in range(3)),
    ]
    assert float(rows[0]["self_similarity"]) == pytest.approx(1)
    for row in rows:
        assert float(row["anisotropy_low"]) <= float(row["anisotropy"]) <= float(row["anisotropy_high"])
    stored = json.loads((output / "contextuality.json").read_text(encoding="utf-8"))
    assert stored["elmo"]["n_words"] > stored["vectors.txt"]["n_words"]
    assert {each["n_compared"] for each in stored.values()} == {stored["vectors.txt"]["n_words"]}
    assert stored["elmo"]["settings"]["sample"] == 30 and stored["elmo"]["n_repeated"] == 3
    assert float(rows[3]["explained"]) == pytest.approx(stored["elmo"]["layers"][2]["explained"])
    names = {f"{name}.{suffix}" for name in ("measures", "cone", "space") for suffix in ("png", "svg")}
    assert {path.name for path in output.iterdir()} == names | {
        "contextuality.csv",
        "contextuality.json",
        "report.html",
    }
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64") == 3 and "3 repeated ones were left out" in page
    assert "exists" in fail(*asked, "--output", output)
    (values,) = succeed(
        *asked, "--output", output, "--overwrite", "--sample", 30, "--draws", 20, "--json"
    ).rows
    assert values["encoders"] == stored


def test_the_report_needs_nothing_else_and_escapes_what_it_shows(place: Path, tmp_path: Path) -> None:
    strange = tmp_path / "<b>odd & name"
    small_elmo().save_pretrained(strange)
    output = tmp_path / "found"
    succeed("contextuality", strange, "--corpus", place / "texts.txt", "--output", output, "--draws", 9)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;odd &amp; name" in page and "<b>odd" not in page
    assert (
        not re.search(r"""(src|href)=["'](?!data:)""", page)
        and "http" not in re.sub('base64,[^"]*', "", page)
        and "<script" not in page
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{place}/none --corpus {place}/texts.txt", "none"),
        ("{place} --corpus {place}/texts.txt", "config.json"),
        ("{place}/elmo {place}/elmo --corpus {place}/texts.txt", "given twice"),
        ("{place}/elmo --corpus {place}/texts.txt --least-contexts 500", "no word occurs in 500 different"),
        ("{place}/elmo --corpus {place}/texts.txt --least-contexts 1", "--least-contexts must be at least 2"),
        ("{place}/elmo --corpus {place}/texts.txt --sentences 3", "no word occurs in 5 different sentences"),
        ("{place}/elmo --corpus {place}/missing.txt", "missing.txt"),
        ("{place}/vectors.txt --corpus {place}/unknown.txt --least-contexts 2", "no sentence has two words"),
    ],
)
def test_what_cannot_be_measured(options: str, message: str, place: Path, tmp_path: Path) -> None:
    asked = options.format(place=place).split()
    assert message in fail("contextuality", *asked, "--output", tmp_path / "found")
    assert not (tmp_path / "found").exists()


def test_of_many_encoders_the_top_layers_are_drawn(place: Path, tmp_path: Path) -> None:
    copies = [tmp_path / name for name in "abcd"]
    for copy in copies:
        shutil.copytree(place / "elmo", copy)
    texts = [place / "texts.txt"] * 6
    output = tmp_path / "found"
    succeed("contextuality", *copies, "--corpus", *texts, "--output", output, "--draws", 9)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert f"{', '.join(['texts.txt'] * 5)} and 1 more" in page and str(tmp_path) not in page
    space = (output / "space.svg").read_text(encoding="utf-8")
    assert all(f"{each.name}, layer 2" in space for each in copies) and "layer 0" not in space


def test_senses_of_a_word(place: Path, tmp_path: Path) -> None:
    asked = ("senses", place / "elmo", "CAT", "--corpus", place / "texts.txt")
    (values,) = succeed(*asked, "--senses", 2, "--top", 1, "--json").rows
    assert len(values["senses"]) == 2 and values["layer"] == 2 and values["by"] == "sentence"
    (other,) = succeed(*asked, "--senses", 2, "--top", 1, "--by", "word", "--json").rows
    assert other["by"] == "word" and other["silhouettes"] != values["silhouettes"]
    assert sum(each["occurrences"] for each in values["senses"]) == values["compared"] == values["sentences"]
    assert all(len(each["typical"]) == 1 for each in values["senses"])
    lines = succeed(*asked, "--senses", 2, "--top", 1).out.splitlines()
    assert "as asked for" in lines[0]
    marked = [line.lower().index("[cat]") for line in lines if "[cat]" in line.lower()]
    assert len(marked) == 2 and len(set(marked)) == 1, "the word is in one column"
    drawn = tmp_path / "cat.svg"
    assert "drawn" in succeed(*asked, "--senses", 2, "--plot", drawn).err and "<svg" in drawn.read_text()
    assert "exists" in fail(*asked, "--plot", drawn)
    assert "1 sense, as asked for" in succeed(*asked, "--senses", 1).out
    static = ("senses", place / "vectors.txt", "cat", "--corpus", place / "texts.txt", "--senses")
    assert "as asked for" in succeed(*static, 2).out
    assert "with 1 different vectors" in fail(*static, 2, "--by", "word")


def test_as_many_senses_are_drawn_as_have_a_style() -> None:
    assert len(SENSE_STYLES) == MOST_DRAWN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("zebra", "'zebra' occurs in no sentence"),
        ("cat --layer 3", "there is no layer 3"),
        ("cat --senses 5000", "do not have 5000 senses"),
        ("cat --occurrences 1", "--occurrences must be at least 2"),
        ("cat --senses 0", "--senses"),
        ("cat --most-senses 1", "--most-senses must be at least 2"),
        ("cat --senses 2 --most-senses 3", "--most-senses has no effect with --senses"),
        ("cat --senses 9 --plot cat.png", "--plot can show at most 8 senses, and --senses is 9"),
    ],
)
def test_senses_that_cannot_be_found(options: str, message: str, place: Path) -> None:
    assert message in fail("senses", place / "elmo", *options.split(), "--corpus", place / "texts.txt")
