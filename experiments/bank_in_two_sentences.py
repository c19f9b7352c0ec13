"""Claim: the vector that ELMo or CoVe gives `bank` depends on the sentence, and the nearest occurrences have the same sense.

In "he sat on the bank of the river and watched the currents" and "he went to the bank to check balance in his current
account", static word vectors are the same (`experiments.bank_has_one_vector`). This experiment measures, for each layer,
the cosine similarity of the two occurrences; CoarseWSD-20 by the nearest training occurrence (the first among ties, which
is arbitrary for static vectors), by a linear probe, and by how well clusters agree with the senses; and WiC by a threshold on the
cosine similarity, chosen on the training pairs, and by a linear probe.

    python -m experiments.bank_in_two_sentences --data DATA [--elmo ELMO] [--cove COVE] [--vectors VECTORS]    (one at least)

2026-11-25, an ELMo of 70 minutes of Wikipedia (docs/results.md), one shared core: the two banks 1.000, 0.783 and 0.713 by layer (word
vectors 1.000); CoarseWSD-20, all occurrences, 59.1, 83.2 and 82.5 % (word vectors 59.9, most frequent sense 69.5); WiC 51.6, 54.4 and
54.6 % (48.9). 2026-11-29, CoVe of an hour of captions, by layer: 1.000, 0.842 and 0.657; 59.3, 76.3 and 75.6 %; 50.1, 53.4 and 54.9 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unfreeze.analysis.sense_sets import (
    agreement,
    cosines,
    nearest_accuracy,
    pair_vectors,
    probe_accuracy,
    probe_answers,
    read_coarse,
    read_wic,
    threshold_answers,
)
from unfreeze.analysis.senses import Floats, cluster_senses, context_vectors, vectors_at
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import read_encoder

RIVER = "he sat on the bank of the river and watched the currents"
MONEY = "he went to the bank to check balance in his current account"
MOST_CLUSTERED = 500
"""Test occurrences of a word that are clustered: the time grows with their square."""


def two_banks(encoder: TextEncoder) -> None:
    """Cosine similarity of the two occurrences for each layer; word vectors have one layer."""
    sentences = [RIVER.split(), MONEY.split()]
    layers = vectors_at(encoder, sentences, [words.index("bank") for words in sentences])
    similar = [cosines(layer[:1], layer[1:])[0] for layer in layers]
    print(f"cosine of bank by the river and bank with an account: {by_layer(similar, '.3f')}")


def by_layer(figures: Sequence[float], form: str) -> str:
    """ "layer 0 0.123, layer 1 0.456"."""
    return ", ".join(f"layer {layer} {figure:{form}}" for layer, figure in enumerate(figures))


def coarse_senses(encoder: TextEncoder, data: Path, most: int | None) -> None:
    """Three measures per layer; one line per word for the first of them. `most` limits the occurrences of each part."""
    some = "all" if most is None else f"the first {most}"
    print(f"CoarseWSD-20, nearest of {some} training occurrences, accuracy in percent by layer:")
    nearest, probes, clusters = [], [], []
    for folder in sorted(path for path in (data / "coarsewsd20").iterdir() if path.is_dir()):
        train, test = (read_coarse(folder, part).first(most) for part in ("train", "test"))
        known, asked = (vectors_at(encoder, each.sentences, each.places) for each in (train, test))
        layers = list(zip(known, asked, strict=True))
        often = max(set(train.senses), key=train.senses.count)
        right = [nearest_accuracy(a, train.senses, b, test.senses) for a, b in layers]
        nearest.append([*right, np.mean([sense == often for sense in test.senses])])
        probes.append([probe_accuracy(a, train.senses, b, test.senses) for a, b in layers])
        contexts = context_vectors(encoder, test.sentences, test.places)
        clusters.append([[clustering(each, test.senses) for each in layers] for layers in (asked, contexts)])
        print(f"  {folder.name:<10}" + "  ".join(f"{100 * each:5.1f}" for each in nearest[-1]))
    means = "  ".join(f"{100 * each:5.1f}" for each in np.mean(nearest, axis=0))
    print(f"  {'mean':<10}{means}  (last: the most frequent sense)")
    print(f"CoarseWSD-20, linear probe, mean: {by_layer(100 * np.mean(probes, axis=0), '.1f')}")
    for by, figures in zip(("the word", "its sentence"), np.mean(clusters, axis=0), strict=True):
        for measure, values in zip(("V-measure", "adjusted Rand"), figures.T, strict=True):
            print(f"CoarseWSD-20, test occurrences clustered by {by}, {measure}: {by_layer(values, '.3f')}")


def clustering(vectors: Floats, senses: Sequence[str]) -> tuple[float, float]:
    """V-measure and adjusted Rand index of as many clusters as there are senses, among the first occurrences."""
    vectors, senses = vectors[:MOST_CLUSTERED], senses[:MOST_CLUSTERED]
    number = len(set(senses))
    if len(np.unique(vectors.round(6), axis=0)) < number:  # the vectors of a static encoder are all equal
        return agreement([0] * len(senses), senses)
    return agreement(cluster_senses(vectors, senses=number).labels.tolist(), senses)


def words_in_context(encoder: TextEncoder, data: Path) -> None:
    """WiC: whether two occurrences have the same sense, by a threshold on their cosine similarity, and by a linear probe."""
    train, test = (read_wic(data / "wic" / part) for part in ("train", "test"))
    of_train, of_test = (pair_vectors(encoder, pairs) for pairs in (train, test))
    for name, answers in (("threshold", threshold_answers), ("linear probe", probe_answers)):
        found = [
            100 * np.mean(answers(known, train.same, asked) == test.same)
            for known, asked in zip(of_train, of_test, strict=True)
        ]
        print(f"WiC, {name}, accuracy in percent on the test pairs (chance 50): {by_layer(found, '.1f')}")


def main(given: Sequence[str] | None = None) -> None:
    """Print all results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with wic/ and coarsewsd20/")
    parser.add_argument("--elmo", help="folder of an ELMo model")
    parser.add_argument("--cove", help="folder of a translator, or of its encoder")
    parser.add_argument("--vectors", help="word vectors to compare with")
    parser.add_argument(
        "--most", type=int, help="maximum number of occurrences per word and part (default: all)"
    )
    arguments = parser.parse_args(given)
    models = {"ELMo": arguments.elmo, "CoVe": arguments.cove}
    if arguments.vectors is None and not any(models.values()):
        parser.error("there is nothing to measure: give --elmo, --cove or --vectors")
    encoders: dict[str, TextEncoder] = {
        name: TextEncoder.from_pretrained(model) for name, model in models.items() if model is not None
    }
    if arguments.vectors is not None:
        encoders = {"word vectors": read_encoder(arguments.vectors), **encoders}
    for name, encoder in encoders.items():
        print(f"{name}:")
        two_banks(encoder)
        words_in_context(encoder, arguments.data)
        coarse_senses(encoder, arguments.data, arguments.most)


if __name__ == "__main__":
    main()
