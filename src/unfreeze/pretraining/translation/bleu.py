"""BLEU (Papineni et al. 2002) and chrF (Popović 2015) of whole corpora, by sacrebleu, from text as people write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unfreeze.errors import UserError, import_extra


class CorpusScores(NamedTuple):
    """Scores of translations from 0 to 100, and sacrebleu's signatures, which say how they were computed."""

    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str


def corpus_scores(translations: Sequence[str], references: Sequence[str]) -> CorpusScores:
    """Score translations against one reference each, both detokenized, with sacrebleu's defaults (BLEU: cased, 13a).

    Raises:
        UserError: there are none, or not as many references as translations.
        MissingExtra: sacrebleu is not installed.
    """
    if not translations or len(translations) != len(references):
        raise UserError(
            f"{len(translations)} translations and {len(references)} references: there must be one for each"
        )
    metrics = import_extra("sacrebleu", "translation", "sacrebleu.metrics")
    bleu, chrf = metrics.BLEU(), metrics.CHRF()
    found = [metric.corpus_score(list(translations), [list(references)]).score for metric in (bleu, chrf)]
    return CorpusScores(found[0], str(bleu.get_signature()), found[1], str(chrf.get_signature()))
