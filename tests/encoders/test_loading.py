"""Saved encoders are found, loaded and refused: by folder, released name and hub name, whole and damaged."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.encoders.elmos import SPELLING, small_bilm, small_elmo
from tests.language_models.models import CELL_ARGUMENTS, CELLS, TEXTS, random_model, word_tokenizer
from unfreeze import registry
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.lstm import LstmEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.registry import find_model, released_names
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.tasks.text_classifier import TextClassifier

SIZES: dict[str, Any] = {"embedding_size": 5, "hidden_size": 6, "n_layers": 2}


def small_vectors() -> WordVectors:
    """Vectors of the words of a tokenizer, all zero."""
    return WordVectors(word_tokenizer(), size=4)


def one_line(run: Callable[[], object]) -> str:
    """The message of the `UserError` that `run` raises; one line."""
    with pytest.raises(UserError) as caught:
        run()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def assert_same_layers(found: Encoder, expected: Encoder) -> None:
    with torch.no_grad():
        (got, got_mask), (wanted, mask) = (
            e.layers(e.prepare([*TEXTS, "unseen zebra"])) for e in (found, expected)
        )
    assert torch.equal(got_mask, mask)
    for layer, other in zip(got, wanted, strict=True):
        assert torch.equal(layer, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AwdLstm(word_tokenizer(), **SIZES, direction="backward"),
        lambda: AwdLstm(word_tokenizer(), **SIZES, direction="both"),
        lambda: AwdLstm(word_tokenizer(), **SIZES, direction="both", share_embedding=False),
        lambda: AwdLstm(word_tokenizer(), **SIZES, **CELL_ARGUMENTS["qrnn"], direction="backward"),
        lambda: AwdLstm(word_tokenizer(), **SIZES, **CELL_ARGUMENTS["qrnn"], direction="both"),
        lambda: LstmEncoder(word_tokenizer(), **SIZES),
    ],
    ids=["backward", "both", "apart", "backward qrnn", "both qrnn", "lstm"],
)
def test_an_encoder_comes_back_from_its_folder(make: Callable[[], Encoder], tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = make().eval()
    encoder.save_pretrained(tmp_path / "saved")
    found = Encoder.from_pretrained(tmp_path / "saved")
    assert type(found) is type(encoder) and not found.training
    assert found.tokenizer.fingerprint() == encoder.tokenizer.fingerprint()
    assert_same_layers(found, encoder)


@pytest.mark.parametrize("cell", CELLS)
def test_an_encoder_comes_out_of_a_language_model_and_a_classifier(cell: CellKind, tmp_path: Path) -> None:
    model = random_model(word_tokenizer(), "both", (12, 25), cell=cell)
    model.save_pretrained(tmp_path / "lm")
    model.save_pretrained(tmp_path / "encoder", without_output=True)
    settings = {"pooling": "top", "head": "linear"}
    network = pooled_network(model.encoder, 2, **settings)  # type: ignore[arg-type]
    TextClassifier.of_network(network, ["no", "yes"], settings).save_pretrained(tmp_path / "classifier")
    for name in ("lm", "encoder", "classifier"):
        assert_same_layers(AwdLstm.from_pretrained(tmp_path / name), model.encoder)
    for name, said in (("encoder", "without an output layer"), ("classifier", "is a text classifier")):
        message = one_line(lambda name=name: AwdLstmLanguageModel.from_pretrained(tmp_path / name))  # type: ignore[misc]
        assert said in message and "not a language model" in message


@pytest.mark.parametrize("cell", CELLS)
def test_a_language_model_comes_back_also_from_half_precision(cell: CellKind, tmp_path: Path) -> None:
    model = random_model(word_tokenizer(), "both", (12, 25), cell=cell)
    model.save_pretrained(tmp_path / "whole")
    found = AwdLstmLanguageModel.from_pretrained(tmp_path / "whole")
    assert found.cutoffs == model.cutoffs and not found.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    model.save_pretrained(tmp_path / "half", half=True)
    halved = AwdLstmLanguageModel.from_pretrained(tmp_path / "half")
    for name, tensor in model.state_dict().items():
        assert torch.equal(halved.state_dict()[name], tensor.half().float())
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]


def test_another_class_is_refused(tmp_path: Path) -> None:
    LstmEncoder(word_tokenizer(), **SIZES).save_pretrained(tmp_path / "lstm")
    message = one_line(lambda: AwdLstm.from_pretrained(tmp_path / "lstm"))
    assert "lstm" in message and "awd_lstm" in message


def test_a_path_wins_over_a_released_name_and_that_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = tmp_path / "package" / "released" / "small-one"
    random_model(word_tokenizer()).save_pretrained(released)
    monkeypatch.setattr(registry, "files", lambda _: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    assert released_names() == ["small-one"]
    assert find_model("small-one") == released
    assert "small-one" in one_line(lambda: find_model("small-two"))
    (tmp_path / "small-one").mkdir()
    assert find_model("small-one").resolve() == tmp_path / "small-one"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-modle", "there is no folder 'my-modle', and no released model of that name (released: small-one); did you mean 'my-model'?"),
        ("smal-one", "there is no folder 'smal-one', and no released model of that name (released: small-one); did you mean 'small-one'?"),
        ("models/frist", "there is no folder 'models/frist' (to take it from the hub, write hf:models/frist); did you mean 'models/first'?"),
        ("models/other", "there is no folder 'models/other' (to take it from the hub, write hf:models/other)"),
        ("my-modle/", "there is no folder 'my-modle/'; did you mean 'my-model'?"),
        ("./my-modle", "there is no folder './my-modle'; did you mean 'my-model'?"),
        ("models/deep/frist", "there is no folder 'models/deep/frist'"),
    ],
)  # fmt: skip
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise AssertionError(name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(registry, "files", lambda _: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    for place in ("my-model", "models/first", "package/released/small-one"):
        random_model(word_tokenizer()).save_pretrained(tmp_path / place)
    assert one_line(lambda: find_model(name)) == said


def test_the_hub_is_asked_for_a_name_with_a_slash_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(tmp_path / "lm")

    model = random_model(word_tokenizer())
    model.save_pretrained(tmp_path / "lm")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub = {"revision": "v1", "cache_dir": str(tmp_path), "token": "secret", "local_files_only": True}
    assert_same_layers(Encoder.from_pretrained("owner/name", **hub), model.encoder)  # type: ignore[arg-type]
    assert asked[0][0] == "owner/name" and hub.items() <= asked[0][1].items()
    for name in ("plain", "./folder/name", "/absolute/name", "a/b/c"):
        assert name in one_line(lambda name=name: find_model(name))  # type: ignore[misc]
    assert len(asked) == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    assert "write hf:owner/name" in one_line(lambda: find_model("owner/name"))
    for place in ("hf:owner/name", "hf:owner/name.bin", "hf:plain"):
        assert find_model(place) == tmp_path / "lm" and asked[-1][0] == place.removeprefix("hf:")
        assert open_vectors(place).size == 7 and asked[-1][0] == place.removeprefix("hf:")
    assert_same_layers(Encoder.from_pretrained("hf:owner/name"), model.encoder)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["owner/not-in-any-cache", "my models/lm", "owner/a--b"])
def test_a_hub_name_that_gives_nothing_is_one_line(name: str, tmp_path: Path) -> None:
    assert name in one_line(lambda: Encoder.from_pretrained(name, cache_dir=tmp_path))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "lm"
    random_model(word_tokenizer(), "both").save_pretrained(folder)
    return folder


def load_both_ways(folder: Path) -> list[str]:
    return [
        one_line(lambda: AwdLstmLanguageModel.from_pretrained(folder)),
        one_line(lambda: Encoder.from_pretrained(folder)),
    ]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_or_truncated_file_is_one_line_that_names_it(
    name: str, saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    whole = (folder / name).read_bytes()
    for size in {0, 1, 7, len(whole) // 2, len(whole.rstrip()) - 1}:
        (folder / name).write_bytes(whole[:size])
        for message in load_both_ways(folder):
            assert name in message and str(folder) in message
    (folder / name).unlink()
    for message in load_both_ways(folder):
        assert name in message and str(folder) in message


def change_config(folder: Path, changes: dict[str, Any]) -> None:
    """Change what the config of a folder says."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


