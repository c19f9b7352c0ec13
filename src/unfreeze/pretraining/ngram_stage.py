"""From files to the saved folder of an n-gram model: a tokenizer, a token store, counts, held-out figures."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unfreeze.folders import read_metrics
from unfreeze.language_models.ngram import NgramModel
from unfreeze.language_models.ngram_text import evaluate_perplexity
from unfreeze.pretraining.settings import NgramSettings
from unfreeze.pretraining.stage import prepare
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import SILENT, Progress
from unfreeze.text.display import duration
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RunFolder

logger = logging.getLogger(__name__)

SNIPPET = """
from unfreeze.language_models.ngram import NgramModel
from unfreeze.language_models.ngram_text import score_texts

model = NgramModel.from_pretrained(".")  # this folder
print(score_texts(model, ["he sat on the bank of the river"])[0].directions["forward"].perplexity)
"""


def pretrain_ngram(
    corpus: Corpus,
    output: str | Path,
    settings: NgramSettings,
    *,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Count a corpus and save the model with its card. Run again after a kill, it reads no text a second time.

    Args:
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The held-out figures, as in metrics.json.

    Raises:
        UserError: the corpus or the output cannot be used.
    """
    output, started = Path(output), time.monotonic()
    asked = {"stage": "pretrain ngram", **corpus.identity(), **asdict(settings)}
    folder = RunFolder(output, asked, overwrite=overwrite)
    if folder.done:
        logger.info("%s is complete already", output)
        known = read_metrics(output)
        return known

    def make_tokenizer() -> TextTokenizer:
        return train_tokenizer(
            corpus.training_documents(),
            kind=settings.tokenizer,
            vocabulary_size=settings.vocabulary_size,
            min_count=settings.min_count,
            progress=progress,
        )

    tokenizer, store, held_out = prepare(folder.folder, corpus, make_tokenizer, progress)
    model = NgramModel.fit(store, tokenizer, settings.order, progress=progress)
    found = {} if held_out is None else evaluate_perplexity(model, held_out, progress=progress).figures()
    metrics = {**found, "training_tokens": store.n_tokens, "vocabulary": len(tokenizer)}
    metrics["ngrams"] = sum(model.n_ngrams)
    model.save_pretrained(output)
    _write_card(model, corpus, output, metrics, command, time.monotonic() - started)
    folder.finish()
    return metrics


def _write_card(
    model: NgramModel, corpus: Corpus, output: Path, metrics: dict[str, Any], command: str, seconds: float
) -> None:
    facts: dict[str, object] = {
        "data": ", ".join(Path(str(path)).name for path in corpus.paths),
        "held out": ", ".join(Path(str(path)).name for path in corpus.validation)
        or "one document in a hundred",
        "command": command,
        "time": duration(seconds),
    }
    for length, (n, discounts) in enumerate(zip(model.n_ngrams, model.discounts, strict=True), 1):
        shown = ", ".join(f"{discount:.3f}" for discount in discounts)
        facts[f"{length}-grams"] = f"{n:,}, discounts {shown}"
    write_card(
        output,
        title=f"n-gram model of order {model.order}, interpolated modified Kneser-Ney",
        facts=facts,
        metrics=metrics,
        snippet=SNIPPET,
    )
