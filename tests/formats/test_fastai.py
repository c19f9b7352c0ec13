"""fastai's files, made here with fastai's names; the oracles are `torch.nn.LSTM` and fastai's equations in NumPy, float64.

That real fastai models give the same logits is shown by benchmarks/fastai_parity.py, where fastai is installed.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.commands.main import main
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.qrnn import QrnnLayer
from unfreeze.errors import UserError
from unfreeze.formats.fastai import convert_fastai
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.tasks.text_classifier import TextClassifier

SPECIAL = "xxunk xxpad xxbos xxeos xxfld xxrep xxwrep xxup xxmaj".split()
VOCABULARY = [*SPECIAL, *"the bank of river was wet a mouse sat on".split(), "xxfake", "xxfake"]
EMBEDDING, HIDDEN, LAYERS, LABELS = 5, 7, 3, 3
IDS = [[2, 8, 9, 10, 11, 9, 12, 13, 14], [2, 15, 16, 0, 18], [2], [2, 8, 9, 19, 20, 17, 3]]

State = dict[str, Tensor]
CELLS: list[CellKind] = ["lstm", "qrnn"]


class Lstm:
    """One layer, by torch."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.lstm = nn.LSTM(inputs, outputs)
        for parameter in self.lstm.parameters():
            nn.init.normal_(parameter, 0.0, 0.7)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.lstm(torch.from_numpy(x).float())[0].numpy()

    def state(self) -> State:
        """As fastai 2 names it within `rnns.N.`."""
        tensors = {name: tensor.detach() for name, tensor in self.lstm.named_parameters()}
        matrix = {"weight_hh_l0_raw": tensors.pop("weight_hh_l0")}
        return matrix | {f"module.{name}": tensor for name, tensor in tensors.items()}


@dataclass
class Qrnn:
    """One layer by fastai's equations (fastai/text/models/qrnn.py of fastai 2.3):

    z_t, f_t, o_t = tanh, sigmoid, sigmoid of W [x_t, x_(t-1)] + b;  c_t = f_t z_t + (1 - f_t) c_(t-1);  h_t = o_t c_t
    """

    inputs: int
    outputs: int
    window: int

    def __post_init__(self) -> None:
        self.weight = torch.randn(3 * self.outputs, self.window * self.inputs) * 0.7
        self.bias = torch.randn(3 * self.outputs) * 0.7

    def __call__(self, x: np.ndarray) -> np.ndarray:
        weight, bias = self.weight.double().numpy(), self.bias.double().numpy()
        c, before, states = np.zeros(self.outputs), np.zeros(self.inputs), []
        for x_t in x:
            y = weight @ np.concatenate([x_t, before][: self.window]) + bias
            z, f, o = (y[k * self.outputs : (k + 1) * self.outputs] for k in range(3))
            c = sigmoid(f) * np.tanh(z) + (1.0 - sigmoid(f)) * c
            states.append(sigmoid(o) * c)
            before = x_t
        return np.array(states)

    def state(self) -> State:
        """As fastai 2 names it within `rnns.N.`."""
        return {"layers.0.linear.weight_raw": self.weight, "layers.0.linear.module.bias": self.bias}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


Layers = Sequence[Lstm | Qrnn]


def some_layers(cell: CellKind = "lstm", windows: Sequence[int] = (2, 1, 1)) -> Layers:
    """A stack as fastai has it, with weights so large that a wrong gate or order shows."""
    torch.manual_seed(0)
    sizes = [EMBEDDING, *[HIDDEN] * (LAYERS - 1), EMBEDDING]
    pairs = zip(sizes, sizes[1:], strict=False)
    if cell == "lstm":
        return [Lstm(*pair) for pair in pairs]
    return [Qrnn(*pair, window) for pair, window in zip(pairs, windows, strict=True)]


def encoder_state(layers: Layers, prefix: str) -> State:
    """As fastai 2 names it."""
    embedding = torch.randn(len(VOCABULARY), EMBEDDING, generator=torch.Generator().manual_seed(1))
    state = {"encoder.weight": embedding, "encoder_dp.emb.weight": embedding}
    for number, layer in enumerate(layers):
        state |= {f"rnns.{number}.{name}": tensor for name, tensor in layer.state().items()}
    return {prefix + name: tensor for name, tensor in state.items()}


def language_model_state(layers: Layers) -> State:
    state = encoder_state(layers, "0.")
    bias = torch.randn(len(VOCABULARY), generator=torch.Generator().manual_seed(2))
    return state | {"1.decoder.weight": state["0.encoder.weight"], "1.decoder.bias": bias}


