"""Claims: contextual layers lie in a cone that narrows towards the top, and the upper layers are more contextual.

The five findings of Ethayarajh (2019, https://arxiv.org/abs/1909.00512) and of the lecture, on the sentences of SemEval's STS tasks of 2012 to 2016 (the
paper's corpus), for any encoders: word vectors, CoVe, ELMo, language models of LSTMs and of QRNNs. A finding holds for an encoder if
the 95 % interval of its figure says so; differences of layers are paired. Layer 0 is the input (word vectors, or characters), where there is one.

    python -m experiments.how_contextual --data DATA --static VECTORS --contextual ENCODER... [--untrained] [--output DIR]

Where a finding does not hold, two comparisons say why. With --untrained, each encoder is also measured with random recurrent layers on
the same input: what is the same there does not come from training. And finding 4 has both estimators of the explained variance: that of the
paper's formula cannot be below the self-similarity by much, the one around the mean is the share of the first principal component. Beside each
stands what it is for as many unrelated words, whose vectors have no more in common than chance: one vector explains more of a few vectors
than of the baseline's thousand. With --output, the tables and the report of `unfreeze contextuality` are written there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unfreeze.analysis.contextuality import Contextuality, contextuality, shared_words
from unfreeze.analysis.contextuality_report import write_csv, write_report
from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.analysis.geometry import Estimate, explained_variance, measures_of_words
from unfreeze.encoders.layers.projected_lstm import ProjectedLstm
from unfreeze.encoders.layers.qrnn import QrnnLayer
from unfreeze.encoders.layers.recurrent import WeightDropLstm
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import open_encoder
from unfreeze.progress import Progress

RECURRENT = (nn.LSTM, WeightDropLstm, QrnnLayer, ProjectedLstm)
GROUPED = 1 << 20
"""Numbers of the groups of unrelated words for each number of occurrences; at least one group."""
LITTLE = 0.05
"""The paper finds that a static vector explains less than this share of a word's variance, adjusted."""


