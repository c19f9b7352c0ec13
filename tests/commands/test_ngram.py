"""`pretrain ngram` and the verbs that take its model, in this process: what they print, write, and how they fail."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import plain_documents, reviews, write_corpus, write_table

FIGURES = {"loss", "perplexity", "bits_per_byte", "n_tokens", "unknown_share"}


@dataclass(frozen=True)
class World:
    """What the tests share and never change."""

    corpus: Path
    held_out: Path
    train: Path
    model: Path
    printed: dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("ngram")
    corpus = write_corpus(root / "plain.txt", plain_documents(200, seed=1))
    held_out = write_corpus(root / "held-out.txt", [*plain_documents(20, seed=2), "A wombat sat there."])
    train = write_table(root / "train.csv", reviews(12, seed=1))
    line = ["pretrain", "ngram", "--corpus", corpus, "--validation", held_out, "--output", root / "model"]
    printed = succeed(*line, "--order", 3, "--json").rows[0]
    yield World(corpus, held_out, train, root / "model", printed)


def test_it_says_its_figures_and_writes_a_whole_folder(world: World) -> None:
    assert set(world.printed) == {"output", "training_tokens", "vocabulary", "ngrams"} | FIGURES
    saved = {path.name for path in world.model.iterdir()}
    assert saved == {
        *("config.json", "model.safetensors", "tokenizer.json", "counts.json"),
        *("metrics.json", "README.md", "training"),
    }
    config = json.loads((world.model / "config.json").read_text())
    assert (config["kind"], config["order"], len(config["discounts"])) == ("ngram", 3, 3)
    card = (world.model / "README.md").read_text()
    assert "Kneser-Ney" in card and "plain.txt" in card and "3-grams" in card
    assert json.loads((world.model / "metrics.json").read_text()) == {
        name: value for name, value in world.printed.items() if name != "output"
    }


def test_the_cards_snippet_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (world.model / "README.md").read_text()
    monkeypatch.chdir(world.model)
    exec(card.split("```python\n")[1].split("```")[0], {})  # noqa: S102  (our own card)
    assert capsys.readouterr().out.startswith("forward ")


def test_evaluate_gives_the_figures_of_a_language_model(world: World) -> None:
    found = succeed("evaluate", world.model, world.held_out, "--json").rows[0]
    assert set(found) == {"documents"} | FIGURES and found["documents"] == 21
    assert {name: found[name] for name in FIGURES} == {name: world.printed[name] for name in FIGURES}
    shown = succeed("evaluate", world.model, world.held_out).out
    assert shown.startswith(f"perplexity {found['perplexity']:.2f} (") and "bits per byte" in shown
    assert found["unknown_share"] > 0
    assert "language model" in fail("evaluate", world.model, world.held_out, "--plot", "x.png")


def test_score_gives_each_token_and_adds_up(world: World) -> None:
    text = "The river is near the wombat."
    found = succeed("score", world.model, text, "Near is.", "--json").rows
    for row in found:
        values = [token["log_probability"] for token in row["forward"]["tokens"]]
        assert row["forward"]["log_probability"] == pytest.approx(sum(values))
        assert row["forward"]["perplexity"] == pytest.approx(math.exp(-sum(values) / len(values)))
    tokens = [token["token"] for token in found[0]["forward"]["tokens"]]
    assert tokens == "xxmaj the river is near the xxunk .".split()
    assert succeed("score", world.model, text).out.startswith("forward -")
    assert succeed("score", world.model, "", "--json").rows[0]["forward"]["perplexity"] is None


def test_generate_goes_on_from_the_prompt(world: World) -> None:
    line = ["generate", world.model, "The river", "--tokens", 12, "--seed", 3, "--top-k", 5]
    shown = succeed(*line)
    assert shown.out == succeed(*line, "--json").rows[0]["text"] + "\n"
    assert shown.out.startswith("The river") and len(shown.out) > 20
    assert succeed("generate", world.model, "--tokens", 4, "--temperature", 0).out.strip()
    assert "temperature must be at least 0, not -1" in fail(
        "generate", world.model, "The", "--temperature", -1
    )


def test_the_same_command_again_is_complete_and_another_needs_overwrite(world: World, tmp_path: Path) -> None:
    line = ["pretrain", "ngram", "--corpus", world.corpus, "--output", tmp_path / "model", "--order"]
    first = succeed(*line, 2, "--json")
    again = succeed(*line, 2, "--json")
    assert again.rows == first.rows and "complete already" in again.err
    assert "--order 2 there, 4 here" in fail(*line, 4)
    assert "unknown encoding 'utf-9'" in fail(*line, 4, "--encoding", "utf-9")
    more = succeed(*line, 4, "--overwrite", "--json").rows[0]
    assert more["ngrams"] > first.rows[0]["ngrams"]
    assert more["perplexity"] < first.rows[0]["perplexity"]


def test_subwords_and_a_corpus_too_small_to_hold_out(world: World, tmp_path: Path) -> None:
    line = ["pretrain", "ngram", "--corpus", world.corpus, "--tokenizer", "subword", "--vocabulary-size", 80]
    succeed(*line, "--output", tmp_path / "pieces")
    tokens = succeed("score", tmp_path / "pieces", "The river", "--json").rows[0]["forward"]["tokens"]
    assert "".join(token["token"] for token in tokens) == "▁The▁river"
    few = write_corpus(tmp_path / "few.txt", plain_documents(3, seed=5))
    line = ["pretrain", "ngram", "--corpus", few, "--min-count", 1, "--order", 6]
    found = succeed(*line, "--output", tmp_path / "few", "--json").rows[0]
    assert set(found) == {"output", "training_tokens", "vocabulary", "ngrams"}
    assert math.isfinite(succeed("evaluate", tmp_path / "few", world.held_out, "--json").rows[0]["loss"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--order 0", "--order must be from 1 to 6, not 0"),
        ("--order 7", "--order must be from 1 to 6, not 7"),
        ("--min-count 0", "--min-count must be above 0"),
        ("--vocabulary-size -1", "--vocabulary-size must be above 0"),
        ("--vocabulary-size 3", "no room for words"),
        ("--min-count 100000", "no word of the corpus occurs 100000 times"),
        ("--corpus {empty}", "empty"),
        ("--corpus {missing}", "missing.txt"),
        ("--corpus {one} --min-count 1", "at least 2 are needed"),
        ("--output {one}", "is a file"),
    ],
)
def test_a_mistake_is_one_line(options: str, said: str, world: World, tmp_path: Path) -> None:
    places = {name: tmp_path / f"{name}.txt" for name in ("empty", "missing", "one")}
    places["empty"].touch()
    places["one"].write_text("bank\n")
    line = ["pretrain", "ngram", "--corpus", world.corpus, "--output", tmp_path / "new"]
    for name, value in zip(options.split()[::2], options.split()[1::2], strict=True):
        value = value.format(**places)
        if name in line:
            line[line.index(name) + 1] = value
        else:
            line += [name, value]
    assert said in fail(*line)
    assert not (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_model_is_named(name: str, damage: str, world: World, tmp_path: Path) -> None:
    shutil.copytree(world.model, tmp_path / "model")
    file = tmp_path / "model" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for line in (
        ["score", file.parent, "a"],
        ["evaluate", file.parent, world.held_out],
        ["generate", file.parent],
    ):
        said = fail(*line)
        assert name in said and ("missing" in said or "damaged" in said or "holds no" in said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fill {model} ___", "is an n-gram model; fill needs a model of `unfreeze pretrain lm`"),
        ("predict {model} text", "is an n-gram model; predict needs a classifier"),
        (
            "adapt {model} --corpus {corpus} --output {new}",
            "is an n-gram model; adapt needs a model of `unfreeze pretrain lm`, `pretrain elmo` or `pretrain word2vec`",
        ),
        ("fit classifier --train {train} --encoder {model} --output {new}", "is an n-gram model"),
    ],
)
def test_verbs_that_need_another_model_say_so(line: str, said: str, world: World, tmp_path: Path) -> None:
    places = {"model": world.model, "corpus": world.corpus, "train": world.train, "new": tmp_path / "new"}
    assert said in fail(*(word.format(**places) for word in line.split()))
