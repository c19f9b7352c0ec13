"""Question answering: attention against its equations, spans against enumeration, windows, scores, reading files, fitting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from tests.language_models.models import random_model, word_tokenizer
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.attention_flow import AttentionFlow
from unfreeze.errors import UserError
from unfreeze.tasks.answering import (
    LONGEST_ANSWER,
    AnsweringObjective,
    ReaderNetwork,
    answer_texts,
    best_spans,
    read_windows,
    windows_of,
)
from unfreeze.tasks.metrics import answer_f1, exact_match
from unfreeze.tasks.question_answerer import QuestionAnswerer, fit_answerer
from unfreeze.tasks.settings import AnswererSettings
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.questions import Answer, Question, QuestionSet, read_questions

SMALL: dict[str, Any] = {"encoder": "none", "hidden_size": 16, "characters": 8, "embedding_size": 16}
PEOPLE, VERBS = ["Ada", "Alan", "Grace", "Kurt"], ["likes", "sees", "helps"]


def made_questions(count: int, seed: int = 0) -> QuestionSet:
    """ "Who likes Ada?" about "Yesterday Kurt likes Ada ."; two titles."""
    chosen = np.random.default_rng(seed)
    found = []
    for number in range(count):
        subject, other = chosen.choice(PEOPLE, 2, replace=False)
        verb = chosen.choice(VERBS)
        before = " ".join(["Yesterday"] * int(chosen.integers(0, 3)))
        context = f"{before} {subject} {verb} {other} .".strip()
        answer = Answer(str(subject), context.index(subject))
        found.append(
            Question(str(number), f"Who {verb} {other}?", context, (answer,), "even" if number % 2 else "odd")
        )
    return QuestionSet(found, "made")


def test_attention_is_the_papers_equations() -> None:
    torch.manual_seed(0)
    flow, size = AttentionFlow(5).double(), 5
    c, q = torch.randn(2, 4, size).double(), torch.randn(2, 3, size).double()
    c_lengths, q_lengths = [4, 2], [3, 1]
    masks = [
        torch.arange(n)[None] < torch.tensor(lengths)[:, None]
        for n, lengths in ((4, c_lengths), (3, q_lengths))
    ]
    found = flow(c, q, *masks)
    w = [p.detach().numpy() for p in (flow.of_context, flow.of_question, flow.of_product)]
    for row in range(2):
        x, y = c[row, : c_lengths[row]].numpy(), q[row, : q_lengths[row]].numpy()
        scores = np.array([[w[0] @ a + w[1] @ b + w[2] @ (a * b) for b in y] for a in x])
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        highest = np.exp(scores.max(1)) / np.exp(scores.max(1)).sum()
        of_question, of_context = shares @ y, np.tile(highest @ x, (len(x), 1))
        expected = np.concatenate([x, of_question, x * of_question, x * of_context], axis=1)
        np.testing.assert_allclose(found[row, : len(x)].detach().numpy(), expected, rtol=1e-6, atol=1e-6)


@given(st.integers(1, 25), st.integers(0, 50), st.integers(1, 4))
def test_best_spans_by_enumeration(n_words: int, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    begin, end = (np.log(random.dirichlet(np.ones(n_words + 1))).astype(np.float32) for _ in range(2))
    found, odds = best_spans(begin, end, count)
    every = sorted(
        (-(float(begin[a]) + float(end[b])), a, b)
        for a in range(n_words)
        for b in range(a, min(n_words, a + LONGEST_ANSWER))
    )
    nothing = float(begin[-1]) + float(end[-1])
    assert [(each.begin, each.end) for each in found] == [(a, b) for _, a, b in every[:count]]
    assert [each.margin for each in found] == pytest.approx([-cost - nothing for cost, _, _ in every[:count]])
    assert odds == pytest.approx(np.log(sum(np.exp(-cost) for cost, _, _ in every)) - nothing)


class Guesses(torch.nn.Module):
    """Scores as a reader gives them, drawn by a window's first place."""

    def forward(self, windows: Any) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(window.words) for window in windows)
        scores = torch.full((2, len(windows), longest + 1), -torch.inf)
        for row, window in enumerate(windows):
            places = [*range(len(window.words)), longest]
            scores[:, row, places] = self.of(window)
        return scores[0], scores[1]

    @staticmethod
    def of(window: Any) -> torch.Tensor:
        random = np.random.default_rng(window.words[0].start)
        return torch.tensor(random.normal(0, 3, (2, len(window.words) + 1)), dtype=torch.float32)


