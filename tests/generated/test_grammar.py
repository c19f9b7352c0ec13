"""The grammar's notation on small grammars, and the package's own grammar as a whole."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from unfreeze.generated.grammar import Document, Grammar, slots_of, tidied
from unfreeze.generated.texts import generator_grammar

REVIEWS = [
    f"{thing}_{kind}{sign}"
    for thing in ("film", "product")
    for kind in ("review", "passage_signed")
    for sign in "+-"
]
SETUPS = {root: root.split("_")[0] + "_setup" for root in REVIEWS} | {"document": "world_setup"}
"""What introduces the things that the templates under a root may mention."""


def expansions(text: str, count: int = 400, symbol: str = "start") -> Counter[str]:
    grammar, random = Grammar({"test": text}), Random(1).random
    return Counter(grammar.expand(symbol, random) for _ in range(count))


def test_word_list_follows_zipf() -> None:
    found = expansions("start = one, two, three, four", 20_000)
    assert [word.lower() for word, _ in found.most_common()] == ["one", "two", "three", "four"]
    assert found["One"] / found["Four"] == pytest.approx(4, rel=0.15)


def test_even_list_and_weights() -> None:
    even = expansions("start even = one, two", 20_000)
    assert even["One"] / even["Two"] == pytest.approx(1, rel=0.1)
    weighted = expansions("start:\n    3* one\n    two\n    0.5* _", 20_000)
    assert weighted["One"] / weighted["Two"] == pytest.approx(3, rel=0.15)
    assert weighted["Two"] / weighted[""] == pytest.approx(2, rel=0.2)


def test_agreement_forms_and_choices() -> None:
    found = expansions(
        "part = lid, buttons <plural>\nperson (last):\n    Ann Berg / Berg <she>\n"
        "start:\n    The {part#s} {#s.was} [old|new], {#s.it} look{#s.s} it; {person#p} {#p.has} {#p.its} way, {#p.last}!"
    )
    tail = "Ann Berg has her way, Berg!"
    assert set(found) == {
        f"The {subject} {state}, {look} it; {tail}"
        for subject, look in (("lid was", "it looks"), ("buttons were", "they look"))
        for state in ("old", "new")
    }


def test_kept_thing_stays_and_fresh_form_changes() -> None:
    text = "color = red, blue\ncar (*color: {color}) = car, van\nstart:\n    {car#c} {#c} {#c.color} {#c.color} {#c.color}"
    words = [expansion.lower().split() for expansion in expansions(text)]
    assert all(first == second for first, second, *_ in words)
    assert any(len(set(colors)) == 2 for *_, a, b, c in words for colors in [(a, b, c)])


def test_an_alternative_that_is_a_slot_passes_on_all_forms() -> None:
    text = (
        "animal noun = mouse/mice\nthing:\n    {animal}\nstart:\n    {thing.many} and a {thing#t}, {#t.many}"
    )
    assert set(expansions(text)) == {"Mice and a mouse, mice"}


def test_signs() -> None:
    text = "word+ = good\nword- = bad\nclause~:\n    {word~}, not {word!}\nstart:\n    {clause+}; {clause-}"
    assert set(expansions(text)) == {"Good, not bad; bad, not good"}


def test_a_document_avoids_what_it_has_used() -> None:
    text = "word = a1, a2, a3, a4, a5, a6, a7, a8\nstart:\n    {word} {word}"
    repeated = sum(count for text, count in expansions(text).items() if len(set(text.lower().split())) == 1)
    assert repeated < 400 * 0.05  # drawn with replacement it would be 20 %


def test_finished_text() -> None:
    assert tidied('  a  owl  , " so " . "then" a  fox !  ok ?') == 'An owl, " so ". "Then" a fox! Ok?'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start:\n    {nobody} {nothing}", "undefined symbols: nobody, nothing"),
        ("Start is nothing", "test, line 1"),
    ],
)
def test_what_means_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grammar({"test": text})


def test_every_symbol_is_reachable() -> None:
    assert set(generator_grammar().symbols) - reachable(*SETUPS) == set()


@pytest.mark.parametrize("root", SETUPS)
def test_every_alternative_can_be_written_where_it_may_be_drawn(root: str) -> None:
    """No template mentions a thing that is not kept, or a form that it lacks: what reviews of films and of products
    share knows only what both have."""
    grammar, random = generator_grammar(), Random(2).random
    for name in reachable(root) - (reachable(*REVIEWS) if root == "document" else set()):
        symbol = grammar.symbols[name]
        for alternative in symbol.alternatives:
            document = Document(random)
            document.draw_text(grammar.symbols[SETUPS[root]], "")
            for template in [*alternative.forms.values(), *symbol.fresh.values()]:
                assert all(isinstance(document.render(template), str) for _ in range(3)), name


def reachable(*roots: str) -> set[str]:
    symbols = generator_grammar().symbols
    waiting, reached = list(roots), set(roots)
    while waiting:
        new = {slot.name for slot in slots_of(symbols[waiting.pop()]) if slot.name} - reached
        reached |= new
        waiting += new
    return reached
