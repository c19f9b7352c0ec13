"""JoeyNMT's side: the same architecture with the same sizes, trained by its own loop. Runs in benchmarks/.joeynmt only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joeynmt.config import parse_global_args, set_validation_args
from joeynmt.prediction import predict, prepare
from joeynmt.training import TrainManager

from benchmarks.turns import StepEnd

NEVER = 10_000_000
"""Updates between its own validations: the benchmark measures outside of the time."""


class JoeyPeer:
    """biLSTM encoder, LSTM decoder with input feeding and Luong's attention.

    Args:
        folder: folder for its files.
        train, validation: the tokens of sources and targets.
        sizes: `embedding_size`, `hidden_size` of a direction, `n_layers`, `batch_size`, `dropout`, `learning_rate`.
    """

    def __init__(
        self,
        folder: Path,
        train: tuple[Sequence[Sequence[str]], Sequence[Sequence[str]]],
        validation: tuple[Sequence[Sequence[str]], Sequence[Sequence[str]]],
        sizes: dict[str, Any],
    ) -> None:
        (folder / "model").mkdir(parents=True, exist_ok=True)
        for name, sides in (("train", train), ("dev", validation)):
            for language, texts in zip(("src", "trg"), sides, strict=True):
                lines = "".join(" ".join(tokens) + "\n" for tokens in texts)
                (folder / f"{name}.{language}").write_text(lines, encoding="utf-8")
        logging.disable(logging.INFO)
        self.args = parse_global_args(_config(folder, sizes), rank=0, mode="train")
        self.model, self.train_data, self.dev_data, _ = prepare(self.args, rank=0, mode="train")
        self.manager = TrainManager(
            rank=0,
            model=self.model,
            model_dir=self.args.model_dir,
            device=self.args.device,
            autocast=self.args.autocast,
            seed=self.args.seed,
            train_args=self.args.train,
            dev_args=set_validation_args(self.args.test),
        )

    @property
    def n_parameters(self) -> int:
        """All of them."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def train(self, step: StepEnd) -> None:
        """Its own training loop; `step` is called when the loop asks for the gradient of the next batch."""
        own, waiting = self.manager._train_step, [0]

        def one_step(batch: Any) -> Any:
            if waiting[0]:  # the update with the batch before has been made
                step(waiting[0])
            waiting[0] = int(batch.ntokens)
            return own(batch)

        self.manager._train_step = one_step
        self.manager.train_and_validate(train_data=self.train_data, valid_data=self.dev_data)

    def translate(self) -> list[list[str]]:
        """The tokens of the greedy translations of the validation sources."""
        was_training = self.model.training
        self.model.eval()
        *_, decoded, _, _ = predict(
            model=self.model,
            data=self.dev_data,
            device=self.args.device,
            n_gpu=0,
            args=set_validation_args(self.args.test),
            autocast=self.args.autocast,
        )
        self.model.train(was_training)
        return [[token for token in tokens if token not in ("</s>", "<s>", "<pad>")] for tokens in decoded]


def _config(folder: Path, sizes: dict[str, Any]) -> dict[str, Any]:
    side = {"lang": "", "max_length": 200, "lowercase": False, "level": "word", "voc_min_freq": 1}
    embeddings = {"embedding_dim": sizes["embedding_size"], "scale": False, "dropout": sizes["dropout"]}
    rnn = {
        "type": "recurrent",
        "rnn_type": "lstm",
        "num_layers": sizes["n_layers"],
        "dropout": sizes["dropout"],
    }
    width = 2 * sizes["hidden_size"]
    return {
        "name": "peer",
        "model_dir": str(folder / "model"),
        "use_cuda": False,
        "random_seed": 1,
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "dev"),
            "dataset_type": "plain",
            "src": {**side, "lang": "src"},
            "trg": {**side, "lang": "trg"},
        },
        "model": {
            "initializer": "xavier_uniform",
            "encoder": {
                **rnn,
                "hidden_size": sizes["hidden_size"],
                "bidirectional": True,
                "embeddings": embeddings,
            },
            "decoder": {
                **rnn,
                "hidden_size": width,
                "embeddings": {**embeddings, "embedding_dim": width},
                "hidden_dropout": sizes["dropout"],
                "input_feeding": True,
                "init_hidden": "last",
                "attention": "luong",
            },
            "tied_softmax": True,
        },
        "training": {
            "optimizer": "adam",
            "scheduling": "exponential",
            "decrease_factor": 1.0,  # the learning rate stays
            "learning_rate": sizes["learning_rate"],
            "normalization": "tokens",
            "clip_grad_norm": 1.0,
            "batch_size": sizes["batch_size"],
            "batch_type": "sentence",
            "epochs": 1000,
            "logging_freq": NEVER,
            "validation_freq": NEVER,
            "early_stopping_metric": "loss",
        },
        "testing": {"beam_size": 1, "batch_size": 64, "batch_type": "sentence", "max_output_length": 100},
    }
