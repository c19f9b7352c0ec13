"""Settings as the command line: presets, what is given explicitly, and messages that name fields or options."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest

from tests.commands.calls import fail, succeed
from unfreeze.commands.adapt import Adapt
from unfreeze.commands.arguments import parse
from unfreeze.commands.fit_answerer import FitAnswerer
from unfreeze.commands.fit_classifier import FitClassifier
from unfreeze.commands.fit_tagger import FitTagger
from unfreeze.commands.options import changed, chosen_settings
from unfreeze.commands.pretrain_elmo import PretrainElmo
from unfreeze.commands.pretrain_lm import PretrainLm
from unfreeze.errors import UserError, setting
from unfreeze.pretraining import elmo_settings
from unfreeze.pretraining.settings import PRESETS, AdaptSettings, PretrainSettings, small, tiny
from unfreeze.tasks.settings import AnswererSettings, ClassifierSettings, TaggerSettings

PLACES = ["--corpus", "texts", "--output", "model"]


def parsed(kind: Any, line: str) -> Any:
    """The arguments of a line, without the files that every verb needs."""
    return parse(kind, [*line.split(), *PLACES], "unfreeze verb")


def test_what_is_given_changes_the_preset_at_any_depth_and_nothing_else() -> None:
    arguments = parsed(PretrainLm, "--preset tiny --learning-rate 0.5 --batch-size=7 --min_count 9 --seed 3")
    assert arguments.given == {"learning_rate": 0.5, "batch_size": 7, "min_count": 9, "seed": 3}
    training = tiny().training
    policy, loop = replace(training.policy, learning_rate=0.5), replace(training.loop, seed=3)
    expected = replace(
        tiny(), min_count=9, training=replace(training, batch_size=7, policy=policy, loop=loop)
    )
    assert chosen_settings(PRESETS["tiny"](), arguments.given) == expected


def test_a_value_that_is_also_the_helps_default_still_changes_the_preset() -> None:
    size = small().hidden_size
    arguments = parsed(PretrainLm, f"--preset tiny --hidden-size {size}")
    assert chosen_settings(tiny(), arguments.given).hidden_size == size != tiny().hidden_size


@pytest.mark.parametrize(
    ("line", "epochs", "minutes"),
    [("", 10, None), ("--minutes 5", None, 5.0), ("--minutes 5 --epochs 2", 2, 5.0), ("--epochs 2", 2, None)],
)
def test_a_time_limit_replaces_the_epochs_of_a_preset(
    line: str, epochs: int | None, minutes: float | None
) -> None:
    loop = chosen_settings(elmo_settings.paper(), parsed(PretrainElmo, line).given).loop
    assert (loop.epochs, loop.minutes) == (epochs, minutes)


def test_words_after_two_dashes_are_not_given() -> None:
    arguments = parse(Adapt, [*PLACES, "--no-new-vocabulary", "--", "--bptt"], "unfreeze adapt")
    assert arguments is not None
    assert (arguments.encoder, arguments.given) == ("--bptt", {"new_vocabulary": False})


@pytest.mark.parametrize(
    ("kind", "settings", "line", "changes"),
    [
        (
            FitClassifier,
            ClassifierSettings,
            "--layers -1 --new-words --no-gradual --weight-decay 0.1 --transfer frozen",
            {"layers": -1, "new_words": True, "gradual": False, "weight_decay": 0.1, "transfer": "frozen"},
        ),
        (
            FitTagger,
            TaggerSettings,
            "--layers mix --scheme bio --no-vectors-learn --dropout 0 --n-layers 2",
            {"layers": "mix", "scheme": "bio", "vectors_learn": False, "dropout": 0.0, "n_layers": 2},
        ),
        (FitAnswerer, AnswererSettings, "--characters 0 --minutes 3", {"characters": 0, "minutes": 3.0}),
    ],
)
def test_every_setting_of_a_task_is_an_option(
    kind: Any, settings: Any, line: str, changes: dict[str, Any]
) -> None:
    arguments = parse(kind, [*line.split(), "--train", "file", "--output", "model"], "unfreeze fit")
    assert arguments is not None and arguments.settings == settings(**changes)
    shown = succeed("fit", kind.__name__.removeprefix("Fit").lower(), "--help").out
    options = {f"--{field.name.replace('_', '-')} " for field in fields(settings)}
    assert {each for each in options if each not in re.sub("[,\n]", " ", shown)} == set()


def test_a_copy_with_changes_is_checked() -> None:
    with pytest.raises(UserError, match="^batch_size must be above 0, not 0$"):
        changed(AdaptSettings(), {"batch_size": 0})


@pytest.mark.parametrize(
    ("wrong", "in_python", "options", "on_the_command_line"),
    [
        ({"hidden_size": 0}, "hidden_size must be above 0, not 0", "--hidden-size 0", "--hidden-size must be above 0"),
        (
            {"softmax": "adaptive", "tokenizer": "subword"},
            "use softmax='full' for subwords",
            "--softmax adaptive --tokenizer subword",
            "use --softmax full for subwords; see unfreeze pretrain lm --help",
        ),
        (
            {"zoneout": 0.1},
            "windows and zoneout are for QRNNs: add cell='qrnn', or leave them out",
            "--cell lstm --zoneout 0.1",
            "--windows and --zoneout are for QRNNs: add --cell qrnn, or leave them out",
        ),
    ],
)  # fmt: skip
def test_a_message_names_fields_in_python_and_options_on_the_command_line(
    wrong: dict[str, Any], in_python: str, options: str, on_the_command_line: str
) -> None:
    with pytest.raises(UserError) as raised:
        PretrainSettings(training=tiny().training, **wrong)
    assert in_python in str(raised.value)
    assert on_the_command_line in fail("pretrain", "lm", *PLACES, *options.split())


def test_switches_and_words_that_look_like_settings() -> None:
    error = UserError(f"add {setting('overwrite', True)} or {setting('gradual', False)}, not overwrite=True")
    assert str(error) == "add overwrite=True or gradual=False, not overwrite=True"
    with pytest.raises(UserError, match="overwrite=True or"):
        raise error


@pytest.mark.parametrize("option", ["--mode", "--no-gradual", "--betas", "--char-cnn"])
def test_settings_that_a_verb_fixes_are_no_options(option: str) -> None:
    assert f"unknown option '{option}'" in fail("pretrain", "elmo", *PLACES, option, "1")
    assert option not in succeed("pretrain", "elmo", "--help").out


def test_the_help_shows_defaults_and_leaves_out_those_that_are_no_choice() -> None:
    shown = succeed("pretrain", "lm", "--help").out
    assert f"(default: {small().training.policy.learning_rate})" in " ".join(shown.split())
    assert "default: None" not in shown and "default: )" not in shown
    shown = succeed("contextuality", "--help").out
    assert "vectors. (required)" in " ".join(shown.split()) and "default: )" not in shown
