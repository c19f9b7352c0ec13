"""A weighted context-free grammar with inflected forms and agreement, read from text files and expanded at random.

A grammar file defines symbols. Lines that begin with `#` are comments.

    animal noun = cat, mouse/mice, sheep/sheep          words by decreasing frequency (Zipf's law: weight 1 / rank)
    name even = Ann, Bob                                words of equal weight
    greeting:                                           templates, one per line, with an optional weight `3*`
        3* The {animal#a} [slept|sat] by {#a.its} door.
        Two {animal.many} {#a.was} gone.

- `{symbol}` draws one of its alternatives and `{symbol.form}` an inflected form: `many` of nouns; `s`, `ed`, `en`, `ing`
  of verbs.
- `{symbol#key}` also binds the result to the key. `{#key}` and `{#key.form}` refer to it again, also by words that agree
  with it (`inflection.AGREEMENT`: `{#key.was}`, `{#key.its}`; features `<plural>`, `<she>`). Keys are shared by the
  whole document, and the last binding counts.
- `[a|b]` is an inline choice.
- `name(last):` gives templates a second form, written after ` / `; `name(*part: {wheel#s}) = ...` gives all alternatives
  of a symbol a form that is drawn again at each reference.
- In symbols without forms, an alternative that consists of `{symbol}` alone has all forms of that symbol.
- `name~` defines `name+` and `name-` together: inside, `{x~}` has the same sign and `{x!}` the opposite one.
- A symbol may be defined in several places, which add alternatives.

Only `random.Random.random` is used: it is the one method whose sequence for a seed Python guarantees.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from unfreeze.generated.inflection import AGREEMENT, noun_forms, verb_forms, with_articles

Template = tuple["str | Slot | Symbol", ...]

_HEADER = re.compile(
    r"(?P<name>[a-z_]+[-+~]?)(?: (?P<kind>noun|verb|even))? ?(?:\((?P<forms>.*)\))? ?(?P<sign>[=:])(?P<rest>.*)"
)
_SLOT = re.compile(r"(?P<symbol>[a-z_]+[-+]?)?(?:#(?P<key>[a-z]+))?(?:\.(?P<form>[a-z]+[-+]?))?")
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?)\* ")
_FEATURE = re.compile(r" ?<(\w+)>$")
_PARTS = re.compile(r"[{}\[\]|]|[^{}\[\]|]+")
_SPACES = re.compile(r"\s+(?=[\s,.;:!?])")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?] )|(?<=[.!?][\"'] ))[\"']?[a-z]")
_REDRAWS = 4
_MANY = 7


@dataclass(slots=True)
class Slot:
    """A placeholder in a template, for a symbol or for a reference to a key."""

    name: str
    """The symbol to draw from; empty for a reference."""
    key: str
    form: str
    symbol: Symbol | None = None
    """The symbol called `name`, set once all files have been read."""


@dataclass(slots=True)
class Alternative:
    """One expansion of a symbol."""

    forms: dict[str, Template]
    feature: str
    weight: float
    number: int
    """Unique within the grammar; a document records which alternatives it has used."""


@dataclass(slots=True)
class Symbol:
    """Weighted alternatives, and forms that are drawn again at each reference."""

    name: str
    alternatives: list[Alternative] = field(default_factory=list)
    fresh: dict[str, Template] = field(default_factory=dict)
    cumulative: list[float] = field(default_factory=list)
    has_choice: bool = False
    """Whether a document avoids repetitions: true of word lists and symbols with many templates."""


class Grammar:
    """A grammar read from files.

    Args:
        files: name (for error messages) -> text of a grammar file.

    Raises:
        ValueError: a line is malformed, or a symbol is undefined.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.symbols: dict[str, Symbol] = {}
        self._count = 0
        for file_name, text in files.items():
            for line_number, header, lines in _definitions(text):
                match = _HEADER.fullmatch(header)
                if match is None:
                    raise ValueError(f"{file_name}, line {line_number}: not a definition: {header!r}")
                self._define(match, lines)
        self._link()

    def expand(self, name: str, random: Callable[[], float]) -> str:
        """Expand the symbol `name` to a document, with correct articles, capitals and spaces."""
        return tidied(Document(random).draw_text(self.symbols[name], ""))

    def _define(self, header: re.Match[str], lines: list[str]) -> None:
        name = header["name"]
        if not name.endswith("~"):
            return self._add(name, header, lines)
        for sign, other in ("+-", "-+"):
            self._add(name[:-1] + sign, header, [_signed(line, sign, other) for line in lines])

    def _add(self, name: str, header: re.Match[str], lines: list[str]) -> None:
        symbol = self.symbols.setdefault(name, Symbol(name))
        more_forms = [""]
        for form in filter(None, (header["forms"] or "").split("; ")):
            if form.startswith("*"):
                form_name, template = form[1:].split(": ", 1)
                symbol.fresh[form_name] = parse_template(template)
            else:
                more_forms.append(form)
        if header["sign"] == "=":
            symbol.has_choice = True
            words = [word.strip() for word in " ".join([header["rest"], *lines]).split(",")]
            for rank, word in enumerate(filter(None, words)):
                weight = 1.0 if header["kind"] == "even" else 1 / (rank + 1)
                self._add_alternative(symbol, word, "/", header["kind"], more_forms, weight)
        else:
            symbol.has_choice |= len(lines) >= _MANY
            for line in lines:
                self._add_alternative(symbol, line, " / ", None, more_forms, 1.0)

    def _add_alternative(
        self, symbol: Symbol, text: str, separator: str, kind: str | None, names: list[str], weight: float
    ) -> None:
        if factor := _WEIGHT.match(text):
            weight, text = weight * float(factor[1]), text[factor.end() :]
        feature = _FEATURE.search(text)
        parts = _FEATURE.sub("", text).split(separator)
        if kind == "noun":
            forms = noun_forms(parts)
        elif kind == "verb":
            forms = verb_forms(parts)
        else:
            forms = dict(zip(names, parts, strict=True))
        templates = {form: parse_template("" if part == "_" else part) for form, part in forms.items()}
        agreement = feature[1] if feature else "singular"
        symbol.alternatives.append(Alternative(templates, agreement, weight, self._count))
        self._count += 1

    def _link(self) -> None:
        undefined = set()
        for symbol in self.symbols.values():
            symbol.cumulative = list(accumulate(alternative.weight for alternative in symbol.alternatives))
            for slot in slots_of(symbol):
                if slot.name:
                    slot.symbol = self.symbols.get(slot.name)
                    undefined |= {slot.name} if slot.symbol is None else set()
        if undefined:
            raise ValueError(f"undefined symbols: {', '.join(sorted(undefined))}")


