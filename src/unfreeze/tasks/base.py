"""What all tasks have in common: an estimator in scikit-learn's sense whose settings are its constructor's arguments.

An estimator inherits its settings dataclass, so that the signature of its constructor, `get_params` and mypy all know every
setting. It follows scikit-learn's protocol without inheriting from its classes: `import sklearn` takes as long as
`import torch`, and `unfreeze predict` needs none of it. `clone`, `cross_val_score`, `GridSearchCV` and `Pipeline` ask for
the methods below only (https://scikit-learn.org/stable/developers/develop.html).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from unfreeze.checked import need_call
from unfreeze.display import did_you_mean
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG
from unfreeze.registry import push_to_hub
from unfreeze.tasks.settings import TaskSettings, plain_settings
from unfreeze.training.precision import Precision, choose_precision


def _naming_the_unknown(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, with a message about an unknown keyword that names the one that was meant."""
    parameters = signature(init).parameters
    names = [name for name in parameters if name != "self"]
    takes_positional = any(parameters[name].kind is Parameter.POSITIONAL_OR_KEYWORD for name in names)

    @functools.wraps(init)
    def checked(self: object, /, *first: Any, **settings: Any) -> None:
        for name in settings:
            if name not in names:
                raise TypeError(_unknown(name, names))
        if first and not takes_positional:
            kind = type(self).__name__
            raise TypeError(f"settings are given by name, such as {kind}({names[0]}={first[0]!r})")
        init(self, *first, **settings)

    return checked


def _unknown(name: str, names: Sequence[str]) -> str:
    near = did_you_mean(name, names).removeprefix("; ").replace("'", "")
    return f"unknown setting {name!r}: {near or 'settings are ' + ', '.join(names)}"


def _settings_class(estimator: type) -> Any:
    """The dataclass of an estimator's settings."""
    return next(base for base in estimator.__mro__ if "__dataclass_fields__" in vars(base))


class Parameters:
    """scikit-learn's protocol for the parameters of an object that inherits them as a dataclass."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            cls.__init__ = _naming_the_unknown(_settings_class(cls).__init__)  # type: ignore[method-assign]

    # Two estimators with equal settings are not the same one: one of them may be fitted.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """The settings that differ from the defaults, as scikit-learn shows them."""
        changed = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name; `deep` makes no difference, since no setting is an estimator."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        """Change settings; the next `fit` checks them.

        Raises:
            UserError: there is no setting of that name.
        """
        names = list(self.get_params())
        for name, value in params.items():
            if name not in names:
                raise UserError(_unknown(name, names))
            setattr(self, name, value)
        return self


class Estimator(Parameters, TaskSettings, ABC):
    """A task: `fit` trains it, `predict` and `score` use it, `save_pretrained` saves it.

    What fitting gives is in attributes whose names end in an underscore, such as `network_` and `metrics_`.
    """

    used_by: ClassVar[str] = "predict or evaluate, or take the language model that it was fitted from"
    """What messages advise where a language model is needed."""
    network_: nn.Module
    metrics_: dict[str, Any]
    """Metrics of the training, as in metrics.json; an estimator that was loaded has none."""
    _estimator_type: str | None = None
    _precision: Precision = "fp32"

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if self._estimator_type == "classifier" else None,
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )

    if not TYPE_CHECKING:  # mypy is to know which attributes there are

        def __getattr__(self, name: str) -> Any:
            # Also called for a property that needs what fitting gives, such as `label_names`.
            of_fitted = isinstance(getattr(type(self), name, None), property) and "network_" not in vars(self)
            if of_fitted or (name.endswith("_") and not name.startswith("_")):
                from sklearn.exceptions import NotFittedError

                raise NotFittedError(
                    f"this {type(self).__name__} is not fitted: call fit first, or load one with from_pretrained"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def network(self) -> Any:
        """The fitted network, a torch module."""
        return self.network_

    @classmethod
    def with_settings(cls, settings: TaskSettings | None) -> Self:
        """An estimator with these settings, or with the defaults."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)} if settings else {})

    def _checked_settings(self) -> dict[str, Any]:
        """The settings as JSON has them, checked again, because `set_params` checks none.

        Raises:
            UserError: a value cannot work.
        """
        self.__post_init__()
        return plain_settings(self)

    @classmethod
    def _saved_settings(cls, config: dict[str, Any], folder: Path) -> Self:
        """An estimator, not fitted, with the settings in a config.json; with the defaults if it has none.

        Raises:
            UserError: the settings are unknown to this version, or have wrong values.
        """
        place = f"{folder / CONFIG}: estimator"
        saved = config.get("estimator") or {}
        need_call(_settings_class(cls), place, **saved)
        try:
            return cls(**saved)
        except UserError as error:
            raise UserError(f"{place}: {error}: the file is damaged") from None

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write everything that `from_pretrained` needs into `folder`."""

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the model to the repository owner/name on the Hugging Face hub, which is made if needed.

        Returns:
            The address of the commit.

        Raises:
            UserError: the hub refused, or could not be reached.
        """
        self.network_  # noqa: B018 - raises NotFittedError before the hub is reached
        return push_to_hub(self.save_pretrained, repo_id, private=private, token=token)

    def _take_fitted(self, fitted: Estimator) -> Self:
        """Become fitted as another estimator of the same settings is."""
        vars(self).update({name: value for name, value in vars(fitted).items() if name.endswith("_")})
        return self

    @property
    def precision(self) -> Precision:
        """Number format of predictions: fp32, or bf16, which is several times faster on processors that support it.

        Setting "auto" chooses the faster one on this machine.
        """
        return self._precision

    @precision.setter
    def precision(self, wanted: Precision) -> None:
        chosen = choose_precision(wanted, next(self.network_.parameters()).device)
        self._precision = "bf16" if chosen == "bf16" else "fp32"


def held_out_pair(validation: Any) -> tuple[Any, Any]:
    """X and y of the argument `validation`.

    Raises:
        UserError: it is no pair.
    """
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise UserError("validation is a pair (X, y) of held-out examples, not a share or a single list")
    return validation[0], validation[1]
