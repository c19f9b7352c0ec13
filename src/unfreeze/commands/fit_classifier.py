"""`unfreeze fit classifier`: a classifier from labeled texts, on a pre-trained encoder or from scratch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.checked import shown
from unfreeze.commands.console import Console, layer_weights_line
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.options import ReadsExamples, described_length, given, quoted, run_options
from unfreeze.errors import UserError
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.tasks.plans import ClassifierPlan
    from unfreeze.tasks.settings import ClassifierSettings

MOST_CLASSES_SHOWN = 8


@dataclass(kw_only=True)
class FitClassifier(ReadsExamples):
    """Train a text classifier on labeled examples.

    Examples are a table (CSV, TSV, JSON lines, Parquet), a folder with a folder of texts for each class, or lines of a
    label and a text. Without --encoder it starts from the encoder that ships with unfreeze. Run the same command again
    after an interruption and it goes on.

    Example:
        unfreeze fit classifier --train reviews.csv --validation more-reviews.csv --output my-classifier
        unfreeze fit classifier --train reviews.csv --encoder my-reviews-lm --labels 100 --output few-labels
    """

    train: str
    """Labeled texts to learn from: a file, a folder, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    validation: str | None = None
    """Labeled texts to measure on after each epoch; the best epoch is kept."""

    encoder: str | None = None
    """Encoder, language model, classifier or word vectors to start from: a folder, a name, a file of vectors; wiki-small by
    default; none is from scratch."""

    transfer: Literal["scratch", "frozen", "fine-tune"] | None = None
    """How the encoder moves: not at all (frozen), or with the task (fine-tune, by default); scratch has none."""

    body: Literal["pooling", "bilstm"] | None = None
    """What stands on the encoder: pooling, or a biLSTM that learns from the labels, on word vectors or on the layers of a
    contextual encoder; the biLSTM by default on ELMo."""

    layers: str | None = None
    """Under a biLSTM on a contextual encoder: mix (all layers, weighted by the task), or the number of one; -1 is the last."""

    mix_at: Literal["input", "output", "both"] | None = None
    """Where the mix stands: at the biLSTM's input (default), its output, or both."""

    mix_l2: float | None = None
    """L2 penalty on the mix's weights: .001 lets the layers differ, 1 keeps them equal (0)."""

    layer_norm: bool = False
    """Normalize each layer before it is mixed."""

    vocabulary: Literal["vectors", "both"] | None = None
    """Word vectors: words that have one, or the task's too (by default where these learn, or have n-grams)."""

    word_vectors: str | None = None
    """Vectors (a folder, or word2vec or GloVe format): their mean over a document stands beside the encoder's states; under
    --body bilstm on a contextual encoder each word's vector stands beside the mix, as in ELMo's paper."""

    labels: int | None = None
    """Learn from so many of the examples only: a fixed, stratified sample that smaller ones are part of."""

    multi_label: bool = False
    """A text may have several labels, as a list, separated by "|" or commas, or as several __label__NAME."""

    epochs: int | None = None
    """Passes over the examples; chosen by their number by default."""

    minutes: float | None = None
    """Bound the training by time instead, and fit the schedule to it."""

    learning_rate: float | None = None
    """Largest learning rate, of the head; see find-rate."""

    batch_size: int | None = None
    """Texts an update."""

    pooling: Literal["top", "top+vectors", "vectors"] | None = None
    """What a document becomes: the top layer's last, largest and mean state (top), the mean word vector, or both."""

    head: Literal["two-layer", "linear"] | None = None
    """What stands on it: two-layer by default, linear on a frozen encoder."""

    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""

    discriminative: float | None = None
    """Fine-tuning: each lower layer learns this many times slower (2.6); 1 turns it off."""

    schedule: Literal["slanted", "cosine", "constant"] | None = None
    """How the rate moves; slanted is slanted triangular."""

    optimizer: Literal["adamw", "nt-asgd"] | None = None
    """AdamW, or averaged SGD with the non-monotone trigger."""

    dropout_scale: float | None = None
    """Factor on the encoder's dropouts."""

    keep_best: bool = True
    """With --validation: end with the epoch that was best, else with the last."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    architecture: Literal["bilstm", "awd-lstm"] | None = None
    """From scratch: a biLSTM, or an AWD-LSTM with random weights."""

    embedding_size: int | None = None
    """From scratch: width of the word vectors."""

    hidden_size: int | None = None
    """From scratch: width of each LSTM."""

    vocabulary_size: int | None = None
    """From scratch: words at most."""

    min_count: int | None = None
    """From scratch: words that occur less often are unknown."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same sample and the same model."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise UserError("a run is bounded by --epochs or by --minutes, not by both")
        need_positive(self, "labels", "epochs", "minutes", "learning_rate", "batch_size")
        if self.mix_l2 is not None and not 0 <= self.mix_l2 < math.inf:
            raise UserError(f"--mix-l2 must be at least 0, not {self.mix_l2}")
        if self.layers not in (None, "mix") and not is_number(self.layers):
            raise UserError(f"--layers is mix or the number of a layer, not {shown(self.layers)}")
        need_positive(self, "vocabulary_size", "min_count", "embedding_size", "hidden_size")


