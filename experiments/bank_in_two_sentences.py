"""Claim: the vector that ELMo or CoVe gives `bank` depends on the sentence, and the nearest occurrences have the same sense.

In "he sat on the bank of the river and watched the currents" and "he went to the bank to check balance in his current
account", static word vectors are the same (`experiments.bank_has_one_vector`). This experiment measures, for each layer,
the cosine similarity of the two occurrences; CoarseWSD-20 by the nearest training occurrence (the first among ties, which
is arbitrary for static vectors); and WiC by a threshold on the cosine similarity, chosen on the training pairs.

    python -m experiments.bank_in_two_sentences --data DATA [--elmo ELMO] [--cove COVE] [--vectors VECTORS]    (one at least)

2026-11-25, an ELMo of 70 minutes of Wikipedia (docs/results.md), one shared core: the two banks 1.000, 0.783 and 0.713 by layer (word
vectors 1.000); CoarseWSD-20, all occurrences, 59.1, 83.2 and 82.5 % (word vectors 59.9, most frequent sense 69.5); WiC 51.6, 54.4 and
54.6 % (48.9). 2026-11-29, CoVe of an hour of captions, by layer: 1.000, 0.842 and 0.657; 59.3, 76.3 and 75.6 %; 50.1, 53.4 and 54.9 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.word_vectors import read_encoder

RIVER = "he sat on the bank of the river and watched the currents"
MONEY = "he went to the bank to check balance in his current account"
BATCH = 64
Vectors = NDArray[np.float32]


@torch.no_grad()
def vectors_at(encoder: Encoder, sentences: Sequence[list[str]], places: Sequence[int]) -> Vectors:
    """Unit vectors (N, L, D) of one word of each sentence, for each layer."""
    order = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
    found = np.zeros((len(sentences), len(encoder.widths), max(encoder.widths)), np.float32)
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        layers, _ = encoder.word_layers(encoder.prepare_words([sentences[n] for n in numbers]))
        for layer, x in enumerate(layers):
            for row, n in enumerate(numbers):
                found[n, layer, : x.shape[2]] = x[row, places[n]].float().numpy()
    norms = np.maximum(np.linalg.norm(found, axis=2, keepdims=True), 1e-12)
    unit: Vectors = found / norms
    return unit


def two_banks(encoder: Encoder) -> None:
    """Cosine similarity of the two occurrences for each layer; word vectors have one layer."""
    sentences = [RIVER.split(), MONEY.split()]
    a, b = vectors_at(encoder, sentences, [words.index("bank") for words in sentences])
    shown = ", ".join(
        f"layer {layer} {float(x @ y):.3f}" for layer, (x, y) in enumerate(zip(a, b, strict=True))
    )
    print(f"cosine of bank by the river and bank with an account: {shown}")


def read_senses(folder: Path, part: str) -> tuple[list[list[str]], list[int], list[str]]:
    """Sentences, positions and senses of one word of CoarseWSD-20."""
    rows = (folder / f"{part}.data.txt").read_text(encoding="utf-8").splitlines()
    senses = (folder / f"{part}.gold.txt").read_text(encoding="utf-8").split()
    places, sentences = zip(*(row.split("\t") for row in rows), strict=True)
    return [sentence.split() for sentence in sentences], [int(place) for place in places], senses


def coarse_senses(encoder: Encoder, data: Path, most: int | None) -> None:
    """Accuracy of the nearest training occurrence, one line per word; `most` limits the occurrences of each part."""
    some = "all" if most is None else f"the first {most}"
    print(f"CoarseWSD-20, nearest of {some} training occurrences, accuracy in percent by layer:")
    every = []
    for folder in sorted(path for path in (data / "coarsewsd20").iterdir() if path.is_dir()):
        train, test = (_first(read_senses(folder, part), most) for part in ("train", "test"))
        known, asked = (vectors_at(encoder, sentences, places) for sentences, places, _ in (train, test))
        right = []
        for layer in range(known.shape[1]):
            nearest = (asked[:, layer] @ known[:, layer].T).argmax(1)
            right.append(np.mean([train[2][n] == sense for n, sense in zip(nearest, test[2], strict=True)]))
        often = max(set(train[2]), key=train[2].count)
        every.append([*right, np.mean([sense == often for sense in test[2]])])
        print(f"  {folder.name:<10}" + "  ".join(f"{100 * each:5.1f}" for each in every[-1]))
    print(
        f"  {'mean':<10}"
        + "  ".join(f"{100 * each:5.1f}" for each in np.mean(every, axis=0))
        + "  (last: the most frequent sense)"
    )


def _first(
    rows: tuple[list[list[str]], list[int], list[str]], most: int | None
) -> tuple[list[list[str]], list[int], list[str]]:
    return rows[0][:most], rows[1][:most], rows[2][:most]


def words_in_context(encoder: Encoder, data: Path) -> None:
    """WiC: whether two occurrences have the same sense, by a threshold on their cosine similarity."""
    cosines: dict[str, tuple[Vectors, NDArray[np.bool_]]] = {}
    for part in ("train", "test"):
        rows = [line.split("\t") for line in _lines(data / "wic" / part / f"{part}.data.txt")]
        gold = np.array([each.strip() == "T" for each in _lines(data / "wic" / part / f"{part}.gold.txt")])
        places = [[int(number) for number in row[2].split("-")] for row in rows]
        sides = [
            vectors_at(encoder, [row[3 + side].split() for row in rows], [place[side] for place in places])
            for side in (0, 1)
        ]
        cosines[part] = (sides[0] * sides[1]).sum(2), gold
    shown = []
    for layer in range(cosines["train"][0].shape[1]):
        values, gold = cosines["train"][0][:, layer], cosines["train"][1]
        best = max(
            np.quantile(values, np.linspace(0, 1, 201)), key=lambda bound: np.mean((values > bound) == gold)
        )
        values, gold = cosines["test"][0][:, layer], cosines["test"][1]
        shown.append(f"layer {layer} {100 * np.mean((values > best) == gold):.1f}")
    print(f"WiC, accuracy in percent on the test pairs (chance 50): {', '.join(shown)}")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file


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
    encoders = {name: Encoder.from_pretrained(model) for name, model in models.items() if model is not None}
    if arguments.vectors is not None:
        encoders = {"folder or file of word vectors": read_encoder(arguments.vectors), **encoders}
    for name, encoder in encoders.items():
        print(f"{name}:")
        two_banks(encoder)
        words_in_context(encoder, arguments.data)
        coarse_senses(encoder, arguments.data, arguments.most)


if __name__ == "__main__":
    main()
