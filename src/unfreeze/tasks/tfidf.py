"""TF-IDF with logistic regression as a network: it predicts without scikit-learn, and is saved without pickle.

Terms are words and pairs of neighboring words, or the character n-grams inside words, of the package's own words, lower-cased.
The weight of a term in a text is (1 + log of its count) times its inverse document frequency, and the weights of a text have
length 1, as in scikit-learn's `TfidfVectorizer(sublinear_tf=True)`.

Legend: N texts, V terms, K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.checked import need_type, read_json_file
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, TERMS, WEIGHTS, load_tensors, write_json, write_model, written_folder
from unfreeze.tasks.classifying import ClassifyingNetwork
from unfreeze.tasks.regression import Solution
from unfreeze.text.words import word_texts

TermKind = Literal["words", "characters"]
LENGTHS = range(2, 6)
"""Lengths of character n-grams, the space before and after the word included."""


def terms_of(text: str, kind: TermKind) -> list[str]:
    """The terms of a text, each as often as it occurs."""
    words = word_texts(text.lower())  # as scikit-learn does
    if kind == "words":
        return [*words, *map(" ".join, pairwise(words))]
    return [term for word in words for term in _ngrams(word)]


@lru_cache(maxsize=50_000)
def _ngrams(word: str) -> tuple[str, ...]:
    padded = f" {word} "
    return tuple(
        padded[start : start + length] for length in LENGTHS for start in range(len(padded) - length + 1)
    )


class TermCounts:
    """How often each term occurs in each of some texts: the parts of TF-IDF that do not depend on which of them are trained on.

    Args:
        texts: N texts.
        least: a term that fewer texts have is ignored.
    """

    def __init__(self, texts: Sequence[str], kind: TermKind, least: int = 1) -> None:
        from scipy.sparse import csr_matrix

        number_of: dict[str, int] = {}
        starts, columns, counts = [0], list[int](), list[int]()
        for text in texts:
            own = Counter(terms_of(text, kind))
            columns += [number_of.setdefault(term, len(number_of)) for term in own]
            counts += own.values()
            starts.append(len(columns))
        self.kind, self.least, self.terms = kind, least, list(number_of)
        values = 1.0 + np.log(np.array(counts, np.float64))
        self.weights: Any = csr_matrix((values, columns, starts), (len(texts), len(number_of)))
        """(N, V), 1 + log of the count."""

    def inverse_frequencies(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(V,) of these texts: log((1 + n) / (1 + df)) + 1, and 0 for terms that too few of them have."""
        frequency = np.diff(self.weights[rows].tocsc().indptr)
        found: NDArray[np.float64] = np.log((1 + len(rows)) / (1 + frequency)) + 1
        found[frequency < max(1, self.least)] = 0.0
        return found

    def features(self, rows: NDArray[np.int64], inverse: NDArray[np.float64]) -> Any:
        """Rows of length 1 for these texts, a sparse matrix (n, V)."""
        from scipy.sparse import diags

        found = self.weights[rows] @ diags(inverse)
        norms = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
        return diags(1 / np.where(norms > 0, norms, 1.0)) @ found


class TfidfNetwork(ClassifyingNetwork):
    """TF-IDF, then a linear function.

    Args:
        terms: V terms.
        n_labels: K.
        multi_label: labels are independent of each other.
    """

    network = "tfidf"

    def __init__(
        self, terms: Sequence[str], n_labels: int, *, kind: TermKind = "words", multi_label: bool = False
    ) -> None:
        super().__init__()
        self.kind, self.multi_label = kind, multi_label
        self.terms = list(terms)
        self._number_of = {term: number for number, term in enumerate(self.terms)}
        self.inverse: Tensor
        self.register_buffer("inverse", torch.zeros(len(terms)))
        self.weight = nn.Parameter(torch.zeros(len(terms), n_labels))
        self.bias = nn.Parameter(torch.zeros(n_labels))

    @classmethod
    @torch.no_grad()
    def solved(
        cls, counts: TermCounts, inverse: NDArray[np.float64], solution: Solution, *, multi_label: bool
    ) -> TfidfNetwork:
        """The network of a logistic regression on `counts.features(..., inverse)`; terms without a frequency are left out."""
        kept = np.flatnonzero(inverse)
        terms = [counts.terms[number] for number in kept]
        network = cls(terms, len(solution.bias), kind=counts.kind, multi_label=multi_label)
        network.inverse.copy_(torch.from_numpy(inverse[kept]))
        network.weight.copy_(torch.from_numpy(solution.weight[:, kept].T))
        network.bias.copy_(torch.from_numpy(solution.bias))
        return network.eval()

    def features(self, text: str) -> tuple[Tensor, Tensor]:
        """The numbers of the known terms of a text, and their weights, which have length 1."""
        known = {
            self._number_of[term]: count
            for term, count in Counter(terms_of(text, self.kind)).items()
            if term in self._number_of
        }
        numbers = torch.tensor(list(known), dtype=torch.long)
        weights = (1 + torch.tensor(list(known.values()), dtype=torch.float64).log()) * self.inverse[
            numbers
        ].cpu()
        return numbers, (weights / weights.norm().clamp_min(1e-12)).float()

    @property
    def n_features(self) -> int:
        """K: the logits are the features, of which TF-IDF itself has too many."""
        return len(self.bias)

    @torch.no_grad()
    def describe(self, given: Sequence[Any]) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """N texts -> (N, K) logits, (N, K) probabilities, and (N,) whether a text has a known term."""
        rows, known = [], np.zeros(len(given), np.bool_)
        for place, text in enumerate(given):
            numbers, weights = self.features(text)
            device = self.weight.device
            rows.append(weights.to(device) @ self.weight[numbers.to(device)].float() + self.bias)
            known[place] = len(numbers) > 0
        logits = torch.stack(rows)
        return logits, logits.sigmoid() if self.multi_label else logits.softmax(1), known

    def save(self, folder: str | Path, config: dict[str, Any]) -> None:
        """Write config.json, model.safetensors and the terms into `folder`, whole or not at all."""
        with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
            write_model(target, config, dict(self.state_dict()))
            write_json(target / TERMS, self.terms)

    @classmethod
    def load(cls, folder: Path, n_labels: int, *, multi_label: bool, kind: str = "words") -> TfidfNetwork:
        """The network that `save` wrote.

        Raises:
            UserError: the files do not fit together.
        """
        if kind not in get_args(TermKind):
            raise UserError(
                f"{folder / CONFIG} asks for terms of kind {kind!r}: upgrade with pip install -U unfreeze"
            )
        terms = read_json_file(folder / TERMS)
        need_type(terms, list[str], str(folder / TERMS))
        network = cls(
            terms, n_labels, kind="words" if kind == "words" else "characters", multi_label=multi_label
        )
        tensors = load_tensors(folder / WEIGHTS)
        wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
            raise UserError(
                f"{folder / WEIGHTS} does not fit the {len(terms):,} terms of {TERMS}: the files are damaged"
            )
        network.load_state_dict(tensors)
        return network.eval()
