"""The inputs of a classifier: single texts, or pairs of texts such as a premise and a hypothesis.

The texts of a pair are a tuple of two strings everywhere behind the argument `X` of an estimator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from unfreeze.errors import UserError, column_of, need_several, need_texts, setting

TextPair = tuple[str, str]
TextInput = str | TextPair


def text_inputs(given: Any, pairs: bool | None = None, *, first: int = 0) -> list[TextInput]:
    """The texts, or the pairs of texts, in the argument `X` of an estimator.

    Args:
        given: texts in any container that `column_of` takes; or pairs: tuples or lists of two texts, an array (n, 2) or a data
            frame of two columns.
        pairs: whether pairs are expected; None if both are possible.
        first: index of the first input in messages.

    Raises:
        UserError: something else than texts or pairs, or both of them.
    """
    need_several(given, "texts")
    if pairs is not False and getattr(given, "ndim", 1) == 2 and given.shape[1] == 2:
        given = (given.to_numpy() if hasattr(given, "to_numpy") else given).tolist()
    items = column_of(given)
    if pairs is None:
        pairs = bool(items) and _is_several(items[0])
    found: list[TextInput] = []
    for number, item in enumerate(items, first):
        if not pairs and _is_several(item) and len(item) == 2:
            raise UserError(
                f"texts[{number}] is a pair of texts, and this classifier reads single texts: "
                f"{setting('body', 'bcn')} reads pairs"
            )
        if not pairs:
            need_texts([item], "texts", first=number)
            found.append(item)
            continue
        if isinstance(item, str):
            raise UserError(f"texts[{number}] is one text where a pair of texts is due, a tuple (text, text)")
        if not _is_several(item) or len(item) != 2:
            kind = f"has {len(item)} texts" if _is_several(item) else f"is of type {type(item).__name__}"
            raise UserError(f"texts[{number}] {kind}: a pair is a tuple of two texts")
        need_texts(item, f"texts[{number}]")
        found.append((item[0], item[1]))
    return found


def _is_several(item: object) -> bool:
    return isinstance(item, (tuple, list)) or getattr(item, "ndim", 0) == 1


def is_pair(given: object) -> bool:
    """Whether this is one pair of texts; a list of two strings is two texts."""
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(each, str) for each in given)


def single_texts(inputs: Iterable[TextInput]) -> list[str]:
    """All texts in their order: those of a pair one after the other."""
    return [text for each in inputs for text in ([each] if isinstance(each, str) else each)]


def has_empty_text(one: TextInput) -> bool:
    """Whether the text, or a text of the pair, is empty but for white space."""
    return not all(text.strip() for text in single_texts([one]))


def as_row(one: TextInput) -> dict[str, str]:
    """An input as files and JSON have it: {"text": ...}, and {"pair": ...} for the second text of a pair."""
    return dict(zip(("text", "pair"), single_texts([one]), strict=False))


def need_equal_kinds(one: Sequence[Any], other: Sequence[Any], what: str) -> None:
    """Raise UserError if one of two sets of inputs has pairs of texts and the other, called `what`, single texts."""
    if one and other and isinstance(one[0], tuple) != isinstance(other[0], tuple):
        kinds = ("single texts", "pairs of texts")
        is_pair = isinstance(other[0], tuple)
        raise UserError(f"{what} are {kinds[is_pair]}, and the training examples are {kinds[not is_pair]}")