@settings(max_examples=12)
@given(n_words=st.sampled_from([1, 9, 400, 401, 650]), count=st.integers(1, 130))
def test_scores_of_all_windows_are_probabilities_that_fall(n_words: int, count: int) -> None:
    context = " ".join(f"w{number}" for number in range(n_words))
    questions = QuestionSet([Question("1", "what", context, ())], "made")
    (found,) = answer_texts(Guesses(), questions, count)  # type: ignore[arg-type]
    odds: dict[tuple[int, int], float] = {}
    for window in windows_of(questions.examples):
        begin, end = torch.softmax(Guesses.of(window).double(), dim=1).numpy()
        none = begin[-1] * end[-1]
        assert window.owned is not None
        for a in range(*window.owned):
            for b in range(a, min(len(window.words), a + LONGEST_ANSWER)):
                place = window.words[a].start, window.words[b].end
                assert place not in odds
                odds[place] = begin[a] * end[b] / none
    assert len(odds) == sum(min(LONGEST_ANSWER, n_words - a) for a in range(n_words))  # every place, once
    against = 1.0 + sum(odds.values())
    best = sorted(odds.values(), reverse=True)[:count]
    assert [score for *_, score in found.spans] == pytest.approx([each / against for each in best], rel=1e-3)
    assert found.nothing == pytest.approx(1 / against, rel=1e-3)
    if count >= len(odds):  # all that may happen
        assert sum(score for *_, score in found.spans) + found.nothing == pytest.approx(1.0)
    assert all(context[a:b] == text for text, a, b, _ in found.spans)


class Sure(Guesses):
    """A reader that knows the word w300."""

    @staticmethod
    def of(window: Any) -> torch.Tensor:
        scores = torch.zeros(2, len(window.words) + 1)
        known = [number for number, word in enumerate(window.words) if word.text == "w300"]
        scores[:, known[0] if known else -1] = 20.0
        return scores


def test_a_sure_answer_that_two_windows_show_is_sure() -> None:
    context = " ".join(f"w{number}" for number in range(600))
    (found,) = answer_texts(Sure(), QuestionSet([Question("1", "what", context, ())], "made"), 1)  # type: ignore[arg-type]
    assert found.spans[0][0] == "w300" and found.spans[0][3] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("said", "true", "exact", "share"),
    [
        ("The Cat.", ["a cat"], 1.0, 1.0),
        ("the big cat", ["cat", "big dog"], 0.0, 2 / 3),
        ("dog", ["cat"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("cat", [], 0.0, 0.0),
        ("10,000", ["10000"], 1.0, 1.0),
    ],
)
def test_scores_are_squads(said: str, true: list[str], exact: float, share: float) -> None:
    assert exact_match(said, true) == exact and answer_f1(said, true) == pytest.approx(share)


@settings(max_examples=40)
@given(st.integers(0, 60), st.integers(0, 59), st.integers(1, 6))
def test_windows_hold_every_word_and_the_answer(n_words: int, place: int, length: int) -> None:
    words = [f"w{number}" for number in range(n_words)]
    context = " ".join(words)
    answers: tuple[Answer, ...] = ()
    if place < n_words:
        text = " ".join(words[place : place + length])
        answers = (Answer(text, len(" ".join(words[:place])) + (place > 0)),)
    found = windows_of([Question("1", "what", context, answers)], longest=20, stride=10)
    covered = {word.start for window in found for word in window.words}
    assert len(covered) == n_words and all(len(window.words) <= 20 for window in found)
    spans = [(w, w.span) for w in found if w.span is not None]
    assert bool(spans) == bool(answers)
    for window, (first, last) in spans:
        assert context[window.words[first].start : window.words[last].end] == answers[0].text


@pytest.fixture(scope="module")
def answerer() -> QuestionAnswerer:
    options = AnswererSettings(
        **SMALL, epochs=30, learning_rate=0.01, batch_size=16, input_dropout=0.0, dropout=0.0
    )
    return fit_answerer(made_questions(120), options, precision="fp32")[0]


def test_it_learns_who_does_what(answerer: QuestionAnswerer) -> None:
    figures = answerer.evaluate(made_questions(60, seed=7))
    assert figures["exact_match"] > 0.9 and figures["n_questions"] == 60
    pairs = [("Who likes Ada?", "Yesterday Kurt likes Ada ."), ("Who likes Kurt?", "Ada likes Kurt .")]
    for (_, context), found in zip(pairs, answerer(pairs, count=3), strict=True):
        assert len(found["answers"]) == 3 and 0.0 <= found["no_answer"] <= 1.0
        scores = [each["score"] for each in found["answers"]]
        assert scores == sorted(scores, reverse=True)
        for each in found["answers"]:
            assert context[each["start"] : each["end"]] == each["answer"]
    assert answerer([("Who?", "")])[0] == {"answers": [], "no_answer": 1.0}
    with pytest.raises(UserError, match=r"^pairs\[0\]\[0\] is empty: write what is asked about the context$"):
        answerer([(" ", "Ada likes Kurt .")])
    with pytest.raises(UserError, match="pairs of question and context come in a list"):
        answerer(pairs[0])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="count is a number of answers, at least 1, not 0"):
        answerer(pairs, count=0)


