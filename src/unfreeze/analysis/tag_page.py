"""HTML page of texts with highlighted entities, answers or words, self-contained and without scripts.

Each entity type has a color and is named after the span; hovering over a span shows its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.9 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
p { white-space: pre-wrap; border-bottom: 1px solid #e4e4e4; padding-bottom: .8rem }
mark { border-radius: .3rem; padding: .1rem .3rem; color: inherit }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem } h2 small { font-weight: 400; color: #666 }
mark small { font-size: .68em; font-weight: 600; margin-left: .35rem; letter-spacing: .03em }
"""


def color(kind: str, kinds: Sequence[str]) -> str:
    """Return a light color for each type, with hues evenly spaced."""
    hue = 360 * (kinds.index(kind) if kind in kinds else 0) // max(1, len(kinds))
    return f"hsl({hue} 75% 85%)"


def page_begin(title: str, kinds: Sequence[str]) -> str:
    """Return the beginning of the page: head, title and legend."""
    legend = " ".join(_mark(kind, "", color(kind, kinds), "") for kind in kinds[:40])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<div>{legend}</div>\n"
    )


def page_text(text: str, entities: Sequence[dict[str, Any]], kinds: Sequence[str]) -> str:
    """Return a text as a paragraph; entities must be sorted by position and must not overlap."""
    parts, end = [], 0
    for entity in entities:
        kind = entity.get("entity_group", entity.get("entity", ""))
        parts.append(escape(text[end : entity["start"]]))
        word = text[entity["start"] : entity["end"]]
        parts.append(_mark(word, kind, color(kind, kinds), f"{entity['score']:.3f}"))
        end = entity["end"]
    parts.append(escape(text[end:]))
    return f"<p>{''.join(parts)}</p>\n"


def page_words(text: str, words: Sequence[tuple[int, int, float]]) -> str:
    """Return a text as a paragraph whose words are green if their weight is positive, red if it is negative.

    Args:
        words: (start, end, weight), sorted by position, without overlaps; the deepest color is that of the largest weight.
    """
    largest = max((abs(weight) for _, _, weight in words), default=0.0) or 1.0
    parts, done = [], 0
    for start, end, weight in words:
        hue, opacity = 130 if weight > 0 else 5, 0.75 * abs(weight) / largest
        parts.append(escape(text[done:start]))
        parts.append(_mark(text[start:end], "", f"hsl({hue} 65% 50% / {opacity:.2f})", f"{weight:+.3f}"))
        done = end
    parts.append(escape(text[done:]))
    return f"<p>{''.join(parts)}</p>\n"


def page_heading(text: str, note: str) -> str:
    """Return a heading with a note after it."""
    return f"<h2>{escape(text)} <small>{escape(note)}</small></h2>\n"


def page_end() -> str:
    """Return the closing tags of the page."""
    return "</body></html>\n"


def _mark(word: str, kind: str, background: str, score: str) -> str:
    name = f"<small>{escape(kind)}</small>" if kind else ""
    tooltip = f' title="{score}"' if score else ""
    return f'<mark style="background: {background}"{tooltip}>{escape(word)}{name}</mark>'
