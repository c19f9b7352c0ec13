"""Pre-train encoders on unlabeled text and transfer them to tasks that have few labels.

Each name is loaded at its first use: `import unfreeze` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unfreeze.encoders.base import Encoder
    from unfreeze.encoders.word_vectors import WordVectors
    from unfreeze.ladder.ladder import Ladder
    from unfreeze.language_models.model import LanguageModel
    from unfreeze.pretraining.translation.translator import Translator
    from unfreeze.tasks.embedder import Embedder
    from unfreeze.tasks.image_classifier import ImageClassifier
    from unfreeze.tasks.object_locator import ObjectLocator
    from unfreeze.tasks.question_answerer import QuestionAnswerer
    from unfreeze.tasks.sequence_tagger import SequenceTagger
    from unfreeze.tasks.text_classifier import TextClassifier

__version__ = "0.1.0"
__all__ = [
    "Embedder",
    "Encoder",
    "ImageClassifier",
    "Ladder",
    "LanguageModel",
    "ObjectLocator",
    "QuestionAnswerer",
    "SequenceTagger",
    "TextClassifier",
    "Translator",
    "WordVectors",
]

_MODULES = {
    "Embedder": "unfreeze.tasks.embedder",
    "Encoder": "unfreeze.encoders.base",
    "ImageClassifier": "unfreeze.tasks.image_classifier",
    "Ladder": "unfreeze.ladder.ladder",
    "LanguageModel": "unfreeze.language_models.model",
    "ObjectLocator": "unfreeze.tasks.object_locator",
    "QuestionAnswerer": "unfreeze.tasks.question_answerer",
    "SequenceTagger": "unfreeze.tasks.sequence_tagger",
    "TextClassifier": "unfreeze.tasks.text_classifier",
    "Translator": "unfreeze.pretraining.translation.translator",
    "WordVectors": "unfreeze.encoders.word_vectors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'unfreeze' has no attribute {name!r}")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found  # the next use finds it without this function
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
