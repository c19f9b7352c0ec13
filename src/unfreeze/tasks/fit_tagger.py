"""A tagger from tagged sentences, on any encoder or from scratch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.tasks.plans import TaggerPlan, card_facts, plan
from unfreeze.tasks.sequence_tagger import SequenceTagger
from unfreeze.tasks.tagging import TaggerNetwork, TaggingObjective, sentence_texts
from unfreeze.tasks.word_task import cache_layers, make_words, run_identity
from unfreeze.tasks.word_task_settings import TaggerSettings
from unfreeze.text.rules import normalized
from unfreeze.text.tag_schemes import (
    OUTSIDE,
    Scheme,
    joined_tag,
    split_tag,
)
from unfreeze.text.tagged import TaggedSet
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

SNIPPET = """
from unfreeze.tasks.sequence_tagger import SequenceTagger

tagger = SequenceTagger.from_pretrained(".")  # this folder
print(tagger.predict(["U.N. official Ekeus heads for Baghdad."]))
"""


def fit_tagger(
    train_set: TaggedSet,
    settings: TaggerSettings,
    *,
    validation: TaggedSet | None = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[SequenceTagger, dict[str, Any]]:
    """Fit a tagger. With an output, call it again after a kill to resume.

    Args:
        validation: sentences to measure on after each epoch.
        output: folder to save the tagger in; None keeps it in memory.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The tagger, and its metrics as in metrics.json.

    Raises:
        UserError: the sentences cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        _check(train_set, validation)
        chosen = plan(TaggerPlan, settings)
        loop = settings.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        sets = {"train": train_set, "validation": validation}
        files = {name: each and [each.source, each.digest()] for name, each in sets.items()}
        return {"stage": "fit tagger", **files, **run_identity(settings, chosen)}

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return SequenceTagger.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        with together():
            seed_everything(settings.seed)
            tagger = make_tagger(train_set, chosen)
        tagger.network.to(accelerator.device)
        with together():
            objective = make_objective(tagger, train_set, chosen, accelerator, validation, progress)
        records = run.train(objective, chosen.policy(), loop, "tagger")
        # The layers of the training texts are kept in 16 bits: a fitted model treats all texts alike.
        tagger.network.words.cached.clear()
        metrics = metrics_of(records, loop, without=("score", "loss"))
        facts = {
            "data": Path(train_set.source).name,
            "sentences": len(train_set),
            "words": train_set.n_words,
            "tags": ", ".join(tagger.kinds[:20]),
            "transfer": chosen.mode,
            **card_facts(settings, chosen.encoder, tagger.network, command),
        }
        run.finish(tagger.save_pretrained, metrics, title="Tagger", facts=facts, snippet=SNIPPET)
        return tagger, metrics


def _check(train_set: TaggedSet, validation: TaggedSet | None) -> None:
    if len(train_set.tag_names()) < 2:
        raise UserError(f"{train_set.source}: all words have one tag; two are needed")
    if validation is None:
        return
    plain = {each.scheme == "plain" for each in (train_set, validation)}
    if len(plain) > 1:
        raise UserError(
            f"{train_set.source} and {validation.source}: one has spans and the other plain tags (which column is it?)"
        )


def make_tagger(train_set: TaggedSet, plan: TaggerPlan) -> SequenceTagger:
    """A tagger that is ready to be trained."""
    counts = Counter(normalized(token) for each in train_set.examples for token in each.tokens)
    words = make_words(counts, len(train_set), plan)
    body = {name: getattr(plan, name) for name in ("hidden_size", "n_layers", "dropout")}
    own: Scheme = "plain" if train_set.scheme == "plain" else "bioes"
    names = span_tags(train_set) if own == "bioes" else train_set.tag_names()
    network = TaggerNetwork(words, names, own, **body)
    return SequenceTagger(network, train_set.scheme, {"inputs": plan.inputs(), "body": body})


def span_tags(train_set: TaggedSet) -> list[str]:
    """Every letter of BIOES for every type, whether training has it or not."""
    kinds = sorted({split_tag(tag)[1] for tag in train_set.tag_names() if tag != OUTSIDE})
    return [OUTSIDE, *(joined_tag(letter, kind) for kind in kinds for letter in "BIES")]


def make_objective(
    tagger: SequenceTagger,
    train_set: TaggedSet,
    plan: TaggerPlan,
    accelerator: Accelerator,
    validation: TaggedSet | None,
    progress: Progress,
) -> TaggingObjective:
    """What the loop trains; a frozen encoder's layers of all these sentences are computed once."""
    network = tagger.network
    sets = [each.in_scheme(network.scheme) for each in (train_set, validation) if each is not None]
    texts = [text for each in sets for text in sentence_texts(each)]
    cache_layers(network.words, texts, plan, accelerator, progress)
    if validation is not None:
        tagger.need_known(validation)
    return TaggingObjective(
        network,
        sets[0],
        sets[1] if validation is not None else None,
        batch_size=plan.batch_size,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
