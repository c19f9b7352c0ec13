"""Model cards describe the run, even if its values contain characters of Markdown, and their Python runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.registry import find_model
from unfreeze.training.cards import ENCODER_SNIPPET, LANGUAGE_MODEL_SNIPPET, VECTORS_SNIPPET, write_card
from unfreeze.vectors.table import VectorTable


def test_a_card_holds_facts_figures_and_a_snippet(tmp_path: Path) -> None:
    write_card(
        tmp_path,
        title="Classifier",
        facts={"command": "unfreeze fit a|b\nc", "examples": 100},
        metrics={"accuracy": 0.123456789, "step": 7},
        snippet="\nprint(1)\n",
        license="CC BY-SA",
    )
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"accuracy": 0.123456789, "step": 7}
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# Classifier\n")
    for row in [
        "| command | unfreeze fit a\\|b c |",
        "| examples | 100 |",
        "| accuracy | 0.123457 |",
        "| license | CC BY-SA |",
    ]:
        assert row in card.splitlines()
    assert "```python\nprint(1)\n```\n" in card


def test_the_snippets_run_in_the_folders_that_they_are_written_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = VectorTable(["river", "bank"], np.eye(2, 3, dtype=np.float32))
    WordVectors.from_table(table).save_pretrained(tmp_path / "vectors")
    for place, snippet, printed in (
        (find_model("wiki-small"), ENCODER_SNIPPET, "(1, "),
        (find_model("wiki-lm"), LANGUAGE_MODEL_SNIPPET, "forward "),
        (tmp_path / "vectors", VECTORS_SNIPPET, "2 3 ['river', 'bank']"),
    ):
        monkeypatch.chdir(place)
        exec(snippet, {})  # noqa: S102  (our own card)
        assert capsys.readouterr().out.startswith(printed)
