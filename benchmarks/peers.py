"""fastai's side: models, data loaders and training steps as used by its learners. Runs in benchmarks/.peers only.

AWD_QRNN, which fastai has removed, is loaded from the files of fastai 2.3.1, the last version with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.text.all import (
    AWD_LSTM,
    Callback,
    CancelValidException,
    CrossEntropyLossFlat,
    DataLoaders,
    L,
    LMDataLoader,
    LMLearner,
    Pad_Chunk,
    SortedDL,
    TensorCategory,
    TensorText,
    TextLearner,
    awd_lstm_clas_config,
    awd_lstm_lm_config,
    get_language_model,
    get_text_classifier,
)
from fastai.text.models import core
from torch import nn

from benchmarks.sizes import Sizes
from benchmarks.turns import Contender, StepEnd
from unfreeze.encoders.layers.cell_settings import CellKind

OLDER = Path(__file__).parent / ".peers" / "fastai-2.3.1" / "fastai" / "text" / "models"


def _older_module(name: str, file: str) -> Any:
    """Load a file of fastai 2.3.1 as a module of fastai.text.models, so that its imports resolve to the current version."""
    spec = spec_from_file_location(f"fastai.text.models.{name}", OLDER / file)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


@lru_cache(maxsize=1)
def awd_qrnn() -> type[nn.Module]:
    """Register AWD_QRNN for get_language_model and get_text_classifier, and return it."""
    _older_module("qrnn", "qrnn.py")
    older = _older_module("awdlstm_of_2_3", "awdlstm.py")
    arch: type[nn.Module] = older.AWD_QRNN
    configs = {"config_lm": older.awd_qrnn_lm_config, "config_clas": older.awd_qrnn_clas_config}
    core._model_meta[arch] = {**core._model_meta[AWD_LSTM], **configs}
    return arch


def sized(config: dict[str, Any], sizes: Sizes) -> dict[str, Any]:
    """Copy a configuration of fastai with other sizes. The copy is needed because fastai modifies its argument."""
    return {**config, "emb_sz": sizes[0], "n_hid": sizes[1], "n_layers": sizes[2]}


def arch_of(cell: CellKind) -> type[nn.Module]:
    """AWD_LSTM or AWD_QRNN."""
    return awd_qrnn() if cell == "qrnn" else AWD_LSTM


def language_model(
    vocabulary_size: int, sizes: Sizes, dropout_scale: float = 1.0, cell: CellKind = "lstm"
) -> nn.Module:
    """fastai's AWD-LSTM, or AWD-QRNN, with random weights."""
    config = sized(awd_lstm_lm_config, sizes)
    return get_language_model(arch_of(cell), vocabulary_size, config=config, drop_mult=dropout_scale)


def classifier(
    vocabulary_size: int, sizes: Sizes, n_labels: int, max_len: int | None = 72 * 20, cell: CellKind = "lstm"
) -> nn.Module:
    """fastai's classifier with random weights and random batch-norm statistics."""
    config = sized(awd_lstm_clas_config, sizes)
    model = get_text_classifier(arch_of(cell), vocabulary_size, n_labels, config=config, max_len=max_len)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.01, 0.1)
    return model


class StepCallback(Callback):
    """Calls `step` with the number of tokens of a batch after all other callbacks."""

    order = 1_000

    def __init__(self, step: StepEnd) -> None:
        self.step_ended = step

    def after_batch(self) -> None:
        self.step_ended(self.xb[0].numel())


class LanguageModelPeer:
    """fastai's language-model learner on ids, with its standard callbacks, its Adam and its one-cycle schedule.

    Args:
        documents: token ids of each document.
        dropout_scale: drop_mult of fastai.
        alpha, beta: activation regularization, with fastai's defaults.
    """

    def __init__(
        self,
        documents: Sequence[np.ndarray],
        vocabulary_size: int,
        sizes: Sizes,
        *,
        batch_size: int,
        bptt: int,
        dropout_scale: float = 1.0,
        alpha: float = 2.0,
        beta: float = 1.0,
    ) -> None:
        texts = L([torch.from_numpy(document.astype(np.int64)) for document in documents])
        lengths = [len(text) for text in texts]
        self.loader = LMDataLoader(texts, lens=lengths, bs=batch_size, seq_len=bptt, shuffle=True)
        self.model = language_model(vocabulary_size, sizes, dropout_scale)
        self.learner = LMLearner(
            DataLoaders(self.loader, self.loader),
            self.model,
            loss_func=CrossEntropyLossFlat(),
            alpha=alpha,
            beta=beta,
        )

    def training(self, name: str, rate: float, n_steps: int) -> Contender:
        """`learner.fit_one_cycle` as a contender, for a number of batches over as many epochs as needed."""
        self.loader.n = min(self.loader.n, n_steps * self.loader.bs)
        n_epochs = -(-n_steps // len(self.loader))

        def work(step: StepEnd) -> None:
            with self.learner.no_bar(), self.learner.no_logging():
                self.learner.fit_one_cycle(n_epochs, rate, cbs=[StepCallback(step), NoValidation()])

        return Contender(name, work, n_steps)


class NoValidation(Callback):
    """Skip validation between epochs, because there is no validation data."""

    def before_validate(self) -> None:
        raise CancelValidException


class ClassifierPeer:
    """fastai's classifier, used through `get_preds`."""

    def __init__(self, model: nn.Module, batch_size: int = 64) -> None:
        self.batch_size = batch_size
        empty = self.loader([np.arange(2, 9)] * 2)
        self.learner = TextLearner(DataLoaders(empty, empty), model, loss_func=CrossEntropyLossFlat())

    def loader(self, documents: Sequence[np.ndarray]) -> SortedDL:
        """Documents sorted by length and padded in chunks, as by fastai's TextBlock."""
        items = [(TensorText(np.asarray(ids, dtype=np.int64)), TensorCategory(0)) for ids in documents]
        lengths = [len(ids) for ids in documents]
        return SortedDL(items, res=lengths, bs=self.batch_size, before_batch=Pad_Chunk(), num_workers=0)

    def probabilities(self, documents: Sequence[np.ndarray]) -> torch.Tensor:
        """Probabilities (N, K) in the order of `documents`."""
        with self.learner.no_bar(), self.learner.no_logging():
            found, _ = self.learner.get_preds(dl=self.loader(documents))
        return found

    def predict(self, document: np.ndarray) -> torch.Tensor:
        """Probabilities (1, K) computed as by `learner.predict`, given the ids of a text."""
        with self.learner.no_bar(), self.learner.no_logging():
            found = self.learner.get_preds(dl=self.loader([document]), with_input=True, with_decoded=True)
        return found[1]


def save(model: nn.Module, path: Path) -> Path:
    """Save as `learn.save(with_opt=False)` does."""
    torch.save(model.state_dict(), path)
    return path
