"""The encoders and the word vectors of a task model: created for the words of the task, saved and loaded.

Legend: V words, E width of static vectors.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.recurrent import CLASSIFIER_DROPOUTS
from unfreeze.encoders.lstm import SCRATCH_DROPOUTS, LstmEncoder
from unfreeze.encoders.saving import made_to_fit
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.folders import (
    WEIGHTS,
    load_tensors,
    write_model,
    written_folder,
)
from unfreeze.progress import Progress
from unfreeze.registry import encoder_class, weights_digest
from unfreeze.tasks.plans import ClassifierPlan, WordPlan
from unfreeze.tasks.word_inputs import NetworkOnWords, WordInputs
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.text_inputs import single_texts
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer
from unfreeze.training.precision import Precision
from unfreeze.vectors.table import VectorTable

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)
VECTORS = "word_vectors"
"""Folder of the static word vectors in the folder of a task model."""
SPREAD = 0.5
"""Standard deviation of the components of vectors that a biLSTM reads; that of GloVe is 0.4, of random embeddings 1."""
FEW = 50
"""Up to this number of examples, every word of the task is in the vocabulary."""
FREQUENCY_WEIGHT = 1e-3
"""The a of `weighted_vectors`."""


def random_encoder(examples: ExampleSet, plan: ClassifierPlan) -> TextEncoder:
    """An encoder from scratch, with a vocabulary of the words of the examples."""
    is_awd = plan.architecture == "awd-lstm"
    make: type[AwdLstm] | type[LstmEncoder] = AwdLstm if is_awd else LstmEncoder
    dropouts = CLASSIFIER_DROPOUTS if is_awd else SCRATCH_DROPOUTS
    return make(
        task_tokenizer(examples, plan),
        embedding_size=plan.embedding_size,
        hidden_size=plan.hidden_size,
        dropouts=dropouts.times(1.0 if plan.dropout_scale is None else plan.dropout_scale),
    )


@torch.no_grad()
def encoder_of_vectors(examples: ExampleSet, plan: ClassifierPlan) -> TextEncoder:
    """Word vectors for the words of the examples, as an encoder of their own or as the embedding of a biLSTM.

    Raises:
        UserError: the vectors cannot be read.
    """
    vectors, words = read_encoder(plan.encoder), task_words(examples, plan)
    unknown = [word for word in words if vectors.tokenizer.id(word) is None]
    logger.info("%d of the task's %d words have no vector", len(unknown), len(words))
    on_bilstm = plan.chosen_body == "bilstm"
    if on_bilstm:
        vectors = vectors.first_words(plan.vocabulary_size, extra_words=words)
    # By default, words are added if they are trained or get a vector from their n-grams.
    add_words = plan.new_words
    if add_words is None:
        add_words = plan.mode == "fine-tune" or vectors.ngrams is not None
    if add_words:
        vectors = vectors.with_words(words, seed=plan.seed)
    if on_bilstm:
        scale = 1.0 if plan.dropout_scale is None else plan.dropout_scale
        encoder = LstmEncoder(
            vectors.tokenizer,
            embedding_size=vectors.size,
            hidden_size=plan.hidden_size,
            dropouts=SCRATCH_DROPOUTS.times(scale),
        )
        # The norms of vectors differ between training runs, and a biLSTM trains poorly on vectors of small norm.
        spread = vectors.table_spread().clamp_min(1e-8)
        encoder.stack("forward").embedding.weight.copy_(vectors.embedding * (SPREAD / spread))
        return encoder
    if plan.mode == "frozen":
        vectors.embedding.copy_(_weighted(vectors.embedding, vectors.tokenizer))
    return vectors


def task_tokenizer(examples: ExampleSet, plan: ClassifierPlan) -> TextTokenizer:
    """A word tokenizer trained on the examples; with few of them, no word is too rare."""
    return train_tokenizer(
        single_texts(examples.inputs()),
        kind="word",
        vocabulary_size=plan.vocabulary_size,
        min_count=plan.min_count if len(examples) > FEW else 1,
        workers=1 if len(examples) < 2000 else None,
    )


def task_words(examples: ExampleSet, plan: ClassifierPlan) -> list[str]:
    """The words of the examples, without special tokens."""
    found = task_tokenizer(examples, plan)
    return [found.token(number) for number in found.word_ids]


def weighted_vectors(vectors: VectorTable, tokenizer: TextTokenizer) -> Tensor:
    """Unit vectors for a vocabulary, scaled by a / (a + p(w)) (Arora, Liang & Ma 2017), so that frequent words count less: (V, E).

    Words without a vector and special tokens are zero, so they do not contribute to the mean over a document.
    """
    matrix, found = vectors.matrix_for(tokenizer.vocabulary)
    rows = torch.from_numpy(matrix).float()
    rows[torch.from_numpy(~found)] = 0.0
    rows[list(tokenizer.special_ids)] = 0.0
    return _weighted(rows, tokenizer)


def _weighted(rows: Tensor, tokenizer: TextTokenizer) -> Tensor:
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-8)
    counts = torch.tensor(tokenizer.counts or [0] * len(tokenizer), dtype=torch.float32)
    share = counts / counts.sum().clamp_min(1.0)
    return rows * (FREQUENCY_WEIGHT / (FREQUENCY_WEIGHT + share))[:, None]


@dataclass(frozen=True, kw_only=True)
class WordTaskParts:
    """The "settings" in the config.json of a task on words."""

    inputs: dict[str, Any]
    """Arguments of `WordInputs`, whose signature has their types."""
    body: dict[str, Any]
    """Arguments of the network."""


NetworkT = TypeVar("NetworkT", bound=NetworkOnWords)


def make_words(counts: Counter[str], n_examples: int, plan: WordPlan) -> WordInputs:
    """The word representations that the settings ask for: encoder, static vectors and characters.

    Args:
        counts: occurrences of each normalized word in the training examples.

    Raises:
        UserError: the encoder or the vectors cannot be read, or the vectors have none of the words.
    """
    encoder = None if plan.contextual is None else TextEncoder.from_pretrained(plan.contextual)
    vectors, learn = word_table(counts, n_examples, plan)
    return WordInputs(encoder, vectors=vectors, vectors_learn=learn, tokenized=True, **plan.inputs())


@torch.no_grad()
def word_table(counts: Counter[str], n_examples: int, plan: WordPlan) -> tuple[WordVectors | None, bool]:
    """The static vectors, and whether they are trained: those of the settings, random ones for the task's words, or none."""
    if plan.static is not None:
        vectors = static_vectors(plan.static, list(counts), plan.vocabulary_size)
        learn = plan.mode == "fine-tune" if plan.vectors_learn is None else plan.vectors_learn
        return vectors, learn
    if plan.contextual is not None:
        return None, False
    least = plan.min_count if n_examples > FEW else 1
    words = [word for word, count in counts.most_common() if count >= least and word not in SPECIAL_TOKENS]
    vectors = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=plan.embedding_size)
    vectors.embedding.normal_(0.0, SPREAD)
    return vectors, True if plan.vectors_learn is None else plan.vectors_learn


