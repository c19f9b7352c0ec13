"""The rung of word2vec and GloVe: one vector a word, the same in every sentence.

The encoder has one layer, the vectors. Those of special tokens (capitals, repetitions, unknown) are zero, so a mean ignores
them. With character n-grams, as in fastText, an unknown word gets the mean of the vectors of its n-grams.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from unfreeze.encoders.keyed_vectors import KeyedVectors
from unfreeze.encoders.layers.dropouts import VariationalDropout, embed_with_dropout
from unfreeze.encoders.layers.recurrent import CLASSIFIER_DROPOUTS
from unfreeze.encoders.streaming import StackOutput, State
from unfreeze.encoders.text_encoder import TextBatch, TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.errors import UserError
from unfreeze.registry import HubOptions
from unfreeze.text.character_ngrams import ngram_buckets
from unfreeze.text.rules import FOREIGN_SPECIAL_TOKENS, SPECIAL_TOKENS, normalized
from unfreeze.text.tokenizers import Pieces, TextTokenizer, WordTokenizer
from unfreeze.vectors.fasttext import FastTextVectors, is_fasttext, read_fasttext
from unfreeze.vectors.table import VectorTable


@dataclass(frozen=True, kw_only=True)
class WordBatch(TextBatch):
    """A batch in which ids of at least V are rows of `unknown`."""

    unknown: Tensor
    """(n, D) vectors of unknown words, composed of n-grams."""


class LookUp(nn.Module):
    """The stream of word vectors: one layer, without a state.

    Args:
        embedding: (V, D).
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.widths = [embedding.embedding_dim]
        self.embedding_dropout = 0.0
        self.input_dropout = VariationalDropout(0.0)

    def initial_state(self, batch: int) -> State:
        """Nothing is carried from piece to piece."""
        return []

    def forward(self, ids: Tensor, state: State | None = None) -> StackOutput:
        """(T, B) -> (T, B, D)."""
        x = embed_with_dropout(ids, self.embedding.weight, self.embedding_dropout, self.training)
        return StackOutput([x], self.input_dropout(x), [])


