"""Largest difference between the logits of fastai models and of the same models converted by `unfreeze convert`.

    benchmarks/.peers/bin/python -m benchmarks --only parity

Language models and classifiers with random weights, based on LSTMs and on QRNNs, are saved by fastai and converted as a user
would do it. Both sides run in fp32. Three properties of fastai's classifier are relevant; ours gives a document the same logits
in all cases:

- Batches must be sorted by length, longest first; ours gets the documents in another order.
- If the length of the longest document in a batch is not a multiple of 72, fastai uses a wrong "last state" for documents that
  fit into the remainder (40 tokens next to one of 400, for example), because it takes the padding before them for padding
  after them. It is therefore evaluated on each document alone, and on a batch whose longest document has a length that is a
  multiple; the difference between its own results is printed too.
- By default only the last 1,440 tokens of a document are pooled, whereas ours pools all, so longer documents are compared with
  max_len=None.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers
from benchmarks.report import Row
from benchmarks.sizes import Sizes
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.formats.fastai import convert_fastai
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.tasks.bodies import Ids
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.text_classifier import TextClassifier

LIMIT = 1e-5
SIZES: list[tuple[int, Sizes]] = [
    (50, (6, 10, 1)),
    (400, (32, 48, 2)),
    (2_000, (64, 150, 4)),
    (8_000, (400, 1152, 3)),
]
SPECIAL = "xxunk xxpad xxbos xxeos xxfld xxrep xxwrep xxup xxmaj".split()
BPTT = 72
SHORT, LONG, ODD = (6 * BPTT, 1, 400, 73, 144, 250, 5), (20 * BPTT + 72, 1_441, 200, 72, 9), (400, 144, 5)
"""Lengths of documents; in a batch of the last ones, the results of fastai differ from those for single documents."""


def run(say: Callable[[str], None]) -> list[Row]:
    """Compute the differences for each size and kind."""
    torch.manual_seed(0)
    worst: dict[str, float] = {}
    cells: list[CellKind] = ["lstm", "qrnn"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for cell, (size, sizes) in product(cells, SIZES):
            rows = {f"language model, {cell}": language_model_difference(size, sizes, cell, folder)}
            rows[f"classifier, {cell}"], itself = classifier_differences(size, sizes, cell, folder)
            for kind, difference in rows.items():
                say(f"{size:>6,} words, {'/'.join(map(str, sizes)):<10} {kind:<20} {difference:.2e}")
                worst[kind] = max(worst.get(kind, 0.0), difference)
    say(f"fastai's own logits of a document of 5 tokens, alone and beside one of 400, differ by {itself:.2g}")
    return [
        Row(
            what=f"largest difference of logits from fastai's: {kind}",
            ratio=difference,
            goal=f"< {LIMIT:g}",
            failed=difference >= LIMIT,
        )
        for kind, difference in worst.items()
    ]


def vocabulary_file(folder: Path, size: int) -> Path:
    """A vocabulary of artificial words."""
    path = folder / "vocabulary.json"
    path.write_text(
        json.dumps([*SPECIAL, *[f"word{n}" for n in range(size - len(SPECIAL))]]), encoding="utf-8"
    )
    return path


def language_model_difference(size: int, sizes: Sizes, cell: CellKind, folder: Path) -> float:
    """Largest difference of logits on a batch of 5 in two pieces, with the state carried over."""
    model = peers.language_model(size, sizes, cell=cell).eval()
    with torch.no_grad():
        model[1].decoder.bias.normal_()
    convert_fastai(peers.save(model, folder / "lm.pth"), vocabulary_file(folder, size), folder / "lm")
    ours = AwdLstmLanguageModel.from_pretrained(folder / "lm")
    stack, output, state = ours.encoder.stack("forward"), ours.output("forward"), None
    worst = 0.0
    model.reset()
    for length in (BPTT, 31):
        ids = torch.randint(0, size, (5, length))
        with torch.no_grad():
            theirs = model(ids)[0]
            found = stack(ids.t(), state)
            logits = torch.nn.functional.linear(
                found.top.transpose(0, 1), stack.embedding.weight, output.bias
            )
        state = found.state
        worst = max(worst, float((logits - theirs).abs().max()))
    return worst


def classifier_differences(size: int, sizes: Sizes, cell: CellKind, folder: Path) -> tuple[float, float]:
    """Largest difference of logits for batches and single documents, and between results of fastai."""
    model = peers.classifier(size, sizes, 3, cell=cell).eval()
    convert_fastai(
        peers.save(model, folder / "c.pth"),
        vocabulary_file(folder, size),
        folder / "c",
        labels=["a", "b", "c"],
    )
    ours = TextClassifier.from_pretrained(folder / "c").network
    worst = 0.0
    for lengths, max_len in ((SHORT, 20 * BPTT), (LONG, None)):
        model[0].max_len = max_len
        documents = random_documents(size, lengths)
        found = our_logits(ours, documents)
        alone = torch.cat([fastai_logits(model, [document]) for document in documents])
        for theirs in (alone, fastai_logits(model, documents)):
            worst = max(worst, float((found - theirs).abs().max()))
    odd = random_documents(size, ODD)
    itself = fastai_logits(model, odd)[-1] - fastai_logits(model, odd[-1:])[0]
    return worst, float(itself.abs().max())


def random_documents(size: int, lengths: Sequence[int]) -> list[Ids]:
    """Random documents, longest first."""
    random = np.random.default_rng(size)
    return [random.integers(9, size, n, dtype=np.uint32) for n in sorted(lengths, reverse=True)]


@torch.no_grad()
def fastai_logits(model: torch.nn.Module, documents: Sequence[Ids]) -> torch.Tensor:
    """Logits of one batch (N, K)."""
    (batch,) = peers.ClassifierPeer(model, len(documents)).loader(documents)
    return model(batch[0])[0].as_subclass(torch.Tensor)


@torch.no_grad()
def our_logits(network: ClassifierNetwork, documents: Sequence[Ids]) -> torch.Tensor:
    """Logits of one batch (N, K), computed in a different order."""
    mixed = np.random.default_rng(0).permutation(len(documents))
    (logits,) = network.logits(network.read([documents[n] for n in mixed]))
    result = torch.empty_like(logits)
    result[torch.from_numpy(mixed)] = logits
    return result
