"""Text, numbers, times and suggestions as people are shown them."""

from __future__ import annotations

import pytest

from unfreeze.display import counted, cut, did_you_mean, duration, printable


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


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (1, "epoch", "1 epoch"),
        (2, "epoch", "2 epochs"),
        (0, "text", "0 texts"),
        (2000, "text", "2,000 texts"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "batch", "3 batches"),
        (1.0, "minute", "1 minute"),
        (0.5, "minute", "0.5 minutes"),
    ],
)
def test_counted(count: float, noun: str, said: str) -> None:
    assert counted(count, noun) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 seconds"),
        (1.4, "1 second"),
        (47, "47 seconds"),
        (89.4, "89 seconds"),
        (89.6, "1 minute"),
        (720, "12 minutes"),
        (89.6 * 60, "1.5 hours"),
        (3600 * 3.5, "3.5 hours"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_nearest_name_is_suggested_and_no_other() -> None:
    assert did_you_mean("classifer", ["tagger", "classifier"]) == "; did you mean 'classifier'?"
    assert did_you_mean("frist", ["first"], "models/") == "; did you mean 'models/first'?"
    assert did_you_mean("xyz", ["tagger", "classifier"]) == ""


def test_cut() -> None:
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "ab…")
