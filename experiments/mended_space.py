"""Claim: an anisotropic space can be mended after training, by centering, all-but-the-top or whitening.

Mu and Viswanath (2018, https://arxiv.org/abs/1702.01417) find word similarities closer to human judgments once the mean and the first principal
components are subtracted from word vectors. For each layer of each encoder, this experiment measures the mean cosine of unrelated words
(anisotropy), Spearman's correlation on sets of word pairs (the mean over the sets, and on how many of them it rises), and WiC by a threshold on
the cosine, before and after. A contextual encoder reads each word of the pairs as a sentence of its own. The maps are learned without
labels: from the words of all sets, and from the training occurrences of WiC.

    python -m experiments.mended_space --data DATA ENCODER... [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from unfreeze.analysis.geometry import Vectors, mean_cosine
from unfreeze.analysis.intervals import Difference, paired_difference
from unfreeze.analysis.post_processing import Method, PostProcessing
from unfreeze.analysis.sense_sets import SensePairs, pair_vectors, read_wic, threshold_answers
from unfreeze.analysis.senses import vectors_at
from unfreeze.analysis.similarity import PairsReport, evaluate_pairs
from unfreeze.analysis.word_sets import PairSet, read_sets
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import open_encoder
from unfreeze.vectors.table import VectorTable

Change = Callable[[Vectors], Vectors]


@dataclass(frozen=True)
class Row:
    """One layer of an encoder, as it is or mended."""

    encoder: str
    layer: int
    method: str
    anisotropy: float
    """Mean cosine of the words of the sets."""
    similarity: float
    """Spearman's correlation, the mean over the sets."""
    n_better: int | None
    """Sets on which it is above that of the layer as it is."""
    n_sets: int
    wic: float
    """Accuracy, in percent."""
    wic_difference: Difference | None
    """From the layer as it is, in percent, with its 95 % interval over the test pairs."""

    def __str__(self) -> str:
        better = "" if self.n_better is None else f"{self.n_better} of {self.n_sets}"
        change = "" if self.wic_difference is None else str(self.wic_difference)
        return (
            f"{self.encoder:<14}{self.layer:>5}  {self.method:<16}{self.anisotropy:>11.3f}{self.similarity:>12.3f}  {better:<9}"
            f"{self.wic:>6.1f}  {change}"
        )


HEAD = f"{'encoder':<14}{'layer':>5}  {'method':<16}{'anisotropy':>11}{'similarity':>12}  {'better':<9}{'WiC':>6}  difference"


def mended(
    name: str, encoder: TextEncoder, sets: Sequence[PairSet], train: SensePairs, test: SensePairs
) -> Iterator[Row]:
    """The rows of all layers of an encoder; for each layer first the one without a change."""
    words = sorted({word for each in sets for pair in each.pairs for word in pair})
    of_words = vectors_at(encoder, [[word] for word in words], [0] * len(words))
    of_train, of_test = (pair_vectors(encoder, pairs) for pairs in (train, test))
    for layer, (vectors, known, asked) in enumerate(zip(of_words, of_train, of_test, strict=True)):
        has_vector = vectors.any(axis=1)  # a word without a vector would get one by centering
        table = VectorTable(
            [word for word, has in zip(words, has_vector, strict=True) if has], vectors[has_vector]
        )
        occurrences = np.concatenate(known)
        plain, plain_right = None, None
        for method in ("as it is", *get_args(Method)):
            of_table, of_pairs = unchanged, unchanged
            if method != "as it is":
                of_table = PostProcessing.fit(method, table.matrix)
                of_pairs = of_known(PostProcessing.fit(method, occurrences[occurrences.any(axis=1)]))
            changed = VectorTable(table.words, np.asarray(of_table(table.matrix), np.float32))
            reports = evaluate_pairs(changed, sets)
            answers = threshold_answers(
                (of_pairs(known[0]), of_pairs(known[1])), train.same, (of_pairs(asked[0]), of_pairs(asked[1]))
            )
            right = (answers == test.same)[None]
            yield Row(
                name,
                layer,
                method,
                mean_cosine(changed.matrix),
                float(np.nanmean([each.spearman for each in reports])),
                None if plain is None else n_above(reports, plain),
                len(reports),
                100 * float(right.mean()),
                None if plain_right is None else paired_difference(100.0 * right, 100.0 * plain_right),
            )
            if plain is None:
                plain, plain_right = reports, right


def unchanged(vectors: Vectors) -> Vectors:
    """A layer as it is."""
    return vectors


def of_known(change: Change) -> Change:
    """The same map, but zeros, which unknown words have, stay zeros: moved by the mean, two of them would be equal and so of one sense."""
    return lambda vectors: np.where(vectors.any(axis=1, keepdims=True), change(vectors), 0.0)


def n_above(ours: Sequence[PairsReport], theirs: Sequence[PairsReport]) -> int:
    """On how many sets one has the larger correlation."""
    return sum(a.spearman > b.spearman for a, b in zip(ours, theirs, strict=True))


def main(given: Sequence[str] | None = None) -> None:
    """Print a row for each layer and method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoders", nargs="+", help="word vectors or contextual encoders")
    parser.add_argument("--data", type=Path, required=True, help="folder with wordsim/ and wic/")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each row")
    arguments = parser.parse_args(given)
    sets, _ = read_sets(arguments.data / "wordsim")
    train, test = (read_wic(arguments.data / "wic" / part) for part in ("train", "test"))
    if not arguments.json:
        print(HEAD)
    for place in arguments.encoders:
        for row in mended(Path(place).name, open_encoder(place), sets, train, test):
            print(json.dumps(asdict(row)) if arguments.json else row, flush=True)


if __name__ == "__main__":
    main()