SENSELESS: list[tuple[str, object, str]] = [
    ("hidden_size", -1, "cannot be made: Trying to create tensor with negative dimension -"),
    ("hidden_size", 0, "config.json"),
    ("hidden_size", "x", "hidden_size is 'x', not a whole number"),
    ("hidden_size", 2.5, "hidden_size is 2.5, not a whole number"),
    ("hidden_size", True, "hidden_size is true, not a whole number"),
    ("hidden_size", None, "hidden_size is null, not a whole number"),
    ("hidden_size", [6], "hidden_size is a list, not a whole number"),
    ("hidden_size", 1_000, "config.json wants"),
    ("hidden_size", 10**9, "cannot be made: Storage size calculation overflowed"),
    ("hidden_size", 10**400, "which is not a size of a model"),
    ("n_layers", 2**31 - 1, "cannot be made: it has far more tensors than model.safetensors"),
    ("n_layers", 0, "at least one recurrent layer is needed"),
    ("direction", "sideways", "direction is 'sideways', not 'forward' or"),
    ("share_embedding", "no", "share_embedding is 'no', not true or false"),
    ("windows", [10**12], "windows is 1000000000000, which is not a size"),
    ("windows", 2, "windows is 2, not a list of whole numbers"),
    ("zoneout", float("nan"), "zoneout is nan, not a number"),
]


