"""Claim: both sides of a gap predict a missing word better than either one, and prefer `very` in "I am ___ excited".

In "I am ___ excited to watch the film as it is directed by Rajamouli", the words before the gap allow `not` as well as `very`.
This experiment prints the ranks of both words by each direction of an ELMo and by both together, and the rank of the true
word in one gap of each of 1,000 held-out sentences (words of the vocabulary, drawn with a fixed seed).

    python -m experiments.fill_the_gap --data DATA --elmo ELMO

2026-11-25, an ELMo of 70 minutes of Wikipedia (docs/results.md), 33 seconds: `very` has rank 22, 16 and 5, `not` 3, 11 and 1 by the
left, the right and both; the true word is first in 20.2, 19.2 and 30.7 % of the gaps.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np

from experiments.imdb import Places
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.language_models.fill import Gap, read_gap
from unfreeze.text.corpus import stream_documents
from unfreeze.text.words import split_sentences, split_words

LECTURE = "I am ___ excited to watch the film as it is directed by Rajamouli"
SHORTEST, LONGEST = 8, 40
"""Maximum number of words of a sentence."""


def ranks_of(gap: Gap, word: str) -> dict[str, int]:
    """Rank of a word among all words by each direction and by both."""
    place = gap.candidates[word]
    return {name: 1 + int((shares > shares[place]).sum()) for name, shares in gap.probabilities.items()}


def gaps(model: BiLanguageModel, path: Path, count: int) -> Iterator[tuple[str, str]]:
    """Sentences with a gap, and the missing word."""
    random, found = Random(0), 0
    for text in stream_documents([path]):
        for start, end in split_sentences(text):
            sentence = text[start:end]
            words = split_words(sentence)
            known = [
                word for word in words if word.text.isalpha() and model.tokenizer.id(word.text) is not None
            ]
            if (
                SHORTEST <= len(words) <= LONGEST
                and known
                and "\n" not in sentence
                and random.random() < 0.05
            ):
                word = random.choice(known)
                yield f"{sentence[: word.start]}___{sentence[word.end :]}", word.text
                found += 1
                if found == count:
                    return


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/")
    parser.add_argument("--elmo", required=True, help="folder of an ELMo language model")
    parser.add_argument("--sentences", type=int, default=1000)
    arguments = parser.parse_args()
    model = BiLanguageModel.from_pretrained(arguments.elmo)
    lecture = read_gap(model, LECTURE)
    for word in ("very", "not"):
        print(
            f"{word}: "
            + ", ".join(f"rank {rank} by {name}" for name, rank in ranks_of(lecture, word).items())
        )
    held_out = Places(arguments.data, arguments.data).held_out_wikipedia
    rows = [
        ranks_of(read_gap(model, text), word) for text, word in gaps(model, held_out, arguments.sentences)
    ]
    print(f"the true word of {len(rows)} held-out sentences, among {len(lecture.candidates):,} words:")
    for name in rows[0]:
        ranks = np.array([row[name] for row in rows])
        print(
            f"  {name:<9} first {100 * np.mean(ranks == 1):4.1f} %, among the first ten {100 * np.mean(ranks <= 10):4.1f} %, "
            f"median rank {np.median(ranks):.0f}, mean reciprocal rank {np.mean(1 / ranks):.3f}"
        )


if __name__ == "__main__":
    main()
