"""Word analogies (Mikolov et al. 2013): the word nearest to b - a + c, by exact search.

3CosAdd over unit vectors, with a, b and c excluded from the answers. As in gensim's `evaluate_word_analogies`, only
the first 300,000 words are used, case is ignored, and questions with a word that has no vector are skipped and
counted. One difference: if gensim's five nearest words are all case variants of a, b and c, the next word counts as the
answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unfreeze.analysis.similarity import RESTRICT, form, rows_of_forms
from unfreeze.analysis.word_sets import AnalogySection, Question
from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.vectors.neighbors import QUERIES_AT_ONCE, Floats, NeighborIndex
from unfreeze.vectors.table import VectorTable


@dataclass(frozen=True)
class AnalogyReport:
    """Accuracy on one section of questions, or on several sections together."""

    name: str
    n_questions: int
    n_missing: int
    """Questions skipped because a word has no vector, or a zero vector."""
    n_correct: int

    @property
    def accuracy(self) -> float:
        """Fraction of correct answers among the questions that were not skipped; NaN if all were."""
        n_known = self.n_questions - self.n_missing
        return self.n_correct / n_known if n_known else float("nan")


def evaluate_analogies(
    table: VectorTable,
    sections: Sequence[AnalogySection],
    *,
    restrict: int = RESTRICT,
    case_insensitive: bool = True,
    progress: Progress = SILENT,
) -> list[AnalogyReport]:
    """Answer the questions of each section.

    Args:
        restrict: only the first `restrict` words of the table are used.

    Raises:
        UserError: no question has vectors for all four words.
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
        for section, questions in zip(sections, known, strict=True):
            n_correct = 0
            for start in range(0, len(questions), QUERIES_AT_ONCE):
                part = questions[start : start + QUERIES_AT_ONCE]
                n_correct += solver.n_correct(part)
                bar.advance(len(part))
            n_all = len(section.questions)
            reports.append(AnalogyReport(section.name, n_all, n_all - len(questions), n_correct))
    return reports


def totals(reports: Sequence[AnalogyReport]) -> list[AnalogyReport]:
    """The total over all sections, preceded by those of semantic and syntactic ("gram...") ones if there are both."""
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
    """Answers questions whose words are given as `form`s, which are in upper case if case is ignored."""

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
        """Collect the rows of all case variants of the questions' words, to exclude them from the answers."""
        self._variants = {form: [] for question in questions for form in question}
        for row, word in enumerate(self._index.table.words):
            rows = self._variants.get(self.form(word))
            if rows is not None:
                rows.append(row)

    def n_correct(self, questions: Sequence[Question]) -> int:
        a, b, c = (self._units([question[position] for question in questions]) for position in range(3))
        excluded = [[row for form in question[:3] for row in self._variants[form]] for question in questions]
        answers, _ = self._index.search(b - a + c, 1, excluded)
        words = [self._index.table.words[row] if row >= 0 else None for row in answers[:, 0].tolist()]
        return sum(
            word is not None and self.form(word) == question[3]
            for word, question in zip(words, questions, strict=True)
        )

    def _units(self, forms: Sequence[str]) -> Floats:
        """The unit vectors (n, D) of n words."""
        rows = [self._rows[form] for form in forms]
        units = self._index.table.matrix[rows].astype(np.float64) / self._index.norms[rows][:, None]
        return np.asarray(units, np.float64)
