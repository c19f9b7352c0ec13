"""The network of a saved classifier, from its config.json and weights: on an encoder, TF-IDF, or an ensemble of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch

from unfreeze.checked import need_type
from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, MEMBERS, WEIGHTS, load_tensors, read_config
from unfreeze.registry import encoder_class
from unfreeze.tasks.bcn import BcnOnLayers
from unfreeze.tasks.bodies import BiLstmOnLayers
from unfreeze.tasks.classifier_network import NETWORKS, ClassifierNetwork
from unfreeze.tasks.classifying import KIND, ClassifierConfig, ClassifyingNetwork
from unfreeze.tasks.ensemble import EnsembleNetwork, Member
from unfreeze.tasks.heads import HEADS
from unfreeze.tasks.settings import Pooling
from unfreeze.tasks.task_encoders import VECTORS, split_encoder
from unfreeze.tasks.tfidf import TfidfNetwork


def saved_network(config: dict[str, Any], folder: Path) -> ClassifyingNetwork:
    """The network of the classifier in `folder`, in evaluation mode.

    Raises:
        UserError: its settings are unknown to this version, or weights and config.json do not fit.
    """
    settings = dict(config["settings"])
    name = str(settings.pop("network", "pooled"))
    n_labels, multi_label = len(config["labels"]), config["multi_label"]
    if name == TfidfNetwork.network:
        if unknown := set(settings) - {"kind"}:
            raise UserError(
                f"{folder / CONFIG} asks for {', '.join(sorted(unknown))}: upgrade with pip install -U unfreeze"
            )
        return TfidfNetwork.load(folder, n_labels, multi_label=multi_label, **settings)
    if name == EnsembleNetwork.network:
        return _ensemble(settings, config, folder)
    if name not in NETWORKS:
        raise UserError(f"{folder / CONFIG} asks for a {name} network: upgrade with pip install -U unfreeze")
    if config.get("encoder") is None:
        raise UserError(f"{folder / CONFIG} lacks 'encoder': the file is damaged")
    return _on_encoder(name, settings, config, folder)


def _ensemble(settings: dict[str, Any], config: dict[str, Any], folder: Path) -> EnsembleNetwork:
    names: Any = settings.get("members")
    need_type(names, list[str], f"{folder / CONFIG}: settings.members")
    members = []
    for number, name in enumerate(names):
        place = folder / MEMBERS / str(number)
        own = read_config(place, {KIND}, ClassifierConfig)
        if (own["labels"], own["multi_label"]) != (config["labels"], config["multi_label"]):
            raise UserError(
                f"{place / CONFIG} has other labels than {folder / CONFIG}: the files are damaged"
            )
        members.append(Member(name, saved_network(own, place), own["settings"]))
    weights = load_tensors(folder / WEIGHTS).get("weights")
    if not members or weights is None or weights.shape != (len(members),):
        raise UserError(
            f"{folder / WEIGHTS} has no weight for each of {len(members)} members: the files are damaged"
        )
    network = EnsembleNetwork(members, multi_label=config["multi_label"])
    with torch.no_grad():
        network.weights.copy_(weights)
    return network.eval()


def _on_encoder(name: str, body: dict[str, Any], config: dict[str, Any], folder: Path) -> ClassifierNetwork:
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
