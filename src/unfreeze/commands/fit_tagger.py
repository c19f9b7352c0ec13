"""`unfreeze fit tagger`: names, parts of speech, or any tag of each word, from tagged sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.commands.console import Console, layer_weights_line
from unfreeze.commands.fit_on_words import FitOnWords
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.options import described_length, quoted, run_options
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.settings import TaggerSettings
    from unfreeze.text.tagged import TaggedSet


@dataclass(kw_only=True)
class FitTagger(FitOnWords):
    """Train a tagger on sentences with a tag for each word: names, parts of speech, slots.

    Sentences are CoNLL's columns (a word a line, an empty line after a sentence), or JSON lines of "tokens" and "tags".
    Spans may be in IOB1, BIO or BIOES, which is found out; other tags are plain ones. Each word is read by an encoder's
    layers, word vectors and its characters, in any mix. Run the same command again after an interruption and it goes on.

    Example:
        unfreeze fit tagger --train eng.train --validation eng.testa --encoder my-elmo --output names
        unfreeze fit tagger --train eng.train --encoder my-elmo --word-vectors vectors.txt --labels 1000 --output few
        unfreeze fit tagger --train eng.train --tag-column 1 --encoder none --output parts-of-speech
    """

    token_column: str | None = None
    """Number (from 0) of the words' column, or their key in JSON lines; the first by default."""

    tag_column: str | None = None
    """The same of the tags; the last by default."""

    scheme: Literal["iob1", "bio", "bioes", "plain"] | None = None
    """Of the tags; found out by default. plain reads tags such as B and I as names of their own."""

    comments: Literal["auto", "skip", "words"] = "auto"
    """What lines of columns are that begin with #: comments (skip), words, or what the other lines suggest."""

    n_layers: int | None = None
    """Of the biLSTM (1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self, "n_layers")


def run(arguments: FitTagger, console: Console) -> None:
    """Read, say what will be done, fit, and say how good it is and what to do next."""
    from unfreeze.tasks.plans import TaggerPlan, plan
    from unfreeze.tasks.sequence_tagger import fit_tagger
    from unfreeze.training.processes import together

    settings = make_settings(arguments)
    with together():
        train_set, validation = read_sets(arguments)
        chosen = plan(TaggerPlan, settings)
    epochs = chosen.epochs_for(len(train_set))
    length = described_length(epochs, settings.minutes)
    console.note(
        f"{counted(len(train_set), 'sentence')}, {counted(train_set.n_words, 'word')}, tags in {train_set.scheme}; "
        f"{chosen.mode} from {chosen.encoder}, {length}"
    )
    tagger, metrics = fit_tagger(
        train_set,
        settings,
        validation=validation,
        output=arguments.output,
        **run_options(arguments, console),
    )
    weights: dict[str, Any] = {"layer_weights": tagger.layer_weights} if tagger.layer_weights else {}
    if tagger.layer_weights:
        console.note(layer_weights_line(tagger.layer_weights))
    values = {
        "output": str(arguments.output),
        "sentences": len(train_set),
        "scheme": train_set.scheme,
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
        "tags": tagger.classes_,
    }
    console.result({**values, **weights, **metrics}, _said(metrics, validation, train_set))
    console.note(
        f'the tagger is in {arguments.output}: try `unfreeze predict {quoted(arguments.output)} "a text"` '
        f"or `unfreeze evaluate {quoted(arguments.output)} FILE`"
    )


def _said(figures: dict[str, float], validation: TaggedSet | None, train_set: TaggedSet) -> str:
    if validation is None:
        return f"fitted on {train_set.source}"
    measured = f"F1 {figures['f1']:.4f}, " if "f1" in figures else ""
    return f"{measured}accuracy {figures['accuracy']:.4f} on {validation.source}"


def make_settings(arguments: FitTagger) -> TaggerSettings:
    """The default settings with what the command line changes."""
    from unfreeze.tasks.settings import TaggerSettings

    return TaggerSettings(**arguments.options("n_layers"))


def read_sets(arguments: FitTagger) -> tuple[TaggedSet, TaggedSet | None]:
    """The sentences to learn from, sampled if so asked, and those to measure on."""
    from unfreeze.text.tagged import read_tagged

    columns: dict[str, Any] = {
        "token_column": arguments.token_column,
        "tag_column": arguments.tag_column,
        "encoding": arguments.encoding,
        "comments": arguments.comments,
        "scheme": arguments.scheme,
    }
    train_set = read_tagged(arguments.train, **columns)
    if arguments.labels is not None:
        train_set = train_set.sample(arguments.labels, arguments.seed)
    if arguments.validation is None:
        return train_set, None
    return train_set, read_tagged(arguments.validation, **columns)
