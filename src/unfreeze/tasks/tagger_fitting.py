"""A tagger from tagged sentences, on any encoder or from scratch."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unfreeze.encoders.loading import find_model, load_encoder
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.folders import WEIGHTS, digest
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.bodies import SPREAD, need_some
from unfreeze.tasks.sequence_tagger import SequenceTagger
from unfreeze.tasks.tagger_settings import TaggerSettings, tagger_epochs
from unfreeze.tasks.tagging import TaggerNetwork, TaggingObjective, sentence_texts
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tag_schemes import Scheme
from unfreeze.text.tagged import TaggedSet
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RunFolder
from unfreeze.training.loop import LoopSettings, seed_everything, train
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together
from unfreeze.transfer.policies import TransferPolicy

logger = logging.getLogger(__name__)

SNIPPET = """
from unfreeze.tasks.sequence_tagger import SequenceTagger

tagger = SequenceTagger.from_pretrained(".")  # this folder
print(tagger.predict(["U.N. official Ekeus heads for Baghdad."]))
"""


def fit_tagger(
    train_set: TaggedSet,
    settings: TaggerSettings,
    *,
    validation: TaggedSet | None = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> SequenceTagger:
    """Fit, and save into `output` if there is one. Run again after a kill, it goes on.

    Raises:
        UserError: the sentences cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        _check(train_set, validation)
        asked = {} if output is None else _identity(train_set, settings, validation)
    accelerator = make_accelerator(precision)
    folder = None
    if output is not None:
        with accelerator.main_process_first():
            folder = RunFolder(Path(output), asked, overwrite=overwrite and accelerator.is_main_process)
        if folder.done:
            logger.info("%s is complete already", output)
            return SequenceTagger.from_pretrained(output)
    with together():
        seed_everything(settings.seed)
        tagger = make_tagger(train_set, settings)
    with together():
        objective = make_objective(tagger, train_set, settings, accelerator, validation, progress)
    records = train(
        objective,
        policy=_policy(settings),
        settings=_loop(len(train_set), settings, measures=validation is not None),
        folder=folder,
        accelerator=accelerator,
        progress=progress,
        what="tagger",
    )
    with together():
        if folder is not None and accelerator.is_main_process:
            _save(tagger, folder, records, train_set, settings, command)
    return tagger


def _check(train_set: TaggedSet, validation: TaggedSet | None) -> None:
    if len(train_set.tag_names()) < 2:
        raise UserError(f"{train_set.source}: all words have one tag; two are needed")
    if validation is None:
        return
    plain = {each.scheme == "plain" for each in (train_set, validation)}
    if len(plain) > 1:
        raise UserError(
            f"{train_set.source} and {validation.source}: one has spans and the other plain tags (which column is it?)"
        )


def _identity(train_set: TaggedSet, settings: TaggerSettings, validation: TaggedSet | None) -> dict[str, Any]:
    """What tells this run from another: the settings, and what is in the files that they name."""
    return {
        "stage": "fit tagger",
        "train": [train_set.source, _digest(train_set)],
        "validation": None if validation is None else [validation.source, _digest(validation)],
        **asdict(settings),
        "weights": [
            None if name is None else _weights(name) for name in (settings.contextual, settings.static)
        ],
    }


def _digest(sentences: TaggedSet) -> str:
    rows = json.dumps([[each.tokens, each.tags] for each in sentences.sentences])
    return hashlib.blake2b(rows.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _weights(name: str) -> str:
    place = find_model(name)
    return digest(place if place.is_file() else place / WEIGHTS)


def make_tagger(train_set: TaggedSet, settings: TaggerSettings) -> SequenceTagger:
    """A tagger that is ready to be trained."""
    encoder = None if settings.contextual is None else load_encoder(settings.contextual)
    inputs: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("layers", "mix_at", "mix_l2", "layer_norm", "input_dropout", "characters")
    }
    inputs["frozen"] = settings.mode != "fine-tune"
    vectors, learn = word_table(train_set, settings)
    words = WordInputs(encoder, vectors=vectors, vectors_learn=learn, tokenized=True, **inputs)
    body = {name: getattr(settings, name) for name in ("hidden_size", "n_layers", "dropout")}
    own: Scheme = "plain" if train_set.scheme == "plain" else "bioes"
    names = span_tags(train_set) if own == "bioes" else train_set.tag_names()
    network = TaggerNetwork(words, names, own, **body)
    return SequenceTagger(network, train_set.scheme, {"inputs": inputs, "body": body})


