"""A new rung is one file and one line in the registry: every task and verb takes this toy encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.commands.calls import succeed
from unfreeze.encoders.text_encoder import TextBatch, TextEncoder
from unfreeze.errors import UserError
from unfreeze.registry import ENCODERS
from unfreeze.tasks.plans import ClassifierPlan, plan
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer

NAMES, VERBS, HOW = "Ada Kurt Rosa".split(), "walks talks falls".split(), "slowly happily sadly".split()
TEXTS = [f"{name} {verb} {how}" for name in NAMES for verb in VERBS for how in HOW]


class ToyEncoder(TextEncoder):
    """One layer: a vector of the piece, plus a little of the vector of the piece before."""

    kind = "toy"
    widths = [6]

    def __init__(self, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.processor, self.table = tokenizer, nn.Embedding(len(tokenizer), 6)

    def layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        x = self.table(batch.ids)
        return [x[:, 1:] + 0.2 * x[:, :-1]], torch.arange(1, x.shape[1]) < batch.lengths[:, None]


def test_every_task_and_verb_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "toy", f"{__name__}:ToyEncoder")
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    ToyEncoder(train_tokenizer(TEXTS, min_count=1, workers=1)).save_pretrained("toy")
    answers = [{"text": text.split()[0], "answer_start": 0} for text in TEXTS]
    asked = [{"id": each, "question": "Who?", "answers": [a]} for each, a in zip(TEXTS, answers, strict=True)]
    paragraphs = [{"context": each["id"], "qas": [each]} for each in asked]
    Path("texts.txt").write_text("\n".join(TEXTS))
    Path("labeled.txt").write_text("".join(f"{text.split()[2]}\t{text}\n" for text in TEXTS))
    Path("tagged.conll").write_text("".join("{} B-A\n{} O\n{} O\n\n".format(*t.split()) for t in TEXTS))
    Path("asked.json").write_text(json.dumps({"data": [{"title": "toy", "paragraphs": paragraphs}]}))
    data = {"classifier": "labeled.txt", "tagger": "tagged.conll", "answerer": "asked.json"}
    for (task, file), metric in zip(data.items(), ("accuracy", "f1", "f1"), strict=True):
        succeed("fit", task, "--train", file, "--encoder", "toy", "--epochs", 15, "--output", task)
        assert succeed("evaluate", task, file, "--json").rows[0][metric] > 0.9
    (row,) = succeed("embed", "toy", "texts.txt", "--pool", "mean", "--output", "t.npz", "--json").rows
    assert (row["rows"], row["layers"], row["width"]) == (len(TEXTS), 1, 6)
    asking = ("neighbors", "toy", "walks", "--sentence", "Ada walks slowly", "--corpus", "texts.txt")
    nearest = succeed(*asking, "--json").rows[0]["occurrences"][:2]
    assert {each["sentence"] for each in nearest} == {"Ada walks happily", "Ada walks sadly"}


def test_an_encoder_says_how_it_is_usually_read_and_transferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "toy", f"{__name__}:ToyEncoder")
    toy = ToyEncoder(train_tokenizer(TEXTS, min_count=1, workers=1))
    toy.save_pretrained(tmp_path)
    settings = ClassifierSettings(encoder=tmp_path)
    chosen = plan(ClassifierPlan, settings)
    assert (chosen.chosen_body, chosen.mode) == ("pooling", "fine-tune")
    monkeypatch.setattr(ToyEncoder, "usual_transfer", "frozen")
    assert plan(ClassifierPlan, settings).mode == "frozen" and chosen.has_fixed_features
    monkeypatch.setattr(ToyEncoder, "is_pooled", False)
    assert plan(ClassifierPlan, settings).chosen_body == "bilstm"
    with pytest.raises(UserError, match="is of kind toy, whose layers take body='bilstm'"):
        plan(ClassifierPlan, replace(settings, body="pooling"))
    monkeypatch.setattr(ToyEncoder, "usual_layers", "bottom+top")
    assert WordInputs(toy).layers == "bottom+top"
