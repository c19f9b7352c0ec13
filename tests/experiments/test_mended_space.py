"""The effect of mending a space: rows for every layer and method, and figures that a known cloud must have."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from experiments.mended_space import main, of_known
from tests.encoders.elmos import small_elmo
from unfreeze.analysis.post_processing import PostProcessing

NAMES = [a + b + c for a in "bdk" for b in "aeiou" for c in "mnrt"]


def write_sets(data: Path, scores: dict[tuple[str, str], float]) -> None:
    """A set of word pairs, and a WiC of random sentences whose pairs have the same sense where the sentences are equal."""
    (data / "wordsim").mkdir(parents=True)
    lines = [f"{a}\t{b}\t{score}\n" for (a, b), score in scores.items()]
    (data / "wordsim" / "EN-SOME.txt").write_text("".join(lines))
    choose = random.Random(0)
    for part, count in (("train", 40), ("test", 30)):
        folder = data / "wic" / part
        folder.mkdir(parents=True)
        rows, gold = [], []
        for number in range(count):
            first, second = (" ".join(choose.choices(NAMES, k=5)) for _ in range(2))
            rows.append(f"word\tN\t1-1\t{first}\t{second if number % 2 else first}\n")
            gold.append("F\n" if number % 2 else "T\n")
        (folder / f"{part}.data.txt").write_text("".join(rows))
        (folder / f"{part}.gold.txt").write_text("".join(gold))


def test_zeros_of_unknown_words_stay_zeros() -> None:
    vectors = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [3.0, 1.0, 5.0]])
    whitened = PostProcessing.fit("whitened", np.random.default_rng(0).normal(size=(9, 3)) + 4)
    found = of_known(whitened)(vectors)
    assert not found[0].any()
    np.testing.assert_array_equal(found[1:], whitened(vectors)[1:])


def test_a_cone_is_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All words share one long direction, and human judgments follow the others: subtracting it must raise the correlation."""
    numbers = np.random.default_rng(0)
    clean = numbers.normal(size=(len(NAMES), 6))
    shared = np.ones(6) * 12 + numbers.normal(size=(len(NAMES), 1)) * 30 * np.eye(6)[0]
    with (tmp_path / "cone.txt").open("w") as file:
        for name, vector in zip(NAMES, clean + shared, strict=True):
            file.write(" ".join([name, *map(str, vector.round(4))]) + "\n")
    lengths = np.linalg.norm(clean[:, 1:], axis=1)
    cosines = clean[:, 1:] @ clean[:, 1:].T / np.outer(lengths, lengths)
    pairs = [(a, b) for a in range(len(NAMES)) for b in range(a)]
    scores = {(NAMES[a], NAMES[b]): float(cosines[a, b]) for a, b in pairs}
    write_sets(tmp_path / "data", {**scores, ("unknown", NAMES[0]): 1.0})
    small_elmo().save_pretrained(tmp_path / "elmo")
    main(["--data", str(tmp_path / "data"), str(tmp_path / "cone.txt"), str(tmp_path / "elmo"), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["method"] for row in rows[:4]] == ["as it is", "centered", "all-but-the-top", "whitened"]
    assert [(row["encoder"], row["layer"]) for row in rows[::4]] == [
        ("cone.txt", 0),
        ("elmo", 0),
        ("elmo", 1),
        ("elmo", 2),
    ]
    plain, centered, top, whitened = rows[:4]
    assert plain["anisotropy"] > 0.5 > 0.2 > abs(centered["anisotropy"])
    assert top["similarity"] > max(plain["similarity"], centered["similarity"]) and top["similarity"] > 0.8
    assert top["n_better"] == top["n_sets"] == 1 and plain["n_better"] is None
    for row in rows[
        4:
    ]:  # equal sentences have equal vectors: a threshold below a cosine of 1 tells them apart
        assert row["wic"] > 90 or row["layer"] == 0
    mean, low, high = whitened["wic_difference"]
    assert low <= mean <= high and mean == pytest.approx(whitened["wic"] - plain["wic"])
