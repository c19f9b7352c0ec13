"""Checks that several verbs make before they load a model: its kind, and the place of the output."""

from __future__ import annotations

import os
from pathlib import Path

from unfreeze.datasets.lines import plain_suffix
from unfreeze.errors import UserError

LANGUAGE_MODEL = "language model"
CLASSIFIER = "text_classifier"
IMAGE_CLASSIFIER = "image_classifier"
TAGGER = "sequence_tagger"
ANSWERER = "question_answerer"
LOCATOR = "object_locator"
TRANSLATOR = "translator"
TASK_MODELS = {
    CLASSIFIER: "classifier",
    IMAGE_CLASSIFIER: "image classifier",
    TAGGER: "tagger",
    ANSWERER: "answerer",
    LOCATOR: "locator",
}
WORD_VECTORS = "word_vectors"
FITS = "`unfreeze fit classifier`, `fit tagger`, `fit answerer` or `fit locator`"


def need_one_process(verb: str) -> None:
    """Raise UserError if several processes were started: each would do all the work of this verb."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{verb} is one process with threads: start it without accelerate launch or torchrun")


def need_new(path: Path | None, *, overwrite: bool, option: str = "output") -> None:
    """Raise UserError for an output that exists already, unless it may be replaced."""
    if path is not None and path.exists() and not overwrite:
        raise UserError(f"--{option} {path} exists: take another name, or add --overwrite")


def need_table_name(output: Path | None) -> None:
    """Raise UserError for an output whose name does not end like that of a CSV or TSV table."""
    if output is not None and output.suffix.lower() not in (".csv", ".tsv"):
        raise UserError(f"--output {output}: the name has to end in .csv or .tsv")


def model_kind(model: str) -> str:
    """The kind in a model's config.json, or `LANGUAGE_MODEL` for any language model.

    Raises:
        UserError: there is no such model, or its config.json is damaged or newer.
    """
    from unfreeze.folders import read_config
    from unfreeze.registry import find_model, is_language_model

    config = read_config(find_model(model))
    return LANGUAGE_MODEL if is_language_model(config) else str(config["kind"])


def refuse_images(model: str | Path, advice: str) -> None:
    """Raise UserError, with what to do instead, for a saved model that reads images where one of texts is needed."""
    from unfreeze.encoders.vector_source import is_vector_file
    from unfreeze.folders import read_config
    from unfreeze.registry import ENCODERS, encoder_class, find_model

    if is_vector_file(model):
        return
    folder = find_model(model)
    config = read_config(folder)
    kind = (config.get("encoder") or config)["kind"]
    if kind in ENCODERS and encoder_class(kind, folder).reads == "images":
        raise UserError(f"{model} reads images: {advice}")


def need_kind(model: str, kind: str, verb: str, needed: str) -> None:
    """Raise UserError for a model of another kind; `needed` says what the verb needs and how to make it."""
    found = model_kind(model)
    if found != kind:
        raise UserError(f"{model} is of kind {found.replace('_', ' ')}; {verb} needs {needed}")


def reads_pairs(model: str) -> bool:
    """Whether a model is a classifier of pairs of texts.

    Raises:
        UserError: there is no such model, or its config.json is damaged or newer.
    """
    from unfreeze.folders import read_config
    from unfreeze.registry import find_model

    config = read_config(find_model(model))
    return config["kind"] == CLASSIFIER and bool((config.get("settings") or {}).get("pairs"))


def need_pairs(model: str, option: str, given: bool, advice: str) -> None:
    """Raise UserError if `option`, which names the second text of a pair, is missing for a classifier of pairs, or given for another.

    Args:
        advice: the option or options that would be right.
    """
    if reads_pairs(model) and not given:
        raise UserError(f"{model} is a classifier of pairs of texts: add {advice}")
    if given and not reads_pairs(model):
        raise UserError(f"{model} is a classifier of single texts: leave out {option}")


def need_task_model(model: str) -> str:
    """The kind of a task model, for predict; raises the UserError that names the right verb if `model` is none."""
    kind = model_kind(model)
    if kind in TASK_MODELS:
        return kind
    if kind == LANGUAGE_MODEL:
        from unfreeze.language_models.base import verbs_of
        from unfreeze.language_models.model import language_model_class
        from unfreeze.registry import find_model

        found = language_model_class(find_model(model), model)
        what, advice = found.described, f"use {verbs_of(found)}, or make one with {FITS}"
    elif kind == TRANSLATOR:
        what, advice = "a translator", f"use `unfreeze translate`, or make one with {FITS}"
    else:
        what, advice = f"an encoder of kind {kind}", f"make one with {FITS}"
    raise UserError(
        f"{model} is {what}; predict needs a classifier, a tagger, an answerer or a locator: {advice}"
    )


def need_vector_file(output: Path) -> None:
    """Raise UserError for a file name whose suffix is not a format of word vectors."""
    known = (".txt", ".vec", ".bin", ".npz")
    if plain_suffix(output) not in known:
        raise UserError(
            f"--output {output}: the name of a file of vectors ends in {', '.join(known)}, optionally followed by .gz"
        )
