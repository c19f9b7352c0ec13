"""The findings on contextuality: verdicts of intervals, and every finding for every encoder."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from experiments.how_contextual import main, of_unrelated_words, rising, sts_sentences, verdict
from tests.encoders.elmos import WORDS, small_elmo
from unfreeze.analysis.contextuality import Contextuality
from unfreeze.analysis.contextuality_settings import ContextualitySettings, Estimator
from unfreeze.analysis.geometry import Estimate


def test_verdicts_are_those_of_intervals() -> None:
    assert rising(Estimate(0.2, 0.1, 0.3)) == "held"
    assert rising(Estimate(-0.2, -0.3, -0.1)) == "not held"
    assert rising(Estimate(0.0, -0.1, 0.1)) == "open"
    assert verdict(False, False) == "open"


@pytest.mark.parametrize("estimator", ["uncentered", "centered"])
def test_few_unrelated_words_are_explained_better_than_many(estimator: Estimator) -> None:
    """Of pairs, triples and so on of the sampled vectors, which are counted out here."""
    sample = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)

    def share(rows: tuple[int, ...]) -> float:
        x = sample[list(rows)].astype(np.float64)
        squares = np.linalg.svd(x - x.mean(0) if estimator == "centered" else x, compute_uv=False) ** 2
        return float(squares[0] / squares.sum())

    expected = np.mean([np.mean([share(rows) for rows in combinations(range(6), size)]) for size in (3, 6)])
    none = np.zeros((1, 200), np.float32)
    report = Contextuality(
        ContextualitySettings(explained=estimator),
        n_sentences=6,
        n_repeated=0,
        n_without_vector=0,
        words=[f"{number}" for number in range(200)] + ["left out"],
        counts=np.array([3, 9] * 100 + [2]),
        self_similarities=none,
        explained=none,
        intra_sentence=none,
        sample=[sample],
    )
    found = of_unrelated_words(report, 0, set(report.words[:-1]))
    assert found == pytest.approx(expected - share(tuple(range(6))), abs=0.04) and found > 0.05


def test_five_findings_on_small_encoders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choose = random.Random(0)
    folder = tmp_path / "data" / "sts" / "2012"
    folder.mkdir(parents=True)
    rows = [
        f"1.0\t{' '.join(choose.choices(WORDS, k=6))}\t{' '.join(choose.choices(WORDS, k=4))}\n"
        for _ in range(60)
    ]
    (folder / "some.test.tsv").write_text("".join(rows) + "\t\t\n")
    (folder / "readme.txt").write_text("a\tb\tc\n")
    assert len(sts_sentences(tmp_path / "data" / "sts")) == 120
    numbers = np.random.default_rng(0)
    known = sorted({word.lower() for word in WORDS if word.isalpha()})
    lines = (" ".join([word, *map(str, numbers.normal(size=5).round(3))]) for word in known)
    (tmp_path / "static.txt").write_text("\n".join(lines) + "\n")
    small_elmo().save_pretrained(tmp_path / "elmo")
    main(
        [
            "--data",
            str(tmp_path / "data"),
            "--static",
            str(tmp_path / "static.txt"),
            "--contextual",
            str(tmp_path / "elmo"),
        ]
        + ["--untrained", "--output", str(tmp_path / "found")]
    )
    out = capsys.readouterr().out
    for number in range(1, 6):
        (place,) = [n for n, line in enumerate(out.splitlines()) if line.startswith(f"{number} ")]
        assert out.splitlines()[place + 1].startswith("  elmo: ")
        assert any(word in out.splitlines()[place + 1] for word in ("held", "open"))
        assert out.splitlines()[place + 2].startswith("  elmo, random layers: ")
    assert (tmp_path / "found" / "report.html").is_file()
    layers = [
        line for line in out.splitlines() if line.startswith(("elmo layer", "elmo, random layers layer"))
    ]
    values = [line.partition(": ")[2] for line in layers]
    assert (
        values[0] == values[3] and values[1] != values[4]
    )  # the input is the same, and what reads it is not
