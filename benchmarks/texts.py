"""The real text that both sides learn from: the same words under the same ids.

`--data` holds enwiki-2015/*.txt, of which the last file is held out, and imdb/test.jsonl.
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
"""Of Wikipedia, more than four million words: more than any side reads in these runs."""
HELD_OUT_DOCUMENTS, HELD_OUT_CHARACTERS = 20, 12_500
"""The beginnings of the first documents of the held-out file: about 40,000 words."""


class NoData(Exception):
    """A data set is not there; the message says which."""


@dataclass(frozen=True)
class Words:
    """Training and held-out text in the ids of one vocabulary."""

    tokenizer: TextTokenizer
    store: TokenStore
    held_out: TokenStore

    def documents(self) -> list[NDArray[np.unsignedinteger]]:
        """The ids of each training document, as fastai wants them."""
        return [np.asarray(self.store.document(n)) for n in range(self.store.n_documents)]

    def shares(self) -> NDArray[np.float64]:
        """(V,) how much of the text each id is."""
        counts = sum(
            np.bincount(self.store.document(n), minlength=len(self.tokenizer))
            for n in range(self.store.n_documents)
        )
        return np.asarray(counts, dtype=np.float64) / self.store.n_tokens


class Texts:
    """What is in `data`, prepared when it is first asked for.

    Args:
        data: the folder of the data sets.
        folder: for token stores.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self._words: dict[int, Words] = {}

    def wikipedia(self) -> list[Path]:
        """All files of Wikipedia, the held-out one last.

        Raises:
            NoData: they are not there.
        """
        files = sorted((self.data / "enwiki-2015").glob("*.txt"))
        if len(files) <= N_FILES:
            raise NoData(f"{self.data / 'enwiki-2015'} has no text files: name the data's folder with --data")
        return files

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The largest vocabulary; the smaller ones are its beginning."""
        return train_tokenizer(
            stream_documents(self.wikipedia()[:N_FILES]),
            kind="word",
            vocabulary_size=LARGEST_VOCABULARY,
            min_count=2,
        )

    def words(self, vocabulary_size: int) -> Words:
        """Wikipedia in its so many most frequent words."""
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
        """Reviews of IMDb's test part, the same ones every time.

        Raises:
            NoData: they are not there.
        """
        path = self.data / "imdb" / "test.jsonl"
        if not path.is_file():
            raise NoData(f"{path} is not there: name the data's folder with --data")
        texts = list(stream_documents([path], text_column="text"))
        chosen = np.random.default_rng(0).choice(len(texts), size=min(count, len(texts)), replace=False)
        return [texts[number] for number in chosen]


def _beginning(path: Path) -> list[str]:
    """The first documents of a file, each cut, so that several are measured."""
    return [text[:HELD_OUT_CHARACTERS] for text in islice(stream_documents([path]), HELD_OUT_DOCUMENTS)]
