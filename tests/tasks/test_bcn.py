"""The biattentive classification network against its equations in float64, on single texts and on pairs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.encoders.coves import small_cove
from unfreeze import TextClassifier
from unfreeze.errors import UserError
from unfreeze.tasks import word_inputs
from unfreeze.tasks.bcn import BcnOnLayers, BiattentiveNetwork, attend
from unfreeze.tasks.classifier_network import bcn_network
from unfreeze.tasks.heads import MaxoutHead
from unfreeze.tasks.word_inputs import BiLstmStack

Numbers = NDArray[np.float64]
TEXTS = ["The cat sat on the mat .", "", "A dog saw the bird and it flew away", "xyzzy cat", "cat"]
LABELS = ["a", "b", "a", "b", "a"]


# The equations, one text at a time, without padding


def softmax(x: Numbers) -> Numbers:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def bi_lstm(stack: BiLstmStack, x: Numbers) -> Numbers:
    """(W, D) -> (W, 2 H) by torch's own LSTM with the same weights."""
    own: Any = stack.layers[0]
    lstm = nn.LSTM(x.shape[1], stack.size // 2, bidirectional=True).double()
    for end, direction in (("", own.forwards), ("_reverse", own.backwards)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(lstm, f"{name}_l0{end}").data = getattr(direction, name).detach().double()
    with torch.no_grad():
        return np.asarray(lstm(torch.from_numpy(x))[0].numpy())


def array(parameter: Any) -> Numbers:
    return np.asarray(parameter.detach().double().numpy())


def expected(network: BiattentiveNetwork, texts: list[Numbers]) -> Numbers:
    """The features of one text or one pair, each text (W, D)."""
    weight, bias = array(network.feed_forward.weight), array(network.feed_forward.bias)
    states = [bi_lstm(network.reader, np.maximum(x @ weight.T + bias, 0)) for x in texts]
    features = []
    for number, (x, y) in enumerate(zip(states, states[::-1], strict=True)):  # of a single text, y is x
        context = np.array([softmax(row @ y.T) @ y for row in x])
        integrator: Any = network.integrators[number]
        z = bi_lstm(integrator, np.concatenate([x, x - context, x * context], axis=1))
        shares = softmax(z @ array(network.scores[number].weight)[0])
        features += [z.max(0), z.mean(0), z.min(0), shares @ z]
    return np.concatenate(features)


@pytest.mark.parametrize("n_texts", [1, 2])
@torch.no_grad()
def test_the_features_are_those_of_the_equations(n_texts: int) -> None:
    torch.manual_seed(0)
    network = BiattentiveNetwork(5, 3, n_texts).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    lengths = torch.tensor([[4, 1, 7], [2, 5, 3]])[:n_texts]
    vectors = [torch.randn(3, int(each.max()), 5) for each in lengths]  # random numbers in the padding, too
    found = network(list(zip(vectors, lengths, strict=True)))
    assert found.shape == (3, network.size) == (3, n_texts * 4 * 6)
    for row in range(3):
        own = [x[row, : int(n[row])].double().numpy() for x, n in zip(vectors, lengths, strict=True)]
        np.testing.assert_allclose(found[row], expected(network, own), atol=1e-5)


@pytest.mark.parametrize("pairs", [False, True])
@torch.no_grad()
def test_features_do_not_depend_on_padding_and_order(pairs: bool) -> None:
    network = bcn_network(small_cove(), 2, pairs=pairs, hidden_size=4).eval()
    inputs: list[Any] = list(zip(TEXTS, TEXTS[::-1], strict=True)) if pairs else TEXTS
    together = network.read(inputs)["joint"]
    torch.testing.assert_close(network.read(inputs[::-1])["joint"].flip(0), together, rtol=1e-5, atol=1e-5)
    for row, each in enumerate(inputs):
        torch.testing.assert_close(network.read([each])["joint"][0], together[row], rtol=1e-5, atol=1e-5)
    if pairs:  # the sides differ
        swapped = network.read([(b, a) for a, b in inputs])["joint"]
        assert not torch.allclose(swapped[0], together[0], atol=1e-3)


@torch.no_grad()
def test_layers_of_pairs_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path))
    network = bcn_network(small_cove(), 2, pairs=True, hidden_size=4).eval()
    pairs = list(zip(TEXTS, TEXTS[1:], strict=False))
    computed = network.read(pairs)["joint"]
    network.body.cache_layers(pairs, "weights")
    assert isinstance(network.body, BcnOnLayers) and set(network.body.words.cached) == set(TEXTS)
    torch.testing.assert_close(network.read(pairs)["joint"], computed, rtol=1e-2, atol=1e-2)  # 16 bits


