"""Claim: a sequence-to-sequence model with attention translates, and an LSTM that reads forward only does so with less of the sentence.

Trains translators with `pretrain cove`'s preset `small` and measures them on sentences that they never saw: English-German captions
(Multi30k, BLEU on test 2016 and 2017), everyday sentences (Tatoeba), and English-Tamil, the lecture's pair: Bible verses, some books
of which are held out. For these the nearest training verse (cosine of TF-IDF) is the baseline: a translator that is no better has
memorized verses. The lecture's own sentence is translated by the Tamil model, as it comes out.

    python -m experiments.translation --data DATA --runs RUNS --only multi30k --minutes 75    (goal: BLEU 32 on test 2016)
    python -m experiments.translation --data DATA --runs RUNS --only tatoeba both forward --minutes 60
    python -m experiments.translation --data DATA --runs RUNS --only en-ta --minutes 60 --vectors VECTORS
    python -m experiments.translation --data DATA --runs RUNS --show

`forward` reads the captions in one direction with as many cells in all, 2 H a layer, so that the decoder gets states of the same
width. A cell then reads 2 H states of the step before instead of H: it has twice the recurrent parameters of both directions.
`--vectors` gives word vectors of English (a folder of `pretrain word2vec`): the Bible knows no film, and with vectors of other text
the encoder still knows what words are like it.

An interrupted training is resumed by the same command. `--show` prints the table of all that are finished. The figures are in
docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF
from sklearn.feature_extraction.text import TfidfVectorizer

from unfreeze.analysis.attention_plot import plot_attention
from unfreeze.pretraining.translation.recipe import pretrain_cove
from unfreeze.pretraining.translation.settings import TranslationSettings, small
from unfreeze.progress import Progress
from unfreeze.text.pairs import PairSet, pairs_in_memory, read_pairs

HELD_OUT_BOOKS = ("Ruth", "Jonah", "Obadiah", "Haggai", "Philippians", "James", "2 John", "3 John", "Jude")
LECTURE = "I enjoyed the film transformers"
SENTENCES = {"de": "A man sits on the bank of a river and reads a book.", "ta": LECTURE}
RATES = {"en-ta": 3e-3}
"""Learning rates other than the preset's. With 1e-3 the verses, which are long, need twice as many updates before the attention finds
words; see docs/lab-notes.md."""
RESULTS = "translation.json"


@dataclass(frozen=True)
class Task:
    """Pairs to learn from, pairs to choose by, and pairs to measure on."""

    train: PairSet
    validation: PairSet
    tests: dict[str, PairSet]
    language: str = "de"


def multi30k(data: Path) -> Task:
    """The captions with their own validation and test sets."""

    def part(name: str) -> PairSet:
        return read_pairs([data / "multi30k" / f"{name}.{language}" for language in ("en", "de")])

    tests = {f"Multi30k {year}": part(f"test_{year}_flickr") for year in ("2016", "2017")}
    return Task(part("train"), part("val"), tests)


def tatoeba(data: Path) -> Task:
    """Everyday sentences; no source sentence of the 1,000 held out for each purpose is in training."""
    pairs = read_pairs([data / "tatoeba-en-de" / "deu.txt"])
    sources = list(dict.fromkeys(pairs.sample(len(pairs), seed=0).sources))
    chosen = [set(sources[:1000]), set(sources[1000:2000])]
    train = pairs.subset(p for p in pairs.examples if not any(p.source in each for each in chosen))
    held_out = [
        pairs.subset({p.source: p for p in pairs.examples if p.source in each}.values()) for each in chosen
    ]
    captions = multi30k(data).tests["Multi30k 2016"]
    return Task(train, held_out[0], {"Tatoeba": held_out[1], "Multi30k 2016": captions})


def both(data: Path) -> Task:
    """Captions and everyday sentences together."""
    one, other = multi30k(data), tatoeba(data)
    train = one.train.subset([*one.train.examples, *other.train.examples])
    return Task(replace(train, source="multi30k and tatoeba"), one.validation, {**one.tests, **other.tests})


def english_tamil(data: Path) -> Task:
    """Bible verses without nine books, and government text."""
    rows = [line.split("\t") for line in _lines(data / "en-ta" / "bible_kjv_tamil.tsv")]
    held_out = [row for row in rows if row[0].rsplit(" ", 1)[0] in HELD_OUT_BOOKS]
    verses = [row for row in rows if row[0].rsplit(" ", 1)[0] not in HELD_OUT_BOOKS]
    others = [["", *line.split("\t")] for line in _lines(data / "en-ta" / "nlpc_uom.tsv")]
    every = [row for row in [*verses, *others] if len(row) == 3]
    train = pairs_in_memory([row[1] for row in every], [row[2] for row in every])
    test = pairs_in_memory([row[1] for row in held_out], [row[2] for row in held_out])
    known = set(train.sources)
    test = test.subset(pair for pair in test.examples if pair.source not in known)
    sample = set(train.sample(1000, seed=0).sources)
    validation = train.subset(pair for pair in train.examples if pair.source in sample)
    train = replace(train.subset(p for p in train.examples if p.source not in sample), source="en-ta")
    return Task(train, validation, {"held-out books": test}, language="ta")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


TASKS: dict[str, Callable[[Path], Task]] = {
    "multi30k": multi30k,
    "tatoeba": tatoeba,
    "both": both,
    "en-ta": english_tamil,
    "forward": multi30k,
}


def settings_of(name: str, minutes: float) -> TranslationSettings:
    """The preset `small`, for so many minutes; "forward" reads in one direction with as many cells in all."""
    settings = small()
    policy = replace(settings.policy, learning_rate=RATES.get(name, settings.policy.learning_rate))
    loop = replace(settings.loop, epochs=None, minutes=minutes, validate_minutes=max(1.0, minutes / 20))
    direction = "forward" if name == "forward" else "both"
    return replace(settings, policy=policy, loop=loop, direction=direction)


def nearest(task: Task, test: PairSet) -> list[str]:
    """For each source the translation of the most similar training source."""
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    known = vectorizer.fit_transform(task.train.sources)
    best = (vectorizer.transform(test.sources) @ known.T).argmax(1)
    targets = task.train.targets
    return [targets[int(row)] for row in best.A1]


def run(name: str, data: Path, runs: Path, minutes: float, vectors: Path | None = None) -> None:
    """Train, or take up the training, and measure."""
    task, folder = TASKS[name](data), runs / name
    translator, metrics = pretrain_cove(
        task.train,
        settings_of(name, minutes),
        output=folder,
        validation=task.validation,
        word_vectors=vectors,
        progress=Progress(),
    )
    found: dict[str, object] = {"pairs": len(task.train), "minutes": minutes, **metrics}
    bleu = BLEU()  # sacrebleu's default: 13a, mixed case
    for test, pairs in task.tests.items():
        for beams in (1, 5):
            began = time.monotonic()
            written = translator.predict(pairs.sources, beams=beams)
            scores = [metric.corpus_score(written, [pairs.targets]).score for metric in (bleu, CHRF())]
            found[f"{test}, {counted_beams(beams)}"] = [*scores, time.monotonic() - began]
        if task.language == "ta":
            baseline = nearest(task, pairs)
            found[f"{test}, nearest training verse"] = [
                metric.corpus_score(baseline, [pairs.targets]).score for metric in (bleu, CHRF())
            ]
    found["signature"] = str(bleu.get_signature())
    shown = translator.translate([SENTENCES[task.language], *next(iter(task.tests.values())).sources[:3]])
    found["examples"] = [[" ".join(each.source_words), each.text] for each in shown]
    first = shown[0]
    plot_attention(first.attention, first.source_words, first.tokens, runs / f"attention-{name}.png")
    (folder / RESULTS).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, ensure_ascii=False, indent=1), flush=True)


def counted_beams(beams: int) -> str:
    """The kind of search."""
    return "greedy" if beams == 1 else f"{beams} beams"


def show(runs: Path) -> None:
    """A table of everything that is finished."""
    print("| training | pairs | minutes | updates | test | BLEU | chrF |\n|---|---:|---:|---:|---|---:|---:|")
    for name in TASKS:
        path = runs / name / RESULTS
        if not path.is_file():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        for test, values in found.items():
            if isinstance(values, list) and test != "examples":
                cells = name, f"{found['pairs']:,}", f"{found['minutes']:g}", f"{found['step']:,}", test
                print(f"| {' | '.join(cells)} | {values[0]:.2f} | {values[1]:.2f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen trainings one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with multi30k/, tatoeba-en-de/ and en-ta/"
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder for the trained models")
    parser.add_argument(
        "--only", nargs="+", choices=list(TASKS), default=list(TASKS), help="trainings (default: all)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="length of each training (default: 60)")
    parser.add_argument("--vectors", type=Path, help="word vectors of English (default: trained here)")
    parser.add_argument("--show", action="store_true", help="print the results of finished trainings")
    options = parser.parse_args(arguments)
    if options.show:
        show(options.runs)
        return
    options.runs.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        run(name, options.data, options.runs, options.minutes, options.vectors)


if __name__ == "__main__":
    main()