def classifier_state(layers: Layers, *, linear_place: int = 2) -> State:
    random = torch.Generator().manual_seed(3)
    state = encoder_state(layers, "0.module.")
    for block, (inputs, outputs) in enumerate([(3 * EMBEDDING, 50), (50, LABELS)]):
        norm = f"1.layers.{block}.0."
        for name in ("weight", "bias", "running_mean"):
            state[norm + name] = torch.randn(inputs, generator=random)
        state[norm + "running_var"] = torch.rand(inputs, generator=random) + 0.1
        state[norm + "num_batches_tracked"] = torch.tensor(9)
        state[f"1.layers.{block}.{linear_place}.weight"] = torch.randn(outputs, inputs, generator=random)
    return state


def saved(folder: Path, state: object, vocabulary: list[str] = VOCABULARY) -> tuple[Path, Path]:
    """NAME.pth and the vocabulary."""
    torch.save(state, folder / "model.pth")
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder / "model.pth", folder / "vocabulary.json"


def expected_states(state: State, layers: Layers, ids: list[int]) -> Tensor:
    """(T, E) by the oracles."""
    embedding = next(tensor for name, tensor in state.items() if name.endswith("encoder.weight"))
    x = embedding[ids].double().numpy()
    for layer in layers:
        x = layer(x)
    return torch.from_numpy(x).float()


