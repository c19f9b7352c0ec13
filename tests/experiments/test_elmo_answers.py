"""Questions with the context of another article."""

from __future__ import annotations

from dataclasses import replace

from experiments.elmo_answers import mismatched
from tests.tasks.test_answering import made_questions


def test_pairs_that_do_not_belong_together_are_of_other_articles() -> None:
    questions = made_questions(20).examples
    others = {(each.context, each.title) for each in questions}
    for each in mismatched(questions, 0):
        assert any((each.context, title) in others for title in {"odd", "even"} - {each.title})
        assert each.answers == ()
    assert mismatched([replace(each, title="one") for each in questions], 0) == []
