"""The class of each kind of saved model, and finding, loading and uploading models by name.

config.json names the kind. The classes are named as strings and imported when a model of their kind is loaded, so that they
can import this module, and finding a model does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict, Unpack

from unfreeze.display import did_you_mean
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, digest, read_config

ENCODERS = {
    "awd_lstm": "unfreeze.encoders.awd_lstm:AwdLstm",
    "word_vectors": "unfreeze.encoders.word_vectors:WordVectors",
    "lstm": "unfreeze.encoders.lstm:LstmEncoder",
    "elmo": "unfreeze.encoders.elmo:Elmo",
    "cove": "unfreeze.encoders.cove:CoVe",
    "convnet": "unfreeze.encoders.convnet:ConvNet",
}
"""A new rung adds its line here."""
LANGUAGE_MODELS = {
    "awd_lstm": "unfreeze.language_models.awd_lstm:AwdLstmLanguageModel",
    "elmo": "unfreeze.language_models.bilm:BiLanguageModel",
    "ngram": "unfreeze.language_models.ngram:NgramModel",
}
"""Encoders whose config.json also names an output layer, and models that have no encoder."""
TASKS = {
    "text_classifier": "unfreeze.tasks.text_classifier:TextClassifier",
    "sequence_tagger": "unfreeze.tasks.sequence_tagger:SequenceTagger",
    "image_classifier": "unfreeze.tasks.image_classifier:ImageClassifier",
    "object_locator": "unfreeze.tasks.object_locator:ObjectLocator",
    "question_answerer": "unfreeze.tasks.question_answerer:QuestionAnswerer",
    "translator": "unfreeze.pretraining.translation.translator:Translator",
}

HUB = "hf:"
"""Prefix of names that are always looked up on the hub, even if a folder of that name exists."""
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class HubOptions(TypedDict, total=False):
    """Keywords of `find_model` that matter for a model on the hub, as in `huggingface_hub.snapshot_download`."""

    revision: str | None
    cache_dir: str | Path | None
    token: str | None
    local_files_only: bool


def load(name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Any:
    """Load any saved model as the class of its kind: an encoder, a language model or a task model.

    Args:
        name_or_dir, hub: as for `find_model`.

    Raises:
        UserError: there is no such model, or its folder is incomplete, damaged, newer or of an unknown kind.
    """
    folder = find_model(name_or_dir, **hub)
    return model_class(read_config(folder), folder).from_pretrained(folder)


def model_class(config: dict[str, Any], folder: Path) -> Any:
    """Return the class of the model in `folder`, given its config.json.

    Raises:
        UserError: the kind is unknown.
    """
    kind = config["kind"]
    if kind in TASKS:
        return _import(TASKS[kind])
    if is_language_model(config):
        return _import(LANGUAGE_MODELS[kind])
    return encoder_class(kind, folder)


def is_language_model(config: dict[str, Any]) -> bool:
    """Whether a model with this config.json is a language model, and not just an encoder or a task model."""
    kind = config["kind"]
    return kind in LANGUAGE_MODELS and (kind not in ENCODERS or config.get("output") is not None)


def encoder_class(kind: str, folder: Path) -> Any:
    """The class of the encoder kind that the config of `folder` names.

    Raises:
        UserError: the kind is unknown, or a model without an encoder.
    """
    if kind not in ENCODERS and kind in LANGUAGE_MODELS:
        raise UserError(f"{folder} is an n-gram model, which gives no word a vector: take an encoder")
    if kind not in ENCODERS:
        raise UserError(
            f"{folder} holds an encoder of kind {kind!r}, known are {', '.join(ENCODERS)}: "
            "upgrade with pip install -U unfreeze"
        )
    return _import(ENCODERS[kind])


def _import(name: str) -> Any:
    """Import "module:Class", so that classes are loaded only when they are needed."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def released_names() -> list[str]:
    """The encoders that ship with the package."""
    folder = Path(str(files("unfreeze") / "released"))
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def find_model(
    name_or_dir: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """The local folder of a saved model.

    Args:
        name_or_dir: an existing path, else the name of a released model, else owner/name on the hub. If there is a folder
            `owner` here, owner/name is a mistyped path and is not looked up on the hub; hf:owner/name always is.
        revision, cache_dir, token, local_files_only: for the hub, as in `huggingface_hub.snapshot_download`.

    Raises:
        UserError: nothing of that name is found, or the hub could not be reached.
    """
    if not isinstance(name_or_dir, (str, Path)) or not str(name_or_dir):
        raise UserError(f"a model is given by its name or folder, not {name_or_dir!r}")
    path = Path(name_or_dir)
    if path.exists():
        return path
    name = str(name_or_dir)
    if name in released_names():
        return Path(str(files("unfreeze") / "released" / name))
    # owner/name may be on the hub, unless there is a folder `owner`: then it is a mistyped path.
    may_be_on_hub = HUB_NAME.fullmatch(name) and not path.parent.is_dir()
    if not name.startswith(HUB) and not may_be_on_hub:
        raise UserError(_nothing_there(name))
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name.removeprefix(HUB),
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                allow_patterns=["*.json", "*.safetensors", "README.md", "*.npy"],
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"there is no folder {name!r}, and the hub gave none: {str(error).splitlines()[0]}"
        ) from error


def _nothing_there(name: str) -> str:
    """The error message for a name that was not found, with the most similar name of a saved or released model."""
    path = Path(name)
    saved = [config.parent.name for config in path.parent.glob(f"*/{CONFIG}")]
    if "/" in name:
        before = "" if path.parent == Path() else f"{path.parent}/"
        hub = f" (to take it from the hub, write {HUB}{name})" if HUB_NAME.fullmatch(name) else ""
        return f"there is no folder {name!r}{hub}{did_you_mean(path.name, saved, before)}"
    known = released_names()
    released = ", ".join(known) or "none"
    near = did_you_mean(name, [*saved, *known])
    return f"there is no folder {name!r}, and no released model of that name (released: {released}){near}"


def push_to_hub(
    save: Callable[[Path], None], repo_id: str, *, private: bool = False, token: str | None = None
) -> str:
    """Upload what `save` writes into a folder to the repository `repo_id` on the hub, which is made if needed.

    Returns:
        The address of the commit.

    Raises:
        UserError: the hub refused, or could not be reached.
    """
    from huggingface_hub import create_repo, upload_folder
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # huggingface_hub uses requests or httpx, depending on its version; connection errors come from that library.
    transport_error: Any = HfHubHTTPError.__bases__[0]
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save(folder)
        try:
            create_repo(repo_id, private=private, token=token, exist_ok=True)
            return str(upload_folder(repo_id=repo_id, folder_path=folder, token=token))
        except (transport_error, HfHubHTTPError, HFValidationError, OSError) as error:
            raise UserError(
                f"cannot upload to {repo_id!r} on the hub: {str(error).splitlines()[0]}"
            ) from error


def weights_digest(name: str) -> str:
    """A digest of the weights of a saved model, or of a file of vectors.

    Raises:
        UserError: there is none of that name.
    """
    place = find_model(name)
    return digest(place if place.is_file() else place / WEIGHTS)
