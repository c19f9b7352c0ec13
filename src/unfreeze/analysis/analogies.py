"""Analogies as Mikolov et al. 2013 ask them: the word nearest to b - a + c, exactly, by blocks of questions and of words.

3CosAdd over vectors of length 1; a, b and c are no answers. As gensim's `evaluate_word_analogies`: only the first 300,000
words count, upper and lower case alike, and a question with a word that has no vector is left out and counted. One
difference: where gensim finds the case variants of a, b and c alone among its five nearest, the next word is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unfreeze.analysis.neighbors import QUERIES_AT_ONCE, Floats, NeighborIndex
from unfreeze.analysis.similarity import RESTRICT, form, rows_of_forms
from unfreeze.analysis.word_sets import AnalogySection, Question
from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.vectors.table import VectorTable


@dataclass(frozen=True)
class AnalogyReport:
    """How many questions of a section were answered right."""

    name: str
    n_questions: int
    n_missing: int
    """Questions of these with a word that has no vector, or a zero one."""
    n_correct: int

    @property
    def accuracy(self) -> float:
        """Of the questions whose words have vectors; NaN where there is none."""
        n_asked = self.n_questions - self.n_missing
        return self.n_correct / n_asked if n_asked else float("nan")


def evaluate_analogies(
    table: VectorTable,
    sections: Sequence[AnalogySection],
    *,
    restrict: int = RESTRICT,
    case_insensitive: bool = True,
    progress: Progress = SILENT,
) -> list[AnalogyReport]:
    """Answer the questions of each section.

    Raises:
        UserError: no question has vectors for its four words.
    """
    solver = _Solver(table, restrict, case_insensitive)
    known = [[q for q in map(solver.forms, section.questions) if solver.knows(q)] for section in sections]
    if sections and not any(known):
        first = next(section.questions[0] for section in sections if section.questions)
        raise UserError(
            f"no analogy ({' '.join(first)}, ...) has vectors ({', '.join(table.words[:3])}, ...): "
            "analogies and vectors must be of the same language and kind of token"
        )
    solver.collect_variants(question for section in known for question in section)
    reports = []
    with progress.bar("analogies", total=sum(map(len, known)), unit="question") as bar:
        for section, asked in zip(sections, known, strict=True):
            n_correct = 0
            for start in range(0, len(asked), QUERIES_AT_ONCE):
                part = asked[start : start + QUERIES_AT_ONCE]
                n_correct += solver.n_correct(part)
                bar.advance(len(part))
            n_questions = len(section.questions)
            reports.append(AnalogyReport(section.name, n_questions, n_questions - len(asked), n_correct))
    return reports


def totals(reports: Sequence[AnalogyReport]) -> list[AnalogyReport]:
    """The sum of all sections; before it those of semantic and syntactic ones ("gram..."), if there are both."""
    syntactic = [report for report in reports if report.name.startswith("gram")]
    semantic = [report for report in reports if not report.name.startswith("gram")]
    kinds = [("semantic", semantic), ("syntactic", syntactic)] if semantic and syntactic else []
    return [
        AnalogyReport(
            name,
            sum(report.n_questions for report in group),
            sum(report.n_missing for report in group),
            sum(report.n_correct for report in group),
        )
        for name, group in [*kinds, ("all", reports)]
    ]


class _Solver:
    """Answers questions whose words are forms: upper-cased, if case does not matter."""

    def __init__(self, table: VectorTable, restrict: int, case_insensitive: bool) -> None:
        self._case_insensitive = case_insensitive
        self._rows = rows_of_forms(table, restrict=restrict, case_insensitive=case_insensitive)
        self._index = NeighborIndex(VectorTable(table.words[:restrict], table.matrix[:restrict]))
        self._variants: dict[str, list[int]] = {}

    def form(self, word: str) -> str:
        return form(word, self._case_insensitive)

    def forms(self, question: Question) -> Question:
        a, b, c, d = map(self.form, question)
        return a, b, c, d

    def knows(self, question: Question) -> bool:
        rows = [self._rows.get(form, -1) for form in question]
        return all(row >= 0 and self._index.norms[row] > 0 for row in rows)

    def collect_variants(self, questions: Iterable[Question]) -> None:
        """Note every row whose form occurs in a question: none of them may answer it."""
        self._variants = {form: [] for question in questions for form in question}
        for row, word in enumerate(self._index.table.words):
            rows = self._variants.get(self.form(word))
            if rows is not None:
                rows.append(row)

    def n_correct(self, questions: Sequence[Question]) -> int:
        a, b, c = (self._units([question[place] for question in questions]) for place in range(3))
        barred = [[row for form in question[:3] for row in self._variants[form]] for question in questions]
        answers, _ = self._index.search(b - a + c, 1, barred)
        words = [self._index.table.words[row] if row >= 0 else None for row in answers[:, 0].tolist()]
        return sum(
            word is not None and self.form(word) == question[3]
            for word, question in zip(words, questions, strict=True)
        )

    def _units(self, forms: Sequence[str]) -> Floats:
        """(n, D) of length 1."""
        rows = [self._rows[form] for form in forms]
        units = self._index.table.matrix[rows].astype(np.float64) / self._index.norms[rows][:, None]
        return np.asarray(units, np.float64)