@settings(max_examples=10)
@given(numbers=st.permutations(list(range(5))))
def test_a_question_does_not_depend_on_the_others(answerer: QuestionAnswerer, numbers: list[int]) -> None:
    windows = windows_of(made_questions(5, seed=3).examples)
    alone = [read_windows(answerer.network, [window], 2)[0] for window in windows]
    together = read_windows(answerer.network, [windows[number] for number in numbers], 2)
    for number, (found, odds) in zip(numbers, together, strict=True):
        assert [(each.begin, each.end) for each in found] == [
            (each.begin, each.end) for each in alone[number][0]
        ]
        assert [each.margin for each in found] == pytest.approx(
            [each.margin for each in alone[number][0]], abs=1e-4
        )
        assert odds == pytest.approx(alone[number][1], abs=1e-4)


def test_saved_and_loaded(answerer: QuestionAnswerer, tmp_path: Path) -> None:
    answerer.save_pretrained(tmp_path / "a")
    again = QuestionAnswerer.from_pretrained(tmp_path / "a")
    questions = made_questions(10, seed=4)
    for a, b in zip(answerer.answer(questions), again.answer(questions), strict=True):
        assert a["answers"][0]["answer"] == b["answers"][0]["answer"]
        assert a["answers"][0]["score"] == pytest.approx(b["answers"][0]["score"], abs=1e-6)


@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
def test_gradients_reach_all_that_learns(mix_at: Any) -> None:
    torch.manual_seed(0)
    words = WordInputs(small_elmo(), frozen=False, characters=4, mix_at=mix_at, tokenized=True)
    network = ReaderNetwork(words, hidden_size=4)
    groups = network.layer_groups()
    objective = AnsweringObjective(network, made_questions(16), batch_size=16)
    (batch, *_) = objective.batches(0, 0)
    assert any(window.span is None for window in batch)
    objective.loss(batch).total.backward()
    learned = {id(p) for group in groups for p in group}
    assert learned == {id(p) for p in network.parameters()}
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
@pytest.mark.parametrize("kind", ["elmo", "lm"])
def test_on_the_layers_of_an_encoder_frozen_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mix_at: Any
) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    encoder: Encoder = small_elmo() if kind == "elmo" else random_model(word_tokenizer(), "both", ()).encoder
    encoder.save_pretrained(tmp_path / "e")
    options: dict[str, Any] = {**SMALL, "encoder": str(tmp_path / "e"), "mix_at": mix_at, "epochs": 3}
    questions = made_questions(24)
    frozen, _ = fit_answerer(questions, AnswererSettings(**options), validation=questions, precision="fp32")
    before = encoder.weights()
    assert not changed_tensors(before, frozen) and (tmp_path / "cache").is_dir()
    assert set(frozen.layer_weights) == ({"input", "output"} if mix_at == "both" else {mix_at})
    moved, _ = fit_answerer(questions, AnswererSettings(**options, transfer="fine-tune"), precision="fp32")
    assert 0 < len(changed_tensors(before, moved)) < len(before)  # three epochs thaw the upper groups only
    at_once = AnswererSettings(**options, transfer="fine-tune", gradual=False)
    whole, _ = fit_answerer(questions, at_once, precision="fp32")
    assert len(changed_tensors(before, whole)) > len(changed_tensors(before, moved))
    moved.save_pretrained(tmp_path / "a")
    again = QuestionAnswerer.from_pretrained(tmp_path / "a")
    assert again.layer_weights == moved.layer_weights
    assert again.answer(questions, count=2) == moved.answer(questions, count=2)