@torch.no_grad()
def static_vectors(source: str, words: Sequence[str], vocabulary_size: int) -> WordVectors:
    """The vectors in `source` of its first `vocabulary_size` words and of the task's `words`, scaled for a biLSTM.

    Norms differ between training runs, and a biLSTM trains poorly on vectors of small norm.

    Raises:
        UserError: the vectors cannot be read, or have none of the task's words.
    """
    vectors = read_encoder(source)
    known = sum(vectors.vector(word) is not None for word in words)
    if words and not known:
        raise UserError(
            f"{source} has a vector for none of the task's {len(words)} words: are they of its language?"
        )
    logger.info("%d of the task's %d words have no vector", len(words) - known, len(words))
    vectors = vectors.first_words(vocabulary_size, extra_words=words)
    scale = SPREAD / vectors.table_spread().clamp_min(1e-8)
    for table in (vectors.embedding, vectors.buckets):
        table.mul_(scale)
    return vectors


def cache_layers(
    words: WordInputs,
    texts: Sequence[str],
    plan: WordPlan,
    accelerator: Accelerator,
    progress: Progress,
) -> None:
    """Compute the layers of a frozen encoder for these texts once, in the run's number format."""
    if plan.contextual is not None:
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        weights = weights_digest(plan.contextual)
        words.cache_layers(texts, weights, precision=precision, progress=progress)


def save_task_model(
    folder: str | Path,
    config: dict[str, Any],
    own: dict[str, Tensor],
    encoder: Encoder | None,
    vectors: WordVectors | None,
) -> None:
    """Write config.json, model.safetensors and what the encoders need into `folder`, whole or not at all.

    Args:
        own: the tensors besides those of the encoder and the word vectors.
        vectors: word vectors, which are saved in a folder of their own.
    """
    tensors = dict(own)
    if encoder is not None:
        config = {**config, "encoder": encoder.config()}
        tensors |= {f"encoder.{name}": tensor for name, tensor in encoder.weights().items()}
    with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
        write_model(target, config, tensors)
        if encoder is not None:
            encoder.processor.save(target)
        if vectors is not None:
            vectors.save_pretrained(target / VECTORS)


def split_encoder(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a task model itself, and those of its encoder by the names that they have there."""
    prefix = "encoder."
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return own, {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def load_words(
    folder: Path, config: dict[str, Any], inputs: dict[str, Any]
) -> tuple[WordInputs, dict[str, Tensor]]:
    """The word representations of a saved model, and the tensors of the rest of it."""
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
    """The network of a saved model, with random weights.

    Raises:
        UserError: `body` does not fit the signature of the network, or the network has other tensors than `own`.
    """
    shapes = {name: list(tensor.shape) for name, tensor in own.items()}
    return made_to_fit(make, folder, shapes, NetworkOnWords.own_tensors, *parts, **body)
