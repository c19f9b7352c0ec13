"""Learning-rate range test: increase the learning rate until the loss diverges, and report where it fell fastest.

Smith 2017 (https://arxiv.org/abs/1506.01186), with exponentially growing learning rates and a bias-corrected
exponential moving average of the losses (as in Kingma & Ba 2015, section 3). The test makes at most `steps`
updates and leaves the model in a useless state, so run it on a copy or restore the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.errors import UserError, setting
from unfreeze.pictures import picture_format, save_picture
from unfreeze.progress import SILENT, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPLOSION = 4.0
"""The test ends when the smoothed loss exceeds its minimum by this factor."""
# The moving average lags behind the loss, which shifts the suggestion upwards. On a noisy sigmoid over 7 decades
# and 100 updates, 0.98 shifted it by 0.6 decades from the steepest point of the true curve and 0.85 by 0.3;
# with less smoothing noise dominates.
SMOOTHING = 0.85


@dataclass(frozen=True)
class RateCurve:
    """Result of a range test. The lists have one entry per update with a finite loss."""

    learning_rates: list[float]
    """Learning rate of each update, growing by a constant factor."""
    losses: list[float]
    """The loss before each update."""
    smoothed: list[float]
    """Bias-corrected exponential moving average of the losses."""
    suggestion: float
    """Learning rate at which the smoothed loss falls most steeply on a logarithmic axis."""
    tenth_of_minimum: float
    """A tenth of the learning rate at the lowest smoothed loss: the other usual choice, more robust to noise."""

    @property
    def is_noisy(self) -> bool:
        """Whether the smoothed loss falls by less than the standard deviation of the losses around it.

        Its slope is then meaningless. The first tenth of the updates and those after the minimum do not count.
        """
        lowest = self.smoothed.index(min(self.smoothed))
        counted = range(len(self.learning_rates) // 10, lowest + 1)
        noise = pstdev(self.losses[n] - self.smoothed[n] for n in counted)
        return self.smoothed[counted[0]] - self.smoothed[lowest] < noise

    def plot(self, path: str | Path) -> None:
        """Save a plot of the curve as PNG, SVG or PDF, depending on the suffix of `path`.

        Raises:
            UserError: the suffix is of another format, or the file cannot be written.
        """
        from matplotlib.figure import Figure

        picture_format(Path(path))
        figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
        self.draw(figure.add_subplot())
        save_picture(figure, Path(path))

    def draw(self, axes: Axes) -> None:
        """Plot the losses against the learning rate, and mark the two suggested learning rates."""
        axes.plot(self.learning_rates, self.losses, color="#b8c4d6", linewidth=1, label="loss")
        axes.plot(self.learning_rates, self.smoothed, color="#1f4e8c", linewidth=2, label="smoothed")
        axes.set_xscale("log")
        # Cut off the divergence at the end, which would flatten the part where the loss falls.
        low = min(self.smoothed)
        top = max(self.smoothed[: self.smoothed.index(low)])
        axes.set_ylim(min(low, *self.losses) - 0.1 * (top - low), top + 0.5 * (top - low))
        height = float(np.interp(math.log(self.suggestion), np.log(self.learning_rates), self.smoothed))
        label = f"steepest fall: {self.suggestion:.1e}"
        axes.axvline(self.suggestion, color="#d1495b", linewidth=1.2, label=label)
        axes.plot([self.suggestion], [height], "o", color="#d1495b", markersize=7)
        label = f"minimum / 10: {self.tenth_of_minimum:.1e}"
        axes.axvline(self.tenth_of_minimum, color="#66803d", linewidth=1.2, linestyle="--", label=label)
        axes.set_xlabel("learning rate")
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
    """Run a range test: one update at each of `steps` learning rates from `low` to `high`, until the loss diverges.

    Args:
        loss_at: makes one update with the given learning rate and returns the loss before the update, which must
            be positive.
        low: first learning rate, above 0.
        high: last learning rate, above `low`.
        steps: number of updates, at least 10.
        progress: reports each update.

    Raises:
        UserError: the range is empty, or the loss never falls within it.
    """
    if not 0 < low < high < math.inf:
        raise UserError(
            f"{setting('low')} must be above 0 and below {setting('high')}, got low {low} and high {high}"
        )
    if steps < 10:
        raise UserError(f"{setting('steps')} must be at least 10, got {steps}")
    losses: list[float] = []
    smoothed: list[float] = []
    learning_rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
    mean = 0.0
    with progress.bar("learning-rate test", total=steps, unit="update") as bar:
        for step, learning_rate in enumerate(learning_rates):
            loss = loss_at(learning_rate)
            bar.advance(loss=loss, learning_rate=learning_rate)
            if not math.isfinite(loss):
                break
            # Written as a step toward the loss, so that the mean of equal losses is exactly that loss.
            mean += (loss - mean) * (1 - SMOOTHING) / (1 - SMOOTHING ** (step + 1))
            losses.append(loss)
            smoothed.append(mean)
            if smoothed[-1] > EXPLOSION * min(smoothed):
                break
    learning_rates = learning_rates[: len(losses)]
    skipped = steps // 10  # the first averages are over few losses, so their slopes are noise
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    if lowest <= skipped:
        tried = f"at {low:.1e}"
        if learning_rates:
            tried = f"from {learning_rates[0]:.1e} to {learning_rates[-1]:.1e}"
        raise UserError(
            f"the loss does not fall {tried}: start from a lower learning rate, and check the data"
        )
    # Learning rates grow by a constant factor, so differences between neighbors are slopes on a logarithmic axis.
    steepest = skipped + int(np.argmin(np.gradient(np.array(smoothed))[skipped : lowest + 1]))
    return RateCurve(learning_rates, losses, smoothed, learning_rates[steepest], learning_rates[lowest] / 10)
