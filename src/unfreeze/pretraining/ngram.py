"""Pre-training an n-gram model, from files to a saved folder."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unfreeze.display import duration
from unfreeze.language_models.ngram import NgramModel
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.pretraining.settings import NgramSettings
from unfreeze.pretraining.unlabeled import Corpus, prepare_text
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.cards import LANGUAGE_MODEL_SNIPPET


def pretrain_ngram(
    corpus: Corpus,
    settings: NgramSettings,
    *,
    output: str | Path,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[NgramModel, dict[str, Any]]:
    """Count the n-grams of a corpus. Called again after an interruption, it does not read the text a second time.

    Args:
        output: folder to write the model to.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The model, and its held-out metrics as in metrics.json.

    Raises:
        UserError: the corpus or the output cannot be used.
    """
    started = time.monotonic()

    def identity() -> dict[str, Any]:
        return {"stage": "pretrain ngram", **corpus.identity(), **asdict(settings)}

    def make_tokenizer() -> TextTokenizer:
        return train_tokenizer(
            corpus.training_documents(),
            kind=settings.tokenizer,
            vocabulary_size=settings.vocabulary_size,
            min_count=settings.min_count,
            progress=progress,
        )

    with Run(output, identity, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return NgramModel.from_pretrained(run.output), run.metrics
        tokenizer, store, held_out = prepare_text(run, corpus, make_tokenizer)
        model = NgramModel.fit(store, tokenizer, settings.order, progress=progress)
        found = {} if held_out is None else evaluate_perplexity(model, held_out, progress=progress).metrics()
        metrics = {**found, "training_tokens": store.n_tokens, "vocabulary": len(tokenizer)}
        metrics["ngrams"] = sum(model.n_ngrams)
        facts = {**corpus.facts, "command": command, "time": duration(time.monotonic() - started)}
        for length, (n, discounts) in enumerate(zip(model.n_ngrams, model.discounts, strict=True), 1):
            shown = ", ".join(f"{discount:.3f}" for discount in discounts)
            facts[f"{length}-grams"] = f"{n:,}, discounts {shown}"
        title = f"n-gram model of order {model.order}, interpolated modified Kneser-Ney"
        return model, run.finish(
            model.save_pretrained, metrics, title=title, facts=facts, snippet=LANGUAGE_MODEL_SNIPPET
        )
