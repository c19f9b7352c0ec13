"""What a run prepares from its text: whole after a kill, made again where it is damaged, the same bits in the end."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands.toy import plain_documents, write_corpus
from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError
from unfreeze.folders import load_tensors
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining import elmo_settings
from unfreeze.pretraining.elmo import pretrain_elmo
from unfreeze.pretraining.ngram import pretrain_ngram
from unfreeze.pretraining.settings import NgramSettings
from unfreeze.pretraining.unlabeled import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    write_corpus(tmp_path / "plain.txt", plain_documents(120, seed=4))
    return Corpus(paths=[tmp_path / "plain.txt"])


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def pretrain(corpus: Corpus, output: Path) -> dict[str, torch.Tensor]:
    settings = replace(elmo_settings.tiny(), batch_size=8, bptt=40)
    pretrain_elmo(corpus, settings, output=output, precision="fp32")
    return load_tensors(output / "model.safetensors")


def test_a_finished_encoder_is_no_finished_language_model(corpus: Corpus, tmp_path: Path) -> None:
    def run(*, without_output: bool, overwrite: bool = False) -> object:
        settings = replace(elmo_settings.tiny(), batch_size=8, bptt=40)
        options = {"output": tmp_path / "out", "precision": "fp32", "overwrite": overwrite}
        return pretrain_elmo(corpus, settings, without_output=without_output, **options)[0]  # type: ignore[misc]

    assert isinstance(run(without_output=True), Elmo)
    with pytest.raises(UserError, match="belongs to another run .without_output=True there"):
        run(without_output=False)
    assert isinstance(run(without_output=False, overwrite=True), BiLanguageModel)
    assert isinstance(run(without_output=True), Elmo), "the language model has an encoder"


@pytest.mark.parametrize("last", ["tokenizer.json", "counts.json"])
def test_killed_between_the_files_of_a_tokenizer_it_is_made_again(
    last: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, move = pretrain(corpus, tmp_path / "whole"), os.replace

    def dies(source: Any, target: Any) -> None:
        if Path(target).name == last and Path(target).parent.name == "training":
            raise Killed
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(Killed):
            pretrain(corpus, tmp_path / "killed")
    found = pretrain(corpus, tmp_path / "killed")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_words_that_lost_their_counts_are_counted_again(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise Killed

    expected = pretrain(corpus, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("unfreeze.pretraining.elmo._vocabulary", dies)
        with pytest.raises(Killed):
            pretrain(corpus, tmp_path / "killed")
    (tmp_path / "killed" / "training" / "counts.json").unlink()
    found = pretrain(corpus, tmp_path / "killed")
    assert "counts.json is missing" in caplog.text
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("file", "content"), [("tokens/shards.jsonl", ""), ("tokens/config.json", "{"), ("tokenizer.json", "[]")]
)
def test_what_is_damaged_is_made_again(
    file: str,
    content: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def count(output: Path) -> dict[str, Any]:
        return pretrain_ngram(corpus, NgramSettings(), output=output)[1]

    def dies(*_: object, **__: object) -> None:
        raise Killed

    expected = count(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("unfreeze.pretraining.ngram.NgramModel.fit", dies)
        with pytest.raises(Killed):
            count(tmp_path / "killed")
    (tmp_path / "killed" / "training" / file).write_text(content)
    caplog.clear()
    assert count(tmp_path / "killed") == expected
    assert "it is made again" in caplog.text


def test_a_corpus_without_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match="no text"):
        pretrain_ngram(Corpus(paths=[tmp_path / "empty.txt"]), NgramSettings(), output=tmp_path / "out")
