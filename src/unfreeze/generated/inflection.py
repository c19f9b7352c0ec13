"""Regular English inflection and agreement, as far as the vocabulary of the generator needs it.

Irregular forms are written in the vocabulary files (`mouse/mice`, `write/wrote/written`).
"""

from __future__ import annotations

import re

SINGULAR = {
    "nothing": "",
    "is": "is",
    "was": "was",
    "has": "has",
    "does": "does",
    "s": "s",
    "es": "es",
    "it": "it",
    "them": "it",
    "its": "its",
    "itself": "itself",
    "this": "this",
    "that": "that",
}
"""Words that agree with a singular noun, by the names that templates use for them."""

PLURAL = SINGULAR | {
    "is": "are",
    "was": "were",
    "has": "have",
    "does": "do",
    "s": "",
    "es": "",
    "it": "they",
    "them": "them",
    "its": "their",
    "itself": "themselves",
    "this": "these",
    "that": "those",
}
AGREEMENT: dict[str, dict[str, str]] = {
    "singular": SINGULAR,
    "plural": PLURAL,
    "he": SINGULAR | {"it": "he", "them": "him", "its": "his", "itself": "himself"},
    "she": SINGULAR | {"it": "she", "them": "her", "its": "her", "itself": "herself"},
}

_HISSING = re.compile(r"(s|x|z|ch|sh|[^aeiou]o)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")
_DOUBLING = re.compile(r"[^aeiou]*(qu)?[aeiou][^aeiouwxy]")
_SILENT_E = re.compile(r"[^eyo]e$")
_A = re.compile(r"\b([Aa])(?= [\"']?(?P<next>[A-Za-z0-9]+))")
_VOWEL_SOUND = re.compile(
    r"(?!one\b|once|use|usu|uni[cfoqtv]|eu|ute|ubi)[aeiou]|hour|honest|honor|heir|8|1[18](?!\d)"
)


def plural(noun: str) -> str:
    """Return the regular plural; the last of several words takes the ending."""
    if noun.endswith("o"):
        return noun + "s"
    return with_s(noun)


def with_s(word: str) -> str:
    """Return a verb in the third person; most plurals follow the same rule."""
    if _CONSONANT_Y.search(word):
        return word[:-1] + "ies"
    return word + ("es" if _HISSING.search(word) else "s")


def past(verb: str) -> str:
    """Return the regular past tense."""
    if verb.endswith("e"):
        return verb + "d"
    if _CONSONANT_Y.search(verb):
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def gerund(verb: str) -> str:
    """Return the regular -ing form."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    return (verb[:-1] if _SILENT_E.search(verb) else _doubled(verb)) + "ing"


def _doubled(verb: str) -> str:
    return verb + verb[-1] if _DOUBLING.fullmatch(verb) else verb


def noun_forms(parts: list[str]) -> dict[str, str]:
    """Map `singular[/plural]` to the forms "" and "many"."""
    return {"": parts[0], "many": parts[1] if len(parts) > 1 else plural(parts[0])}


def verb_forms(parts: list[str]) -> dict[str, str]:
    """Map `base[/past[/participle]]` to the forms "", "s", "ed", "en", "ing"; the first word is inflected."""
    head, _, tail = parts[0].partition(" ")
    rest = f" {tail}" if tail else ""
    simple = parts[1] if len(parts) > 1 else past(head) + rest
    participle = parts[2] if len(parts) > 2 else simple
    return {
        "": parts[0],
        "s": with_s(head) + rest,
        "ed": simple,
        "en": participle,
        "ing": gerund(head) + rest,
    }


def with_articles(text: str) -> str:
    """Replace `a` by `an` before words that begin with a vowel sound."""
    return _A.sub(lambda match: match[1] + ("n" if _VOWEL_SOUND.match(match["next"].lower()) else ""), text)
