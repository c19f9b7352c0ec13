"""The third question of unseen_words.py: F1 of named entities by whether their words occur in the labeled sentences and in the vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.results import with_model
from unfreeze.analysis.geometry import Numbers
from unfreeze.display import aligned
from unfreeze.tasks.sequence_tagger import fit_tagger
from unfreeze.tasks.settings import TaggerSettings
from unfreeze.text.rules import normalized
from unfreeze.text.tag_schemes import Scheme, spans_of
from unfreeze.text.tagged import TaggedSet

VOCABULARY = 200_000
"""Words of the vectors that a tagger keeps: all of them."""
DRAWS = 1_000
GROUPS = {
    "all": [0, 1, 2],
    "seen": [0],
    "unseen": [1, 2],
    "unseen, with plain vectors": [1],
    "unseen, without": [2],
}
"""Columns of the table of F1, and which results of `group_of` they sum up."""


def group_of(words: Sequence[str], seen: Collection[str], known: Collection[str]) -> int:
    """0: all words are in the training sentences; 1: some are not, and all of these have a plain vector; 2: some have none."""
    lacking = [word for word in map(normalized, words) if word not in seen]
    return 0 if not lacking else 1 if all(word in known for word in lacking) else 2


def span_counts(
    test: TaggedSet,
    predicted: Sequence[Sequence[str]],
    scheme: Scheme,
    seen: Collection[str],
    known: Collection[str],
) -> NDArray[np.int64]:
    """For each sentence and group the number of right, true and predicted spans: (S, 3, 3)."""
    counts = np.zeros((len(test), 3, 3), np.int64)
    for row, each, tags in zip(counts, test.examples, predicted, strict=True):
        true, found = set(spans_of(each.tags, test.scheme)), set(spans_of(tags, scheme))
        for place, spans in enumerate((true & found, true, found)):
            for span in spans:
                row[group_of(each.tokens[span.start : span.end], seen, known), place] += 1
    return counts


def f1_draws(counts: NDArray[np.int64], draws: int = DRAWS) -> tuple[float, Numbers]:
    """F1 in percent, the mean over seeds, and its draws (R,) with seeds and sentences drawn with replacement.

    Args:
        counts: (seeds, S, 3), right, true and predicted spans; the same draws for all methods.
    """
    n_seeds, n_sentences, _ = counts.shape
    random = np.random.default_rng(0)
    sentences = random.multinomial(n_sentences, np.full(n_sentences, 1 / n_sentences), draws)
    seeds = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), draws) / n_seeds
    sums = np.einsum("rs,ksn->rkn", sentences.astype(np.float64), counts.astype(np.float64), optimize=True)
    return float(f1(counts.sum(1)).mean()), (f1(sums) * seeds).sum(1)


def f1(sums: NDArray[Any]) -> Numbers:
    """F1 in percent of sums (..., 3) of right, true and predicted spans; 0 where there are none."""
    both = sums[..., 1] + sums[..., 2]
    return np.asarray(200 * sums[..., 0] / np.maximum(both, 1), np.float64)


def taggers(plain: Path, ngrams: Path, elmo: str | None) -> Iterator[tuple[str, TaggerSettings]]:
    """The input of each tagger."""
    vectors = partial(TaggerSettings, vocabulary_size=VOCABULARY)
    yield "plain vectors", vectors(encoder=str(plain), characters=0)
    yield "n-grams", vectors(encoder=str(ngrams), characters=0)
    yield "plain vectors and learned characters", vectors(encoder=str(plain))
    if elmo is not None:
        yield with_model("ELMo's characters", elmo), TaggerSettings(encoder=elmo, layers=0, characters=0)
        yield with_model("ELMo, mix", elmo), TaggerSettings(encoder=elmo, characters=0)


def measured(
    train_set: TaggedSet, test: TaggedSet, settings: TaggerSettings, known: Collection[str]
) -> dict[str, Any]:
    """The counts of spans of a tagger that is trained on some sentences."""
    tagger, _ = fit_tagger(train_set, settings)
    tagger.precision = "auto"
    predicted = tagger.predict([each.tokens for each in test.examples])
    seen = {normalized(word) for each in train_set.examples for word in each.tokens}
    counts = span_counts(test, predicted, tagger.scheme_, seen, known)
    return {"f1": round(float(f1(counts.sum((0, 1)))), 2), "spans": counts.tolist()}


def print_names(found: Mapping[str, NDArray[np.int64]]) -> None:
    """Print F1 by group of spans, then the differences to plain vectors; counts are (seeds, S, 3, 3)."""
    figures = {
        name: {title: f1_draws(counts[:, :, groups].sum(2)) for title, groups in GROUPS.items()}
        for name, counts in found.items()
    }
    plain = next(iter(found.values())).sum(1).mean(0)[:, 1]  # true spans of each group, the mean over seeds
    heads = {title: f"{title} ({plain[groups].sum():,.0f})" for title, groups in GROUPS.items()}
    rows: list[dict[str, object]] = []
    for name, line in figures.items():
        cells = {heads[title]: in_percent(*figure) for title, figure in line.items()}
        rows.append({"F1 of spans": name, **cells})
    print(aligned(rows))
    rows.clear()
    base, *others = figures
    for name in others:
        pairs = {title: (figures[name][title], figures[base][title]) for title in GROUPS}
        differences = {
            title: in_percent(ours[0] - theirs[0], ours[1] - theirs[1])
            for title, (ours, theirs) in pairs.items()
        }
        rows.append({f"minus {base}": name, **differences})
    print(aligned(rows))


def in_percent(value: float, draws: Numbers) -> str:
    """To print."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
