"""Claim: word2vec has a single vector per word regardless of its sense, and the neighbors belong to one sense.

In "he sat on the bank of the river and watched the currents" and "he went to the bank to check balance in his current
account", `bank` has the same vector. This experiment lists and plots the neighbors of `bank` and `mouse` among skip-gram
vectors of Wikipedia, and verifies that the vectors in both sentences are equal.

    python -m experiments.bank_has_one_vector --data DATA --runs RUNS

2026-11-25, two cores of an AMD EPYC, 38 seconds: the vectors are equal; all 30 neighbors of `bank` relate to money, and
those of `mouse` to computers, except `mickey` and `worm`.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from experiments.imdb import Places
from unfreeze.analysis.neighborhood_plot import plot_neighborhood
from unfreeze.encoders.base import Encoder
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings
from unfreeze.progress import Progress
from unfreeze.vectors.neighbors import NeighborIndex

SENTENCES = (
    "he sat on the bank of the river and watched the currents",
    "he went to the bank to check balance in his current account",
)
WORDS = ("bank", "mouse")
N_NEIGHBORS = 30


def wikipedia_vectors(places: Places, n_files: int = 4) -> Path:
    """Train skip-gram vectors (100 dimensions, window 5, 5 epochs) on some files of about 4 million words each."""
    output = places.runs / f"word2vec-{n_files}"
    pretrain_word2vec(
        Corpus(paths=places.wikipedia[:n_files]), VectorSettings(), output=output, progress=Progress()
    )
    return output


def vector_in(encoder: Encoder, sentence: str, word: str) -> torch.Tensor:
    """The vector (D,) of a word in a sentence."""
    words = sentence.split()
    layers, _ = encoder.word_layers(encoder.prepare_words([words]))
    return layers[0][0, words.index(word)]


def main() -> None:
    """Print the neighbors, and whether the vectors are equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    vectors = wikipedia_vectors(Places(arguments.data, arguments.runs))
    encoder = Encoder.from_pretrained(vectors)
    river, account = (vector_in(encoder, sentence, "bank") for sentence in SENTENCES)
    print(f"bank by the river and bank with an account have the same vector: {torch.equal(river, account)}")
    index = NeighborIndex(encoder.table())
    for word in WORDS:
        found = index.nearest(word, top=N_NEIGHBORS)
        print(f"{word}: " + ", ".join(f"{near.word} {near.score:.2f}" for near in found))
        plot_neighborhood(index, found, [word], [], arguments.runs / f"neighbors-of-{word}.png")


if __name__ == "__main__":
    main()