def changed_tensors(before: dict[str, torch.Tensor], answerer: QuestionAnswerer) -> list[str]:
    encoder = answerer.network.words.encoder
    assert encoder is not None
    after = encoder.weights()
    return [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]


def squad(tmp_path: Path, **changes: Any) -> Path:
    each = {
        "id": "7",
        "question": "Who?",
        "answers": [{"text": "Ada", "answer_start": 0}],
        **changes.pop("qas", {}),
    }
    data = {
        "data": [{"title": "t", "paragraphs": [{"context": "Ada met Kurt and Kurt met Ada.", "qas": [each]}]}]
    }
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(data | changes), encoding="utf-8")
    return path


def test_files_are_read_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = read_questions(squad(tmp_path)).examples
    assert found.answers == (Answer("Ada", 0, False),) and found.title == "t"
    articles = json.loads(squad(tmp_path).read_text(encoding="utf-8"))["data"]
    (found,) = read_questions(squad(tmp_path, data=[{**articles[0], "title": None}])).examples
    assert found.title == ""
    answers = [{"text": "met Kurt", "answer_start": 20}]
    (found,) = read_questions(squad(tmp_path, qas={"answers": answers})).examples
    assert found.answers == (Answer("met Kurt", 4, True),) and "corrected (first: 7)" in caplog.text
    (found,) = read_questions(
        squad(tmp_path, qas={"answers": [{"text": "Kurt", "answer_start": 15}]})
    ).examples
    assert found.answers[0].start == 17 and "the nearest occurrence is used" in caplog.text
    (found,) = read_questions(squad(tmp_path, qas={"is_impossible": True})).examples
    assert found.answers == ()


