"""`fit answerer`, and what predict and evaluate do with one, as a user calls them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands.calls import fail, succeed
from tests.tasks.test_answering import made_questions
from unfreeze.text.questions import Answer, Question, QuestionSet


def written(path: Path, questions: QuestionSet) -> Path:
    articles = [
        {
            "title": each.title,
            "paragraphs": [
                {
                    "context": each.context,
                    "qas": [
                        {
                            "id": each.id,
                            "question": each.question,
                            "answers": [{"text": a.text, "answer_start": a.start} for a in each.answers],
                        }
                    ],
                }
            ],
        }
        for each in questions.examples
    ]
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    written(folder / "train.json", made_questions(96))
    written(folder / "dev.json", made_questions(24, seed=1))
    return folder


@pytest.fixture(scope="module")
def answerer(data: Path) -> Path:
    (values,) = succeed(
        "fit", "answerer", "--train", data / "train.json", "--validation", data / "dev.json", "--encoder", "none",
        "--hidden-size", 16, "--characters", 8, "--learning-rate", 0.01, "--batch-size", 16, "--epochs", 25,
        "--precision", "fp32", "--output", data / "a", "--json",
    ).rows  # fmt: skip
    assert values["f1"] > 0.7 and values["questions"] == 96
    return data / "a"


def test_measured(answerer: Path, data: Path) -> None:
    (values,) = succeed("evaluate", answerer, data / "dev.json", "--json").rows
    assert values["f1"] > 0.7 and values["n_questions"] == 24
    assert "exact match" in succeed("evaluate", answerer, data / "dev.json").out


def test_answered_in_every_format(answerer: Path, data: Path, tmp_path: Path) -> None:
    context = "Yesterday Kurt likes <b> Ada ."
    (found,) = succeed("predict", answerer, "Who likes Ada?", "--context", context, "--top", 2, "--json").rows
    assert len(found["answers"]) == 2 and 0 <= found["no_answer"] <= 1
    for each in found["answers"]:
        assert context[each["start"] : each["end"]] == each["answer"]
    assert "no answer" in succeed("predict", answerer, "Who likes Ada?", "--context", context).out
    line = ["predict", answerer, "--file", data / "dev.json", "--output", tmp_path / "a.jsonl"]
    succeed(*line)
    assert "a.jsonl exists: take another name, or add --overwrite" in fail(*line)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 24 and lines[0]["id"] == "0"
    succeed("predict", answerer, "Who likes Ada?", "--context", context, "--output", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("<mark") == 1 and "&lt;b&gt;" in page and "Who likes Ada?" in page


def test_a_context_of_200_000_words(answerer: Path) -> None:
    context = "nothing here . " * 66_000 + "Yesterday Kurt likes Ada . " * 400
    (found,) = succeed("predict", answerer, "Who likes Ada?", "--context", context, "--top", 5, "--json").rows
    for each in found["answers"]:
        assert context[each["start"] : each["end"]] == each["answer"]
    scores = [each["score"] for each in found["answers"]]
    assert (
        len(scores) == 5
        and scores == sorted(scores, reverse=True)
        and sum(scores) + found["no_answer"] <= 1.0
    )


def test_mistakes_are_one_line(answerer: Path, data: Path, tmp_path: Path) -> None:
    asked = ["fit", "answerer", "--encoder", "none", "--output", tmp_path / "o", "--train"]
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    assert "broken.json:1:2: not JSON" in fail(*asked, broken)
    broken.write_text('{"data": []}', encoding="utf-8")
    assert "holds no question" in fail(*asked, broken)
    assert "holds 96 questions, not 97" in fail(*asked, data / "train.json", "--labels", 97)
    assert "needs a text: add --context" in fail("predict", answerer, "Who?")
    said = fail("predict", answerer, "Who?", " ", "--context", "a text")
    assert "question 2 of the command line is empty: write what is asked" in said
    asked = ["predict", answerer, "Who?", "--context", "a", "--text-column", "b"]
    kinds = "classifiers, taggers of raw text and taggers of split words"
    assert f"--text-column is for {kinds}, not for answerers" in fail(*asked)
    asked = ["predict", answerer, "Who?", "--context", "a"]
    assert (
        "--no-header is for classifiers, image classifiers, taggers of raw text and locators, not for answerers"
        in fail(*asked, "--no-header")
    )
    assert "--probabilities is for classifiers and image classifiers, not for answerers" in fail(
        *asked, "--probabilities"
    )
    assert "--tokenized is for taggers of split words, not for answerers" in fail(*asked, "--tokenized")
    assert "not from both" in fail("predict", answerer, "Who?", "--file", data / "dev.json")
    for name in ("a.csv", "a"):
        asked = ["predict", answerer, "Who?", "--context", "a", "--output", tmp_path / name]
        assert "end in .jsonl or .html" in fail(*asked)
    assert "is a question answerer" in fail("generate", answerer, "a")


def test_no_question_with_a_sure_answer_is_said(tmp_path: Path) -> None:
    twice = Question("1", "Who?", "Ada and Ada", (Answer("Ada", 0, sure=False),))
    train = written(tmp_path / "train.json", QuestionSet([twice], "made"))
    said = fail(
        "fit", "answerer", "--train", train, "--sure", "--encoder", "none", "--output", tmp_path / "a"
    )
    assert f"{train}: no question has an answer that occurs only once in its context" in said


def test_questions_without_answers_are_not_measured(answerer: Path, data: Path, tmp_path: Path) -> None:
    known = made_questions(4)
    bare = written(
        tmp_path / "bare.json", QuestionSet([replace(each, answers=()) for each in known.examples], "made")
    )
    assert "none of its questions (4) has an answer" in fail("evaluate", answerer, bare)
    assert len(succeed("predict", answerer, "--file", bare, "--json").rows) == 4
    first = known.examples[0]
    start = first.answers[0].start + 1
    moved = replace(first, answers=(first.answers[0]._replace(start=start),))
    wrong = written(tmp_path / "wrong.json", QuestionSet([moved], "made"))
    outcome = succeed("evaluate", answerer, wrong)
    assert "--no-mend-starts refuses them" in outcome.err
    assert f"is not at its answer_start {start}" in fail("evaluate", answerer, wrong, "--no-mend-starts")


@pytest.mark.parametrize("option", ["--unknown-labels wrong", "--comments skip", "--header", "--worst 3"])
def test_options_that_evaluate_has_for_other_models(answerer: Path, data: Path, option: str) -> None:
    said = fail("evaluate", answerer, data / "dev.json", *option.split())
    assert f"{option.split()[0]} is for " in said and said.endswith(", not for answerers\n")


def test_questions_of_standard_input_are_in_the_encoding_named(
    answerer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = io.BytesIO("Who likes André?\n".encode("latin-1"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(typed)))
    asked = ["predict", answerer, "-", "--context", "Ada likes André.", "--encoding", "latin-1", "--json"]
    assert [row["question"] for row in succeed(*asked).rows] == ["Who likes André?"]


def test_a_rate_is_found(data: Path) -> None:
    asked = ["find-rate", "--task", "answerer", "--train", data / "train.json", "--encoder", "none"]
    (found,) = succeed(*asked, "--low", 1e-4, "--high", 1, "--steps", 25, "--json").rows
    for option in ("--text-column a", "--label-column 2", "--scheme bio", "--header", "--skip-unlabeled"):
        assert f"{option.split()[0]} is for --" in (said := fail(*asked, *option.split()))
        assert ", not for --task answerer;" in said
    assert 1e-4 <= found["suggestion"] <= 1 and found["losses"][0] > min(found["losses"])
