"""Interpolated modified Kneser-Ney in dictionaries and float64, from the formulas of Chen & Goodman (1998)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

Words = tuple[int, ...]


class KneserNey:
    """Counts documents, each of which begins with `bos`; `p` is the probability of a word in a context."""

    def __init__(
        self, documents: Sequence[Sequence[int]], order: int, vocabulary: int, bos: int, pad: int
    ) -> None:
        self.order, self.bos, self.pad = order, bos, pad
        self.uniform = 1 / (vocabulary - 2)
        occurring: dict[int, Counter[Words]] = defaultdict(Counter)
        for document in documents:
            for length in range(1, order + 1):
                for first in range(len(document) - length + 1):
                    occurring[length][tuple(document[first : first + length])] += 1
        del occurring[1][(bos,)]
        self.counts: dict[int, dict[Words, int]] = {order: dict(occurring[order])}
        for length in range(1, order):
            before: dict[Words, set[int]] = defaultdict(set)
            for words in occurring[length + 1]:
                before[words[1:]].add(words[0])
            self.counts[length] = {
                words: n if words[0] == bos else len(before[words]) for words, n in occurring[length].items()
            }
        self.discounts = {length: self._discounts(counts) for length, counts in self.counts.items()}
        self.followers: dict[Words, dict[int, int]] = defaultdict(dict)
        for counts in self.counts.values():
            for words, n in counts.items():
                self.followers[words[:-1]][words[-1]] = n

    @staticmethod
    def _discounts(counts: dict[Words, int]) -> list[float]:
        n1, n2, n3, n4 = (sum(n == r for n in counts.values()) for r in (1, 2, 3, 4))
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            found = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if all(discount > 0 for discount in found[1:]):
                return found
        return [0.0, 0.5, 1.0, 1.5]

    def p(self, word: int, context: Sequence[int]) -> float:
        """Of `word` after `context`, of which the last words are read."""
        if word in (self.bos, self.pad):
            return 0.0
        return self._p(word, tuple(context[max(0, len(context) - self.order + 1) :]))

    def _p(self, word: int, context: Words) -> float:
        lower = self._p(word, context[1:]) if context else self.uniform
        followers = self.followers.get(context)
        if not followers:
            return lower
        discounts = self.discounts[len(context) + 1]
        total = sum(followers.values())
        gamma = sum(discounts[min(n, 3)] for n in followers.values()) / total
        n = followers.get(word, 0)
        return (n - discounts[min(n, 3)]) / total + gamma * lower