def span_tags(train_set: TaggedSet) -> list[str]:
    """Every letter of BIOES for every type, whether training has it or not."""
    kinds = sorted({tag.partition("-")[2] for tag in train_set.tag_names()} - {""})
    return ["O", *(f"{letter}-{kind}" for kind in kinds for letter in "BIES")]


@torch.no_grad()
def word_table(train_set: TaggedSet, settings: TaggerSettings) -> tuple[WordVectors | None, bool]:
    """The static vectors and whether they learn: of a file, as long as suits a biLSTM; the task's own; or none."""
    counts = Counter(token.lower() for each in train_set.sentences for token in each.tokens)
    if settings.static is not None:
        vectors = read_encoder(settings.static)
        need_some(vectors, list(counts), settings.static)
        vectors = vectors.first_words(settings.vocabulary_size, besides=list(counts))
        learn = settings.mode == "fine-tune" if settings.vectors_learn is None else settings.vectors_learn
        scale = SPREAD / vectors.table_spread().clamp_min(1e-8)
        for table in (vectors.embedding, vectors.buckets):
            table.mul_(scale)
        return vectors, learn
    if settings.contextual is not None:
        return None, False
    least = settings.min_count if len(train_set) > 50 else 1
    words = [word for word, count in counts.most_common() if count >= least and word not in SPECIAL_TOKENS]
    vectors = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=settings.embedding_size)
    vectors.embedding.normal_(0.0, SPREAD)
    return vectors, True if settings.vectors_learn is None else settings.vectors_learn


def make_objective(
    tagger: SequenceTagger,
    train_set: TaggedSet,
    settings: TaggerSettings,
    accelerator: Accelerator,
    validation: TaggedSet | None,
    progress: Progress,
) -> TaggingObjective:
    """What the loop trains; a frozen encoder's layers of all these sentences are computed once."""
    network = tagger.network
    network.to(accelerator.device)
    sets = [each.in_scheme(network.scheme) for each in (train_set, validation) if each is not None]
    if settings.contextual is not None:
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        texts = [text for each in sets for text in sentence_texts(each)]
        weights = _weights(settings.contextual)
        network.words.keep_layers(texts, weights, precision=precision, progress=progress)
    if validation is not None:
        tagger.need_known(validation)
    return TaggingObjective(
        network,
        sets[0],
        sets[1] if validation is not None else None,
        batch_size=settings.batch_size,
        seed=settings.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def _policy(settings: TaggerSettings) -> TransferPolicy:
    return TransferPolicy(
        mode=settings.mode,
        rate=settings.rate,
        discriminative=settings.discriminative,
        gradual=settings.gradual,
        schedule=settings.schedule,
    )


def _loop(n_sentences: int, settings: TaggerSettings, *, measures: bool) -> LoopSettings:
    return LoopSettings(
        epochs=tagger_epochs(n_sentences, settings),
        minutes=settings.minutes,
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        checkpoint_minutes=settings.checkpoint_minutes,
        keep_best=settings.keep_best and measures,
        seed=settings.seed,
    )


def _save(
    tagger: SequenceTagger,
    folder: RunFolder,
    records: list[dict[str, Any]],
    train_set: TaggedSet,
    settings: TaggerSettings,
    command: str,
) -> None:
    measured = settings.keep_best and "score" in records[-1]
    best = max(records, key=lambda record: record["score"]) if measured else records[-1]
    metrics = {name: value for name, value in best.items() if name not in ("score", "loss")}
    tagger.save_pretrained(folder.output)
    facts = {
        "data": Path(train_set.source).name,
        "sentences": len(train_set),
        "words": train_set.n_words,
        "tags": ", ".join(tagger.kinds[:20]),
        "encoder": Path(settings.chosen_encoder).name,
        "transfer": settings.mode,
        "command": command,
        "settings": json.dumps(
            {k: v for k, v in asdict(settings).items() if v is not None and k != "encoder"}
        ),
        "parameters": sum(p.numel() for p in tagger.network.parameters()),
    }
    write_card(folder.output, title="Tagger", facts=facts, metrics=metrics, snippet=SNIPPET)
    folder.finish()
