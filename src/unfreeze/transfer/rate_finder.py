"""Learning-rate range test: raise the rate until the loss explodes, and look where it fell fastest.

Smith 2017 (https://arxiv.org/abs/1506.01186), with exponential growth of the rate and a bias-corrected
exponential mean of the losses (as in Kingma & Ba 2015, section 3). It costs at most `steps` updates, and the
model is spoiled afterwards: the caller works on a copy or restores it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.errors import UserError
from unfreeze.pictures import picture_format, save_picture
from unfreeze.progress import SILENT, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPLOSION = 4.0
# The mean lags behind the loss and moves the suggestion up. On a noisy sigmoid over 7 decades and 100
# updates, .98 put it .6 decades above the steepest point of the true curve, .85 put it .3 above; below that
# noise takes over.
SMOOTHING = 0.85


@dataclass(frozen=True)
class RateCurve:
    """What a range test saw. The lists are equally long: one entry an update with a finite loss."""

    rates: list[float]
    """The rate of each update, growing by the same factor."""
    losses: list[float]
    """The loss before each update."""
    smoothed: list[float]
    """The bias-corrected exponential mean of the losses."""
    suggestion: float
    """The rate at which the smoothed loss falls most steeply (per factor of rate)."""
    tenth_of_minimum: float
    """A tenth of the rate at the lowest smoothed loss: the other usual choice, safe on a noisy curve."""

    def plot(self, path: str | Path) -> None:
        """Draw the curve into a file (PNG, SVG or PDF, by its suffix).

        Raises:
            UserError: a suffix of another format, or the file cannot be written.
        """
        from matplotlib.figure import Figure

        picture_format(Path(path))
        figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
        self.draw(figure.add_subplot())
        save_picture(figure, Path(path))

    def draw(self, axes: Axes) -> None:
        """Draw the curve into axes of the caller's: log rates, both losses, both rates to choose from."""
        axes.plot(self.rates, self.losses, color="#b8c4d6", linewidth=1, label="loss")
        axes.plot(self.rates, self.smoothed, color="#1f4e8c", linewidth=2, label="smoothed")
        axes.set_xscale("log")
        # The explosion at the end is no news: it must not flatten the part where the loss falls.
        low = min(self.smoothed)
        top = max(self.smoothed[: self.smoothed.index(low)])
        axes.set_ylim(min(low, *self.losses) - 0.1 * (top - low), top + 0.5 * (top - low))
        height_there = float(np.interp(math.log(self.suggestion), np.log(self.rates), self.smoothed))
        label = f"steepest fall: {self.suggestion:.1e}"
        axes.axvline(self.suggestion, color="#d1495b", linewidth=1.2, label=label)
        axes.plot([self.suggestion], [height_there], "o", color="#d1495b", markersize=7)
        label = f"minimum / 10: {self.tenth_of_minimum:.1e}"
        axes.axvline(self.tenth_of_minimum, color="#66803d", linewidth=1.2, linestyle="--", label=label)
        axes.set_xlabel("rate")
        axes.set_ylabel("loss")
        axes.set_title("Learning-rate range test", loc="left")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="best")


def find_rate(
    loss_at: Callable[[float], float],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    progress: Progress = SILENT,
) -> RateCurve:
    """Make one update at each of `steps` rates from `low` to `high`; stop when the loss explodes.

    Args:
        loss_at: makes one update at the given rate and returns the loss before it. The loss is expected to be
            positive.
        low: the first rate, above 0.
        high: the last rate, above `low`.
        steps: updates in between, at least 10.
        progress: hears of each update.

    Raises:
        UserError: a range that cannot work, or a loss that never falls within it.
    """
    if not 0 < low < high < math.inf:
        raise UserError(
            f"rates from {low} to {high} cannot work: the first has to be above 0 and below the last"
        )
    if steps < 10:
        raise UserError(f"{steps} steps are too few to see a slope: use 10 or more")
    losses: list[float] = []
    smoothed: list[float] = []
    rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
    mean = 0.0
    with progress.bar("finding the rate", total=steps, unit="update") as bar:
        for step, rate in enumerate(rates):
            loss = loss_at(rate)
            bar.advance(loss=loss, rate=rate)
            if not math.isfinite(loss):
                break
            # The bias-corrected mean as a step toward the loss, so that equal losses stay exactly equal.
            mean += (loss - mean) * (1 - SMOOTHING) / (1 - SMOOTHING ** (step + 1))
            losses.append(loss)
            smoothed.append(mean)
            if smoothed[-1] > EXPLOSION * min(smoothed):
                break
    return _curve(rates[: len(losses)], losses, smoothed, skipped=steps // 10)


def _curve(rates: list[float], losses: list[float], smoothed: list[float], *, skipped: int) -> RateCurve:
    """Find the two rates. The first `skipped` means rest on few losses: their slopes are noise, and no
    candidates."""
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    if lowest <= skipped:
        tried = f"from {rates[0]:.1e} to {rates[-1]:.1e}" if rates else "at the first rate"
        raise UserError(
            f"the loss does not fall {tried}: start from a lower rate, and look whether the data is right"
        )
    # Rates grow by one factor, so that a difference between neighbors is a slope over the logarithm of the
    # rate.
    slopes = np.gradient(np.array(smoothed))
    steepest = skipped + int(np.argmin(slopes[skipped : lowest + 1]))
    return RateCurve(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        suggestion=rates[steepest],
        tenth_of_minimum=rates[lowest] / 10,
    )