def run(arguments: FitClassifier, console: Console) -> None:
    """Read, say what will be done, fit, and say how good it is and what to do next."""
    from unfreeze.tasks.plans import ClassifierPlan, plan
    from unfreeze.tasks.text_classifier import fit_classifier
    from unfreeze.training.processes import together

    settings = make_settings(arguments)
    with together():
        train_set, validation = read_sets(arguments)
        chosen = plan(ClassifierPlan, settings)
    epochs = None if chosen.solves_linear_head else chosen.epochs_for(len(train_set))
    duplicates = _note_plan(train_set, validation, chosen, epochs, console)
    classifier, metrics = fit_classifier(
        train_set,
        settings,
        validation=validation,
        output=arguments.output,
        **run_options(arguments, console),
    )
    known = {
        "output": str(arguments.output),
        "examples": len(train_set),
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
        "duplicates": duplicates,
    }
    weights: dict[str, Any] = {"layer_weights": classifier.layer_weights} if classifier.layer_weights else {}
    if classifier.layer_weights:
        console.note(layer_weights_line(classifier.layer_weights))
    text = f"accuracy {metrics['accuracy']:.4f} on {validation.source}" if validation is not None else ""
    console.result({**known, **weights, **metrics}, text or f"fitted on {train_set.source}")
    console.note(
        f'the classifier is in {arguments.output}: try `unfreeze predict {quoted(arguments.output)} "a text"` '
        f"or `unfreeze evaluate {quoted(arguments.output)} FILE`"
    )


def make_settings(arguments: FitClassifier) -> ClassifierSettings:
    """The default settings with what the command line changes."""
    from unfreeze.tasks.settings import ClassifierSettings

    names = (
        "encoder transfer body word_vectors epochs minutes learning_rate batch_size pooling head gradual discriminative schedule optimizer "
        "dropout_scale keep_best checkpoint_minutes architecture embedding_size hidden_size vocabulary_size min_count seed"
    )
    new_words = None if arguments.vocabulary is None else arguments.vocabulary == "both"
    layers: Any = arguments.layers
    if layers not in (None, "mix"):
        layers = int(layers)
    return ClassifierSettings(
        new_words=new_words,
        layers=layers,
        layer_norm=arguments.layer_norm,
        **given(arguments, "mix_at", "mix_l2", *names.split()),
    )


def is_number(text: str | None) -> bool:
    """Whether it is a whole number as Python writes them, and no longer than the number of a layer may be."""
    return text is not None and len(text) < 10 and text.removeprefix("-").isdecimal() and text.isascii()


def read_sets(arguments: FitClassifier) -> tuple[ExampleSet, ExampleSet | None]:
    """The examples to learn from, sampled if so asked, and those to measure on."""
    from unfreeze.text.examples import read_examples

    reading = arguments.reading_examples
    train_set = read_examples(arguments.train, multi_label=arguments.multi_label or None, **reading)
    if arguments.labels is not None:
        train_set = train_set.sample(arguments.labels, arguments.seed)
    if arguments.validation is None:
        return train_set, None
    names, multi_label = train_set.label_names, train_set.multi_label
    validation = read_examples(arguments.validation, multi_label=multi_label, known_labels=names, **reading)
    return train_set, validation


def _note_plan(
    train_set: ExampleSet,
    validation: ExampleSet | None,
    plan: ClassifierPlan,
    epochs: int | None,
    console: Console,
) -> int:
    """Say what will be done; returns the number of validation texts that are training texts too."""

    start = "random weights" if plan.mode == "scratch" else plan.encoder
    length = described_length(epochs, plan.minutes) or "logistic regression"
    console.note(f"{described(train_set)}; {plan.mode} from {start}, {length}")
    if validation is None:
        return 0
    duplicates = validation.duplicates_of(train_set)
    console.note(
        f"measured on {counted(len(validation), 'example')} of {validation.source}; {duplicates} of their texts "
        f"{'is' if duplicates == 1 else 'are'} in the training set too"
    )
    return duplicates


def described(examples: ExampleSet) -> str:
    """ "100 examples of 2 classes (neg 50, pos 50)"."""
    counts = Counter(label for example in examples.examples for label in example.labels)
    shown = [f"{name} {counts[name]}" for name in examples.label_names[:MOST_CLASSES_SHOWN]]
    more = ", ..." if len(examples.label_names) > MOST_CLASSES_SHOWN else ""
    return (
        f"{counted(len(examples), 'example')} of {counted(len(counts), 'class')} ({', '.join(shown)}{more})"
    )
