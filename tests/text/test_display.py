"""Text as people are shown it."""

from __future__ import annotations

import pytest

from unfreeze.text.display import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("over\rwritten", r"over\x0dwritten"),
        ("\x9b2J \x7f \x00", r"\x9b2J \x7f \x00"),
        ("a\tb\nc é 😀 \\x1b", "a\tb\nc é 😀 \\x1b"),
    ],
)
def test_a_terminal_shows_control_characters_and_does_not_obey_them(text: str, shown: str) -> None:
    assert printable(text) == shown
