"""flair's side: its SequenceTagger with the same sizes and random weights. Runs in benchmarks/.peers only."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import stand_ins

stand_ins.install()

import flair  # noqa: E402
from flair.data import Dictionary, Sentence  # noqa: E402
from flair.embeddings import CharacterEmbeddings, StackedEmbeddings, WordEmbeddings  # noqa: E402
from flair.models import SequenceTagger  # noqa: E402

flair.device = torch.device("cpu")


class TaggerPeer:
    """Word vectors and character features, biLSTM and CRF, as on our side.

    Args:
        words: words that have vectors.
        kinds: types of spans.
        size: dimension of the word vectors.
        hidden_size: hidden size of each direction.
    """

    def __init__(self, words: Sequence[str], kinds: Sequence[str], size: int, hidden_size: int) -> None:
        vocabulary = {word: number for number, word in enumerate(words)}
        vectors = WordEmbeddings(None, vocab=vocabulary, embedding_length=size, name="benchmark")
        tags = Dictionary(add_unk=False)
        tags.span_labels = True
        for kind in kinds:
            tags.add_item(kind)
        self.tagger = SequenceTagger(
            hidden_size=hidden_size,
            embeddings=StackedEmbeddings([vectors, _characters(words)]),
            tag_dictionary=tags,
            tag_type="ner",
            reproject_embeddings=False,
        )
        self.optimizer = torch.optim.AdamW(self.tagger.parameters(), lr=1e-3)

    def predict(self, sentences: Sequence[Sequence[str]], batch_size: int) -> None:
        """Predict the spans of tokenized sentences."""
        self.tagger.eval()
        self.tagger.predict([Sentence(list(words)) for words in sentences], mini_batch_size=batch_size)

    def update(
        self, sentences: Sequence[Sequence[str]], spans: Sequence[Sequence[tuple[str, int, int]]]
    ) -> None:
        """Make one update on sentences and their spans."""
        self.tagger.train()
        batch = []
        for words, own in zip(sentences, spans, strict=True):
            sentence = Sentence(list(words))
            for kind, start, end in own:
                sentence[start:end].add_label("ner", kind)
            batch.append(sentence)
        self.optimizer.zero_grad()
        loss, _ = self.tagger.forward_loss(batch)
        loss.backward()
        self.optimizer.step()


def _characters(words: Sequence[str]) -> CharacterEmbeddings:
    """Alphabet of the words, because flair would download its own."""
    alphabet = Dictionary(add_unk=True)
    for letter in sorted(set("".join(words) + "".join(words).upper())):
        alphabet.add_item(letter)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "characters"
        alphabet.save(path)
        return CharacterEmbeddings(path_to_char_dict=str(path))
