"""HTML reports: one page that needs no other file, has no script, and asks no host for anything.

Wide tables and pictures scroll inside their own boxes, so that a page is also legible on a phone.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from unfreeze.folders import written_file

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; overflow-wrap: anywhere }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.wide { overflow-x: auto } figure { margin: 1rem 0 } img { max-width: 100%; height: auto } figcaption, dd { color: #444 } dt { font-weight: 600; margin-top: .6rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem }
th, td { padding: .3rem .4rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap } small { color: #555 }
thead th { vertical-align: bottom } th[colspan] { text-align: center; border-left: 1px solid #ddd }
tbody th, thead tr:first-child th:first-child { position: sticky; left: 0; background: #fff; text-align: left; white-space: normal; min-width: 6rem; max-width: 11rem }
@media (max-width: 45rem) { img { max-width: 48rem } }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of the report."""

    path: Path
    """An SVG or PNG file."""
    title: str
    caption: str


def write_page(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write a page of these parts in HTML, below its title."""
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    with written_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def figure(picture: Picture) -> str:
    """A heading and a picture, which is stored in the page."""
    kind = "svg+xml" if picture.path.suffix == ".svg" else "png"
    data = base64.b64encode(picture.path.read_bytes()).decode()
    title, caption = escape(picture.title), escape(picture.caption)
    image = f'<img alt="{title}" src="data:image/{kind};base64,{data}">'
    return f"<h2>{title}</h2>\n<figure>{scrolling(image, title)}<figcaption>{caption}</figcaption></figure>"


def scrolling(content: str, name: str) -> str:
    """A box that scrolls by itself where the window is narrow, also with the keyboard."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{name}">{content}</div>'