@pytest.mark.parametrize(
    ("qas", "message"),
    [
        ({"question": " "}, "question 7 is empty"),
        (
            {"answers": [{"text": "Zoe", "answer_start": 0}]},
            "question 7: its answer 'Zoe' is not in its context",
        ),
        ({"answers": [{"text": " ", "answer_start": 0}]}, "question 7 has an empty answer"),
        (
            {"answers": [{"text": "Ada"}]},
            "question 7 is not in SQuAD's format (data, paragraphs, qas): 'answer_start' is missing",
        ),
        (
            {"answers": {"text": ["Ada"], "answer_start": [0]}},
            "question 7 is not in SQuAD's format: 'answers' is an object, not a list",
        ),
        ({"answers": ["Ada"]}, "an object with 'text' should be there"),
        ({"question": None}, "'question' is null, not a string"),
        (
            {"is_impossible": "false"},
            "question 7 is not in SQuAD's format: 'is_impossible' is 'false', not true or false",
        ),
        ({"is_impossible": 1}, "'is_impossible' is 1, not true or false"),
        ({"id": True}, "the 'id' of a question of article 't' is neither text nor a number"),
        ({"id": ["7"]}, "the 'id' of a question of article 't' is neither text nor a number"),
    ],
)
def test_mistakes_in_files(tmp_path: Path, qas: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_questions(squad(tmp_path, qas=qas))
    assert message in str(caught.value)
    with pytest.raises(UserError, match="not in SQuAD's format"):
        read_questions(squad(tmp_path, data=[{}]))


def test_wrong_starts_are_mended_to_the_nearest_place_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def read(start: Any, text: str = "anana", **options: Any) -> Answer:
        each = {"id": "7", "question": "What?", "answers": [{"text": text, "answer_start": start}]}
        paragraph = {"context": "ananana banana anana", "qas": [each]}
        path = squad(tmp_path, data=[{"title": "t", "paragraphs": [paragraph]}])
        (found,) = read_questions(path, **options).examples
        return found.answers[0]

    assert read(3) == Answer("anana", 2, False)
    assert (
        "1 wrong answer_starts belong to answers that occur several times; the nearest occurrence is used (first: 7)"
        in caplog.text
    )
    assert read(2) == Answer("anana", 2, False) and read(11).start == 9 and read(-1).start == 0
    with pytest.raises(UserError, match="not at its answer_start 1, and occurs equally near at 0 and at 2"):
        read(1)
    with pytest.raises(UserError, match="question 7: its answer 'anana' is not at its answer_start 3"):
        read(3, mend_starts=False)
    assert read(8, "banana", mend_starts=False) == Answer("banana", 8)
    with pytest.raises(
        UserError, match="question 7 is not in SQuAD's format: 'answer_start' is true, not a whole"
    ):
        read(True)


def test_questions_that_nothing_can_be_measured_on(answerer: QuestionAnswerer, tmp_path: Path) -> None:
    unanswered = read_questions(squad(tmp_path, qas={"answers": []}))
    with pytest.raises(UserError, match=r"none of its questions \(1\) has an answer to compare with"):
        answerer.evaluate(unanswered)
    with pytest.raises(UserError, match="has an answer to compare with"):
        fit_answerer(made_questions(8), AnswererSettings(**SMALL, epochs=1), validation=unanswered)
    impossible = read_questions(squad(tmp_path, qas={"answers": [], "is_impossible": True}))
    assert answerer.evaluate(impossible)["exact_match"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"data": [}', r"squad\.json:1:11: not JSON"),
        ("[" * 100_000, r"squad\.json: lists or objects are nested too deeply"),
        ('{"data": %s}' % ("9" * 5000), r"squad\.json: a number has more than 4,300 digits"),
    ],
)
def test_files_that_are_no_json(text: str, said: str, tmp_path: Path) -> None:
    path = squad(tmp_path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"{said}.*SQuAD's format"):
        read_questions(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": [1]}, "settings is a list, not an object"),
        ({"settings": {"inputs": {}}}, "lacks 'settings.body'"),
        ({"settings": {"inputs": {}, "body": 3}}, "settings.body is 3, not an object"),
        ({"body": {"hidden_size": 10**9}}, "cannot be made: Storage size"),
        ({"body": {"hidden_size": 7}}, "config.json wants"),
        ({"body": {"dropout": "x"}}, "dropout is 'x', not a number"),
        ({"inputs": {"characters": 10**9}}, "config.json wants [1000000000, "),
        ({"inputs": {"frozen": "no"}}, "frozen is 'no', not true or false"),
        ({"inputs": {"tokenizer": 1}}, "upgrade"),
        ({"word_vectors": "yes"}, "word_vectors is 'yes', not true or false"),
    ],
)
def test_a_config_that_cannot_be(
    answerer: QuestionAnswerer, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    answerer.save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    for part in ("inputs", "body"):
        config["settings"][part] |= changes.pop(part, {})
    path.write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError) as caught:
        QuestionAnswerer.from_pretrained(tmp_path / "a")
    assert said in str(caught.value) and str(tmp_path / "a") in str(caught.value)


def test_fit_measures_as_evaluate_does(answerer: QuestionAnswerer) -> None:
    questions = made_questions(30, seed=6)
    silent = [replace(each, question="Who helps Zoe?", answers=()) for each in questions.examples[:10]]
    both = replace(questions, examples=[*questions.examples[10:], *silent])
    objective = AnsweringObjective(answerer.network, questions, both)
    figures = objective.validate()
    assert {name: figures[name] for name in ("exact_match", "f1")} == {
        name: value for name, value in answerer.evaluate(both).items() if name != "n_questions"
    }


def test_questions_are_asked_without_answers(tmp_path: Path) -> None:
    each = {"id": "1", "question": "Who?"}
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "Ada.", "qas": [each]}]}]}), encoding="utf-8"
    )
    assert len(read_questions(path, answers=False)) == 1
    with pytest.raises(UserError, match="'answers' is missing"):
        read_questions(path)


def test_unrelated_questions_do_not_depend_on_the_processes() -> None:
    words = WordInputs(small_elmo(), tokenized=True)
    network, questions = ReaderNetwork(words, hidden_size=4), made_questions(40)
    (whole, *_) = AnsweringObjective(network, questions, batch_size=24).batches(0, 0)
    parts = [
        next(AnsweringObjective(network, questions, batch_size=24, rank=rank, world_size=2).batches(0, 0))
        for rank in (0, 1)
    ]
    assert whole[::2] == parts[0] and whole[1::2] == parts[1] and len(whole) > 24
