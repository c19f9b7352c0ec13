"""ELMo on the command line: trained, adapted, measured, filled, embedded, moved to a task, out and in again; and its mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import plain_documents, reviews, write_corpus, write_table


@pytest.fixture(scope="module")
def elmo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elmo")
    corpus = write_corpus(folder / "texts.txt", plain_documents(60, 0))
    sizes = ["--projection-size", 16, "--hidden-size", 16, "--batch-size", 4, "--epochs", 2, "--min-count", 1]
    succeed("pretrain", "elmo", "--corpus", corpus, "--preset", "tiny", *sizes, "--output", folder / "elmo")
    return folder / "elmo"


def test_measured_scored_and_filled(elmo: Path, tmp_path: Path) -> None:
    held_out = write_corpus(tmp_path / "held.txt", plain_documents(5, 1))
    (figures,) = succeed("evaluate", elmo, held_out, "--json").rows
    assert figures["documents"] == 5 and figures["perplexity_forward"] > 1
    assert "forward" in succeed("evaluate", elmo, held_out).out
    (score,) = succeed("score", elmo, "The river is near.", "--json").rows
    assert set(score) == {"text", "forward", "backward"}
    (gap,) = succeed("fill", elmo, "The ___ is near the bank.", "--top", 3, "--json").rows
    assert [word["rank"] for word in gap["words"]] == [1, 2, 3]
    assert set(gap["words"][0]) == {"rank", "word", "forward", "backward", "both"}


@pytest.mark.parametrize("vocabulary", ["--new-vocabulary", "--no-new-vocabulary"])
def test_adapted_to_other_text(elmo: Path, tmp_path: Path, vocabulary: str) -> None:
    corpus = write_corpus(tmp_path / "texts.txt", (text for text, _ in reviews(80, 0)))
    output = tmp_path / "adapted"
    (figures,) = succeed(
        "adapt", elmo, "--corpus", corpus, vocabulary, "--min-count", 1, "--output", output, "--json"
    ).rows
    assert figures["perplexity"] > 1
    (gap,) = succeed("fill", output, "The ___ was dull.", "--json").rows
    known = {word["word"] for word in gap["words"]}
    assert known & {"river", "bank"} if vocabulary.startswith("--no") else not known & {"village"}


def test_embedded_and_searched(elmo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    lines = tmp_path / "lines.txt"
    lines.write_text("The river.\n\nA bank/harbor.\n", encoding="utf-8")
    (values,) = succeed(
        "embed", elmo, lines, "--output", tmp_path / "a.npz", "--cache-words", 5, "--json"
    ).rows
    assert (values["lines"], values["rows"], values["layers"], values["width"]) == (3, 8, 3, 32)
    assert np.load(tmp_path / "a.npz")["offsets"].tolist() == [0, 3, 3, 8]
    assert not list(tmp_path.glob(".a.npz*"))
    joined = succeed(
        "embed", elmo, lines, "--output", tmp_path / "j.npz", "--layers", "joined", "--json"
    ).rows
    assert (joined[0]["layers"], joined[0]["width"]) == (1, 96)
    each, side_by_side = (np.load(tmp_path / name)["vectors"] for name in ("a.npz", "j.npz"))
    np.testing.assert_allclose(each.reshape(8, 1, 96), side_by_side, rtol=1e-5, atol=1e-6)
    assert "exists" in fail("embed", elmo, lines, "--output", tmp_path / "a.npz")
    assert ".parquet" in fail("embed", elmo, lines, "--output", tmp_path / "a.txt")
    assert "no layer 7" in fail("embed", elmo, lines, "--output", tmp_path / "b.npz", "--layers", 7)
    said = fail("embed", elmo, lines, "--output", tmp_path / "b.npz", "--layers", "top")
    assert "--layers takes all, mean, joined or INT, not 'top'" in said
    corpus = write_corpus(tmp_path / "texts.txt", plain_documents(20, 2))
    asked = ["neighbors", elmo, "bank", "--sentence", "The bank is near.", "--corpus", corpus, "--json"]
    (found,) = succeed(*asked, "-k", 4).rows
    assert len(found["occurrences"]) == 4
    assert all(each["word"].lower() == "bank" for each in found["occurrences"])
    assert succeed(*asked, "-k", 4).rows == [found]  # from the cache
    assert "go together" in fail("neighbors", elmo, "bank", "--sentence", "The bank.")
    assert "an encoder of kind elmo, which has no vectors of words without a sentence" in fail(
        "neighbors", elmo, "bank"
    )
    assert "no word 'moon'" in fail("neighbors", elmo, "moon", "--sentence", "The bank.", "--corpus", corpus)


def test_moved_to_a_classifier(elmo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    train = write_table(tmp_path / "train.csv", [*reviews(24, 0), ("", "pos")])
    options = [
        "--epochs",
        2,
        "--hidden-size",
        8,
        "--precision",
        "fp32",
        "--mix-at",
        "both",
        "--mix-l2",
        0.001,
    ]
    outputs = [tmp_path / "a", tmp_path / "b"]
    for output in outputs:
        (values,) = succeed(
            "fit", "classifier", "--train", train, "--validation", train, "--encoder", elmo, *options,
            "--output", output, "--json",
        ).rows  # fmt: skip
        assert values["transfer"] == "frozen" and set(values["layer_weights"]) == {"input", "output"}
    files = [(output / "model.safetensors").read_bytes() for output in outputs]
    assert files[0] == files[1]
    texts = [text for text, _ in reviews(6, 9)] + [""]
    together = succeed("predict", outputs[0], *texts, "--json").rows
    alone = [succeed("predict", outputs[0], text, "--json").rows[0] for text in texts[:2]]
    for one, other in zip(alone, together, strict=False):
        assert one["label"] == other["label"] and abs(one["score"] - other["score"]) < 1e-5
    assert "bottom to top" in succeed("evaluate", outputs[0], train).out
    both = succeed("picture", "mixes", *outputs, "--output", tmp_path / "mixes.png", "--json").rows[0][
        "mixes"
    ]
    assert both[f"{outputs[1]}, output"] == values["layer_weights"]["output"][:-1] and len(both) == 4
    assert (tmp_path / "mixes.png").read_bytes().startswith(b"\x89PNG")
    assert "does not mix the layers" in fail("picture", "mixes", elmo, "--output", tmp_path / "a.png")
    fine = tmp_path / "fine"
    succeed("fit", "classifier", "--train", train, "--encoder", elmo, "--transfer", "fine-tune", "--epochs", 2,
            "--layers", -1, "--output", fine)  # fmt: skip
    asked = ["fit", "classifier", "--train", train, "--output", tmp_path / "c", "--encoder", elmo]
    assert "no layer 5" in fail(*asked, "--layers", 5)
    assert "--layers takes mix, bottom+top or INT" in fail(*asked, "--layers", "top")
    assert "--body bilstm" in fail(*asked, "--body", "pooling")


def test_out_and_in_again(elmo: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (values,) = succeed("export", elmo, "--output", tmp_path / "files", "--json").rows
    assert values["files"] == ["options.json", "weights.hdf5"]
    succeed("convert", tmp_path / "files", "--output", tmp_path / "back")
    lines = write_corpus(tmp_path / "lines.txt", plain_documents(3, 4))
    for name, model in (("a", elmo), ("b", tmp_path / "back")):
        succeed("embed", model, lines, "--output", tmp_path / f"{name}.npz")
    first, second = (np.load(tmp_path / f"{name}.npz")["vectors"] for name in "ab")
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_broken_published_files_are_named(elmo: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    files, output = tmp_path / "files", tmp_path / "out"
    assert succeed("export", elmo, "--output", files).out == f"{files}: options.json, weights.hdf5\n"
    whole = (files / "weights.hdf5").read_bytes()
    (files / "weights.hdf5").write_bytes(whole[:3000])
    assert "truncated or not HDF5" in fail("convert", files, "--output", output)
    (files / "weights.hdf5").write_bytes(b"")
    assert "truncated or not HDF5" in fail("convert", files, "--output", output)
    (files / "weights.hdf5").write_bytes(whole)
    options = json.loads((files / "options.json").read_text())
    options["lstm"]["dim"] = 32
    (files / "options.json").write_text(json.dumps(options))
    assert "does not fit" in fail("convert", files, "--output", output)
    options["lstm"]["n_layers"] = 5
    (files / "options.json").write_text(json.dumps(options))
    assert "lacks" in fail("convert", files, "--output", output)
    for key, value, message in (
        ("n_layers", 1, "holds 'RNN_0/RNN/MultiRNNCell/Cell1/LSTMCell/B', which the options do not have"),
        ("dim", 10**9, "1000000000 is not an integer"),
        ("cell_clip", -3, "-3 is not a number above 0"),
        ("cell_clip", "a", "'a' is not a number"),
    ):
        changed = {**options, "lstm": {**options["lstm"], "dim": 64, "n_layers": 2, key: value}}
        (files / "options.json").write_text(json.dumps(changed))
        assert message in fail("convert", files, "--output", output)
    (files / "options.json").write_text("{}")
    assert "is not ELMo's options.json" in fail("convert", files, "--output", output)
    (files / "weights.hdf5").unlink()
    assert "0 files of ELMo's weights" in fail("convert", files, "--output", output)
    assert not output.exists()


def test_words_of_10_000_bytes_and_sentences_of_20_000_words(elmo: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("x" * 10_000 + "\n" + "river " * 20_000 + "\n", encoding="utf-8")
    (values,) = succeed("embed", elmo, lines, "--output", tmp_path / "a.npz", "--pool", "mean", "--json").rows
    assert values["rows"] == 2 and np.isfinite(np.load(tmp_path / "a.npz")["vectors"]).all()


def test_mistakes_are_one_line(elmo: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "texts.txt", plain_documents(3, 0))
    asked = ["pretrain", "elmo", "--corpus", corpus, "--output", tmp_path / "out", "--preset", "tiny"]
    assert "--projection-size must be above 0" in fail(*asked, "--projection-size", 0)
    assert "--dropout must be" in fail(*asked, "--dropout", 1)
    assert "occurs 999 times" in fail(*asked, "--min-count", 999)
    assert "reads from both ends" in fail("generate", elmo, "The")
    assert "predict needs a classifier" in fail("predict", elmo, "The")
    assert "--dropout-scale is for AWD-LSTM" in fail(
        "adapt", elmo, "--corpus", corpus, "--output", tmp_path / "o", "--dropout-scale", 0.5
    )
