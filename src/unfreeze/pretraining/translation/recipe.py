"""Training a translator, from pairs of texts to a saved folder: the encoder of CoVe and the decoder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unfreeze.display import counted
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.vector_source import need_vectors, open_vectors
from unfreeze.errors import UserError
from unfreeze.pretraining.translation.objective import EncodedPairs, TranslationObjective
from unfreeze.pretraining.translation.settings import TranslationSettings
from unfreeze.pretraining.translation.translator import TARGET, Translator
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import weights_digest
from unfreeze.runs import Run
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer, cased_vocabulary
from unfreeze.text.marked_words import train_marked_words
from unfreeze.text.pairs import PairSet
from unfreeze.text.rules import normalized
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.text.words import word_texts
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.memory_check import within_memory
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together
from unfreeze.vectors.table import VectorTable

logger = logging.getLogger(__name__)
HELD_OUT_SHARE, MOST_HELD_OUT = 50, 1000
"""Without validation pairs, one pair in 50 is held out, and at most 1,000."""
SNIPPET = """
from unfreeze import Encoder, Translator

translator = Translator.from_pretrained(".")  # this folder
print(translator.predict(["A man rides a bicycle."]))
encoder = Encoder.from_pretrained(".")  # CoVe
print(encoder.encode(["He sat on the bank of the river."]).shape)
"""


def pretrain_cove(
    pairs: PairSet,
    settings: TranslationSettings,
    *,
    output: str | Path,
    validation: PairSet | None = None,
    word_vectors: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[Translator, dict[str, Any]]:
    """Train a translator. Call it again after an interruption to resume.

    Args:
        pairs: texts and their translations.
        output: folder to write the translator to.
        validation: held-out pairs; None holds some of `pairs` out.
        word_vectors: a file or folder of vectors of the source's words. They are not trained, and all their words are known
            to the encoder. If the settings have them trained, only `source_vocabulary_size` words are known.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The translator, and its held-out metrics as in metrics.json.

    Raises:
        UserError: the pairs, the vectors or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """

    def identity() -> dict[str, Any]:
        return {
            "stage": "pretrain cove",
            "pairs": [pairs.source, pairs.digest()],
            "validation": None if validation is None else [validation.source, validation.digest()],
            "word_vectors": None if word_vectors is None else _vectors_digest(word_vectors),
            **asdict(settings),
        }

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return Translator.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        with together():
            learned, held_out = _split(pairs) if validation is None else (pairs, validation)
            vectors = None if word_vectors is None else open_vectors(word_vectors)
        source = run.once(
            "source",
            lambda folder: _save_tokenizer(
                _source_tokenizer(learned.sources, vectors, settings), folder / "source"
            ),
            lambda folder: load_tokenizer(folder / "source"),
        )
        target = run.once(
            TARGET,
            lambda folder: _save_tokenizer(
                _target_tokenizer(learned.targets, settings, progress), folder / TARGET
            ),
            lambda folder: load_tokenizer(folder / TARGET),
        )
        with together():
            seed_everything(settings.loop.seed)
            with within_memory(settings):
                translator = make_translator(source, target, vectors, settings)
            objective = TranslationObjective(
                translator,
                EncodedPairs.of(translator, learned),
                EncodedPairs.of(translator, held_out) if len(held_out) else None,
                train_vectors=_trains_vectors(settings, vectors),
                batch_size=settings.batch_size,
                seed=settings.loop.seed,
                rank=accelerator.process_index,
                world_size=accelerator.num_processes,
            )
        records = run.train(objective, settings.policy, settings.loop, "translator")
        translator.eval()
        metrics = metrics_of(records, settings.loop, without=("score", "epoch"))
        metrics |= {"pairs": len(learned), "source_vocabulary": len(source), "target_vocabulary": len(target)}
        facts = {
            "data": pairs.source,
            "held out": validation.source if validation is not None else counted(len(held_out), "pair"),
            "word vectors": "trained here" if word_vectors is None else Path(word_vectors).name,
            "command": command,
            "parameters": sum(parameter.numel() for parameter in translator.parameters()),
        }
        run.finish(
            translator.save_pretrained, metrics, title="Translator (CoVe)", facts=facts, snippet=SNIPPET
        )
        return translator, metrics


def make_translator(
    source: TextTokenizer, target: TextTokenizer, vectors: VectorTable | None, settings: TranslationSettings
) -> Translator:
    """A translator with random weights and the given word vectors, or random ones; so are those of words without a vector."""
    encoder = CoVe(
        source,
        size=settings.embedding_size if vectors is None else vectors.size,
        hidden_size=settings.hidden_size * (1 if settings.direction == "both" else 2),
        n_layers=settings.n_layers,
        direction=settings.direction,
        dropout=settings.dropout,
    )
    if vectors is None:
        nn.init.uniform_(encoder.words.weight, -0.1, 0.1)
    else:
        forms = [word if vectors.row(word) is not None else normalized(word) for word in source.vocabulary]
        matrix, found = vectors.matrix_for(forms)
        with torch.no_grad():
            encoder.words.weight.copy_(torch.from_numpy(matrix))
        n_words = len(source) - len(source.special_ids)
        logger.info("%d of %d words of the source have a vector", int(found.sum()), n_words)
    encoder.clear_unknown()
    translator = Translator(encoder, target, target_size=settings.target_size, dropout=settings.dropout)
    if settings.init_range is not None:
        for parameter in translator.parameters():
            if parameter is not encoder.words.weight:
                nn.init.uniform_(parameter, -settings.init_range, settings.init_range)
    elif target.counts is not None:
        counts = list(target.counts)
        counts[target.bos_id] = max(1, counts[target.bos_id])
        translator.output.start_from_counts(counts)
    return translator


def _vectors_digest(name: str | Path) -> str:
    need_vectors(name)
    return weights_digest(str(name))


def _trains_vectors(settings: TranslationSettings, vectors: VectorTable | None) -> bool:
    return vectors is None if settings.train_vectors is None else settings.train_vectors


def _split(pairs: PairSet) -> tuple[PairSet, PairSet]:
    """The pairs to learn from, and a random sample to validate on, none of whose sources is learned from."""
    count = min(MOST_HELD_OUT, len(pairs) // HELD_OUT_SHARE)
    held_out = pairs.sample(count, seed=0)
    sources = set(held_out.sources)
    learned = pairs.subset(pair for pair in pairs.examples if pair.source not in sources)
    if not len(learned):
        return pairs, pairs.subset([])
    return learned, held_out


def _source_tokenizer(
    sources: Sequence[str], vectors: VectorTable | None, settings: TranslationSettings
) -> CasedTokenizer:
    """The words of the sources that occur often enough; with given vectors, those that have one, and all other words that do.

    If given vectors are trained, frequent words without a vector get one, too, and `source_vocabulary_size` bounds the words:
    those of the sources come first, by frequency, and then the other words in the order of the vectors.

    Raises:
        UserError: no word of the sources has a vector.
    """
    counts = Counter(word for text in sources for word in word_texts(text))
    size, least = settings.source_vocabulary_size, settings.min_count
    if vectors is None:
        return cased_vocabulary(counts, len(sources), size, least)
    known = [
        word for word in counts if vectors.row(word) is not None or vectors.row(normalized(word)) is not None
    ]
    if not known:
        raise UserError(
            f"none of the {len(counts):,} words of the source has one of the {len(vectors):,} vectors: are they of the same language?"
        )
    share = sum(counts[word] for word in known) / counts.total()
    logger.info("%.1f %% of the source's words have a vector", 100 * share)
    chosen = set(known)
    if trained := _trains_vectors(settings, vectors):
        chosen |= {word for word, n in counts.items() if n >= least}
    frequent = sorted(chosen, key=lambda word: (-counts[word], word))
    words = [word for word in dict.fromkeys([*frequent, *vectors.words]) if word not in CASED_SPECIAL_TOKENS]
    if trained:
        words = words[: max(1, size - len(CASED_SPECIAL_TOKENS))]
    unknown = counts.total() - sum(counts[word] for word in words)
    special = dict(zip(CASED_SPECIAL_TOKENS, (unknown, 0, len(sources), len(sources)), strict=True))
    return CasedTokenizer([*special, *words], [*special.values(), *(counts[word] for word in words)])


def _target_tokenizer(
    targets: Sequence[str], settings: TranslationSettings, progress: Progress
) -> TextTokenizer:
    if settings.tokenizer == "word":
        return train_marked_words(
            targets, size=settings.vocabulary_size, min_count=settings.min_count, progress=progress
        )
    return train_tokenizer(
        targets, kind="subword", vocabulary_size=settings.vocabulary_size, workers=1, progress=progress
    )


def _save_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    tokenizer.save(folder)
