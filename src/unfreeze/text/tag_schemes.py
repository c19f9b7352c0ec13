"""Conversion of tags to spans and back: IOB1, BIO and BIOES (BIOUL is the same with other letters).

    sentence  U.N.   official  Ekeus  heads  for  Baghdad  Basra
    IOB1      I-ORG  O         I-PER  O      O    I-LOC    B-LOC     B between neighbors of one type
    BIO       B-ORG  O         B-PER  O      O    B-LOC    B-LOC     every span begins with B
    BIOES     S-ORG  O         S-PER  O      O    S-LOC    S-LOC     E ends a span, S is one of a single word

Bare letters (B, I, O) are spans of a single type without a name. Other tags, such as parts of speech, are "plain".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["iob1", "bio", "bioes", "plain"]
OUTSIDE = "O"
UNTYPED = "_"
"""The name for the type of bare letters, as in seqeval."""
_LETTERS = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""BIOUL's letters are read as those of BIOES."""


class Span(NamedTuple):
    """Words from `start` to before `end`."""

    kind: str
    start: int
    end: int


class IllegalTag(ValueError):
    """A tag is not allowed at its place.

    Args:
        place: number of the sentence and of the word.
        reason: what is wrong.
    """

    def __init__(self, place: tuple[int, int], reason: str) -> None:
        super().__init__(reason)
        self.place, self.reason = place, reason


def split_tag(tag: str) -> tuple[str, str]:
    """ "B-PER" -> ("B", "PER"); "O" -> ("O", "")."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, _, kind = tag.partition("-")
    return _LETTERS.get(letter, letter), kind


def joined_tag(letter: str, kind: str) -> str:
    """("B", "PER") -> "B-PER"; without a type the letter alone."""
    return f"{letter}-{kind}" if kind else letter


def has_type(tag: str) -> bool:
    """Whether a tag consists of a letter of a scheme, a hyphen and a type."""
    return tag[:1] in _LETTERS and tag[1:2] == "-" and len(tag) > 2


def looks_like_spans(tags: Iterable[str]) -> bool:
    """Whether there are tags except O, and all of them have a type, or all are letters of one scheme."""
    every = set(tags) - {OUTSIDE}
    return bool(every) and (all(map(has_type, every)) or _without_type(every))


def _without_type(tags: set[str]) -> bool:
    """Whether they are the letters of one scheme, B or I among them."""
    return bool(tags & {"B", "I"}) and any(tags <= set(letters) for letters in ("BIES", "BILU"))


def detect_scheme(sentences: Sequence[Sequence[str]]) -> Scheme:
    """The scheme of all sentences: "plain" if tags do not look like spans, BIO if all tags are O.

    Raises:
        IllegalTag: tags look like spans, but are not in any scheme.
    """
    every = {tag for tags in sentences for tag in tags}
    if every <= {OUTSIDE}:
        return "bio"
    if not looks_like_spans(every):
        _need_no_spans(sentences)
        return "plain"
    letters = {split_tag(tag)[0] for tag in every}
    scheme: Scheme = "bioes" if letters & {"E", "S"} else "bio"
    try:
        for number, tags in enumerate(sentences):
            spans_of(tags, scheme, number)
    except IllegalTag:
        if scheme == "bioes" or not _mostly_begins_with_i(sentences):
            raise
        return "iob1"
    return scheme


def check_scheme(sentences: Sequence[Sequence[str]], scheme: Scheme) -> None:
    """Raise IllegalTag for the first tag that is not allowed in a given scheme; in "plain" all are."""
    if scheme == "plain":
        return
    letters = set("BIES" if scheme == "bioes" else "BI")
    typed = any(has_type(tag) for tags in sentences for tag in tags)
    for number, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            complete = has_type(tag) if typed else tag in _LETTERS
            if tag != OUTSIDE and not (complete and split_tag(tag)[0] in letters):
                raise IllegalTag((number, place), f"{tag!r} is not a tag of {scheme}")
        spans_of(tags, scheme, number)


def _need_no_spans(sentences: Sequence[Sequence[str]]) -> None:
    """Raise IllegalTag for the first tag that is not of a span if most of the tags except O are."""
    places = [
        (tag, (number, place))
        for number, tags in enumerate(sentences)
        for place, tag in enumerate(tags)
        if tag != OUTSIDE
    ]
    typed = [has_type(tag) for tag, _ in places]
    has_outside = len(places) < sum(map(len, sentences))
    letters = [has_outside and tag in ("B", "I") for tag, _ in places]  # plain tags have these names too
    is_span = max(typed, letters, key=sum)
    others = [each for each, known in zip(places, is_span, strict=True) if not known]
    if others and 2 * len(others) < len(places):
        raise IllegalTag(others[0][1], f"{others[0][0]!r} is not a tag of a span, as most tags are")


def _mostly_begins_with_i(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether more spans after another tag begin with I than with B: IOB1, in which real corpora have stray Bs."""
    begins = {"B": 0, "I": 0}
    for tags in sentences:
        before = (OUTSIDE, "")
        for tag in map(split_tag, tags):
            if tag[0] in begins and (before[0] == OUTSIDE or tag[1] != before[1]):
                begins[tag[0]] += 1
            before = tag
    return begins["I"] > begins["B"]


