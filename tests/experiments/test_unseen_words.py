"""Unseen words: which are chosen and removed, and every figure against brute force or SciPy; then the whole experiment on a small text."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from experiments import unseen_words
from experiments.unseen_names import f1, f1_draws, group_of, span_counts
from experiments.unseen_words import (
    KINDS,
    choose,
    correlations,
    drawn_correlations,
    main,
    misspelling,
    open_elmo,
    ranks_of,
    read_characters,
    read_spelling,
    similarities_of,
    unseen_pairs,
    write_without,
)
from tests.encoders.elmos import small_elmo
from unfreeze.analysis.word_sets import PairSet
from unfreeze.errors import UserError
from unfreeze.tasks.metrics import span_metrics
from unfreeze.text.tag_schemes import spans_of
from unfreeze.text.tagged import tagged_set

RANDOM = np.random.default_rng(0)


def edits(word: str) -> dict[str, set[str]]:
    """All results of one edit of each kind."""
    places = range(len(word))
    return {
        "swap": {word[:n] + word[n + 1] + word[n] + word[n + 2 :] for n in places[:-1]} - {word},
        "drop": {word[:n] + word[n + 1 :] for n in places},
        "double": {word[: n + 1] + word[n:] for n in places},
        "replace": {word[:n] + x + word[n + 1 :] for n in places for x in string.ascii_lowercase} - {word},
    }


@given(
    st.text(string.ascii_lowercase, min_size=2, max_size=8).filter(lambda word: len(set(word)) > 1),
    st.integers(0, 1000),
)
def test_a_misspelling_is_one_edit(word: str, seed: int) -> None:
    for kind in KINDS:
        assert misspelling(word, kind, random.Random(seed)) in edits(word)[kind]


def test_every_edit_can_occur() -> None:
    for kind in KINDS:
        found = {misspelling("hello", kind, random.Random(seed)) for seed in range(3000)}
        assert found == edits("hello")[kind]


def test_words_are_chosen_by_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen_words, "CANDIDATES", 4)
    counts = Counter(
        {"frequent": 900, "common": 300, "medium": 50, "42": 500, "aaaaa": 250, "few": 250, "rare": 3}
    )
    counts.update({"frequentt": 1, "frequeent": 1})
    sets = [PairSet("some", [("Medium", "rare"), ("common", "absent")], [1.0, 2.0])]
    unseen, common, misspelled = choose(counts, sets, 300)
    assert unseen == ["medium"]
    assert common == ["frequent", "common", "aaaaa", "few"]
    # Too short words and those of one letter are not misspelled, and misspellings are not words of the text.
    assert {word for _, word, _ in misspelled} <= {"frequent", "common"}
    assert all(wrong not in counts and wrong in edits(word)[kind] for wrong, word, kind in misspelled)
    assert choose(counts, sets, 300) == (unseen, common, misspelled)


def test_sentences_with_an_unseen_word_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "A cat sat. The Dog's tail!\nMore text.\n\nCats sat. Dogs ran.\n\nOne dog.\n"
    )
    output = tmp_path / "without.txt"
    assert write_without([tmp_path / "a.txt"], {"dog"}, output) == (2, 6)
    assert output.read_text() == "A cat sat. More text.\nCats sat. Dogs ran.\n"


def test_ranks_are_those_of_counting() -> None:
    scores = RANDOM.integers(0, 5, (20, 9)) / 4  # with ties
    rows = RANDOM.integers(0, 9, 20)
    expected = []
    for line, row in zip(scores.tolist(), rows.tolist(), strict=True):
        others = [score for place, score in enumerate(line) if place != row]
        expected.append(1 + sum(score >= line[row] for score in others))
    np.testing.assert_array_equal(ranks_of(scores, rows), expected)


def test_spelling_is_the_cosine_of_counts_of_ngrams() -> None:
    def grams(word: str) -> Counter[str]:
        marked = f" {word} "
        return Counter(marked[n : n + size] for size in range(3, 7) for n in range(len(marked) - size + 1))

    for a, b in [("banana", "bananas"), ("transfer", "transport"), ("hello", "world")]:
        x, y = grams(a), grams(b)
        dot = sum(count * y[gram] for gram, count in x.items())
        norms = np.prod([np.sqrt(sum(count**2 for count in each.values())) for each in (x, y)])
        np.testing.assert_allclose(similarities_of(read_spelling, [a], [b]), [dot / norms], atol=1e-6)


def test_characters_are_layer_0_of_elmo(tmp_path: Path) -> None:
    elmo = small_elmo()
    words = ["cat", "unheardof", "Dog"]
    layers, _ = elmo.word_layers(elmo.prepare_words([["the", "cat", "unheardof"], ["Dog"]]))
    rows = [layers[0][0, 1], layers[0][0, 2], layers[0][1, 0]]
    expected = np.stack(
        [row[: elmo.size].detach().numpy() / np.linalg.norm(row[: elmo.size].detach()) for row in rows]
    )
    np.testing.assert_allclose(read_characters(elmo, words), expected, atol=1e-5)
    small_elmo(spelling=None).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="reads words by their ids"):
        open_elmo(str(tmp_path))


def test_correlations_are_those_of_scipy() -> None:
    sets = [
        PairSet("a", [("U0", "x"), ("y", "u1"), ("x", "y"), ("u0", "nowhere")], [1.0, 2.0, 3.0, 4.0]),
        PairSet("b", [(f"u{n % 5}", f"w{n}") for n in range(30)], RANDOM.random(30).tolist()),
        PairSet("c", [(f"w{n}", f"u{n % 4}") for n in range(20)], RANDOM.integers(0, 4, 20).tolist()),
    ]
    known = {"x", "y", *(f"w{n}" for n in range(30))}
    pairs = unseen_pairs(sets, [f"u{n}" for n in range(5)], known)
    assert pairs.pairs[:2] == [("u0", "x"), ("y", "u1")] and len(pairs.pairs) == 52
    assert pairs.unseen[:4].tolist() == [0, 1, 0, 1]
    similarities = RANDOM.random(52).round(1)
    similarities[:2] = 0.2, 0.3

    def expected(times: np.ndarray) -> list[float]:
        values, sizes = [], []
        for index in range(3):
            rows = [row for row in range(52) if pairs.sets[row] == index for _ in range(times[row])]
            values.append(float(spearmanr(pairs.scores[rows], similarities[rows]).statistic))
            sizes.append(len(rows))
        return [*values, sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)]

    times = RANDOM.integers(1, 4, 52)
    np.testing.assert_allclose(correlations(pairs, similarities, times), expected(times))
    # A set whose similarities are all equal has no correlation, and does not count.
    constant = np.concatenate([[0.2, 0.2], similarities[2:]])
    *each, mean = correlations(pairs, constant, times)
    sizes = [times[pairs.sets == index].sum() for index in (1, 2)]
    assert np.isnan(each[0]) and mean == pytest.approx(np.average(each[1:], weights=sizes))
    # A draw repeats all pairs of a word together.
    means = []
    for _ in range(300):
        drawn = Counter(RANDOM.integers(5, size=5).tolist())
        rows = [row for row in range(52) for _ in range(drawn[pairs.unseen[row]])]
        by_set = [[row for row in rows if pairs.sets[row] == index] for index in (1, 2)]
        if all(len(own) > 3 for own in by_set):
            values = [spearmanr(pairs.scores[own], similarities[own]).statistic for own in by_set]
            means.append(np.average(values, weights=list(map(len, by_set))))
    draws = drawn_correlations(pairs, similarities)
    assert np.nanstd(draws) == pytest.approx(np.nanstd(means), rel=0.4)


def test_spans_are_counted_by_the_words_that_were_seen() -> None:
    assert group_of(["New", "York"], {"new", "york"}, set()) == 0
    assert group_of(["New", "York"], {"new"}, {"york"}) == 1
    assert group_of(["New", "York"], set(), {"york"}) == 2
    words, letters = ["ada", "kurt", "bob", "eve"], ["B-PER", "B-LOC", "O"]
    sentences = [RANDOM.choice(words, 6).tolist() for _ in range(30)]
    gold, found = (RANDOM.choice(letters, (30, 6)).tolist() for _ in range(2))
    test = tagged_set(sentences, gold, scheme="bio")
    counts = span_counts(test, found, "bio", {"ada", "kurt"}, {"bob"})
    every = span_metrics([spans_of(x, "bio") for x in gold], [spans_of(x, "bio") for x in found])[-1]
    assert f1(counts.sum((0, 1))) == pytest.approx(100 * every.f1)
    for group, own in enumerate([{"ada", "kurt"}, {"bob"}, {"eve"}]):
        places = [(s, n) for s in range(30) for n in range(6) if sentences[s][n] in own]
        true, predicted = (sum(tags[s][n] != "O" for s, n in places) for tags in (gold, found))
        right = sum(gold[s][n] == found[s][n] != "O" for s, n in places)
        assert counts[:, group].sum(0).tolist() == [right, true, predicted]


def test_f1_is_drawn_by_sentences_and_seeds() -> None:
    counts = RANDOM.integers(1, 6, (3, 40, 3))
    counts[:, :, 0] = np.minimum(counts[:, :, 0], counts.min(2))
    value, draws = f1_draws(counts, 2000)
    by_seed = [200 * seed[:, 0].sum() / seed[:, 1:].sum() for seed in counts]
    assert value == pytest.approx(np.mean(by_seed))
    means = []
    for _ in range(2000):
        seeds, sentences = RANDOM.integers(3, size=3), RANDOM.integers(40, size=40)
        chosen = counts[np.ix_(seeds, sentences)].sum(1)
        means.append(np.mean(200 * chosen[:, 0] / chosen[:, 1:].sum(1)))
    np.testing.assert_allclose(np.percentile(draws, [2.5, 97.5]), np.percentile(means, [2.5, 97.5]), atol=1.0)
    assert f1(np.zeros(3)) == 0


def test_the_experiment_on_a_small_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(0)
    words = [
        first + second
        for first in ("walk", "jump", "talk", "cook")
        for second in ("ing", "ed", "er", "s", "")
    ]
    data, runs = tmp_path / "data", tmp_path / "runs"
    for folder in ("enwiki-2015", "wordsim", "conll2003"):
        (data / folder).mkdir(parents=True)
    for name in ("1", "2", "3"):
        text = "\n".join(" ".join(choice.choices(words, k=5)) + "." for _ in range(100))
        (data / "enwiki-2015" / f"{name}.txt").write_text(text.replace("\n", " \n\n"))
    for name in unseen_words.SETS:
        pairs = [f"{a}\t{b}\t{choice.randrange(10)}\n" for a, b in zip(words, words[1:], strict=False)]
        (data / "wordsim" / f"{name}.txt").write_text("".join(pairs))
    tags = {"Walking": "I-PER", "Cooker": "I-LOC", "Jumpy": "I-PER"}
    for name, names in {
        "eng.train": ["Walking", "Cooker"],
        "eng.testb": ["Walking", "Cooker", "Jumpy"],
    }.items():
        lines = [f"{word} NN O {tags.get(word, 'O')}\n" for word in names * 6 for word in (word, "talks", "")]
        (data / "conll2003" / name).write_text("".join("\n" if line[0] == " " else line for line in lines))
    small_elmo().save_pretrained(tmp_path / "elmo")
    monkeypatch.setattr(unseen_words, "COUNTS", (5, 200))
    monkeypatch.setattr(unseen_words, "DRAWS", 20)
    given = (
        f"--data {data} --runs {runs} --elmo {tmp_path / 'elmo'} --words 3 --labels 12 --seeds 1 --epochs 1"
    )
    main(given.split())
    out = capsys.readouterr().out
    assert "3 words are removed, with " in out
    without = (runs / "2-files-3-words" / "without.txt").read_text()
    chosen = unseen_words.prepare([], [], runs / "2-files-3-words", 3)
    for unseen in chosen.unseen:
        assert unseen not in without.replace(".", " ").split()
        assert f"{unseen}, which plain vectors lack:" in out
    assert "ELMo's vocabulary has 0 of the removed words" in out
    tables = [line.split("  ")[0] for line in out.splitlines()]
    for name in ("n-grams in common", "n-grams, unseen", "ELMo's characters"):
        assert tables.count(name) == 2  # of misspellings, and of similarity
    for name in (
        "plain vectors, seen",
        "plain vectors and learned characters",
        "minus plain vectors",
    ):
        assert name in tables
    # Of the 18 names, the twelve that the training sentences have are seen, and Jumpy has no vector.
    assert "all (18)" in out and "seen (12)" in out and "unseen, without (6)" in out
    # Everything is resumed: the second run prints the same tables, but computes no result.
    stored = (runs / "results.jsonl").read_text()
    main(given.split())
    assert (runs / "results.jsonl").read_text() == stored
    again = capsys.readouterr().out
    assert again.splitlines() == [line for line in out.splitlines() if not line.startswith("{")]
