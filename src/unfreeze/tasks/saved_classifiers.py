"""The network of a saved classifier, from its config.json and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from unfreeze.checked import need_type
from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, load_tensors
from unfreeze.registry import encoder_class
from unfreeze.tasks.bcn import BcnOnLayers
from unfreeze.tasks.bodies import BiLstmOnLayers
from unfreeze.tasks.classifier_network import NETWORKS, ClassifierNetwork
from unfreeze.tasks.heads import HEADS
from unfreeze.tasks.settings import Pooling
from unfreeze.tasks.task_encoders import VECTORS, split_encoder


def saved_network(config: dict[str, Any], folder: Path) -> ClassifierNetwork:
    """The network of the classifier in `folder`, in evaluation mode.

    Raises:
        UserError: its settings are unknown to this version, or weights and config.json do not fit.
    """
    body = dict(config["settings"])
    name = str(body.pop("network", "pooled"))
    if name not in NETWORKS:
        raise UserError(f"{folder / CONFIG} asks for a {name} network: upgrade with pip install -U unfreeze")
    for option, known in (("pooling", get_args(Pooling)), ("head", tuple(HEADS))):
        if body.get(option, known[0]) not in known:
            raise UserError(
                f"{folder / CONFIG} asks for the {option} {body[option]!r}, known are {', '.join(known)}: "
                "upgrade with pip install -U unfreeze"
            )
    if name in (
        BiLstmOnLayers.network,
        BcnOnLayers.network,
    ):  # word vectors are an encoder in a folder of their own
        with_vectors = body.pop("word_vectors", False)
        need_type(with_vectors, bool, f"{folder / CONFIG}: settings.word_vectors")
        body["vectors"] = WordVectors.from_pretrained(folder / VECTORS) if with_vectors else None
    encoder = encoder_class(config["encoder"]["kind"], folder).from_config(config["encoder"], folder)
    own, of_encoder = split_encoder(load_tensors(folder / WEIGHTS))
    network = made_to_fit(
        NETWORKS[name],
        folder,
        {name: list(tensor.shape) for name, tensor in own.items()},
        ClassifierNetwork.own_tensors,
        encoder,
        len(config["labels"]),
        **{**body, "multi_label": config["multi_label"]},
    )
    encoder.load_weights(of_encoder, str(folder))
    load_matching(network, own, network.own_tensors(), str(folder))
    return network.eval()