def spans_of(tags: Sequence[str], scheme: Scheme, sentence: int = 0) -> list[Span]:
    """The spans of a sentence.

    Args:
        sentence: its number, for errors.

    Raises:
        IllegalTag: a tag is not allowed at its place.
    """
    spans: list[Span] = []
    kind, start, open_span = "", 0, False
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, new = split_tag(tag)
        before = split_tag(tags[place - 1]) if place else (OUTSIDE, "")
        goes_on = open_span and letter in "IE" and new == kind
        if scheme == "iob1" and letter == "I" and not goes_on:
            letter = "B"
        if letter in "IE" and not goes_on:
            raise IllegalTag((sentence, place), f"{tag} cannot follow {joined_tag(*before)}")
        if open_span and not goes_on:
            if scheme == "bioes":
                unfinished = f"a span of {kind}" if kind else "a span"
                raise IllegalTag((sentence, place), f"{tag} occurs before the end of {unfinished}")
            spans.append(Span(kind, start, place))
            open_span = False
        if letter in "BS":
            kind, start, open_span = new, place, True
        if open_span and letter in "ES":
            spans.append(Span(kind, start, place + 1))
            open_span = False
    return spans


def tags_of(spans: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of `length` words; spans must not overlap."""
    tags = [OUTSIDE] * length
    ordered = sorted(spans, key=lambda span: span.start)
    for number, (kind, start, end) in enumerate(ordered):
        follows = number > 0 and ordered[number - 1].end == start and ordered[number - 1].kind == kind
        first = "I" if scheme == "iob1" and not follows else "B"
        letters = [first] + ["I"] * (end - start - 1)
        if scheme == "bioes":
            letters[-1] = "E" if end - start > 1 else "S"
        tags[start:end] = [joined_tag(letter, kind) for letter in letters]
    return tags


def convert_tags(tags: Sequence[str], source: Scheme, target: Scheme) -> list[str]:
    """The tags of a sentence in another scheme; plain tags stay the same.

    Raises:
        IllegalTag: as `spans_of`.
    """
    if "plain" in (source, target):
        return list(tags)
    return tags_of(spans_of(tags, source), len(tags), target)


def allowed_moves(
    names: Sequence[str], scheme: Scheme
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Which tags of `names` may follow which (K, K), begin (K,) and end (K,) a sentence; None if all may."""
    if scheme not in ("bio", "bioes"):
        return None
    parts = [split_tag(name) for name in names]
    pairs = np.array([[_may_follow(a, b, scheme) for b in parts] for a in parts])
    outside = (OUTSIDE, "")
    begins = np.array([_may_follow(outside, each, scheme) for each in parts])
    ends = np.array([_may_follow(each, outside, scheme) for each in parts])
    return pairs, begins, ends


def _may_follow(before: tuple[str, str], after: tuple[str, str], scheme: Scheme) -> bool:
    (letter, kind), (new, new_kind) = before, after
    inside = new in "IE"
    if scheme == "bio":
        return not inside or (letter in "BI" and kind == new_kind)
    return inside and kind == new_kind if letter in "BI" else not inside