def sts_sentences(folder: Path) -> list[str]:
    """Both sentences of all pairs."""
    found: list[str] = []
    for file in sorted(folder.glob("201[2-6]/*.tsv")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            found += [text.strip() for text in line.split("\t")[1:3] if text.strip()]
    return found


def verdict(holds: bool, rejected: bool) -> str:
    """What an interval says."""
    return "held" if holds else "not held" if rejected else "open"


def rising(figure: Estimate) -> str:
    """Whether a difference is above 0."""
    return verdict(figure.low > 0, figure.high < 0)


def untrained(place: str) -> TextEncoder:
    """An encoder whose recurrent layers have random weights, on its own input: word vectors, or characters."""
    encoder = open_encoder(place)
    torch.manual_seed(0)
    found = [module for module in encoder.modules() if isinstance(module, RECURRENT)]
    assert found, f"{place} has no recurrent layer"
    for module in found:
        module.reset_parameters()
    return encoder


def of_unrelated_words(report: Contextuality, layer: int, words: Collection[str]) -> float:
    """The adjusted explained variance if the occurrences of each word were as many of the sampled words, which are unrelated."""
    sample, generator = report.sample[layer], np.random.default_rng(0)
    centered = report.settings.explained == "centered"
    counts = Counter(
        min(int(count), len(sample))
        for word, count in zip(report.words, report.counts, strict=True)
        if word in words
    )
    total = 0.0
    for count, n_words in counts.items():
        n_groups = min(n_words, max(1, GROUPED // (count * sample.shape[1])))
        rows = np.tile(np.arange(len(sample)), (n_groups, 1))
        groups = sample[generator.permuted(rows, axis=1)[:, :count]]
        total += n_words * float(measures_of_words(groups, centered=centered)[1].mean())
    return total / counts.total() - explained_variance(sample, centered=centered)


def findings(
    static: Contextuality, reports: Mapping[str, Contextuality], around_mean: Mapping[str, Contextuality]
) -> Iterator[tuple[str, str, str]]:
    """Each finding, the encoder, and its figures with the verdict.

    Args:
        static: word vectors.
        reports: contextual encoders by name.
        around_mean: the same with the explained variance around the mean.
    """
    words = set(shared_words([static, *reports.values()]))
    plain = static.figures(words)[0]
    for name, report in reports.items():
        layers = report.figures(words)
        top = len(layers) - 1
        yield (
            "1 contextual layers are anisotropic, static vectors near isotropic",
            name,
            f"top layer {layers[top].anisotropy}, static {plain.anisotropy}: "
            + verdict(
                layers[top].anisotropy.low > plain.anisotropy.high,
                layers[top].anisotropy.high < plain.anisotropy.low,
            ),
        )
        steps = [
            report.difference("self_similarity_adjusted", upper - 1, upper, words)
            for upper in range(1, top + 1)
        ]
        yield (
            "2 upper layers are more contextual (adjusted self-similarity falls from layer to layer)",
            name,
            ", ".join(f"{step} {rising(step)}" for step in steps),
        )
        steps = [report.difference("anisotropy", upper, upper - 1, words) for upper in range(1, top + 1)]
        yield (
            "3 the cone narrows towards the top (anisotropy rises from layer to layer)",
            name,
            ", ".join(f"{step} {rising(step)}" for step in steps),
        )
        littles = {
            estimator: (each.figures(words)[top].explained_adjusted, of_unrelated_words(each, top, words))
            for estimator, each in (("", report), (" around the mean", around_mean[name]))
        }
        yield (
            f"4 a static vector explains little of a word's variance (adjusted, top layer, below {LITTLE})",
            name,
            "; ".join(
                f"{little}{estimator}, {unrelated:.3f} for unrelated words: {verdict(little.high < LITTLE, little.low > LITTLE)}"
                for estimator, (little, unrelated) in littles.items()
            ),
        )
        step = report.difference("intra_sentence_adjusted", top, 0, words)
        yield (
            "5 upper layers raise intra-sentence similarity (adjusted, top against layer 0)",
            name,
            f"{step} {rising(step)}",
        )


def main(given: Sequence[str] | None = None) -> None:
    """Measure, and print the figures and the findings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with sts/")
    parser.add_argument("--static", required=True, help="word vectors")
    parser.add_argument("--contextual", nargs="+", required=True, help="contextual encoders")
    parser.add_argument("--sentences", type=int, help="only the first ones (default: all)")
    parser.add_argument(
        "--untrained", action="store_true", help="also each encoder with random recurrent layers"
    )
    parser.add_argument("--output", type=Path, help="folder for the tables and the report")
    arguments = parser.parse_args(given)
    sentences = sts_sentences(arguments.data / "sts")[: arguments.sentences]
    encoders = {Path(place).name: open_encoder(place) for place in (arguments.static, *arguments.contextual)}
    if arguments.untrained:
        for place in arguments.contextual:
            encoders[f"{Path(place).name}, random layers"] = untrained(place)
    reports: dict[str, Contextuality] = {}
    around_mean: dict[str, Contextuality] = {}
    for name, encoder in encoders.items():
        measured, centered = ContextualitySettings(), ContextualitySettings(explained="centered")
        reports[name] = contextuality(encoder, sentences, measured, progress=Progress())
        around_mean[name] = contextuality(encoder, sentences, centered, progress=Progress())
        print(
            f"{name}: {reports[name].n_sentences:,} sentences, {len(reports[name].words):,} words", flush=True
        )
    static, *_ = reports.values()
    words = set(shared_words(list(reports.values())))
    print(f"\n{len(words):,} words that all encoders have")
    figures = {name: report.figures(words) for name, report in reports.items()}
    for name, layers in figures.items():
        for each in layers:
            print(
                f"{name} layer {each.layer}: anisotropy {each.anisotropy}; self-similarity {each.self_similarity}, adjusted "
                f"{each.self_similarity_adjusted}; intra-sentence {each.intra_sentence}, adjusted {each.intra_sentence_adjusted}; explained "
                f"{each.explained}, adjusted {each.explained_adjusted}; isotropy {each.isotropy:.2g}; dimension {each.effective_dimension:.0f}"
            )
    contextual = {name: report for name, report in reports.items() if report is not static}
    all_found = list(findings(static, contextual, around_mean))
    for finding in dict.fromkeys(title for title, _, _ in all_found):
        print(f"\n{finding}")
        for title, name, text in all_found:
            if title == finding:
                print(f"  {name}: {text}")
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_csv(figures, arguments.output / "contextuality.csv")
        corpus = "Sentences of SemEval's STS tasks of 2012 to 2016"
        write_report(reports, figures, [], arguments.output / "report.html", corpus=corpus)


if __name__ == "__main__":
    main()
