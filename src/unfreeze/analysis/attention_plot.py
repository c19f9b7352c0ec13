"""Plot of the attention of a translation: its tokens in rows, the words of the text in columns, shaded by the share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unfreeze.display import cut
from unfreeze.errors import UserError
from unfreeze.pictures import families_for, picture_format, save_picture
from unfreeze.text.tokenizer_training import SPACE

MOST_LABELS = 120
"""More words or tokens than this would be unreadable."""
_LONGEST_LABEL = 30


def plot_attention(
    attention: NDArray[np.float32], source_words: Sequence[str], tokens: Sequence[str], path: Path
) -> None:
    """Save a plot as PNG, SVG or PDF, depending on the suffix of `path`.

    Args:
        attention: (T, S) weights, each row of which adds up to 1.
        source_words: the S words of the text.
        tokens: the T tokens of the translation; "▁" stands for the space before a word.

    Raises:
        UserError: there is nothing to draw or too much, the suffix is of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    picture_format(path)
    weights = np.asarray(attention)
    if not weights.size:
        raise UserError("there is no attention to draw: the text or its translation is empty")
    if max(weights.shape) > MOST_LABELS:
        raise UserError(
            f"{len(source_words)} words and {len(tokens)} tokens in one picture: at most {MOST_LABELS} can be read"
        )
    rows = [cut(token.replace(SPACE, ""), _LONGEST_LABEL) for token in tokens]
    columns = [cut(word, _LONGEST_LABEL) for word in source_words]
    height, width = (2.0 + 0.3 * count for count in weights.shape)
    figure = Figure(figsize=(width + 1.0, height), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    families = families_for("".join([*rows, *columns]))
    axes.xaxis.tick_top()
    axes.set_xticks(
        range(len(columns)),
        columns,
        rotation=60,
        ha="left",
        rotation_mode="anchor",
        family=families,
        parse_math=False,
    )
    axes.set_yticks(range(len(rows)), rows, family=families, parse_math=False)
    # A line between all squares, and no marks of the axes, which would be as many.
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    figure.colorbar(image, label="share of the token's attention")
    save_picture(figure, path)
