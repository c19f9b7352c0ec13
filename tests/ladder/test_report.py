"""The page of a ladder in Chromium, on a screen and on a phone: it asks for nothing, and names stay text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.commands.test_report_in_browser import MARKUP, browser  # noqa: F401  (a fixture)
from tests.ladder.test_table import result
from unfreeze.ladder.report import write_report
from unfreeze.ladder.table import LadderTable, make_rows
from unfreeze.ladder.texts import SCRATCH, TFIDF

RUNGS = ["largest class", TFIDF, SCRATCH, "released word vectors, averaged", f"lm {MARKUP}", "a", "b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of many rungs, with markup in a name, one of them incomplete."""
    place, random = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    results = {
        (name, count): [result(random.random(50) < 0.5 + number / 30) for _ in range(2)]
        for number, name in enumerate(RUNGS)
        for count in (30, 100, 300, 1000, 10_000)
        if name != "c" or count < 300
    }
    table = LadderTable(
        measure="accuracy",
        rows=make_rows(results, (SCRATCH, TFIDF), 50),
        baselines=(SCRATCH, TFIDF),
        guessing="largest class",
        about={name: f"about {name}" for name in RUNGS},
        prepared={"a": 75.0},
        left_out={"c": {300: 1, 1000: 2}},
        n_test=50,
        n_train=10_000,
        seeds=2,
        duplicates=1,
        left_out_documents=3,
    )
    write_report(table, place, data=f"train {MARKUP}, measured on test.csv")
    return place


def test_what_the_page_says(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "of which 1 is in the training data, too" in page and MARKUP not in page
    assert "3 documents of the unlabeled text equal a test text" in page
    assert "left out, because the time did not suffice: 300 labels (1 of 2 samples), 1,000 labels<" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    # Six curves in one picture at most, and the baselines in each.
    assert page.count("data:image/svg+xml;base64") == 2
    for name in ("curves-1.svg", "curves-2.svg"):
        svg = (folder / name).read_text(encoding="utf-8")
        assert TFIDF in svg and SCRATCH in svg and "guessing" in svg
    first = (folder / "curves-1.svg").read_text(encoding="utf-8")
    assert "released word vectors, averaged" in first


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_legible_and_asks_for_nothing(width: int, folder: Path, browser: object) -> None:  # noqa: F811
    report = folder / "report.html"
    page = browser.new_page(viewport={"width": width, "height": 800})  # type: ignore[attr-defined]
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda each: requests.append(each.url))
    page.on("console", lambda each: problems.append(each.text))
    page.on("pageerror", lambda each: problems.append(str(each)))
    page.goto(report.as_uri(), wait_until="load")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for box in page.locator(".wide").all():
        edges = box.bounding_box()
        assert edges["x"] >= 0 and edges["x"] + edges["width"] <= width
    for picture in page.locator("img").all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    assert page.locator("img[src=x]").count() == 0 and page.locator("script").count() == 0
    heads = page.locator("h1, h2").all_inner_texts()
    assert len(set(heads)) == len(heads)
    # The table of all values has a head for each of its cells, and a row for each rung and number of labels.
    table = page.locator("table").last
    assert table.locator("thead th").count() == table.locator("tbody tr").first.locator("th, td").count()
    assert table.locator("tbody tr").count() == 7 * 5 + 2
    page.close()
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert problems == []