class Document:
    """State of one expansion: the bindings of keys, and the alternatives used so far."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._bound: dict[str, dict[str, str | Template]] = {}
        self._used: set[int] = set()

    def draw_text(self, symbol: Symbol, form: str) -> str:
        """Draw an alternative and return its text in one form."""
        alternative = self._draw(symbol)
        template = alternative.forms.get(form)
        if template is None:
            template = symbol.fresh.get(form)
        if template is None:
            inner = _passed_on(symbol, alternative)
            assert inner is not None, f"{symbol.name} has no form {form!r}"
            return self.draw_text(inner, form)
        return self.render(template)

    def _draw(self, symbol: Symbol) -> Alternative:
        """Draw by weight; for symbols with a choice, try a few times to find an alternative not used in this document."""
        alternatives, cumulative = symbol.alternatives, symbol.cumulative
        last = len(alternatives) - 1
        for _ in range(_REDRAWS):
            alternative = alternatives[bisect(cumulative, self._random() * cumulative[-1], 0, last)]
            if not symbol.has_choice or alternative.number not in self._used:
                break
        if alternative.forms.get("") != ():
            self._used.add(alternative.number)
        return alternative

    def render(self, template: Template) -> str:
        """Return the text of a template; KeyError if a key is not bound, or its symbol lacks a form."""
        return "".join([part if type(part) is str else self._fill(part) for part in template])  # type: ignore[arg-type]

    def _fill(self, part: Slot | Symbol) -> str:
        if isinstance(part, Symbol):
            return self.draw_text(part, "")
        if not part.key:
            assert part.symbol is not None
            return self.draw_text(part.symbol, part.form)
        if part.symbol is not None:
            self._bound[part.key] = self._bind(part.symbol)
        form = self._bound[part.key][part.form]
        return form if isinstance(form, str) else self.render(form)

    def _bind(self, symbol: Symbol) -> dict[str, str | Template]:
        """All forms of one draw: fixed ones as text, those drawn again as templates."""
        alternative = self._draw(symbol)
        if inner := _passed_on(symbol, alternative):
            return self._bind(inner)
        forms = {form: self.render(template) for form, template in alternative.forms.items()}
        return {**AGREEMENT[alternative.feature], **symbol.fresh, **forms}


def parse_template(text: str) -> Template:
    """Split a template into literal text, slots, and choices (symbols without a name)."""
    tokens = iter(_PARTS.findall(text))
    branches, end = _parse_branches(tokens)
    assert len(branches) == 1 and not end, f"stray [, | or ] in {text!r}"
    return branches[0]


def _parse_branches(tokens: Iterator[str]) -> tuple[list[Template], str]:
    branches: list[list[str | Slot | Symbol]] = [[]]
    for token in tokens:
        if token == "{":
            slot = next(tokens)
            match = _SLOT.fullmatch(slot)
            assert match, f"no slot: {{{slot}}}"
            branches[-1].append(Slot(match["symbol"] or "", match["key"] or "", match["form"] or ""))
            assert next(tokens) == "}"
        elif token == "[":
            choices, end = _parse_branches(tokens)
            assert end == "]"
            options = [Alternative({"": choice}, "singular", 1.0, -1) for choice in choices]
            branches[-1].append(Symbol("", options, {}, [float(i + 1) for i in range(len(options))]))
        elif token == "|":
            branches.append([])
        elif token == "]":
            return [tuple(branch) for branch in branches], token
        else:
            branches[-1].append(token)
    return [tuple(branch) for branch in branches], ""


def slots_of(symbol: Symbol) -> Iterator[Slot]:
    """Iterate over all slots in the templates of a symbol, including those in choices."""
    for template in [*symbol.fresh.values(), *(t for a in symbol.alternatives for t in a.forms.values())]:
        for part in template:
            if isinstance(part, Slot):
                yield part
            elif isinstance(part, Symbol):
                yield from slots_of(part)


def tidied(text: str) -> str:
    """Remove extra spaces, replace `a` by `an` before vowels, and capitalize the beginnings of sentences."""
    text = with_articles(_SPACES.sub("", text.strip()))
    return _SENTENCE_START.sub(lambda match: match[0].upper(), text)


def _passed_on(symbol: Symbol, alternative: Alternative) -> Symbol | None:
    """The symbol that an alternative consists of, if it has no text and no forms of its own."""
    template = alternative.forms.get("", ())
    if not symbol.fresh and len(alternative.forms) == 1 and len(template) == 1:
        part = template[0]
        if isinstance(part, Slot) and not part.key and not part.form:
            return part.symbol
    return None


def _signed(text: str, sign: str, other: str) -> str:
    """Replace `~` inside braces by a sign and `!` by the other one."""
    return re.sub(r"\{[^{}]*\}", lambda slot: slot[0].replace("~", sign).replace("!", other), text)


def _definitions(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """(line number, header, indented lines) of each definition."""
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            found[-1][2].append(line.strip())
        else:
            found.append((number, line, []))
    yield from found
