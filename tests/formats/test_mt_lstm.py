"""Published CoVe weights: the oracle is torch's own `nn.LSTM`, whose state dictionary the file is, on packed sequences."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.commands.calls import fail, succeed
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.cove import CoVe
from unfreeze.errors import UserError
from unfreeze.formats.mt_lstm import read_mt_lstm

WORDS = "The the bank of river was wet . Tamil மொழி sat on".split()
SENTENCES = ["The bank of the river was wet.", "Wet", "unknown words: மொழி on THE bank", ""]
SIZE, HIDDEN = 20, 13


def write_vectors(path: Path, size: int = SIZE) -> np.ndarray:
    """A GloVe file; returns the vectors of `WORDS`."""
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), size)).round(4).astype(np.float32)
    rows = (f"{word} {' '.join(f'{x:.4f}' for x in row)}\n" for word, row in zip(WORDS, vectors, strict=True))
    path.write_text("".join(rows), encoding="utf-8")
    return vectors


def random_lstm(n_layers: int = 2, *, bidirectional: bool = True) -> nn.LSTM:
    torch.manual_seed(0)
    lstm = nn.LSTM(SIZE, HIDDEN, n_layers, bidirectional=bidirectional, batch_first=True)
    for parameter in lstm.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return lstm


def vector_of(word: str, vectors: np.ndarray) -> np.ndarray:
    """As published: the vector of the word, zeros for an unknown one; but of the lower-case form if there is only that."""
    for form in (word, word.lower()):
        if form in WORDS:
            found: np.ndarray = vectors[WORDS.index(form)]
            return found
    return np.zeros(vectors.shape[1], np.float32)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("n_layers", "bidirectional"), [(2, True), (1, True), (3, False)])
def test_the_layers_are_those_of_torchs_lstm(
    n_layers: int, bidirectional: bool, legacy: bool, tmp_path: Path
) -> None:
    vectors, lstm = write_vectors(tmp_path / "glove.txt"), random_lstm(n_layers, bidirectional=bidirectional)
    torch.save(lstm.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    encoder = read_mt_lstm(tmp_path / "w.pth", tmp_path / "glove.txt")
    batch = encoder.prepare(SENTENCES)
    with torch.no_grad():
        layers, mask = encoder.layers(batch)
    split = [
        "The bank of the river was wet .".split(), ["Wet"], "unknown words : மொழி on THE bank".split(), []
    ]  # fmt: skip
    assert mask.sum(1).tolist() == [len(words) for words in split]
    own = [
        torch.from_numpy(np.stack([vector_of(word, vectors) for word in words])) for words in split if words
    ]
    x = nn.utils.rnn.pad_sequence(own, batch_first=True)
    torch.testing.assert_close(layers[0][:3], x, rtol=0, atol=1e-6)
    packed = pack_padded_sequence(
        x, torch.tensor([len(each) for each in own]), batch_first=True, enforce_sorted=False
    )
    with torch.no_grad():
        expected, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
    torch.testing.assert_close(layers[-1][:3], expected, rtol=1e-5, atol=1e-5)


def test_converted_on_the_command_line(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "glove.txt")
    torch.save(random_lstm().state_dict(), tmp_path / "MT-LSTM.pth")
    output = tmp_path / "cove"
    ran = succeed(
        "convert", tmp_path / "MT-LSTM.pth", "--word-vectors", tmp_path / "glove.txt", "--output", output, "--json"
    )  # fmt: skip
    (values,) = ran.rows
    assert values["kind"] == "encoder" and values["size"] == SIZE and values["vocabulary"] == len(WORDS) + 4
    encoder = Encoder.from_pretrained(output)
    assert isinstance(encoder, CoVe) and encoder.widths == [SIZE, 2 * HIDDEN, 2 * HIDDEN]
    direct = read_mt_lstm(tmp_path / "MT-LSTM.pth", tmp_path / "glove.txt")
    np.testing.assert_array_equal(encoder.encode(SENTENCES), direct.encode(SENTENCES))
    cosines = vectors @ vectors[WORDS.index("bank")] / np.linalg.norm(vectors, axis=1)
    nearest = [WORDS[place] for place in np.argsort(-cosines) if WORDS[place] != "bank"]
    found = succeed("neighbors", output, "bank", "--top", 3, "--json").rows[0]["neighbors"]
    assert [row["word"] for row in found] == nearest[:3]
    assert "--direction is for fastai's .pth files" in fail(
        "convert", tmp_path / "MT-LSTM.pth", "--word-vectors", tmp_path / "glove.txt", "--direction", "backward",
        "--output", tmp_path / "other",
    )  # fmt: skip


class Code:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path, str]]:
        return Path.write_text, (self.path, "code was run")


def changed(**tensors: Tensor | None) -> dict[str, Tensor]:
    state = {**random_lstm().state_dict(), **tensors}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "has no tensor weight_ih_l0: it is no MT-LSTM of CoVe (it begins with nothing)"),
        ({"0.encoder.weight": torch.ones(3)}, "it is no MT-LSTM of CoVe (it begins with 0.encoder.weight)"),
        (changed(extra=torch.ones(1)), "has the tensor 'extra', which no MT-LSTM of CoVe has"),
        (changed(weight_hr_l0=torch.ones(1)), "has the tensor 'weight_hr_l0'"),
        (changed(bias_hh_l1=None), "lacks the tensor bias_hh_l1"),
        (changed(bias_ih_l0_reverse=None), "lacks the tensor bias_ih_l0_reverse"),
        (changed(weight_ih_l7=torch.ones(1)), "lacks the tensor weight_ih_l2"),
        (changed(weight_ih_l0=torch.ones(4)), "tensor weight_ih_l0 is [4], no matrix"),
        (changed(weight_ih_l1=torch.ones(52, 13)), "tensor weight_ih_l1 is [52, 13], not [52, 26]"),
        (changed(bias_ih_l1=torch.ones(51)), "tensor bias_ih_l1 is [51], not [52]"),
        (changed(bias_ih_l1=torch.full((52,), torch.nan)), "bias_ih_l1 has other values than finite"),
        (
            changed(weight_ih_l0=torch.ones(52, 20, dtype=torch.long)),
            "weight_ih_l0 has other values than finite",
        ),
        ([torch.ones(2)], "is not a dictionary of tensors"),
        (torch.ones(2), "is not a dictionary of tensors"),
        ({"weight_ih_l0": "text"}, "is not a dictionary of tensors"),
        (b"\x00\xff" * 50, "w.pth"),
        (b"", "w.pth"),
    ],
)
def test_other_files_are_refused_in_one_line(content: object, said: str, tmp_path: Path) -> None:
    write_vectors(tmp_path / "glove.txt")
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    asked = ["--word-vectors", tmp_path / "glove.txt", "--output", tmp_path / "out"]
    assert said in fail("convert", path, *asked)
    assert not (tmp_path / "out").exists()


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    write_vectors(tmp_path / "glove.txt")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Code(tmp_path / "ran"), protocol=2))
    with pytest.raises(UserError, match="holds more than tensors, or is damaged"):
        read_mt_lstm(tmp_path / "w.pth", tmp_path / "glove.txt")
    torch.save({"weight_ih_l0": Code(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds more than tensors, or is damaged"):
        read_mt_lstm(tmp_path / "w.pth", tmp_path / "glove.txt")
    assert not (tmp_path / "ran").exists()


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path / "glove.txt", size=SIZE + 1)
    torch.save(random_lstm().state_dict(), tmp_path / "w.pth")
    said = fail(
        "convert", tmp_path / "w.pth", "--word-vectors", tmp_path / "glove.txt", "--output", tmp_path / "out"
    )
    assert "glove.txt has vectors of 21 numbers" in said and "reads 20" in said
    assert "--word-vectors is for CoVe's weights" in fail(
        "convert", tmp_path / "glove.txt", "--word-vectors", tmp_path / "glove.txt", "--output", tmp_path / "out"
    )  # fmt: skip
    assert "one of CoVe its --word-vectors" in fail(
        "convert", tmp_path / "w.pth", "--output", tmp_path / "out"
    )
    assert "none.pth is not a file" in fail(
        "convert", tmp_path / "none.pth", "--word-vectors", tmp_path / "glove.txt", "--output", tmp_path / "out"
    )  # fmt: skip