def test_the_gradient_of_a_long_text_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_inputs, "MAX_WORDS", 6)
    network = bcn_network(small_cove(), 2, hidden_size=4).eval()
    network.layer_groups()
    assert isinstance(network.body, BcnOnLayers)
    found = []
    for texts in ([TEXTS[2]], [TEXTS[0], TEXTS[2], TEXTS[3]]):
        network.zero_grad()
        network.read(texts)["joint"][len(texts) // 2].square().sum().backward()
        found.append([p.grad.clone() for p in network.body.bcn.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) == len(list(network.body.bcn.parameters()))
    for x, y in zip(*found, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


MEMORY = """
import resource, torch
from unfreeze.tasks.bcn import attend

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def run(n):
    x = torch.randn(2, n, 8, requires_grad=True)
    attend(x, x, torch.tensor([n, 100])).sum().backward()

run(1000)
before = peak()
run(20_000)
print(peak() - before)
"""


def test_the_memory_of_the_attention_does_not_grow_with_the_square_of_the_length() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 200  # MB; a matrix of 20,000 x 20,000 for each text would take 3,200


def test_attention_sees_words_alone() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    found = attend(queries, keys, torch.tensor([5, 2]))
    for row, length in enumerate((5, 2)):
        own = keys[row, :length]
        torch.testing.assert_close(found[row], torch.softmax(queries[row] @ own.T, dim=1) @ own)


# In the classifier


@pytest.fixture
def cove(tmp_path: Path) -> str:
    small_cove().save_pretrained(tmp_path / "cove")
    return str(tmp_path / "cove")


@pytest.mark.parametrize("head", [None, "two-layer"])
def test_fitted_saved_and_loaded(cove: str, tmp_path: Path, head: Any) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("3 2\ncat .5 1\ndog -1 .25\nthe .1 .1\n", encoding="utf-8")
    options: dict[str, Any] = {"encoder": cove, "body": "bcn", "hidden_size": 4, "epochs": 1, "head": head}
    classifier = TextClassifier(**options, word_vectors=vectors).fit(TEXTS * 2, LABELS * 2)
    assert isinstance(classifier.network.body, BcnOnLayers)
    assert classifier.arguments_["head"] == (head or "maxout")
    assert classifier.network.body.words.size == 5 + 6 + 2
    classifier.save_pretrained(tmp_path / "c")
    again = TextClassifier.from_pretrained(tmp_path / "c")
    new = ["the bird saw a dog", "a mat", ""]
    np.testing.assert_array_equal(again.predict_proba(new), classifier.predict_proba(new))
    assert again.get_params() == {**classifier.get_params(), "word_vectors": str(vectors)}


def test_it_learns(cove: str) -> None:
    texts = ["the cat sat on the mat", "a dog saw the bird"] * 8
    classifier = TextClassifier(encoder=cove, body="bcn", hidden_size=16).fit(texts, ["cat", "dog"] * 8)
    assert classifier.score(texts, ["cat", "dog"] * 8) == 1.0


def test_on_word_vectors(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("3 2\ncat .5 1\ndog -1 .25\nthe .1 .1\n", encoding="utf-8")
    options: dict[str, Any] = {"encoder": vectors, "body": "bcn", "hidden_size": 4, "epochs": 1}
    classifier = TextClassifier(**options).fit(TEXTS * 2, LABELS * 2)
    assert classifier.network.body.words.size == 2
    classifier.save_pretrained(tmp_path / "c")
    again = TextClassifier.from_pretrained(tmp_path / "c")
    new = ["the dog and the cat", "xyzzy"]
    np.testing.assert_array_equal(again.predict_proba(new), classifier.predict_proba(new))


def test_settings_that_do_not_go_with_it(cove: str) -> None:
    for options, said in [
        ({"encoder": "none"}, "body='bcn' needs an encoder or word vectors to read"),
        ({"encoder": cove, "mix_at": "both"}, "mix_at='both' is for body='bilstm'"),
        ({"encoder": cove, "new_words": True}, "new_words=True is not for body='bcn'"),
    ]:
        with pytest.raises(UserError, match=said):
            TextClassifier(body="bcn", **options).fit(TEXTS, LABELS)  # type: ignore[arg-type]


@torch.no_grad()
def test_a_maxout_head_is_three_layers_of_largest_pieces() -> None:
    torch.manual_seed(0)
    head = MaxoutHead(8, 3)
    head(torch.randn(6, 8) * 3 + 1)  # running statistics of the batch norms
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(5, 8)
    expected = array(x)
    for norm, linear in zip(head.norms, head.linears, strict=True):
        own: Any = norm
        expected = (expected - array(own.running_mean)) / np.sqrt(array(own.running_var) + own.eps)
        pieces = (expected * array(own.weight) + array(own.bias)) @ array(linear.weight).T + array(
            linear.bias
        )
        expected = np.stack([pieces[:, n : n + 4].max(1) for n in range(0, pieces.shape[1], 4)], axis=1)
    assert expected.shape == (5, 3)
    np.testing.assert_allclose(head.eval()(x), expected, rtol=1e-4, atol=1e-4)
    assert [linear.out_features for linear in head.linears] == [4 * 4, 4 * 2, 4 * 3]  # type: ignore[union-attr]
