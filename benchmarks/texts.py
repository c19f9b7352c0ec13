"""Real text for both sides, with the same vocabulary and ids.

`--data` contains enwiki-2015/*.txt, of which the last file is held out, and imdb/test.jsonl.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer

LARGEST_VOCABULARY = 60_000
N_FILES = 1
"""More than four million words of Wikipedia, more than any side reads."""
HELD_OUT_DOCUMENTS, HELD_OUT_CHARACTERS = 20, 12_500
"""The beginnings of the first documents of the held-out file: about 40,000 words."""


class NoData(Exception):
    """A data set is missing; the message names it."""


@dataclass(frozen=True)
class Words:
    """Training and held-out text as ids of one vocabulary."""

    tokenizer: TextTokenizer
    store: TokenStore
    held_out: TokenStore

    def documents(self) -> list[NDArray[np.unsignedinteger]]:
        """The ids of each training document, in the form that fastai expects."""
        return [np.asarray(self.store.document(n)) for n in range(self.store.n_documents)]

    def shares(self) -> NDArray[np.float64]:
        """Relative frequency of each id (V,)."""
        counts = sum(
            np.bincount(self.store.document(n), minlength=len(self.tokenizer))
            for n in range(self.store.n_documents)
        )
        return np.asarray(counts, dtype=np.float64) / self.store.n_tokens


class Texts:
    """The data sets, prepared on first use.

    Args:
        data: folder with the data sets.
        folder: folder for token stores.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self._words: dict[int, Words] = {}

    def wikipedia(self) -> list[Path]:
        """All files of Wikipedia, the held-out one last.

        Raises:
            NoData: they are missing.
        """
        files = sorted((self.data / "enwiki-2015").glob("*.txt"))
        if len(files) <= N_FILES:
            raise NoData(f"{self.data / 'enwiki-2015'} has no text files: name the data's folder with --data")
        return files

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The largest vocabulary; smaller ones are its first words."""
        return train_tokenizer(
            stream_documents(self.wikipedia()[:N_FILES]),
            kind="word",
            vocabulary_size=LARGEST_VOCABULARY,
            min_count=2,
        )

    def words(self, vocabulary_size: int) -> Words:
        """Wikipedia with a vocabulary of its most frequent words."""
        if vocabulary_size not in self._words:
            self._words[vocabulary_size] = self._encode(vocabulary_size)
        return self._words[vocabulary_size]

    def _encode(self, vocabulary_size: int) -> Words:
        counts = self.tokenizer.counts
        assert counts is not None
        tokenizer = WordTokenizer.from_vocabulary(
            self.tokenizer.vocabulary[:vocabulary_size], counts[:vocabulary_size]
        )
        files, folder = self.wikipedia(), self.folder / f"words-{vocabulary_size}"
        return Words(
            tokenizer,
            TokenStore.build(stream_documents(files[:N_FILES]), tokenizer, folder / "training"),
            TokenStore.build(_beginning(files[-1]), tokenizer, folder / "held-out"),
        )

    def reviews(self, count: int) -> list[str]:
        """A fixed selection of test reviews of IMDb.

        Raises:
            NoData: they are missing.
        """
        path = self.data / "imdb" / "test.jsonl"
        if not path.is_file():
            raise NoData(f"{path} is not there: name the data's folder with --data")
        texts = list(stream_documents([path], text_column="text"))
        chosen = np.random.default_rng(0).choice(len(texts), size=min(count, len(texts)), replace=False)
        return [texts[number] for number in chosen]


def _beginning(path: Path) -> list[str]:
    """The beginnings of the first documents of a file, shortened so that there are several."""
    return [text[:HELD_OUT_CHARACTERS] for text in islice(stream_documents([path]), HELD_OUT_DOCUMENTS)]
