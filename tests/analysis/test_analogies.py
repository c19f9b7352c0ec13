"""Analogies against brute force in float64, with the case variants of the four words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.analysis.tables import brute_force, random_table, table_of
from unfreeze.analysis import analogies
from unfreeze.analysis.analogies import AnalogyReport, evaluate_analogies, totals
from unfreeze.analysis.word_sets import AnalogySection, Question
from unfreeze.errors import UserError
from unfreeze.vectors.table import VectorTable


def brute_answer(table: VectorTable, question: Question, case_insensitive: bool) -> str | None:
    """The form of the answer; None if a word is missing. Every word of the table counts."""

    def form(word: str) -> str:
        return word.upper() if case_insensitive else word

    forms = [form(word) for word in table.words]
    if not all(form(word) in forms for word in question):
        return None
    units = table.matrix / np.linalg.norm(table.matrix, axis=1, keepdims=True)
    a, b, c = (units[forms.index(form(word))] for word in question[:3])
    asked = {form(word) for word in question[:3]}
    barred = [row for row, word in enumerate(forms) if word in asked]
    return forms[brute_force(table, b - a + c, excluded=barred)[0][1]]


def table_of_variants(n_words: int, seed: int) -> VectorTable:
    """Some words stand there in several cases."""
    words = [f"x{n}" for n in range(n_words)]
    words[3], words[10], words[11], words[20] = "X1", "X2", "x30", "X7"
    return VectorTable(words, random_table(n_words, 5, seed).matrix)


@pytest.mark.parametrize("case_insensitive", [True, False])
def test_as_brute_force(case_insensitive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of_variants(40, seed=2)
    random = np.random.default_rng(3)
    asked: list[Question] = []
    for a, b, c, d in random.integers(0, 45, (150, 4)).tolist():
        question = (f"x{a}", f"X{b}" if a % 2 else f"x{b}", f"x{c}", f"x{d}")
        answer = brute_answer(table, question, case_insensitive)
        # Half of the questions are such that the answer is right.
        asked.append((*question[:3], answer) if answer is not None and d % 2 else question)
    answers = [brute_answer(table, question, case_insensitive) for question in asked]
    right = [
        answer == (question[3].upper() if case_insensitive else question[3])
        for question, answer in zip(asked, answers, strict=True)
    ]
    monkeypatch.setattr(analogies, "QUERIES_AT_ONCE", 16)
    first, second = evaluate_analogies(
        table,
        [AnalogySection("one", asked[:70]), AnalogySection("gram2", asked[70:])],
        case_insensitive=case_insensitive,
    )
    assert first == AnalogyReport("one", 70, answers[:70].count(None), sum(right[:70]))
    assert second == AnalogyReport("gram2", 80, answers[70:].count(None), sum(right[70:]))
    assert first.n_missing > 0 and 0 < first.n_correct < 70 - first.n_missing


def test_only_the_first_words_are_asked_and_answer() -> None:
    table = table_of(a=(1, 0, 0), b=(0, 1, 0), c=(0, 0, 1), far=(-1, 0.5, 0.5), d=(-1, 1, 1))
    section = AnalogySection("s", [("a", "b", "c", "far"), ("a", "b", "c", "d")])
    assert evaluate_analogies(table, [section]) == [AnalogyReport("s", 2, 0, 1)]
    assert evaluate_analogies(table, [section], restrict=4) == [AnalogyReport("s", 2, 1, 1)]


def test_zero_vectors_are_missing_and_a_sum_of_nothing_is_wrong() -> None:
    table = table_of(a=(1, 0), b=(0, 1), minus_b=(0, -1), nothing=(0, 0), d=(1, 1))
    questions = [("a", "b", "nothing", "d"), ("a", "a", "b", "d"), ("b", "a", "b", "d")]
    (report,) = evaluate_analogies(table, [AnalogySection("s", questions)])
    assert (report.n_missing, report.n_correct) == (1, 2)
    cancelled = table_of(a=(1, 0), b=(0.5, math.sqrt(0.75)), c=(0.5, -math.sqrt(0.75)), d=(1, 1))
    question = ("a", "b", "c", "d")
    (report,) = evaluate_analogies(cancelled, [AnalogySection("s", [question])])
    assert (report.n_missing, report.n_correct) in ((0, 0), (0, 1))  # rounding decides; it ends


def test_nothing_known() -> None:
    table = table_of(a=(1, 0), b=(0, 1))
    with pytest.raises(UserError, match="no analogy \\(x y z a, ...\\) has vectors"):
        evaluate_analogies(table, [AnalogySection("empty", []), AnalogySection("s", [("x", "y", "z", "a")])])
    assert evaluate_analogies(table, []) == []


def test_totals() -> None:
    reports = [
        AnalogyReport("family", 10, 4, 3),
        AnalogyReport("gram1", 20, 0, 5),
        AnalogyReport("city", 5, 5, 0),
        AnalogyReport("gram2", 1, 0, 1),
    ]
    assert totals(reports) == [
        AnalogyReport("semantic", 15, 9, 3),
        AnalogyReport("syntactic", 21, 0, 6),
        AnalogyReport("all", 36, 9, 9),
    ]
    assert [report.name for report in totals(reports[:1])] == ["all"]
    assert totals(reports)[0].accuracy == 0.5
    assert math.isnan(reports[2].accuracy)


def test_words_are_found_however_accents_and_apostrophes_are_written() -> None:
    words = ["man", "cafe\u0301", "woman", "O’Neill", "other"]
    table = VectorTable(words, np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [0, -1, 0]], np.float32))
    (report,) = evaluate_analogies(table, [AnalogySection("s", [("man", "café", "woman", "O'Neill")])])
    assert report == AnalogyReport("s", 1, 0, 1)
