"""What is said of an unknown word."""

from __future__ import annotations

import pytest

from tests.analysis.tables import table_of
from unfreeze.vectors.table import UnknownWord

TABLE = table_of(**dict.fromkeys("King king London color banana bananas Wien".split(), (1.0,)))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("KING", "'KING' is none of the 7 words that have a vector; its lower-case form 'king' is"),
        ("kingg", "'kingg' is none of the 7 words that have a vector; did you mean 'king'?"),
        ("Kingg", "'Kingg' is none of the 7 words that have a vector; did you mean 'King'?"),
        ("london", "'london' is none of the 7 words that have a vector; did you mean 'London'?"),
        ("vien", "'vien' is none of the 7 words that have a vector; did you mean 'Wien'?"),
        ("colour", "'colour' is none of the 7 words that have a vector; did you mean 'color'?"),
        (
            "bananna",
            "'bananna' is none of the 7 words that have a vector; did you mean 'banana' or 'bananas'?",
        ),
        ("xyzzy", "'xyzzy' is none of the 7 words that have a vector"),
        ("", "'' is none of the 7 words that have a vector"),
    ],
)
def test_unknown_words(word: str, said: str) -> None:
    with pytest.raises(UnknownWord) as found:
        TABLE.known_row(word)
    assert str(found.value) == said


def test_the_lower_case_form_is_found_however_it_is_written() -> None:
    table = table_of(**{"o'neill": (1.0,), "cafe\u0301": (1.0,)})
    for word, form in (("O’Neill", '"o\'neill"'), ("CAFÉ", "'cafe\u0301'")):
        assert str(table.unknown_word(word)).endswith(f"its lower-case form {form} is")


def test_no_more_than_asked() -> None:
    assert TABLE.similar_spellings("bananna", most=1) == ["banana"]


def test_of_words_nearly_as_alike_the_frequent_one_comes_first() -> None:
    words = ["receive", *(f"filler{n}" for n in range(2000)), "recipevie"]
    assert table_of(**dict.fromkeys(words, (1.0,))).similar_spellings("recieve")[0] == "receive"
