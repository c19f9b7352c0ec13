"""Measuring a translator on held-out pairs: BLEU and chrF of its translations, and the perplexity of the references."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from unfreeze.display import counted
from unfreeze.encoders.base import evaluating
from unfreeze.errors import import_extra
from unfreeze.pretraining.translation.bleu import CorpusScores, corpus_scores
from unfreeze.pretraining.translation.objective import EncodedPairs, mean_loss, perplexity_of
from unfreeze.pretraining.translation.settings import Search
from unfreeze.pretraining.translation.translator import Translator
from unfreeze.progress import SILENT, Progress
from unfreeze.text.pairs import PairSet


@dataclass(frozen=True, kw_only=True)
class TranslationReport:
    """How well a translator does on pairs; printed as a few lines."""

    scores: CorpusScores
    perplexity: float
    """Of a token of the references, their ends included; compares only translators with the same target vocabulary."""
    n_pairs: int
    n_tokens: int
    """Tokens of the references, their ends included."""

    def as_dict(self) -> dict[str, object]:
        """The values by name, for JSON."""
        return {**self.scores._asdict(), **{k: v for k, v in asdict(self).items() if k != "scores"}}

    def __str__(self) -> str:
        scores = self.scores
        return (
            f"BLEU {scores.bleu:.2f} ({scores.bleu_signature})\n"
            f"chrF {scores.chrf:.2f} ({scores.chrf_signature})\n"
            f"perplexity {self.perplexity:.2f} on {counted(self.n_pairs, 'pair')}, {counted(self.n_tokens, 'token')}"
        )


def evaluate_translator(
    translator: Translator,
    pairs: PairSet,
    *,
    search: Search | None = None,
    progress: Progress = SILENT,
) -> TranslationReport:
    """Translate the sources, and compare with the targets.

    Args:
        translator: measured in evaluation mode, whatever mode it is in.
        search: settings of the search; None for the defaults.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    import_extra("sacrebleu", "translation")  # before the translations, which take minutes
    found = translator.predict(pairs.sources, **asdict(search or Search()), progress=progress)
    scores = corpus_scores(found, pairs.targets)
    with evaluating(translator), torch.no_grad():
        loss, n_tokens = mean_loss(translator, EncodedPairs.of(translator, pairs))
    return TranslationReport(
        scores=scores, perplexity=perplexity_of(loss), n_pairs=len(pairs), n_tokens=n_tokens
    )