@pytest.mark.parametrize("cell", CELLS)
def test_a_language_model_gives_the_log_probabilities_of_the_oracle(cell: CellKind, tmp_path: Path) -> None:
    """In one piece and in two, of which the second goes on with the state, and the last input, of the first."""
    layers = some_layers(cell)
    state = language_model_state(layers)
    found = convert_fastai(*saved(tmp_path, state), tmp_path / "lm")
    assert (found.kind, found.cell) == ("language model", cell)
    assert (found.embedding_size, found.hidden_size, found.n_layers) == (EMBEDDING, HIDDEN, LAYERS)
    model = AwdLstmLanguageModel.from_pretrained(tmp_path / "lm")
    assert model.cutoffs == ()
    stack, output = model.encoder.stack("forward"), model.output("forward")
    for ids in IDS:
        top = expected_states(state, layers, ids)
        logits = F.linear(top, state["1.decoder.weight"], state["1.decoder.bias"])
        column = torch.tensor(ids)[:, None]
        for cut in {len(ids), (len(ids) + 1) // 2}:
            pieces, carried = [], None
            for piece in filter(len, (column[:cut], column[cut:])):
                read = stack(piece, carried)
                pieces.append(read.top[:, 0])
                carried = read.state
            ours = output.log_probabilities(torch.cat(pieces), stack.embedding.weight)
            torch.testing.assert_close(ours, F.log_softmax(logits, dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_backward_model_reads_from_the_end(cell: CellKind, tmp_path: Path) -> None:
    layers = some_layers(cell)
    state = language_model_state(layers)
    convert_fastai(*saved(tmp_path, state), tmp_path / "lm", direction="backward")
    encoder = Encoder.from_pretrained(tmp_path / "lm")
    assert isinstance(encoder, AwdLstm) and encoder.directions == ["backward"]
    batch = encoder.prepare_words([["the", "bank", "was", "wet"]])
    ids = batch.ids[0].tolist()
    top = expected_states(state, layers, [ids[0], *ids[:0:-1]])
    torch.testing.assert_close(encoder.layers(batch)[0][-1][0], top[1:].flip(0))


@pytest.mark.parametrize("windows", [(2, 1, 1), (1, 1, 1), (2, 2, 1)])
def test_windows_of_qrnns_are_read_off_their_weights(windows: tuple[int, ...], tmp_path: Path) -> None:
    layers = some_layers("qrnn", windows)
    state = encoder_state(layers, "")
    convert_fastai(*saved(tmp_path, state), tmp_path / "encoder")
    encoder = AwdLstm.from_pretrained(tmp_path / "encoder")
    assert isinstance(encoder, AwdLstm)
    cells = encoder.stack("forward").cells
    assert [(cell.window, cell.zoneout) for cell in cells if isinstance(cell, QrnnLayer)] == [
        (window, 0.0) for window in windows
    ]
    batch = encoder.prepare_words([["the", "bank", "was", "wet"]])
    top = expected_states(state, layers, batch.ids[0].tolist())
    torch.testing.assert_close(encoder.layers(batch)[0][-1][0], top[1:])


def pooled_logits(state: State, top: np.ndarray) -> np.ndarray:
    """[last, max, mean], then twice batch norm, linear and (once) ReLU, in float64."""
    x = np.concatenate([top[-1], top.max(0), top.mean(0)])
    for block in range(2):
        norm = {name: state[f"1.layers.{block}.0.{name}"].double().numpy() for name in NORM}
        x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
        x = state[f"1.layers.{block}.2.weight"].double().numpy() @ x
        x = np.maximum(x, 0) if block == 0 else x
    return x


NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("cell", CELLS)
def test_a_classifier_gives_the_logits_of_the_oracle(cell: CellKind, tmp_path: Path) -> None:
    layers = some_layers(cell)
    state = classifier_state(layers)
    found = convert_fastai(*saved(tmp_path, {"model": state}), tmp_path / "out", labels=["a", "b", "c"])
    assert (found.kind, found.labels) == ("classifier", ("a", "b", "c"))
    classifier = TextClassifier.from_pretrained(tmp_path / "out")
    assert classifier.label_names == ("a", "b", "c")
    with torch.no_grad():
        (ours,) = classifier.network.logits(classifier.network.read([np.array(ids) for ids in IDS]))
    expected = [pooled_logits(state, expected_states(state, layers, ids).double().numpy()) for ids in IDS]
    np.testing.assert_allclose(ours.numpy(), np.stack(expected), rtol=1e-4, atol=1e-4)


def test_the_linear_layers_are_found_where_a_dropout_of_zero_left_no_place(tmp_path: Path) -> None:
    state = classifier_state(some_layers(), linear_place=1)
    convert_fastai(*saved(tmp_path, state), tmp_path / "out", labels=["a", "b", "c"])
    network = TextClassifier.from_pretrained(tmp_path / "out").network
    head = network.heads["forwards"].state_dict()
    assert torch.equal(head["linear_0.weight"], state["1.layers.0.1.weight"])
    assert torch.equal(head["linear_1.weight"], state["1.layers.1.1.weight"])


def renamed(state: State, old: str, new: str) -> State:
    return {name.replace(old, new): tensor for name, tensor in state.items()}


NAMINGS: dict[str, Callable[[State, str], State]] = {
    "fastai 2, learn.save_encoder": lambda state, matrix: state,
    "fastai 1, both the raw matrix and a dropped one": lambda state, matrix: (
        {
            name.replace(f"{matrix}_raw", f"module.{matrix}"): torch.zeros(1)
            for name in state
            if name.endswith("_raw")
        }
        | state
    ),
    "the raw matrix within the module": lambda state, matrix: renamed(
        state, f"{matrix}_raw", f"module.{matrix}_raw"
    ),
    "no weight dropout": lambda state, matrix: renamed(state, f"{matrix}_raw", f"module.{matrix}"),
    "plain layers": lambda state, matrix: renamed(renamed(state, "module.", ""), f"{matrix}_raw", matrix),
    "half precision": lambda state, matrix: {n: tensor.half().float().half() for n, tensor in state.items()},
}
"""By the name of the matrix that weight dropout works on."""


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_an_encoder_under_any_of_fastais_names(tmp_path: Path, naming: str, cell: CellKind) -> None:
    layers = some_layers(cell)
    state = encoder_state(layers, "")
    renamed_state = NAMINGS[naming](state, "weight_hh_l0" if cell == "lstm" else "weight")
    found = convert_fastai(*saved(tmp_path, renamed_state), tmp_path / "encoder")
    assert (found.kind, found.cell) == ("encoder", cell)
    encoder = Encoder.from_pretrained(tmp_path / "encoder")
    batch = encoder.prepare_words([["the", "bank", "was", "wet"]])
    top = expected_states(state, layers, batch.ids[0].tolist())
    tolerance = 2e-2 if naming == "half precision" else 1e-6
    torch.testing.assert_close(encoder.layers(batch)[0][-1][0], top[1:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("form", ["pkl", "json", "txt", "pair.pkl", "pair.json"])
def test_a_vocabulary_in_any_form(tmp_path: Path, form: str) -> None:
    state = classifier_state(some_layers())
    path = tmp_path / f"vocabulary.{form}"
    content = [VOCABULARY, ["x", "y", "z"]] if form.startswith("pair") else VOCABULARY
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    elif path.suffix == ".json":
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    labels = () if form.startswith("pair") else ("x", "y", "z")
    convert_fastai(saved(tmp_path, state)[0], path, tmp_path / "out", labels=labels)
    classifier = TextClassifier.from_pretrained(tmp_path / "out")
    assert classifier.label_names == ("x", "y", "z")
    assert classifier.network.encoder.tokenizer.vocabulary[:-1] == VOCABULARY[:-1]
    assert classifier.network.encoder.tokenizer.encode_ids(["The bank of xxmaj 7"]) == [
        [2, 8, 9, 10, 11, 0, 0]
    ]


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("where", ["weights", "vocabulary"])
def test_no_code_in_a_file_is_run(tmp_path: Path, where: str) -> None:
    marker = tmp_path / "was-run"
    weights, vocabulary = saved(tmp_path, language_model_state(some_layers()))
    if where == "weights":
        torch.save({"model": Malicious(marker)}, weights)
    else:
        vocabulary = tmp_path / "vocabulary.pkl"
        vocabulary.write_bytes(pickle.dumps([Malicious(marker)]))
    with pytest.raises(UserError, match="JSON" if where == "vocabulary" else "with_opt=False"):
        convert_fastai(weights, vocabulary, tmp_path / "out")
    assert not marker.exists() and not (tmp_path / "out").exists()


def without(state: State, name: str) -> State:
    return {key: tensor for key, tensor in state.items() if key != name}


LM, CLASSIFIER = language_model_state(some_layers()), classifier_state(some_layers())
QRNN = language_model_state(some_layers("qrnn"))
FIRST_LINEAR = "0.rnns.0.layers.0.linear."
WITHOUT_OUTPUT_GATE = {n: t[: len(t) // 3 * 2] if "linear" in n else t for n, t in QRNN.items()}
WRONG: dict[str, tuple[object, list[str], str]] = {
    "a tensor is missing": (without(LM, "0.rnns.1.module.bias_hh_l0"), VOCABULARY, r"rnns\.1\.bias_hh_l0"),
    "a layer is missing": (
        {name: tensor for name, tensor in LM.items() if "rnns.1" not in name},
        VOCABULARY,
        r"rnns\.1\.weight_ih_l0",
    ),
    "a tensor of a QRNN is missing": (
        without(QRNN, "0.rnns.1.layers.0.linear.module.bias"),
        VOCABULARY,
        r"lacks the tensor rnns\.1\.layers\.0\.linear\.bias",
    ),
    "a QRNN is missing": (
        {name: tensor for name, tensor in QRNN.items() if "rnns.1" not in name},
        VOCABULARY,
        r"lacks the tensor rnns\.1\.layers\.0\.linear\.weight",
    ),
    "no layer at all": (
        {"0.encoder.weight": LM["0.encoder.weight"]},
        VOCABULARY,
        "not an AWD-LSTM or AWD-QRNN",
    ),
    "another model": ({"0.weight": torch.ones(2)}, VOCABULARY, "not an AWD-LSTM.*first tensors are 0.weight"),
    "no dictionary": ([torch.ones(2)], VOCABULARY, "not a dictionary of tensors"),
    "vocabulary too short": (LM, VOCABULARY[:-1], r"20 tokens, .* 21 embeddings"),
    "no special tokens": (LM, [f"word{n}" for n in range(len(VOCABULARY))], "xxunk"),
    "pieces of words": (LM, [*SPECIAL, *[f"▁{word}" for word in VOCABULARY[9:]]], "sentencepiece"),
    "not strings": (LM, list(range(21)), "not a list of strings"),  # type: ignore[dict-item]
    "untied": (LM | {"1.decoder.weight": LM["1.decoder.weight"] + 1}, VOCABULARY, "not tied"),
    "bias of another size": (
        LM | {"1.decoder.bias": torch.ones(3)},
        VOCABULARY,
        r"1\.decoder\.bias' is \[3\]",
    ),
    "bidirectional": (
        LM | {"0.rnns.0.module.weight_ih_l0_reverse": torch.ones(2)},
        VOCABULARY,
        "bidirectional",
    ),
    "a bidirectional QRNN": (
        QRNN | {"0.rnns.0.layers_bwd.0.linear.weight_raw": torch.ones(2)},
        VOCABULARY,
        "layers_bwd.*bidirectional",
    ),
    "a QRNN of two layers": (
        QRNN | {"0.rnns.0.layers.1.linear.weight_raw": torch.ones(2)},
        VOCABULARY,
        r"layers\.1\..*unsupported layer",
    ),
    "a QRNN among LSTMs": (
        LM | {"0.rnns.3.layers.0.linear.weight": torch.ones(2)},
        VOCABULARY,
        "of LSTMs and of QRNNs",
    ),
    "QRNNs without an output gate": (WITHOUT_OUTPUT_GATE, VOCABULARY, "no output gate"),
    "a QRNN with a window of three": (
        QRNN | {f"{FIRST_LINEAR}weight_raw": torch.ones(3 * HIDDEN, 3 * EMBEDDING)},
        VOCABULARY,
        r"rnns\.0\.layers\.0\.linear\.weight is \[21, 15\].*1 or 2 inputs of 5",
    ),
    "a QRNN with a bias of another size": (
        QRNN | {f"{FIRST_LINEAR}module.bias": torch.ones(2)},
        VOCABULARY,
        r"its bias \[2\]",
    ),
    "a QRNN of another width": (
        QRNN | {"0.rnns.1.layers.0.linear.weight_raw": torch.ones(3 * HIDDEN, HIDDEN + 1)},
        VOCABULARY,
        r"rnns\.1\.layers\.0\.linear\.weight is \[21, 8\].*inputs of 7",
    ),
    "a QRNN whose matrix is none": (
        QRNN | {f"{FIRST_LINEAR}weight_raw": torch.ones(3 * HIDDEN)},
        VOCABULARY,
        r"weight is \[21\]",
    ),
    "QRNNs whose last one is not as wide as the embedding": (
        {name: tensor for name, tensor in QRNN.items() if "rnns.2" not in name},
        VOCABULARY,
        r"qrnns\.1\.weight",
    ),
    "no labels": (CLASSIFIER, VOCABULARY, "has 3 labels, none is given.*labels"),
    "a head of three layers": (
        CLASSIFIER | {"1.layers.2.2.weight": torch.ones(2, 2)},
        VOCABULARY,
        "the head has 3 layers",
    ),
    "a narrower head": (
        CLASSIFIER | {"1.layers.0.2.weight": torch.ones(20, 15)},
        VOCABULARY,
        "linear_0.weight",
    ),
    "a head of fastai 1": (CLASSIFIER | {"1.layers.0.weight": torch.ones(2)}, VOCABULARY, "fastai 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said_in_a_line(tmp_path: Path, case: str) -> None:
    state, vocabulary, message = WRONG[case]
    labels = ["a", "b", "c"] if "head" in case else []
    with pytest.raises(UserError, match=message) as caught:
        convert_fastai(*saved(tmp_path, state, vocabulary), tmp_path / "out", labels=labels)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    weights, vocabulary = saved(tmp_path, LM)
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(weights.read_bytes()[:-500])
    broken_json, broken_pickle = tmp_path / "a.json", tmp_path / "a.pkl"
    broken_json.write_text('["xxunk",', encoding="utf-8")
    broken_pickle.write_bytes(pickle.dumps(VOCABULARY)[:-20])
    for pair, message in [
        ((tmp_path / "none.pth", vocabulary), "none.pth is not a file"),
        ((weights, tmp_path / "none.pkl"), "none.pkl is not a file"),
        ((damaged, vocabulary), "damaged.pth"),
        ((vocabulary, vocabulary), "vocabulary.json"),
        ((weights, broken_json), r"a\.json:1:10: not JSON"),
        ((weights, broken_pickle), r"a\.pkl is not a pickle"),
    ]:
        with pytest.raises(UserError, match=message):
            convert_fastai(*pair, tmp_path / "out")


def test_a_backward_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="begin symbol last"):
        convert_fastai(
            *saved(tmp_path, CLASSIFIER), tmp_path / "out", labels=["a", "b", "c"], direction="backward"
        )


@pytest.mark.parametrize("cell", CELLS)
def test_the_verb(cell: CellKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, vocabulary = saved(tmp_path, classifier_state(some_layers(cell)))
    words = ["convert", str(weights), "--vocabulary", str(vocabulary), "--output", str(tmp_path / "out")]
    assert main([*words, "--labels", "a,b"]) == 2
    assert "has 3 labels, 2 are given" in capsys.readouterr().err
    assert main([*words, "--labels", "a,b,c", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["cell"], said["vocabulary_size"]) == ("classifier", cell, 21)
    assert said["labels"] == ["a", "b", "c"]
    assert "model.pth" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert main([*words, "--labels", "a,b,c"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--labels", "c,b,a", "--overwrite"]) == 0
    assert TextClassifier.from_pretrained(tmp_path / "out").label_names == ("c", "b", "a")
    assert main(["predict", str(tmp_path / "out"), "the bank was wet", "--json"]) == 0
