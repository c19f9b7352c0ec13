"""Settings in messages: arguments for Python callers, options on the command line."""

from __future__ import annotations

import logging

import pytest

from unfreeze.commands.arguments import as_option
from unfreeze.commands.console import make_console
from unfreeze.errors import Notice, UserError, setting


@pytest.mark.parametrize(
    ("name", "value", "argument", "option"),
    [
        ("label_column", None, "label_column", "--label-column"),
        ("label_column", "2", "label_column='2'", "--label-column 2"),
        ("header", True, "header=True", "--header"),
        ("header", False, "header=False", "--no-header"),
        ("epochs", 3, "epochs=3", "--epochs 3"),
    ],
)
def test_a_setting_is_an_argument_or_an_option(name: str, value: object, argument: str, option: str) -> None:
    for message in (
        UserError(f"add {setting(name, value)} here"),
        Notice(f"add {setting(name, value)} here"),
    ):
        assert str(message) == f"add {argument} here"
        assert message.written(as_option) == f"add {option} here"


def test_logged_notices_name_options_on_the_command_line_alone(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("unfreeze.text")
    earlier = logging.getLogger("unfreeze")
    handlers, level, propagate = earlier.handlers[:], earlier.level, earlier.propagate
    logger.warning(Notice(f"a.csv: {setting('header', False)} reads it as data"))
    assert caplog.messages == ["a.csv: header=False reads it as data"]
    try:
        make_console(json=False, quiet=False, debug=False)
        logger.warning(Notice(f"a.csv: {setting('header', False)} reads it as data"))
    finally:
        earlier.handlers[:], earlier.propagate = handlers, propagate
        earlier.setLevel(level)
    assert "a.csv: --no-header reads it as data" in capsys.readouterr().err