class WordVectors(KeyedVectors):
    """One vector a word, with the calls of gensim's KeyedVectors.

    Args:
        tokenizer: word-level; its length is V.
        size: D.
        ngrams: lengths of the shortest and longest character n-grams, if vectors are composed of them too.
        buckets: number of rows that n-grams are hashed to.

    Raises:
        UserError: the lengths do not rise from 1, or there are n-grams and no bucket.
    """

    kind = "word_vectors"
    usual_transfer = "frozen"
    votes = False

    def __init__(
        self, tokenizer: TextTokenizer, *, size: int, ngrams: Sequence[int] | None = None, buckets: int = 0
    ) -> None:
        super().__init__()
        if ngrams is not None and not (len(ngrams) == 2 and 1 <= ngrams[0] <= ngrams[1] and buckets > 0):
            raise UserError(
                f"character n-grams {list(ngrams)} in {buckets} buckets: the shortest and the longest length are needed, "
                "and at least one bucket"
            )
        self.processor = tokenizer
        self.size, self.ngrams = size, None if ngrams is None else (ngrams[0], ngrams[1])
        n_buckets = 0 if ngrams is None else buckets
        self._arguments = {
            "size": size,
            "ngrams": None if ngrams is None else list(ngrams),
            "buckets": n_buckets,
        }
        embedding = nn.Embedding(len(tokenizer), size)
        nn.init.zeros_(embedding.weight)
        self.stacks = nn.ModuleDict({"forwards": LookUp(embedding)})  # saved tensors have this name
        self.buckets: Tensor
        self.register_buffer("buckets", torch.zeros(n_buckets, size))

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load saved word vectors, or a file in the format of word2vec, GloVe or fastText; `hub` as for `Encoder`.

        Raises:
            UserError: there are no such vectors, or the folder or file is damaged, of another kind or newer.
        """
        if isinstance(name_or_dir, (str, Path)) and Path(name_or_dir).is_file():
            found = read_encoder(name_or_dir)
            assert isinstance(found, cls)
            return found
        return super().from_pretrained(name_or_dir, **hub)

    @classmethod
    def from_table(cls, table: VectorTable) -> WordVectors:
        """An encoder of the words of a table, in the normal form of the tokenizer.

        Of several words with the same normal form, the one that is written so counts, else the first.

        Raises:
            UserError: there is no word.
        """
        rows: dict[str, int] = {}
        for row, word in enumerate(table.words):
            normal = normalized(word)
            if normal not in rows or (word == normal and table.words[rows[normal]] != normal):
                rows[normal] = row
        for token in ("", *SPECIAL_TOKENS, *FOREIGN_SPECIAL_TOKENS):
            rows.pop(token, None)
        if not rows:
            raise UserError("the vectors hold no word")
        words = sorted(rows, key=rows.__getitem__)
        encoder = cls(WordTokenizer([*SPECIAL_TOKENS, *words]), size=table.size)
        matrix = torch.from_numpy(table.matrix[[rows[word] for word in words]])
        with torch.no_grad():
            encoder.embedding[len(SPECIAL_TOKENS) :] = matrix
        return encoder.eval()

    @property
    def embedding(self) -> Tensor:
        """The vectors (V, D), special tokens included."""
        return self.stack("forward").embedding.weight

    @property
    def widths(self) -> list[int]:
        """D, of the only layer."""
        return [self.size]

    @property
    def directions(self) -> list[str]:
        """A single one, because word vectors do not depend on the direction."""
        return ["forward"]

    def stack(self, name: str) -> LookUp:
        """The only stream, whatever the name."""
        found = self.stacks["forwards"]
        assert isinstance(found, LookUp)
        return found

    def stack_ids(self, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) -> (T, B)."""
        return ids.t()

    def set_dropout_scale(self, scale: float) -> None:
        """Set the dropouts of the vectors for fine-tuning on a task, multiplied by `scale`."""
        dropouts, stream = CLASSIFIER_DROPOUTS.times(scale), self.stack("forward")
        stream.embedding_dropout, stream.input_dropout.probability = dropouts.embedding, dropouts.input

    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        """The words and their vectors, without special tokens, followed by those of the unknown `extra_words` that have n-grams.

        Raises:
            UserError: a vector holds NaN or infinity.
        """
        self.need_finite()
        rows = self.tokenizer.word_ids
        made = {word: self.unseen(word) for word in extra_words if self._id(word) is None}
        found = {word: vector for word, vector in made.items() if vector is not None}
        vectors = [self.embedding.detach()[rows], *(vector[None] for vector in found.values())]
        words = [*(self.tokenizer.token(row) for row in rows), *found]
        return VectorTable(words, torch.cat(vectors).cpu().numpy(), n_made=len(found))

    def need_finite(self) -> None:
        """Raise UserError if a vector holds NaN or infinity."""
        broken = (~self.embedding.isfinite().all(1)).nonzero()
        if len(broken):
            word = self.tokenizer.token(int(broken[0]))
            raise UserError(f"the vector of {word!r} holds NaN or infinity: train the vectors again")

    def table_spread(self) -> Tensor:
        """Standard deviation of all elements of the vectors of words."""
        return self.embedding.detach()[self.tokenizer.word_ids].std()

    def unseen(self, word: str) -> Tensor | None:
        """The vector (D,) composed of the n-grams of a word, or None if there are none."""
        if self.ngrams is None:
            return None
        rows = ngram_buckets(normalized(word), *self.ngrams, len(self.buckets))
        return self.buckets[rows].mean(0) if rows else None

    def vector(self, word: str) -> Tensor | None:
        """The vector (D,) of a word, known or composed of n-grams, or None."""
        number = self._id(word)
        return self.unseen(word) if number is None else self.embedding[number].detach()

    def has_vector(self, word: str) -> bool:
        """Whether a word is known, or has n-grams to compose a vector of."""
        number = self._id(word)
        return self.unseen(word) is not None if number is None else number not in self.tokenizer.special_ids

    def name_of(self, word: str) -> str:
        """A word as it is written in the table."""
        number = self._id(word)
        return word if number is None else self.tokenizer.token(number)

    def _id(self, word: str) -> int | None:
        number = self.tokenizer.id(normalized(word))
        # Earlier versions saved words in lower case, with accents and apostrophes as they were written.
        return self.tokenizer.id(word.lower()) if number is None else number

    def look_up(self, sentences: Sequence[Sequence[str]]) -> Tensor:
        """The vectors (B, W, D) of single words, faster than through `prepare_words`.

        An unknown word gets the vector of its n-grams, or that of the unknown token; padding is zero.
        """
        longest = max(1, *map(len, sentences)) if sentences else 1
        unknown = self.tokenizer.unknown_id
        ids = np.full((len(sentences), longest), -1, dtype=np.int64)
        made: dict[str, int] = {}
        rows: list[Tensor] = []
        for row, words in zip(ids, sentences, strict=True):
            for place, word in enumerate(words):
                number = self._id(word)
                if number is None and self.ngrams is not None:
                    if word not in made:
                        vector = self.unseen(word)
                        made[word] = unknown if vector is None else len(self.tokenizer) + len(rows)
                        rows += [] if vector is None else [vector]
                    number = made[word]
                row[place] = unknown if number is None else number
        places = torch.from_numpy(ids).to(self.embedding.device)
        table = torch.cat([self.embedding, torch.stack(rows)]) if rows else self.embedding
        found = nn.functional.embedding(places.clamp_min(0), table)
        return found * (places >= 0)[:, :, None]

    @torch.no_grad()
    def first_words(self, count: int, extra_words: Sequence[str] = ()) -> WordVectors:
        """A smaller encoder: the vectors of the first `count` words, and of those `extra_words` that have one."""
        special = self.tokenizer.special_ids
        wanted = set(map(normalized, extra_words))
        rows, taken = [], 0
        for row, word in enumerate(self.tokenizer.vocabulary):
            first = row not in special and taken < count
            taken += first
            if row in special or first or normalized(word) in wanted:
                rows.append(row)
        words, counts = self.tokenizer.vocabulary, self.tokenizer.counts
        fewer_counts = None if counts is None else [counts[row] for row in rows]
        tokenizer = WordTokenizer([words[row] for row in rows], fewer_counts)
        return self._with_vocabulary(tokenizer, self.embedding[rows])

    @torch.no_grad()
    def with_words(self, words: Sequence[str], *, seed: int = 0) -> WordVectors:
        """A larger encoder: new words start from their n-grams, or else from random vectors of the same spread."""
        new = [word for word in dict.fromkeys(map(normalized, words)) if self.tokenizer.id(word) is None]
        counts = self.tokenizer.counts
        more_counts = None if counts is None else [*counts, *[0] * len(new)]
        tokenizer = WordTokenizer([*self.tokenizer.vocabulary, *new], more_counts)
        spread = float(self.table_spread())
        random = torch.from_numpy(
            np.random.default_rng(seed).normal(0.0, spread, (len(new), self.size))
        ).float()
        for row, word in enumerate(new):
            made = self.unseen(word)
            if made is not None:
                random[row] = made
        return self._with_vocabulary(tokenizer, torch.cat([self.embedding, random]))

    def _with_vocabulary(self, tokenizer: TextTokenizer, embedding: Tensor) -> WordVectors:
        """An encoder with the same n-grams, but the given words and their vectors."""
        result = WordVectors(tokenizer, **self.arguments())
        result.buckets.copy_(self.buckets)
        result.embedding.copy_(embedding)
        return result.eval()

    def batch(self, pieces: Sequence[Pieces], texts: Sequence[str]) -> TextBatch:
        """Encoded texts -> a batch, in which unknown words have vectors of their n-grams if there are any."""
        batch = super().batch(pieces, texts)
        if self.ngrams is None:
            return batch
        made: list[Tensor] = []
        for row, (piece, text) in enumerate(zip(pieces, texts, strict=True)):
            for place, (number, (start, end)) in enumerate(zip(piece.ids, piece.offsets, strict=True)):
                if number == self.tokenizer.unknown_id:
                    vector = self.unseen(text[start:end])
                    if vector is not None:
                        batch.ids[row, place] = len(self.tokenizer) + len(made)
                        made.append(vector)
        unknown = torch.stack(made) if made else self.buckets.new_zeros(0, self.size)
        return WordBatch(**vars(batch), unknown=unknown)

    def layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """One tensor (B, T, D) without the begin symbol, and the mask (B, T)."""
        if isinstance(batch, WordBatch):
            rows = torch.cat([self.embedding, batch.unknown])
            found = nn.functional.embedding(batch.ids, rows)[:, 1:]
        else:
            found = self.stack("forward")(batch.ids.t()).layers[0].transpose(0, 1)[:, 1:]
        return [found], batch.real_pieces


