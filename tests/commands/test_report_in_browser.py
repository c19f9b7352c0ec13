"""The report of `contextuality` in Chromium: it asks for nothing, is legible on a screen and on a phone, and shows names as they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.commands.calls import succeed
from tests.commands.toy import write_corpus
from tests.encoders.elmos import WORDS, small_elmo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MARKUP = "<img src=x onerror=console.error(1)>"
"""A name that would ask for a file and cause an error if it were read as markup."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        # Chromium has no sandbox for root, who runs the tests in containers.
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two encoders, with markup in the names of an encoder and of a file."""
    folder = tmp_path_factory.mktemp("report")
    choose = np.random.default_rng(0)
    corpus = folder / f"texts {MARKUP}.txt"
    write_corpus(
        corpus, [" ".join(choose.choice(WORDS, size=choose.integers(2, 8))) + "." for _ in range(60)]
    )
    elmo, vectors = folder / f"elmo {MARKUP}", folder / "vectors.txt"
    small_elmo().save_pretrained(elmo)
    rows = (" ".join([word.lower(), *map(str, choose.normal(size=5).round(3))]) for word in WORDS)
    vectors.write_text("\n".join(dict.fromkeys(rows)) + "\n", encoding="utf-8")
    output = folder / "found"
    options = ("--output", output, "--sample", 30, "--draws", 9)
    succeed("contextuality", vectors, elmo, "--corpus", corpus, *options)
    return output / "report.html"


@pytest.fixture(params=[1280, 390])
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    """The page in a window of a laptop's or of a phone's width; nothing but itself may be requested, and nothing may go wrong."""
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda each: requests.append(each.url))
    page.on("console", lambda each: problems.append(f"{each.type}: {each.text}"))
    page.on("pageerror", lambda each: problems.append(str(each)))
    page.goto(report.as_uri(), wait_until="load")
    yield page
    page.close()
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert problems == []


def test_pictures_are_seen_and_nothing_is_wider_than_the_page(page: Page) -> None:
    pictures = page.locator("img").all()
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.is_visible()
        assert picture.evaluate(
            "image => image.complete && image.naturalWidth > 100 && image.naturalHeight > 100"
        )
        assert picture.get_attribute("alt")
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.body.scrollWidth") <= width
    # What is wider, on a phone the table and the pictures, scrolls inside its own box.
    for box in page.locator(".wide").all():
        edges = box.bounding_box()
        assert edges is not None and edges["x"] >= 0 and edges["x"] + edges["width"] <= width
        assert box.evaluate("box => getComputedStyle(box).overflowX") == "auto"
    table = page.locator(".wide:has(table)")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth") == (width == 390)


def test_the_names_of_rows_stay_in_sight_while_the_table_scrolls(page: Page) -> None:
    box = page.locator(".wide:has(table)")
    box.evaluate("box => box.scrollLeft = 10000")
    edges, head = box.bounding_box(), page.locator("tbody th").first.bounding_box()
    assert edges is not None and head is not None and head["x"] == pytest.approx(edges["x"], abs=1)
    last = page.locator("tbody tr").first.locator("td").last.bounding_box()
    assert last is not None and last["x"] + last["width"] <= edges["x"] + edges["width"] + 1


def test_markup_in_names_stays_text(page: Page) -> None:
    assert page.locator("img[src=x]").count() == 0 and page.locator("script").count() == 0
    assert f"texts {MARKUP}.txt" in page.locator("p").first.inner_text()
    heads = page.locator("tbody th").all_inner_texts()
    assert [head.replace("\xa0", " ") for head in heads] == [
        "vectors.txt, layer 0",
        *(f"elmo {MARKUP}, layer {layer}" for layer in range(3)),
    ]


def test_headings_are_in_order_and_columns_have_different_names(page: Page) -> None:
    levels = [
        int(tag[1]) for tag in page.locator("h1, h2, h3").evaluate_all("all => all.map(h => h.tagName)")
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    names = page.locator("h1, h2").all_inner_texts()
    assert len(set(names)) == len(names) and "What the measures mean" in names
    # Every cell of the body is under one head, whose two rows together are unique.
    columns = page.locator("thead tr").nth(0).locator("th").all()
    spans = [int(each.get_attribute("colspan") or 1) for each in columns]
    assert sum(spans) == page.locator("tbody tr").first.locator("th, td").count()
    assert page.locator("thead tr").nth(1).locator("th").count() == sum(n for n in spans if n > 1)
    # Each name of a column, and what it is composed of, is explained.
    terms = set(page.locator("dt").all_inner_texts())
    heads = {head.inner_text().replace("\n", " ") for head in columns} - {"encoder, layer", "width"}
    assert heads | {"adjusted"} == terms