@pytest.mark.parametrize(("name", "value", "said"), SENSELESS)
def test_a_size_that_cannot_be_is_refused_before_anything_is_made(
    name: str, value: object, said: str, saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    arguments = json.loads((folder / "config.json").read_text())["arguments"]
    change_config(folder, {"arguments": {**arguments, name: value}})
    Encoder.from_pretrained(saved)  # what is imported at first use counts for itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for message in load_both_ways(folder):
        assert said in message and str(folder) in message and len(message) < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arguments": []}, "arguments is a list, not an object"),
        ({"arguments": {"folder": 1, "make": 2}}, "upgrade"),
        ({"kind": {}}, "names no kind"),
        ({"format_version": True}, "has format version true"),
        ({"format_version": "1"}, "has format version '1'"),
        ({"encoder": [1]}, "encoder is a list, not an object"),
        ({"digests": [1]}, "digests is a list, not an object"),
    ],
)
def test_a_config_of_other_types_is_one_line(
    changes: dict[str, Any], said: str, saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    change_config(folder, changes)
    for message in load_both_ways(folder):
        assert said in message and str(folder / "config.json") in message


@pytest.mark.parametrize(
    ("make", "changes", "said"),
    [
        (small_elmo, {"cells": 10**9}, "config.json wants [4000000000, "),
        (small_elmo, {"size": 16}, "config.json wants"),
        (small_elmo, {"cell_clip": "x"}, "cell_clip is 'x', not a number or null"),
        (small_elmo, {"dropout": 2}, "cannot be made"),
        (small_elmo, {"spelling": {**SPELLING, "longest": 10**4}}, "words of 10000 characters"),
        (small_elmo, {"spelling": {**SPELLING, "filters": [[1]]}}, "two numbers"),
        (small_elmo, {"spelling": {**SPELLING, "filters": [[1, 10**9]]}}, "config.json wants [1000000000]"),
        (small_elmo, {"spelling": {**SPELLING, "n_highway": 10**7}}, "far more tensors"),
        (small_elmo, {"spelling": {**SPELLING, "wings": 2}}, "wings"),
        (small_vectors, {"size": 10**9}, "config.json wants ["),
        (small_vectors, {"size": 3}, "config.json wants [13, 3]"),
        (small_vectors, {"ngrams": [3, 4], "buckets": 10**9}, "config.json wants [1000000000, "),
        (small_vectors, {"ngrams": [3]}, "the shortest and the longest length are needed"),
        (small_vectors, {"ngrams": "x"}, "ngrams is 'x', not a list of whole numbers or null"),
    ],
)
def test_every_encoder_refuses_sizes_that_cannot_be(
    make: Callable[[], Encoder], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    make().save_pretrained(tmp_path / "e")
    arguments = json.loads((tmp_path / "e" / "config.json").read_text())["arguments"]
    change_config(tmp_path / "e", {"arguments": {**arguments, **changes}})
    message = one_line(lambda: Encoder.from_pretrained(tmp_path / "e"))
    assert said in message and str(tmp_path / "e" / "config.json") in message or "wants" in said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([], "output is a list, not an object"),
        ({"cutoffs": 3}, "cutoffs is 3, not a list of whole numbers"),
        ({"cutoffs": [True]}, "cutoffs is a list, not a list of whole numbers"),
        ({"cutoffs": [10**9]}, "must ascend"),
    ],
)
def test_an_output_layer_that_cannot_be(output: object, said: str, saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    change_config(folder, {"output": output})
    assert said in one_line(lambda: AwdLstmLanguageModel.from_pretrained(folder))


def test_a_bilms_output_layer_that_cannot_be(tmp_path: Path) -> None:
    small_bilm().save_pretrained(tmp_path / "lm")
    for output, said in (
        ({"softmax": "soft"}, "softmax is 'soft', not 'adaptive' or 'full' or 'sampled'"),
        ({"n_samples": 0}, "0 samples"),
        ({"wings": 2}, "wings"),
    ):
        change_config(tmp_path / "lm", {"output": output})
        assert said in one_line(lambda: BiLanguageModel.from_pretrained(tmp_path / "lm"))


def flip_bit(path: Path, place: int = -5) -> None:
    """Change one bit of a file, among the numbers of a file of tensors."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_weights_with_a_flipped_bit_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    flip_bit(folder / "model.safetensors")
    for message in load_both_ways(folder):
        assert f"{folder / 'model.safetensors'} is truncated or damaged" in message
    change_config(folder, {"digests": {}})  # as models of earlier versions are
    assert (
        AwdLstmLanguageModel.from_pretrained(folder).tokenizer.fingerprint() == word_tokenizer().fingerprint()
    )


def test_the_released_models_load_with_and_without_a_digest() -> None:
    for name in released_names():
        config = json.loads((find_model(name) / "config.json").read_text())
        assert ("digests" in config) == (name != "wiki-small")  # which was saved before there were any
        assert Encoder.from_pretrained(name).n_parameters > 0


def test_a_newer_or_unknown_config_is_one_line(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"format_version": 2}, "upgrade"),
        ({"format_version": None}, "upgrade"),
        ({"kind": "glovebox"}, "glovebox"),
        ({"arguments": {**config["arguments"], "hidden_size": 12}}, "config.json wants"),
        ({"arguments": {**config["arguments"], "n_layers": 3}}, "lacks tensor"),
        ({"arguments": {**config["arguments"], "n_layers": 1}}, "tensor"),
        ({"arguments": {**config["arguments"], "wings": 2}}, "wings"),
        ({"arguments": {**config["arguments"], "cell": "qrnn"}}, "lacks tensor"),
        ({"arguments": {**config["arguments"], "cell": "gru"}}, "cell is 'gru', not 'lstm' or 'qrnn'"),
    ]
    for change, part in changes:
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        for message in load_both_ways(folder):
            assert part in message and str(folder) in message
    (folder / "config.json").write_text("[1, 2]")
    assert all("kind" in message for message in load_both_ways(folder))
    assert "not a folder" in one_line(lambda: Encoder.from_pretrained(folder / "config.json"))


def test_a_classifier_of_a_newer_or_damaged_kind_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    settings = {"pooling": "top", "head": "linear"}
    network = pooled_network(random_model(word_tokenizer()).encoder, 2, **settings)  # type: ignore[arg-type]
    TextClassifier.of_network(network, ["no", "yes"], settings).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"settings": {**settings, "pooling": "swim"}}, "the pooling 'swim', known are top,"),
        ({"settings": {**settings, "head": "hydra"}}, "the head 'hydra', known are"),
        ({"settings": {**settings, "wings": 2}}, "wings"),
        ({"labels": ["no", "yes", "perhaps"]}, "config.json wants"),
        ({"encoder": {"kind": "glovebox", "arguments": {}}}, "glovebox"),
        ({"encoder": {"kind": 3}}, "encoder.kind is 3, not a string"),
        ({"encoder": 3}, "encoder is 3, not an object"),
        ({"labels": 2}, "labels is 2, not a list of strings"),
        ({"labels": [1, 2]}, "labels is a list, not a list of strings"),
        ({"labels": ["no", "no"]}, "labels has 'no' twice"),
        ({"multi_label": "no"}, "multi_label is 'no', not true or false"),
        ({"multi_label": 1}, "multi_label is 1, not true or false"),
        ({"settings": []}, "settings is a list, not an object"),
        ({"settings": {**settings, "word_vectors": 10**9}}, "lacks tensor 'word_vectors'"),
        ({"settings": {**settings, "word_vectors": 7}}, "lacks tensor 'word_vectors'"),
        ({"settings": {**settings, "head_dropout": "x"}}, "head_dropout is 'x', not a number"),
        (
            {"settings": {"head": "linear", "network": "layered", "hidden_size": 10**9}},
            "cannot be made: Storage size",
        ),
        (
            {"settings": {"head": "linear", "network": "layered", "layers": "x"}},
            "layers is 'x', not 'mix' or",
        ),
        ({"settings": {"head": "linear", "network": "layered", "word_vectors": "no"}}, "not true or false"),
    ]
    for change, part in changes:
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        message = one_line(lambda: TextClassifier.from_pretrained(folder))
        assert part in message and str(folder) in message
    for name in ("labels", "settings", "encoder", "multi_label"):
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != name}))
        assert f"lacks {name!r}" in one_line(lambda: TextClassifier.from_pretrained(folder))


def test_tensors_that_do_not_belong_are_one_line(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    change_config(folder, {"digests": {}})
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "encoder.extra": torch.zeros(1)}, folder / "model.safetensors")
    assert all("extra" in message for message in load_both_ways(folder))
    del weights["encoder.stacks.backwards.lstms.1.bias_hh"]
    save_file(weights, folder / "model.safetensors")
    assert all("lstms.1.bias_hh" in message for message in load_both_ways(folder))
