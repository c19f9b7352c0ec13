"""Find a saved encoder by folder, released name or hub name, and load it as the class that its config names."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from unfreeze.encoders.base import Encoder, encoder_weights, read_config
from unfreeze.encoders.vector_source import HUB
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, digest
from unfreeze.text.display import did_you_mean

KINDS = {
    "awd_lstm": ("unfreeze.encoders.awd_lstm", "AwdLstm"),
    "word_vectors": ("unfreeze.encoders.word_vectors", "WordVectors"),
    "lstm": ("unfreeze.encoders.lstm", "LstmEncoder"),
    "elmo": ("unfreeze.encoders.elmo", "Elmo"),
}
"""Kind in config.json -> module and class. A new rung adds its line here."""
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
ON_WORDS = ("sequence_tagger", "question_answerer")
"""Task models that may stand on word vectors alone."""


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
    """The local folder of a saved model. An existing path wins, then released names; the hub for names of the form owner/name.

    Where a folder of the name `owner` is here, "models/mistyped" in ./models is not asked for at the hub; hf:owner/name always is.

    Raises:
        UserError: nothing of that name is found, or the hub could not be reached.
    """
    path = Path(name_or_dir)
    if path.exists():
        return path
    name = str(name_or_dir)
    if name in released_names():
        return Path(str(files("unfreeze") / "released" / name))
    if not name.startswith(HUB) and not _may_be_on_hub(name):
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


def _may_be_on_hub(name: str) -> bool:
    """Whether a name has the form owner/name, and no folder here is meant."""
    return bool(HUB_NAME.fullmatch(name)) and not Path(name).parent.is_dir()


def _nothing_there(name: str) -> str:
    """What a mistyped name is told: the saved model beside it, or the released one, whose name is nearest."""
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


def encoder_class(kind: str, folder: Path) -> type[Encoder]:
    """The class of the kind that `folder`'s config.json names.

    Raises:
        UserError: there is none.
    """
    if kind == "ngram":
        raise UserError(f"{folder} is an n-gram model, which gives no word a vector: take an encoder")
    if kind not in KINDS:
        raise UserError(
            f"{folder} holds an encoder of kind {kind!r}, known are {', '.join(KINDS)}: "
            "upgrade with pip install -U unfreeze"
        )
    module, name = KINDS[kind]
    found = getattr(import_module(module), name)
    assert isinstance(found, type) and issubclass(found, Encoder)
    return found


def load_encoder(
    name_or_dir: str | Path,
    *,
    expected: type[Encoder] = Encoder,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Encoder:
    """Load the encoder of a saved encoder, language model or task model, in evaluation mode and fp32."""
    folder = find_model(
        name_or_dir, revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only
    )
    config = read_config(folder)
    if config["kind"] in ON_WORDS and "encoder" not in config:
        if not config.get("word_vectors"):
            raise UserError(f"{folder} was fitted without an encoder: there is none to start from")
        return load_encoder(folder / "word_vectors", expected=expected)
    config = config.get("encoder") or config
    found = encoder_class(config["kind"], folder)
    if not issubclass(found, expected):
        raise UserError(f"{folder} holds an encoder of the kind {config['kind']}, not {expected.kind}")
    encoder = found.from_config(config, folder)
    tensors = {
        n: t
        for n, t in encoder_weights(folder).items()
        if not n.startswith(("outputs.", "heads.", "word_vectors"))
    }
    encoder.load_weights(tensors, str(folder))
    return encoder.eval()


def weights_digest(name: str) -> str:
    """Tells a saved model, or a file of vectors, from others by its numbers.

    Raises:
        UserError: there is none of that name.
    """
    place = find_model(name)
    return digest(place if place.is_file() else place / WEIGHTS)
