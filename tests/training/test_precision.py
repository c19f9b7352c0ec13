"""Which format is chosen: what was asked for, else what a probe found to be faster and healthy."""

from __future__ import annotations

import pytest
import torch

from unfreeze.errors import UserError
from unfreeze.training import precision
from unfreeze.training.precision import Probe, choose_precision, probe_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("probe", "chosen"),
    [
        (Probe(9.0, 0.004), "bf16"),
        (Probe(0.3, 0.004), "no"),
        (Probe(1.1, 0.004), "no"),
        (Probe(9.0, 0.5), "no"),
    ],
)
def test_auto_takes_bf16_where_it_is_faster_and_right(
    probe: Probe, chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "probe_bf16", lambda: probe)
    with caplog.at_level("INFO", logger="unfreeze"):
        assert choose_precision("auto", CPU) == chosen
    assert (
        f"{probe.speedup:.2f} times" in caplog.text
        and ("bf16" if chosen == "bf16" else "fp32") in caplog.text
    )


def test_what_is_asked_for_is_taken_without_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "probe_bf16", None)
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp32", CPU) == "no"
    with pytest.raises(UserError, match="fp8"):
        choose_precision("fp8", CPU)  # type: ignore[arg-type]


def test_the_probe_measures_this_machine_once() -> None:
    found = probe_bf16()
    assert found is probe_bf16()
    assert found.speedup > 0 and 0 < found.error < 0.1
