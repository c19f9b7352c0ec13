"""Which format is chosen: what was asked for, else what the processor is fast in and computes correctly."""

from __future__ import annotations

import pytest
import torch

from unfreeze.errors import UserError
from unfreeze.training import precision
from unfreeze.training.precision import bf16_error, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "error", "chosen"),
    [
        ({"avx2", "amx_bf16"}, 0.004, "bf16"),
        ({"avx512_bf16"}, 0.004, "bf16"),
        ({"avx2", "avx512f"}, 0.004, "no"),
        (set(), 0.004, "no"),
        ({"amx_bf16"}, 0.5, "no"),
    ],
)
def test_auto_takes_bf16_where_the_processor_has_it_and_it_is_right(
    flags: set[str],
    error: float,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(precision, "bf16_error", lambda: error)
    with caplog.at_level("INFO", logger="unfreeze"):
        assert choose_precision("auto", CPU) == chosen
    assert f"precision: {'bf16' if chosen == 'bf16' else 'fp32'} (" in caplog.text


def test_what_is_asked_for_is_taken_without_a_look_at_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_flags", None)
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp32", CPU) == "no"
    with pytest.raises(UserError, match="fp8"):
        choose_precision("fp8", CPU)  # type: ignore[arg-type]


def test_a_bf16_product_has_the_error_of_its_eight_bits() -> None:
    assert 2**-11 < bf16_error() < 2**-7
