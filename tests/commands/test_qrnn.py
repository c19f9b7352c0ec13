"""A language model of QRNNs from unlabeled text to every verb that takes it, in this process, at toy size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands.calls import succeed
from tests.commands.toy import BAD, GOOD, PLACES, plain_documents, reviews, write_corpus, write_table
from tests.language_models.numpy_language_model import NumpyLanguageModel
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel

SIZES = "--preset tiny --embedding-size 24 --hidden-size 32 --direction both --softmax full"
CELL = "--cell qrnn --windows 2 2 --zoneout 0.1"
BOUNDS = "--batch-size 8 --learning-rate 0.02 --precision fp32"
FIT = "--pooling top+vectors --epochs 10 --batch-size 8 --learning-rate 0.02 --precision fp32"
TEXT = "The film was very dull."


def arguments_of(folder: Path) -> dict[str, Any]:
    """What the encoder of a saved model is made with."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = config.get("encoder", config)["arguments"]
    return found


def test_from_text_to_every_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    texts = [text for text, _ in reviews(120, seed=3)]
    corpus = write_corpus(tmp_path / "reviews.txt", texts)
    plain = write_corpus(tmp_path / "plain.txt", plain_documents(150, seed=4) + texts[:30])
    train = write_table(tmp_path / "train.csv", reviews(80, seed=1))
    test = write_table(tmp_path / "test.csv", reviews(40, seed=2))
    general, lm = tmp_path / "general", tmp_path / "lm"

    line = f"pretrain lm {SIZES} {CELL} --epochs 2 --bptt 20 {BOUNDS} --output {general} --corpus"
    succeed(*line.split(), plain)
    saved = arguments_of(general)
    assert (saved["cell"], saved["windows"], saved["zoneout"]) == ("qrnn", [2, 2], 0.1)
    line = f"adapt {general} --epochs 3 --bptt 20 --min-count 1 {BOUNDS} --output {lm} --corpus"
    succeed(*line.split(), corpus)
    assert arguments_of(lm) == saved
    before, after = (succeed("evaluate", model, corpus, "--json").rows[0] for model in (general, lm))
    assert after["bits_per_byte"] < before["bits_per_byte"]

    scores = succeed("score", lm, "--file", corpus, "--no-tokens", "--json").rows
    total = sum(score[name]["log_probability"] for score in scores for name in ("forward", "backward")) / 2
    assert after["loss"] == pytest.approx(-total / after["n_tokens"], rel=1e-4)
    row, oracle = succeed("score", lm, TEXT, "--json").rows[0], NumpyLanguageModel(lm)
    ids = AwdLstmLanguageModel.from_pretrained(lm).tokenizer.encode(TEXT).ids
    for name in ("forward", "backward"):
        found = [token["log_probability"] for token in row[name]["tokens"]]
        assert found == pytest.approx(oracle.token_log_probabilities(name, ids), abs=1e-4)

    asked = ["fill", lm, "The film was very ___.", "--candidates", *GOOD, *BAD, *PLACES, "--json"]
    ranked = [word["word"] for word in succeed(*asked).rows[0]["words"]]
    assert set(ranked[:12]) == {*GOOD, *BAD} and set(ranked[12:]) == set(PLACES)
    asked = ["generate", lm, "The film", "--tokens", 12, "--no-stop-at-document-end", "--temperature", 0]
    written = succeed(*asked).out
    assert written.startswith("The film was ") and succeed(*asked, "--seed", 5).out == written

    for transfer in ("frozen", "fine-tune"):
        model = tmp_path / transfer
        line = f"fit classifier --encoder {lm} --transfer {transfer} {FIT} --output {model} --json"
        fitted = succeed(*line.split(), "--train", train, "--validation", test).rows[0]
        assert arguments_of(model) == saved and fitted["accuracy"] >= 0.9
        report = succeed("evaluate", model, test, "--json").rows[0]
        together = succeed("predict", model, "--file", test, "--json").rows
        right = sum(row["label"] == label for row, (_, label) in zip(together, reviews(40, 2), strict=True))
        assert report["accuracy"] == fitted["accuracy"] == pytest.approx(right / 40)
        alone = succeed("predict", model, together[0]["text"], "--json").rows[0]
        assert alone["label"] == together[0]["label"]
        assert alone["score"] == pytest.approx(together[0]["score"], abs=1e-5)

    lines = write_corpus(tmp_path / "lines.txt", [TEXT, "", "The film was so dull."])
    target = tmp_path / "vectors.npz"
    values = succeed("embed", lm, lines, "--output", target, "--layers", -1, "--json").rows[0]
    assert (values["lines"], values["rows"], values["width"]) == (3, 12, 2 * 24)
    with np.load(target) as file:
        assert file["offsets"].tolist() == [0, 6, 6, 12]
    nearest = succeed("neighbors", lm, "film", "-k", 3, "--json").rows[0]["neighbors"]
    assert len({each["word"] for each in nearest} - {"film"}) == 3
    asked = ["neighbors", lm, "film", "--sentence", TEXT, "--corpus", corpus, "-k", 4, "--json"]
    occurrences = succeed(*asked).rows[0]["occurrences"]
    assert [each["word"].lower() for each in occurrences] == ["film"] * 4
