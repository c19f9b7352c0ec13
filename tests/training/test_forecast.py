"""A run says once, after a few updates, about how long it will take."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from unfreeze.training import loop
from unfreeze.training.loop import MEASURED, WARM_UP, Forecast


@pytest.mark.parametrize(
    ("steps_left", "said"),
    [
        (1_000, ["about 33 minutes to go: 988 steps at 2 s each"]),
        (44, ["about 64 seconds to go: 32 steps at 2 s each"]),
        (30, []),
        (None, []),
    ],
)
def test_it_is_said_once_and_only_of_a_long_run(
    steps_left: int | None, said: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))
    found = Forecast()
    with caplog.at_level(logging.INFO, logger="unfreeze"):
        for step in range(1, WARM_UP + MEASURED + 5):
            clock.now += 60.0 if step <= WARM_UP else 2.0  # the first updates take longer and do not count
            found.after_update(None if steps_left is None else steps_left - step)
    assert caplog.messages == said
