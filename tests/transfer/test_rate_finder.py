"""The range test on functions whose losses can be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.errors import UserError
from unfreeze.progress import Bar, Progress
from unfreeze.transfer.rate_finder import RateCurve, find_rate


def quadratic(start: float = 2.0, curvature: float = 3.0, floor: float = 0.1) -> Callable[[float], float]:
    """Gradient descent on floor + curvature / 2 * w ** 2 by autograd."""
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def loss_at(rate: float) -> float:
        loss = floor + curvature / 2 * weight**2
        weight.grad = None
        loss.backward()
        with torch.no_grad():
            weight.sub_(rate * weight.grad)
        return loss.item()

    return loss_at


def scripted(losses: list[float]) -> Callable[[float], float]:
    remaining = iter(losses)
    return lambda rate: next(remaining)


def test_losses_on_a_quadratic_are_the_hand_computed_ones() -> None:
    curve = find_rate(quadratic(), low=1e-4, high=0.5, steps=60)
    rates = np.geomspace(1e-4, 0.5, 60)
    # An update multiplies w by 1 - rate * curvature: the loss at update i follows from the earlier factors.
    weights = 2.0 * np.cumprod(np.concatenate([[1.0], 1 - 3.0 * rates[:-1]]))
    losses = 0.1 + 1.5 * weights**2
    np.testing.assert_allclose(curve.learning_rates, rates, rtol=1e-9)
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-9)
    for i in range(60):  # the mean by its definition: weights .85 ** age, normalized
        assert curve.smoothed[i] == pytest.approx(
            np.average(losses[: i + 1], weights=0.85 ** np.arange(i, -1, -1)), rel=1e-9
        )


def test_suggestion_is_the_steepest_point_of_a_known_curve() -> None:
    # Smoothing delays a fall but does not move the place where one step down is the largest: a flat loss that
    # drops once, at update 50, has its steepest smoothed point there or beside it (central differences).
    curve = find_rate(scripted([8.0] * 50 + [2.0] * 50), low=1e-6, high=1.0, steps=100)
    assert curve.suggestion in [curve.learning_rates[i] for i in (49, 50, 51)]
    assert curve.tenth_of_minimum == pytest.approx(0.1)  # the smoothed loss falls up to the last rate, 1.0


def test_suggestion_lies_before_the_minimum_and_below_divergence() -> None:
    curve = find_rate(quadratic(), low=1e-5, high=100.0, steps=100)
    lowest = curve.learning_rates[int(np.argmin(curve.smoothed))]
    assert 1e-5 < curve.suggestion < lowest
    assert curve.suggestion < 2 / 3  # the quadratic diverges from 2 / curvature on
    assert curve.tenth_of_minimum == lowest / 10


def test_it_stops_at_four_times_the_best() -> None:
    rising = [1.0 + 0.1 * i for i in range(100)]  # slowly, so that the stop is seen to a few percent
    curve = find_rate(scripted([3.0] * 20 + [1.0] * 60 + rising), steps=180)
    ratios = np.array(curve.smoothed) / np.minimum.accumulate(curve.smoothed)
    assert 4 < ratios[-1] < 4.2 and (ratios[:-1] <= 4).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_it_stops_at_a_loss_that_is_not_finite(bad: float) -> None:
    falling = [10.0 - 0.2 * i for i in range(30)]
    curve = find_rate(scripted([*falling, bad, 1.0]), steps=50)
    assert curve.losses == falling and len(curve.learning_rates) == len(curve.smoothed) == 30
    assert curve.suggestion in curve.learning_rates


def test_noise_in_the_first_losses_is_no_slope() -> None:
    # The second loss is far below the first by chance; the true fall comes later.
    losses = [9.0, 5.0] + [7.0] * 40 + [7.0 - 0.2 * i for i in range(20)] + [3.0] * 38
    curve = find_rate(scripted(losses), steps=100)
    assert curve.learning_rates[40] < curve.suggestion < curve.learning_rates[75]


class Heard(Progress):
    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.total: int | None = None

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        self.total = total
        heard = self.figures

        class Listening(Bar):
            def advance(self, n: int = 1, **figures: float) -> None:
                heard.append(figures)

        yield Listening()


def test_progress_hears_each_update() -> None:
    heard = Heard()
    curve = find_rate(quadratic(), low=1e-4, high=0.1, steps=20, progress=heard)
    assert heard.total == 20
    assert [figures["learning_rate"] for figures in heard.figures] == curve.learning_rates
    assert [figures["loss"] for figures in heard.figures] == curve.losses


@pytest.mark.parametrize(
    "loss_at",
    [scripted([math.nan]), scripted([1.0 + 0.1 * i for i in range(100)]), scripted([1.0] * 100)],
    ids=["nothing finite", "rising", "flat"],
)
def test_a_loss_that_never_falls_is_said(loss_at: Callable[[float], float]) -> None:
    with pytest.raises(UserError, match="does not fall") as raised:
        find_rate(loss_at)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("low", "high", "steps"), [(0.0, 1.0, 50), (1.0, 0.1, 50), (0.1, math.inf, 50), (0.1, 1, 9)]
)
def test_a_range_that_cannot_work_is_said(low: float, high: float, steps: int) -> None:
    with pytest.raises(UserError, match="low must be|steps must be"):
        find_rate(quadratic(), low=low, high=high, steps=steps)


def noisy_curve() -> RateCurve:
    rng = np.random.default_rng(0)
    x = np.linspace(-6, 1, 100)
    losses = 7 + 3 / (1 + np.exp(3 * (x + 2.5))) + np.exp(4 * (x - 0.3)) + rng.normal(0, 0.12, 100)
    return find_rate(scripted(losses.tolist()), low=1e-6, high=10.0)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_plot_is_drawn_in_the_kind_of_its_suffix(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"curve{suffix}"
    noisy_curve().plot(path)
    assert path.read_bytes().startswith(magic)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_plot_has_a_log_axis_and_marks_the_suggestion() -> None:
    from matplotlib.figure import Figure

    curve = noisy_curve()
    axes = Figure().add_subplot()
    curve.draw(axes)
    assert axes.get_xscale() == "log"
    marked = [line.get_xdata()[0] for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    assert set(marked) == {curve.suggestion, curve.tenth_of_minimum}
    low, high = axes.get_ylim()
    assert low < min(curve.smoothed) and high > curve.smoothed[0]
    assert any(f"{curve.suggestion:.1e}" in text.get_text() for text in axes.get_legend().get_texts())


def test_plot_refuses_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"curve\.txt.*\.png"):
        noisy_curve().plot(tmp_path / "curve.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("jump", "noisy"), [(0.001, False), (0.5, True)])
def test_a_curve_that_falls_by_less_than_its_noise_is_noisy(jump: float, noisy: bool) -> None:
    smoothed = [1.0 - 0.02 * n for n in range(20)] + [2.0] * 5
    losses = [loss + jump * (-1) ** n for n, loss in enumerate(smoothed)]
    curve = RateCurve([10.0 ** (n - 25) for n in range(25)], losses, smoothed, 1e-9, 1e-10)
    assert curve.is_noisy is noisy
