"""`Embedder`: a scikit-learn transformer that turns texts into vectors, so that any estimator can learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unfreeze.encoders.base import Encoder, layer_number
from unfreeze.encoders.feature_settings import Pool
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError, column_of
from unfreeze.tasks.base import Parameters


@dataclass
class EmbedderSettings:
    """Encoder, layer and pooling of the vectors."""

    encoder: str | Path | Encoder = "wiki-small"
    """An encoder, the name or folder of an encoder, a language model or a task model, or a file of word vectors."""
    _: KW_ONLY
    layer: int = -1
    """Number of the layer, from 0 or, if negative, from the top."""
    pool: Pool = "mean"
    """Pooling over the words of a text: mean, max or last."""


class Embedder(Parameters, EmbedderSettings):
    """A transformer of texts into vectors (n, D) of float32, by an encoder that stays as it is.

    `fit` learns nothing. The vector of a text does not depend on the other texts.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> model = make_pipeline(Embedder("wiki-small", layer=0), LogisticRegression())
        >>> texts = ["a wonderful story", "a terrible story", "wonderful acting", "terrible acting"]
        >>> model.fit(texts, [1, 0, 1, 0]).predict(["wonderful"])
        array([1])
    """

    _loaded: tuple[object, Encoder] | None = None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the encoder; X and y are ignored.

        Raises:
            UserError: there is no such encoder.
        """
        self._encoder()
        return self

    def transform(self, X: Any) -> Any:
        """The vectors of n inputs: (n, D), an array, or a data frame after `set_output`.

        Args:
            X: texts as a list, an array, a pandas Series or a data frame of one column; for an encoder of something else,
                a list of its inputs.

        Raises:
            UserError: there is no such encoder or layer, or something else than text among the texts.
        """
        encoder = self._encoder()
        inputs: Sequence[Any] = column_of(X) if isinstance(encoder, TextEncoder) else X
        vectors = encoder.encode(inputs, layer=self.layer, pool=self.pool)
        if getattr(self, "_sklearn_output_config", {}).get("transform") != "pandas":
            return vectors
        import pandas as pd  # type: ignore[import-untyped]

        # Of a Series or a data frame; the index of a list is a method.
        index = X.index if hasattr(X, "iloc") else None
        return pd.DataFrame(vectors, columns=self.get_feature_names_out(), index=index)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """As `transform`, since there is nothing to fit."""
        return self.transform(X)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` returns: "default", an array, or "pandas", a data frame; None changes nothing.

        Raises:
            UserError: another container.
        """
        if transform not in (None, "default", "pandas"):
            raise UserError(f"transform is default or pandas, not {transform!r}")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # clone copies it under this name
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """embedder0, embedder1 and so on: (D,).

        Raises:
            UserError: there is no such encoder or layer.
        """
        widths = self._encoder().widths
        size = widths[layer_number(self.layer, len(widths))]
        return np.array([f"embedder{number}" for number in range(size)], dtype=object)

    def _encoder(self) -> Encoder:
        if isinstance(self.encoder, Encoder):
            return self.encoder
        if not isinstance(self.encoder, (str, Path)):
            raise UserError(f"encoder is an encoder, or its name or folder, not {self.encoder!r}")
        if self._loaded is None or self._loaded[0] != self.encoder:
            load = WordVectors.from_pretrained if Path(self.encoder).is_file() else Encoder.from_pretrained
            self._loaded = self.encoder, load(self.encoder)
        return self._loaded[1]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            requires_fit=False,
        )
