"""Tagged sentences for tests: who is where, made by rule, in a scheme."""

from __future__ import annotations

import random

from unfreeze.text.tag_schemes import Scheme, convert_tags
from unfreeze.text.tagged import TaggedSentence, TaggedSet

PEOPLE = [["Ada"], ["Grace"], ["Alan"], ["Ada", "Lovelace"], ["Grace", "Hopper"]]
PLACES = [["Paris"], ["London"], ["New", "York"]]
VERBS = ["visits", "likes", "leaves"]


def tagged_sentences(count: int, seed: int = 0, scheme: Scheme = "bio") -> TaggedSet:
    """Sentences like "Ada Lovelace visits New York ."."""
    chosen = random.Random(seed)
    rows = []
    for number in range(count):
        who, where = chosen.choice(PEOPLE), chosen.choice(PLACES)
        tokens = [*who, chosen.choice(VERBS), *where, "."]
        tags = ["B-PER", *["I-PER"] * (len(who) - 1), "O", "B-LOC", *["I-LOC"] * (len(where) - 1), "O"]
        rows.append(TaggedSentence(tuple(tokens), tuple(convert_tags(tags, "bio", scheme)), number + 1))
    return TaggedSet(rows, "made", scheme)


def columns(sentences: TaggedSet) -> str:
    """As CoNLL has them."""
    return "\n".join(
        "".join(f"{token} X {tag}\n" for token, tag in zip(each.tokens, each.tags, strict=True))
        for each in sentences.examples
    )
