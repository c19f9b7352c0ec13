"""Text as people are shown it."""

from __future__ import annotations


def cut(text: str, most: int) -> str:
    """`text`, or its beginning and an ellipsis: at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
