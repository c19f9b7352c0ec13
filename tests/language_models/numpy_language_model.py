"""An oracle: a saved language model run in NumPy, float64, by the equations alone, over the weights in its file.

LSTM (Hochreiter & Schmidhuber 1997, with forget gate; gate order of the file: input, forget, cell, output):

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of W_ih x + b_ih + W_hh h + b_hh;  c = f c + i g;  h = o tanh(c)

QRNN: tests/encoders/qrnn_oracle.py; with zoneout 1 - f is multiplied by the probability of not being 0.

Softmax over the vocabulary, tied to the embedding; adaptive (Grave et al. 2017): p(w) = p(w | head) for the head's words,
p(cluster | head) p(w | cluster) for the others.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.encoders.qrnn_oracle import QrnnOracle

Array = NDArray[np.float64]


class NumpyLanguageModel:
    """A saved language model."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.arguments = config["arguments"]
        self.cutoffs = config["output"]["cutoffs"]
        self.weights = {
            name: tensor.astype(np.float64)
            for name, tensor in load_file(str(folder / "model.safetensors")).items()
        }

    def next_log_probabilities(self, direction: str, ids: list[int]) -> Array:
        """(T, V): after each of `ids`, in the order of reading, log p of what comes next."""
        embedding = self._embedding(direction)
        states: Array = embedding[ids]
        for number in range(self.arguments["n_layers"]):
            if self.arguments.get("cell", "lstm") == "qrnn":
                states = self._qrnn(f"encoder.stacks.{direction}s.qrnns.{number}.", number, states)
            else:
                states = self._lstm(f"encoder.stacks.{direction}s.lstms.{number}.", states)
        return self._log_softmax_over_vocabulary(direction, states, embedding)

    def token_log_probabilities(self, direction: str, ids: list[int]) -> list[float]:
        """log p of every token but the first, in the order of the text."""
        order = ids if direction == "forward" else [ids[0], *reversed(ids[1:])]
        found = self.next_log_probabilities(direction, order)
        values = [float(found[t, order[t + 1]]) for t in range(len(order) - 1)]
        return values if direction == "forward" else values[::-1]

    def _embedding(self, direction: str) -> Array:
        own = f"encoder.stacks.{direction}s.embedding.weight"
        return self.weights[own if own in self.weights else "encoder.stacks.forwards.embedding.weight"]

    def _lstm(self, prefix: str, inputs: Array) -> Array:
        w_ih, w_hh, b_ih, b_hh = (
            self.weights[prefix + name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        size = w_hh.shape[1]
        h, c = np.zeros(size), np.zeros(size)
        states = []
        for x in inputs:
            i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            states.append(h)
        return np.array(states)

    def _qrnn(self, prefix: str, number: int, inputs: Array) -> Array:
        weight, bias = self.weights[f"{prefix}weight"], self.weights[f"{prefix}bias"]
        window, size = [*self.arguments["windows"], *[1] * (number + 1)][number], len(bias) // 3
        factors = np.full((len(inputs), 1, size), 1.0 - self.arguments["zoneout"])
        oracle = QrnnOracle(weight, bias, window, factors)
        states, _ = oracle.forward(
            inputs[:, None], np.zeros((window - 1, 1, inputs.shape[1])), np.zeros((1, size))
        )
        return states[:, 0]

    def _log_softmax_over_vocabulary(self, direction: str, states: Array, embedding: Array) -> Array:
        bias = self.weights[f"outputs.{direction}s.bias"]
        scores = states @ embedding.T + bias
        if not self.cutoffs:
            return _log_softmax(scores)
        cluster_scores = (
            states @ self.weights[f"outputs.{direction}s.cluster_weight"].T
            + self.weights[f"outputs.{direction}s.cluster_bias"]
        )
        first = self.cutoffs[0]
        head = _log_softmax(np.concatenate([scores[:, :first], cluster_scores], axis=1))
        parts = [head[:, :first]]
        for cluster, (low, high) in enumerate(zip(self.cutoffs, [*self.cutoffs[1:], len(bias)], strict=True)):
            parts.append(head[:, [first + cluster]] + _log_softmax(scores[:, low:high]))
        return np.concatenate(parts, axis=1)


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def _log_softmax(x: Array) -> Array:
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))
