"""Which settings of a classifier ask for `encoder="auto"`."""

from __future__ import annotations

from dataclasses import fields

from unfreeze.errors import UserError, setting
from unfreeze.tasks.plans import AUTO, changed_setting
from unfreeze.tasks.settings import ClassifierSettings

OF_AUTO = "encoder minutes seed checkpoint_minutes unlabeled unlabeled_column"
"""Settings that say how the encoder auto works; any other one that is changed names what it would choose itself."""


def uses_auto(settings: ClassifierSettings) -> bool:
    """Whether a classifier of texts is an ensemble of what `tasks.auto` considers: the default where nothing else is asked for.

    Raises:
        UserError: settings exclude each other.
    """
    names = [field.name for field in fields(settings) if field.name not in OF_AUTO.split()]
    other = changed_setting(settings, " ".join(names))
    if settings.encoder == AUTO and other:
        raise UserError(
            f"{setting(other)} is for an encoder that you name: {setting('encoder', AUTO)} chooses it"
        )
    found = settings.encoder == AUTO or (settings.encoder is None and other is None)
    if settings.unlabeled is not None and not found:
        named = (
            setting("encoder", str(settings.encoder)) if settings.encoder is not None else setting(str(other))
        )
        raise UserError(f"{setting('unlabeled')} is for {setting('encoder', AUTO)}, not for {named}")
    if settings.unlabeled_column is not None and settings.unlabeled is None:
        raise UserError(f"{setting('unlabeled_column')} is for {setting('unlabeled')}, which is missing")
    return found
