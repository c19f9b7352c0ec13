"""Whether two runs are the same, and how a message says in what they differ.

The identity of a run is everything that determines its result, as JSON values: the settings of its recipe, the names and sizes
of the files of a corpus, digests of labeled data and of weights. `training/run.json` has it under "asked".
"""

from __future__ import annotations

import re
from typing import Any

from unfreeze.errors import setting

HARMLESS = {"checkpoint_minutes"}
"""Settings that do not change the result: a run is resumed when they differ."""
RENAMED: dict[str, dict[str, str]] = {
    "": {"rate": "learning_rate"},
    "pretrain elmo": {"size": "projection_size", "cells": "hidden_size", "spelling": "char_cnn"},
}
"""Settings with another name in runs of earlier versions, old name -> new name: of every stage (""), or of one."""
ADDED: dict[str, Any] = {"cell": "lstm", "windows": [2], "zoneout": 0.0}
"""Settings that run.json of earlier versions lacks, with the values that those versions used."""
NOT_SETTINGS = {"source", "embedding", "filters", "n_highway"}
"""Parts of an identity that are neither settings of a recipe nor options: the character CNN comes from ELMo's preset."""
DIGESTED = {
    "encoder_weights": "other weights of the encoder",
    "weights": "other weights of the encoder or the word vectors",
}
"""Parts of an identity that are digests -> how messages describe a difference."""


def _settings(identity: dict[str, Any], new_names: dict[str, str] | None = None) -> dict[str, Any]:
    """All settings of an identity by their current names, not nested, and without those that do not change the result."""
    if new_names is None:
        new_names = RENAMED[""] | RENAMED.get(str(identity.get("stage")), {})
    found: dict[str, Any] = {}
    for name, value in identity.items():
        if isinstance(value, dict) and value:
            found |= _settings(value, new_names)
        elif name not in HARMLESS and value is not None:
            found[new_names.get(name, name)] = value
    return found


def _earlier_settings(record: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The settings of a record, with those of `now` that its version lacked."""
    return {name: value for name, value in ADDED.items() if name in now} | _settings(record["asked"])


def same_run(record: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Whether the identity in a record, which an earlier version may have written, is this one."""
    now = _settings(identity)
    return _earlier_settings(record, now) == now


def difference(record: dict[str, Any] | None, identity: dict[str, Any]) -> str:
    """How the run of an existing output differs from this one, for a message."""
    if record is None:
        return "already holds a model"
    now = _settings(identity)
    before = _earlier_settings(record, now)
    if (precision := record.get("precision")) is not None and now["precision"] != "auto":
        before["precision"] = precision
    else:
        del now["precision"]
    if before.get("stage") != now.get("stage"):
        return f"belongs to another run ({before.get('stage')} there, {now.get('stage')} here)"
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    shown = ", ".join(_shown(name, before.get(name), now.get(name)) for name in names[:3])
    return f"belongs to another run ({shown})"


def _shown(name: str, before: Any, now: Any) -> str:
    """Describe a difference without showing digests or sizes of files."""
    if isinstance(before, bool) and isinstance(now, bool):
        return f"{setting(name, before)} there, {setting(name, now)} here"
    sources = [each[0] if _is_source(each) else each for each in (before, now)]
    if _is_source(now) and sources[0] == sources[1]:
        return f"other examples of {now[0]}"
    if _has_digest(sources[0]) or _has_digest(sources[1]):
        return DIGESTED.get(name, f"another {name.replace('_', ' ')}")
    there, here = (_described(name, each) for each in sources)
    if there == here:  # the same names of files
        return f"other text in {here}"
    return f"{name.replace('_', ' ') if name in NOT_SETTINGS else setting(name)} {there} there, {here} here"


def _described(name: str, value: Any) -> str:
    if value in (None, "None", []):
        return "not given"
    # As made by `Corpus.identity`: the files of each path, with their sizes.
    if name in ("corpus", "validation") and isinstance(value, list):
        files = [file[0] if isinstance(file, list) else file for path in value for file in path]
        return ", ".join([*files[:3], *["..."] * (len(files) > 3)])
    return repr(value)


def _is_source(value: Any) -> bool:
    """Whether a value is the place of examples and their digest."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and not _has_digest(value[0]) and _has_digest(value[1])


def _has_digest(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_digest(each) for each in value)
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,}", value) is not None
