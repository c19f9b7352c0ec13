"""Training curves as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import plain_documents
from unfreeze.training.checkpoints import read_log

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_the_curves_are_those_of_the_log(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(plain_documents(200, 0)), encoding="utf-8")
    words = ["pretrain", "lm", "--corpus", corpus, "--preset", "tiny", "--epochs", 2, "--precision", "fp32"]
    succeed(*words, "--output", tmp_path / "model", "--tensorboard", tmp_path / "curves")

    curves = tensorboard.EventAccumulator(str(tmp_path / "curves")).Reload()
    log = read_log(tmp_path / "model")
    losses = curves.Scalars("held out/loss")
    assert [point.step for point in losses] == [record["step"] for record in log]
    assert [point.value for point in losses] == pytest.approx([record["loss"] for record in log])
    assert all(point.step % 10 == 0 for point in curves.Scalars("training/loss"))


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(plain_documents(50, 0)), encoding="utf-8")
    words = ["pretrain", "lm", "--corpus", corpus, "--preset", "tiny", "--output", tmp_path / "model"]
    assert f"{corpus} is a file: --tensorboard names a folder" in fail(*words, "--tensorboard", corpus)
    assert "cannot write" in fail(*words, "--tensorboard", corpus / "curves")
    assert not (tmp_path / "model").exists()