def read_encoder(place: str | Path) -> WordVectors:
    """Load word vectors from a file in any format, a folder or by name, with the n-grams of a fastText model (.bin).

    Raises:
        UserError: nothing of that name exists, it is damaged, or it is another kind of encoder.
    """
    if Path(place).is_file():
        if is_fasttext(place):
            return _from_fasttext(read_fasttext(place))
        return WordVectors.from_table(open_vectors(place))
    found = WordVectors.from_pretrained(place)
    found.need_finite()
    return found


def open_encoder(place: str | Path) -> TextEncoder:
    """Load an encoder of text: a folder, a released name, owner/name on the hub, or a file of word vectors.

    Raises:
        UserError: there is nothing of that name, it is damaged, or its encoder does not take text.
    """
    return read_encoder(place) if Path(place).is_file() else TextEncoder.from_pretrained(place)


@torch.no_grad()
def _from_fasttext(model: FastTextVectors) -> WordVectors:
    words = WordVectors.from_table(model.table())
    if not model.maxn or not model.buckets:
        return words
    ngrams = (model.minn, model.maxn)
    encoder = WordVectors(words.tokenizer, size=model.size, ngrams=ngrams, buckets=model.buckets)
    encoder.embedding.copy_(words.embedding)
    encoder.buckets.copy_(torch.from_numpy(np.array(model.rows[len(model.words) :])))
    return encoder.eval()
