"""Unlabeled text of the domain of the reviews: articles, columns and letters on rivers, banks, animals, computers, films."""

from __future__ import annotations

from random import Random

from unfreeze.generated.vocabulary_files import generator_grammar


def plain_text(count: int, seed: int) -> list[str]:
    """Return `count` documents of about 8 to 20 sentences, each on one line, determined by the seed."""
    grammar, random = generator_grammar(), Random(f"plain {seed}").random
    return [grammar.expand("document", random) for _ in range(count)]
