"""What taggers and answerers have in common: how their words' vectors are made, identified, saved and loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from unfreeze.encoders.saving import made_to_fit
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.folders import WEIGHTS, load_tensors, write_model, written_folder
from unfreeze.progress import Progress
from unfreeze.registry import encoder_class, weights_digest
from unfreeze.tasks.bodies import SPREAD, need_some
from unfreeze.tasks.text_classifier import VECTORS, split_encoder
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.tasks.word_task_settings import WordTaskSettings
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.training.precision import Precision

FEW = 50
"""Examples up to which every word of the task has a vector of its own."""


@dataclass(frozen=True, kw_only=True)
class WordTaskParts:
    """What config.json says under "settings"."""

    inputs: dict[str, Any]
    """Arguments of `WordInputs`, which knows their types."""
    body: dict[str, Any]
    """Arguments of the network on them."""


class OnWords(Protocol):
    """A network on words."""

    def own_tensors(self) -> dict[str, Tensor]:
        """What is saved beside the encoder and the word vectors."""


NetworkT = TypeVar("NetworkT", bound=OnWords)


def make_words(counts: Counter[str], n_examples: int, settings: WordTaskSettings) -> WordInputs:
    """Encoder, static vectors and characters as the settings ask for them.

    Args:
        counts: how often each word of the training examples occurs, normalized.

    Raises:
        UserError: the encoder or the vectors cannot be read, or have none of the words.
    """
    settings.need_sense()
    encoder = None if settings.contextual is None else TextEncoder.from_pretrained(settings.contextual)
    vectors, learn = word_table(counts, n_examples, settings)
    return WordInputs(encoder, vectors=vectors, vectors_learn=learn, tokenized=True, **settings.inputs())


@torch.no_grad()
def word_table(
    counts: Counter[str], n_examples: int, settings: WordTaskSettings
) -> tuple[WordVectors | None, bool]:
    """The static vectors and whether they learn: of a file, as long as suits a biLSTM; the task's own; or none."""
    if settings.static is not None:
        vectors = read_encoder(settings.static)
        need_some(vectors, list(counts), settings.static)
        vectors = vectors.first_words(settings.vocabulary_size, besides=list(counts))
        scale = SPREAD / vectors.table_spread().clamp_min(1e-8)
        for table in (vectors.embedding, vectors.buckets):
            table.mul_(scale)
        learn = settings.mode == "fine-tune" if settings.vectors_learn is None else settings.vectors_learn
        return vectors, learn
    if settings.contextual is not None:
        return None, False
    least = settings.min_count if n_examples > FEW else 1
    words = [word for word, count in counts.most_common() if count >= least and word not in SPECIAL_TOKENS]
    vectors = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=settings.embedding_size)
    vectors.embedding.normal_(0.0, SPREAD)
    return vectors, True if settings.vectors_learn is None else settings.vectors_learn


def run_identity(settings: WordTaskSettings) -> dict[str, Any]:
    """What of the settings tells a run from another, and what is in the files that they name."""
    names = (settings.contextual, settings.static)
    return {
        **asdict(settings),
        "weights": [None if name is None else weights_digest(name) for name in names],
    }


def keep_layers(
    words: WordInputs,
    texts: Sequence[str],
    settings: WordTaskSettings,
    accelerator: Accelerator,
    progress: Progress,
) -> None:
    """A frozen encoder's layers of these texts are computed once, in the run's number format."""
    if settings.contextual is not None:
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        weights = weights_digest(settings.contextual)
        words.keep_layers(texts, weights, precision=precision, progress=progress)


def save_task_model(
    folder: str | Path, config: dict[str, Any], words: WordInputs, own: dict[str, Tensor]
) -> None:
    """Write config.json, model.safetensors and what the encoders need into `folder`, whole or not at all."""
    config = {**config, "word_vectors": words.vectors is not None}
    tensors = dict(own)
    if words.encoder is not None:
        config["encoder"] = words.encoder.config()
        tensors |= {f"encoder.{name}": tensor for name, tensor in words.encoder.weights().items()}
    with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
        write_model(target, config, tensors)
        if words.encoder is not None:
            words.encoder.tokenizer.save(target)
        if words.vectors is not None:
            words.vectors.save_pretrained(target / VECTORS)


def load_words(
    folder: Path, config: dict[str, Any], inputs: dict[str, Any]
) -> tuple[WordInputs, dict[str, Tensor]]:
    """What the words are read by, and the tensors of the rest of the model."""
    own, of_encoder = split_encoder(load_tensors(folder / WEIGHTS))
    encoder = None
    if config.get("encoder"):
        encoder = encoder_class(config["encoder"]["kind"], folder).from_config(config["encoder"], folder)
        encoder.load_weights(of_encoder, str(folder))
    vectors = WordVectors.from_pretrained(folder / VECTORS) if config.get("word_vectors") else None
    inputs = {**inputs, "vectors": vectors, "tokenized": True}
    shapes = {name.removeprefix("words."): list(tensor.shape) for name, tensor in own.items()}
    words = made_to_fit(WordInputs, folder, shapes, WordInputs.own_tensors, encoder, **inputs)
    return words, own


def made_on_words(
    make: Callable[..., NetworkT], folder: Path, own: dict[str, Tensor], /, *parts: object, **body: Any
) -> NetworkT:
    """The network on the words, made as config.json says, where it has the tensors that were saved.

    Raises:
        UserError: the arguments are not those of the network, or ask for other tensors.
    """
    shapes = {name: list(tensor.shape) for name, tensor in own.items()}
    return made_to_fit(make, folder, shapes, lambda network: network.own_tensors(), *parts, **body)
