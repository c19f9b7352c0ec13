"""Word vectors as a dictionary, with the calls of gensim's KeyedVectors.

https://radimrehurek.com/gensim/models/keyedvectors.html. Here a word that is known or has n-grams has a vector, and an unknown
word raises a `UserError` that is also a `KeyError`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError, column_of, need_texts
from unfreeze.vectors.neighbors import NeighborIndex, similarity
from unfreeze.vectors.table import VectorTable

logger = logging.getLogger(__name__)


class KeyedVectors(TextEncoder):
    """An encoder of one vector (D,) for each of V words."""

    size: int
    """D, the vector dimension."""

    @abstractmethod
    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        """The words and their vectors, without special tokens, followed by the unknown `extra_words` that have a vector."""

    @abstractmethod
    def vector(self, word: str) -> Tensor | None:
        """The vector (D,) of a word, or None."""

    @abstractmethod
    def has_vector(self, word: str) -> bool:
        """Whether there is a vector for a word."""

    @abstractmethod
    def name_of(self, word: str) -> str:
        """A word as it is written in the table."""

    @property
    def vector_size(self) -> int:
        """D, the vector dimension; gensim's name of `size`."""
        return self.size

    @property
    def index_to_key(self) -> list[str]:
        """The words, without special tokens, in the order of the table."""
        words = self.tokenizer.vocabulary
        return [words[number] for number in self.tokenizer.word_ids]

    @property
    def key_to_index(self) -> dict[str, int]:
        """The row in `vectors` of each word."""
        return {word: row for row, word in enumerate(self.index_to_key)}

    @property
    def vectors(self) -> NDArray[np.float32]:
        """A copy of the vectors of the words, in the order of `index_to_key`: (V, D)."""
        return self.table().matrix

    def __len__(self) -> int:
        return len(self.tokenizer) - len(self.tokenizer.special_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.index_to_key)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.has_vector(word)

    def __getitem__(self, words: str | Sequence[str]) -> NDArray[np.float32]:
        """The vector (D,) of a word, known or composed of n-grams; or the vectors (n, D) of several words.

        Raises:
            UserError: a word has none; this error is also a `KeyError`.
        """
        if isinstance(words, str):
            return self.get_vector(words)
        need_texts(words, "words")
        return (
            np.stack([self[word] for word in words]) if len(words) else np.zeros((0, self.size), np.float32)
        )

    def get_vector(self, word: str, norm: bool = False) -> NDArray[np.float32]:
        """A copy of the vector (D,) of a word.

        Args:
            norm: scale it to length 1.

        Raises:
            UserError: the word has none; this error is also a `KeyError`.
        """
        need_texts([word], "words")
        if word not in self:
            raise self.table().unknown_word(word)
        vector = self.vector(word)
        assert vector is not None
        found: NDArray[np.float32] = vector.float().cpu().numpy().copy()
        if norm and (length := float(np.linalg.norm(found))):
            found /= length
        return found

    def most_similar(
        self, positive: str | Sequence[str] = (), negative: str | Sequence[str] = (), topn: int = 10
    ) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with a word, or with a sum of words, and the cosines.

        Args:
            positive: a word, or words whose normalized vectors are added up.
            negative: words whose normalized vectors are subtracted.
            topn: number of words to return; the given words are never among them.

        Raises:
            UserError: a word has no vector, or the sum has no direction.

        Example:
            >>> from unfreeze import WordVectors
            >>> from unfreeze.vectors.table import VectorTable
            >>> matrix = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
            >>> vectors = WordVectors.from_table(VectorTable(["king", "queen", "man", "woman"], matrix))
            >>> vectors.most_similar(["king", "woman"], negative=["man"], topn=1)[0][0]
            'queen'
            >>> vectors.doesnt_match(["king", "man", "woman"])
            'woman'
        """
        wanted, unwanted = _words(positive, "positive"), _words(negative, "negative")
        index = NeighborIndex(self.table([*wanted, *unwanted]))
        names = [[self.name_of(word) for word in words] for words in (wanted, unwanted)]
        return [(near.word, near.score) for near in index.nearest(names[0], names[1], top=_count(topn))]

    def similar_by_word(self, word: str, topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with that of `word`, which is not among them, and the cosines.

        Raises:
            UserError: the word has no vector, or one of zeros.
        """
        need_texts([word], "words")
        return self.most_similar([word], topn=topn)

    def similar_by_vector(self, vector: ArrayLike, topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with a vector (D,), and the cosines.

        Raises:
            UserError: the vector has another shape, is zero, or holds NaN or infinity.
        """
        query = np.asarray(vector)
        if query.shape != (self.size,):
            raise UserError(f"vector has the shape {query.shape}: it must be ({self.size},)")
        found = NeighborIndex(self.table()).nearest_to_vectors(query[None], top=_count(topn))
        return [(near.word, near.score) for near in found[0]]

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the vectors of two words.

        Raises:
            UserError: a word has no vector, or one of zeros.
        """
        need_texts([a, b], "words")
        return similarity(self.table([a, b]), self.name_of(a), self.name_of(b))

    def distance(self, a: str, b: str) -> float:
        """1 minus the cosine of the vectors of two words; errors as for `similarity`."""
        return 1.0 - self.similarity(a, b)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word that fits the others least: its vector has the smallest cosine with the mean of the normalized vectors.

        Words without a vector are left out, and a warning names them.

        Raises:
            UserError: no word has a vector.
        """
        words = column_of(words, "words")
        need_texts(words, "words")
        known = [word for word in words if word in self]
        if len(known) < len(words):
            missing = (repr(word) for word in words if word not in self)
            logger.warning("there is no vector for %s", ", ".join(missing))
        if not known:
            raise UserError("none of the words has a vector")
        units = np.stack([self.get_vector(word, norm=True) for word in known])
        return known[int(np.argmin(units @ units.mean(0)))]


def _words(given: str | Sequence[str], what: str) -> list[str]:
    words = [given] if isinstance(given, str) else list(column_of(given, what))
    need_texts(words, what)
    return words


def _count(topn: int) -> int:
    if not isinstance(topn, Integral):
        raise UserError(f"topn is a number of words, not {topn!r}")
    return int(topn)
