"""`unfreeze fit tagger`: names, parts of speech, or any tag of each word, from tagged sentences."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.fit_classifier import is_number, layer_weights_line
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.pretrain_lm import command_line, given
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.tasks.word_task_settings import TaggerSettings
    from unfreeze.text.tagged import TaggedSet


@dataclass(kw_only=True)
class FitTagger:
    """Train a tagger on sentences with a tag for each word: names, parts of speech, slots.

    Sentences are CoNLL's columns (a word a line, an empty line after a sentence), or JSON lines of "tokens" and "tags".
    Spans may be in IOB1, BIO or BIOES, which is found out; other tags are plain ones. Each word is read by an encoder's
    layers, word vectors and its characters, in any mix. Run the same command again after an interruption and it goes on.

    Example:
        unfreeze fit tagger --train eng.train --validation eng.testa --encoder my-elmo --output names
        unfreeze fit tagger --train eng.train --encoder my-elmo --word-vectors vectors.txt --labels 1000 --output few
        unfreeze fit tagger --train eng.train --tag-column 1 --encoder none --output parts-of-speech
    """

    train: Path
    """Tagged sentences to learn from."""

    output: Path
    """Folder of the model to be."""

    validation: Path | None = None
    """Tagged sentences to measure on after each epoch; the best epoch is kept."""

    encoder: str | None = None
    """Encoder, language model, task model or word vectors to start from: a folder, a name, a file of vectors; none is from
    scratch."""

    transfer: Literal["scratch", "frozen", "fine-tune"] | None = None
    """How the encoder moves: not at all (frozen, by default), or with the task (fine-tune); scratch has none."""

    word_vectors: str | None = None
    """Vectors (a folder, or word2vec or GloVe format) of each word beside the encoder's layers."""

    characters: int | None = None
    """Width of a character CNN's vector of each word (50); 0 is none."""

    layers: str | None = None
    """mix (all of the encoder's layers, weighted by the task), or the number of one; -1 is the last."""

    mix_at: Literal["input", "output", "both"] | None = None
    """Where the mix stands: at the biLSTM's input (default), its output, or both."""

    mix_l2: float | None = None
    """L2 penalty on the mix's weights: .001 lets the layers differ, 1 keeps them equal (0)."""

    layer_norm: bool = False
    """Normalize each layer before it is mixed."""

    labels: int | None = None
    """Learn from so many of the sentences only: a sample that is fixed by the seed and that smaller ones are part of."""

    token_column: str | None = None
    """Number (from 0) of the words' column, or their key in JSON lines; the first by default."""

    tag_column: str | None = None
    """The same of the tags; the last by default."""

    encoding: str = "utf-8"
    """Of text files."""

    epochs: int | None = None
    """Passes over the sentences; chosen by their number by default."""

    minutes: float | None = None
    """Bound the training by time instead, and fit the schedule to it."""

    rate: float | None = None
    """Largest learning rate, of the body and the head (.002)."""

    batch_size: int | None = None
    """Sentences an update (16)."""

    hidden_size: int | None = None
    """Of each direction of the biLSTM (200)."""

    n_layers: int | None = None
    """Of the biLSTM (1)."""

    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""

    discriminative: float | None = None
    """Fine-tuning: each lower layer learns this many times slower (2.6); 1 turns it off."""

    schedule: Literal["slanted", "cosine", "constant"] | None = None
    """How the rate moves."""

    keep_best: bool = True
    """With --validation: end with the epoch that was best, else with the last."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same sample and the same model."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise UserError("a run is bounded by --epochs or by --minutes, not by both")
        need_positive(self, "labels", "epochs", "minutes", "rate", "batch_size", "hidden_size", "n_layers")
        if self.characters is not None and self.characters < 0:
            raise UserError(f"--characters must be at least 0, not {self.characters}")
        if self.mix_l2 is not None and not 0 <= self.mix_l2 < math.inf:
            raise UserError(f"--mix-l2 must be at least 0, not {self.mix_l2}")
        if self.layers not in (None, "mix") and not is_number(self.layers):
            raise UserError(f"--layers is mix or the number of a layer, not {self.layers!r}")


def run(arguments: FitTagger, console: Console) -> None:
    """Read, say what will be done, fit, and say how good it is and what to do next."""
    from unfreeze.tasks.tagger_fitting import fit_tagger, tagger_epochs
    from unfreeze.training.processes import together

    settings = make_settings(arguments)
    with together():
        train_set, validation = read_sets(arguments)
    epochs = tagger_epochs(len(train_set), settings)
    length = f"{settings.minutes:g} minutes" if epochs is None else f"{epochs} epochs"
    console.note(
        f"{len(train_set):,} sentences, {train_set.n_words:,} words, tags in {train_set.scheme}; {settings.mode} "
        f"from {settings.chosen_encoder}, {length}"
    )
    tagger = fit_tagger(
        train_set,
        settings,
        validation=validation,
        output=arguments.output,
        precision=arguments.precision,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    figures = json.loads((arguments.output / "metrics.json").read_text(encoding="utf-8"))
    weights: dict[str, Any] = {"layer_weights": tagger.layer_weights} if tagger.layer_weights else {}
    if tagger.layer_weights:
        console.note(layer_weights_line(tagger.layer_weights))
    values = {
        "output": str(arguments.output),
        "sentences": len(train_set),
        "scheme": train_set.scheme,
        "transfer": settings.mode,
        "encoder": settings.chosen_encoder,
        "epochs": epochs,
        "tags": tagger.kinds,
    }
    console.result({**values, **weights, **figures}, _said(figures, validation, train_set))
    console.note(
        f'the tagger is in {arguments.output}: try `unfreeze predict {arguments.output} "a text"` '
        f"or `unfreeze evaluate {arguments.output} FILE`"
    )


def _said(figures: dict[str, float], validation: TaggedSet | None, train_set: TaggedSet) -> str:
    if validation is None:
        return f"fitted on {train_set.source}"
    measured = f"F1 {figures['f1']:.4f}, " if "f1" in figures else ""
    return f"{measured}accuracy {figures['accuracy']:.4f} on {validation.source}"


def make_settings(arguments: FitTagger) -> TaggerSettings:
    """The default settings with what the command line changes."""
    from unfreeze.tasks.word_task_settings import TaggerSettings

    names = (
        "encoder transfer word_vectors characters mix_at mix_l2 epochs minutes rate batch_size hidden_size n_layers "
        "gradual discriminative schedule keep_best checkpoint_minutes seed"
    )
    options = given(arguments, *names.split())
    if arguments.layers is not None:
        options["layers"] = "mix" if arguments.layers == "mix" else int(arguments.layers)
    return TaggerSettings(layer_norm=arguments.layer_norm, **options)


def read_sets(arguments: FitTagger) -> tuple[TaggedSet, TaggedSet | None]:
    """The sentences to learn from, sampled if so asked, and those to measure on."""
    from unfreeze.text.tagged import read_tagged, sample_tagged

    columns: dict[str, Any] = {
        "token_column": arguments.token_column,
        "tag_column": arguments.tag_column,
        "encoding": arguments.encoding,
    }
    train_set = read_tagged(arguments.train, **columns)
    if arguments.labels is not None:
        train_set = sample_tagged(train_set, arguments.labels, arguments.seed)
    if arguments.validation is None:
        return train_set, None
    return train_set, read_tagged(arguments.validation, **columns)
