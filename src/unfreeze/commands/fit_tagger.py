"""`unfreeze fit tagger`: names, parts of speech, or any tag of each word, from tagged sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

from unfreeze.commands.console import Console
from unfreeze.commands.fit import FitOptions, report_fit
from unfreeze.commands.options import ReadsTagged, described_length, run_options
from unfreeze.display import counted
from unfreeze.tasks.settings import TaggerSettings


@dataclass(kw_only=True)
class FitTagger(FitOptions, ReadsTagged):
    """Train a tagger on sentences with a tag for each word: names, parts of speech, slots.

    Sentences are in CoNLL's format (a word per line, an empty line after each sentence) or JSON lines with "tokens" and
    "tags". A biLSTM with a CRF reads the layers of an encoder, word vectors and the characters of each word, in any
    combination. Rerun the command to resume an interrupted run.

    Example:
        unfreeze fit tagger --train eng.train --validation eng.testa --encoder my-elmo --output names
        unfreeze fit tagger --train eng.train --encoder my-elmo --word-vectors vectors.txt --labels 1000 --output few
        unfreeze fit tagger --train eng.train --tag-column 1 --encoder none --output parts-of-speech
    """

    token_column: str | None = None
    """Number (from 0) of the column of the words, or their key in JSON lines (default: the first)."""

    tag_column: str | None = None
    """Number (from 0) of the column of the tags, or their key in JSON lines (default: the last)."""

    settings: TaggerSettings = field(default_factory=TaggerSettings)
    """Options of the tagger."""


def run(arguments: FitTagger, console: Console) -> None:
    """Read the sentences, say what will be done, fit, and report."""
    from unfreeze.tasks.plans import TaggerPlan, plan
    from unfreeze.tasks.sequence_tagger import fit_tagger
    from unfreeze.text.tagged import TaggedSet, read_tagged
    from unfreeze.training.processes import together

    settings, validation = arguments.settings, None

    def read(path: str) -> TaggedSet:
        return read_tagged(
            path,
            token_column=arguments.token_column,
            tag_column=arguments.tag_column,
            encoding=arguments.encoding,
            comments=arguments.comments,
            scheme=settings.scheme,
        )

    with together():
        train_set = arguments.sampled(read(arguments.train), settings.seed)
        if arguments.validation is not None:
            validation = read(arguments.validation)
        chosen = plan(TaggerPlan, settings)
    epochs = chosen.epochs_for(len(train_set))
    console.note(
        f"{counted(len(train_set), 'sentence')}, {counted(train_set.n_words, 'word')}, tags in {train_set.scheme}; "
        f"{chosen.mode} from {chosen.encoder}, {described_length(epochs, settings.minutes)}"
    )
    tagger, metrics = fit_tagger(
        train_set, settings, validation=validation, **run_options(arguments, console)
    )
    measured = f"fitted on {train_set.source}"
    if validation is not None:
        f1 = f"F1 {metrics['f1']:.4f}, " if "f1" in metrics else ""
        measured = f"{f1}accuracy {metrics['accuracy']:.4f} on {validation.source}"
    result = {
        "sentences": len(train_set),
        "scheme": train_set.scheme,
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
        "tags": tagger.classes_,
    }
    report_fit(arguments, console, tagger, {**result, **metrics}, measured, name="tagger")
