"""Model cards say what the run was, also where its words hold Markdown's own signs."""

from __future__ import annotations

import json
from pathlib import Path

from unfreeze.training.cards import write_card


def test_a_card_holds_facts_figures_and_a_snippet(tmp_path: Path) -> None:
    write_card(
        tmp_path,
        title="Classifier",
        facts={"command": "unfreeze fit a|b\nc", "examples": 100},
        metrics={"accuracy": 0.123456789, "step": 7},
        snippet="\nprint(1)\n",
        licence="CC BY-SA",
    )
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"accuracy": 0.123456789, "step": 7}
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# Classifier\n")
    for row in [
        "| command | unfreeze fit a\\|b c |",
        "| examples | 100 |",
        "| accuracy | 0.123457 |",
        "| licence | CC BY-SA |",
    ]:
        assert row in card.splitlines()
    assert "```python\nprint(1)\n```\n" in card
