"""Lines that begin with labels, told from plain text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unfreeze.errors import UserError
from unfreeze.text.examples import read_examples


def plain_text(folder: Path, n_lines: int) -> Path:
    """A file of lines of words that are as frequent as in a language."""
    ranks = np.minimum(np.random.default_rng(0).zipf(1.5, (n_lines, 6)), 10**6)
    path = folder / "plain.txt"
    path.write_text("".join(" ".join(f"w{rank}" for rank in line) + "\n" for line in ranks))
    return path


@pytest.mark.parametrize("n_lines", [120, 300, 3000])
def test_the_first_words_of_plain_text_are_not_taken_for_labels(tmp_path: Path, n_lines: int) -> None:
    path = plain_text(tmp_path, n_lines)
    with pytest.raises(
        UserError,
        match=r"plain.txt: [\d,]+ of [\d,]+ labels occur in a single example.*label_separator='space'",
    ):
        read_examples(path)
    assert len(read_examples(path, label_separator="space")) == n_lines


@pytest.mark.parametrize(("n_labels", "n_of_each"), [(20, 2), (150, 2), (3, 1), (40, 10)])
def test_lines_of_labels_are_read(tmp_path: Path, n_labels: int, n_of_each: int) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"label{n % n_labels} a text of it\n" for n in range(n_labels * n_of_each)))
    assert len(read_examples(path).label_names) == n_labels


def test_a_few_labels_of_single_examples_among_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    names = [*(f"rare{n}" for n in range(14)), *(f"usual{n % 15}" for n in range(60))]
    path.write_text("".join(f"{name} a text of it\n" for name in names))
    assert len(read_examples(path).label_names) == 29
