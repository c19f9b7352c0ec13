"""Spans and tags: every scheme to every other and back, seqeval's strict spans, what is illegal."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.text.tag_schemes import (
    UNTYPED,
    IllegalTag,
    Scheme,
    Span,
    allowed_moves,
    check_scheme,
    convert_tags,
    detect_scheme,
    spans_of,
    tags_of,
)

SCHEMES: list[Scheme] = ["iob1", "bio", "bioes"]


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    spans, place = [], 0
    for gap, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "LOC"])), max_size=5)
    ):
        spans.append(Span(kind, place + gap, place + gap + length))
        place += gap + length
    return spans, place + draw(st.integers(0, 2))


@given(sentences(), st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_every_scheme_to_every_other_and_back(known: tuple[list[Span], int], a: Scheme, b: Scheme) -> None:
    spans, length = known
    tags = tags_of(spans, length, a)
    assert spans_of(tags, a) == spans
    assert convert_tags(convert_tags(tags, a, b), b, a) == tags


@given(sentences())
def test_spans_are_seqevals_strict_ones(known: tuple[list[Span], int]) -> None:
    scheme = pytest.importorskip("seqeval.scheme")
    for ours, theirs in (("bio", scheme.IOB2), ("bioes", scheme.IOBES)):
        tags = tags_of(*known, ours)  # type: ignore[arg-type]
        found = scheme.Entities([tags], theirs).entities[0]
        assert [(each.tag, each.start, each.end) for each in found] == [tuple(span) for span in known[0]]


def test_the_papers_example() -> None:
    iob1 = ["I-ORG", "O", "I-PER", "O", "O", "I-LOC", "B-LOC"]
    assert convert_tags(iob1, "iob1", "bio") == ["B-ORG", "O", "B-PER", "O", "O", "B-LOC", "B-LOC"]
    assert convert_tags(iob1, "iob1", "bioes") == ["S-ORG", "O", "S-PER", "O", "O", "S-LOC", "S-LOC"]
    assert spans_of(["B-X", "L-X", "U-Y"], "bioes") == [Span("X", 0, 2), Span("Y", 2, 3)]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ([["I-PER", "I-PER", "B-PER", "O"]], "iob1"),
        ([["B-PER", "I-PER", "O"], ["O"]], "bio"),
        ([["S-PER", "B-PER", "E-PER"]], "bioes"),
        ([["NN", "VB"]], "plain"),
        ([["O", "O"]], "bio"),
        ([["B-PER", "O", "VB"], ["NN", "VB"]], "plain"),
        ([["B", "I", "O"], ["B"]], "bio"),
        ([["I", "I", "B", "O"], ["O", "I"]], "iob1"),
        ([["B", "E", "S", "O"]], "bioes"),
        ([["B", "L", "U"]], "bioes"),
        ([["B", "N", "V"]], "plain"),
        ([["E", "S"]], "plain"),
    ],
)
def test_the_scheme_is_found(tags: list[list[str]], scheme: str) -> None:
    assert detect_scheme(tags) == scheme


@pytest.mark.parametrize(
    ("tags", "place"),
    [
        ([["B-PER", "O"], ["O", "I-PER"]], (1, 1)),
        ([["S-PER", "O", "E-PER"]], (0, 2)),
        ([["S-PER"], ["B-PER", "O"]], (1, 1)),
        ([["B-PER", "I-LOC"]], (0, 1)),
        ([["B", "O"], ["O", "B", "O", "I"]], (1, 3)),
        ([["B-PER", "I-PER", "O", "B"]], (0, 3)),
        ([["B", "I", "O", "X"]], (0, 3)),
    ],
)
def test_what_is_in_no_scheme_is_placed(tags: list[list[str]], place: tuple[int, int]) -> None:
    with pytest.raises(IllegalTag) as caught:
        detect_scheme(tags)
    assert caught.value.place == place


def test_tags_without_a_type_are_spans_as_seqeval_finds_them() -> None:
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    tags = ["B", "I", "O", "B", "B", "I"]
    spans = spans_of(tags, "bio")
    assert [(start, end - 1) for _, start, end in spans] == [(start, end) for _, start, end in entities(tags)]
    assert {kind for kind, _, _ in entities(tags)} == {UNTYPED} and {kind for kind, _, _ in spans} == {""}
    assert convert_tags(tags, "bio", "bioes") == ["B", "E", "O", "S", "B", "E"]
    for scheme in SCHEMES:
        assert convert_tags(convert_tags(tags, "bio", scheme), scheme, "bio") == tags


@pytest.mark.parametrize(
    ("tags", "scheme", "place"),
    [
        ([["B-PER", "O"], ["VB"]], "bio", (1, 0)),
        ([["B-PER", "O", "S-PER"]], "bio", (0, 2)),
        ([["O", "I-PER"]], "bio", (0, 1)),
        ([["B-PER", "B"]], "iob1", (0, 1)),
        ([["B-PER", "O"]], "bioes", (0, 1)),
        ([["B-"]], "bio", (0, 0)),
    ],
)
def test_a_scheme_that_is_asked_for_is_held(
    tags: list[list[str]], scheme: Scheme, place: tuple[int, int]
) -> None:
    with pytest.raises(IllegalTag) as caught:
        check_scheme(tags, scheme)
    assert caught.value.place == place
    check_scheme(tags, "plain")


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_moves_that_are_allowed_are_those_of_legal_sequences(scheme: Scheme) -> None:
    letters = "BI" if scheme == "bio" else "BIES"
    names = ["O", *(f"{letter}-{kind}" for kind in ("A", "B") for letter in letters)]
    found = allowed_moves(names, scheme)
    assert found is not None
    pairs, begins, ends = found
    for path in itertools.product(range(len(names)), repeat=3):
        allowed = begins[path[0]] and ends[path[-1]] and all(pairs[a, b] for a, b in itertools.pairwise(path))
        try:
            spans_of([names[tag] for tag in path], scheme)
        except IllegalTag:
            assert not allowed
        else:
            assert allowed
