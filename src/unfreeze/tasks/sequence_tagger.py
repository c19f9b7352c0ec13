"""`SequenceTagger`: names, parts of speech or any other tags of words; and `fit_tagger`, the recipe that trains it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from unfreeze.encoders.saving import load_matching
from unfreeze.errors import UnknownLabel, UserError, need_several, need_texts
from unfreeze.folders import CONFIG, Config, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, find_model
from unfreeze.runs import Run
from unfreeze.tasks.base import Estimator, held_out_pair
from unfreeze.tasks.metrics import SpanMetrics, TagReport, span_metrics
from unfreeze.tasks.plans import TaggerPlan, card_facts, plan, run_identity
from unfreeze.tasks.settings import TaggerSettings
from unfreeze.tasks.tagging import TaggerNetwork, make_network, make_objective, sentence_texts, tag_metrics
from unfreeze.tasks.task_encoders import (
    WordTaskParts,
    load_words,
    made_on_words,
    save_task_model,
)
from unfreeze.text.tag_schemes import OUTSIDE, UNTYPED, Scheme, convert_tags, spans_of, split_tag
from unfreeze.text.tagged import TaggedSentence, TaggedSet, tagged_set
from unfreeze.text.words import Word, split_sentences, split_words
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision, prediction_format
from unfreeze.training.processes import together

KIND = "sequence_tagger"
BUFFER = 1024
"""Sentences of a stream that are tagged together, sorted by length."""
SNIPPET = """
from unfreeze import SequenceTagger

tagger = SequenceTagger.from_pretrained(".")  # this folder
print(tagger(["U.N. official Ekeus heads for Baghdad."]))
"""

Entity = dict[str, Any]
"""Keys as in the pipelines of transformers: entity_group (entity for plain tags), score, word, start, end."""


@dataclass(frozen=True)
class TaggedText:
    """A tagged text; if a sentence was given as words, the text is these words separated by spaces."""

    text: str
    sentences: list[tuple[list[Word], list[str]]] = field(default_factory=list)
    """Words with their positions in the text, and a tag for each."""
    entities: list[Entity] = field(default_factory=list)
    """Its spans, or the tag of each word if tags are plain."""


@dataclass(frozen=True, kw_only=True)
class TaggerConfig(Config):
    """The config.json of a tagger."""

    scheme: Scheme
    tags: list[str]
    network_scheme: Scheme
    settings: WordTaskParts
    estimator: dict[str, Any] | None = None
    """The settings of the estimator; models of earlier versions lack them."""


class SequenceTagger(Estimator, TaggerSettings):
    """A tagger of words: names (spans), parts of speech (plain tags), or slots.

    The settings are those of `unfreeze.tasks.settings.TaggerSettings`. By default the layers of the encoder that ships with
    unfreeze and a character CNN read the words, and a biLSTM with a CRF tags them.

    Example:
        >>> sentences = [["Ada", "visits", "London"], ["London", "is", "large"], ["Kurt", "likes", "Ada"]] * 4
        >>> tags = [["B-PER", "O", "B-LOC"], ["B-LOC", "O", "O"], ["B-PER", "O", "B-PER"]] * 4
        >>> tagger = SequenceTagger(encoder="none", characters=0, hidden_size=16, epochs=30)
        >>> tagger = tagger.fit(sentences, tags)
        >>> tagger.predict([["Kurt", "visits", "London"]])
        [['B-PER', 'O', 'B-LOC']]
        >>> [(each["word"], each["entity_group"]) for each in tagger("Ada likes London.")]
        [('Ada', 'PER'), ('London', 'LOC')]
    """

    network_: TaggerNetwork
    scheme_: Scheme
    """The scheme of the tags that the tagger was fitted on, in which it predicts."""
    arguments_: dict[str, Any]
    """Arguments of the network, as in config.json."""

    @classmethod
    def of_network(
        cls,
        network: TaggerNetwork,
        scheme: Scheme,
        arguments: dict[str, Any],
        settings: TaggerSettings | None = None,
    ) -> Self:
        """A fitted tagger of a network.

        Args:
            scheme: scheme of the tags that it predicts.
            arguments: arguments of the network, for config.json.
            settings: settings of the estimator; None for the defaults.
        """
        tagger = cls.with_settings(settings)
        tagger.network_, tagger.scheme_, tagger.arguments_ = network, scheme, arguments
        return tagger

    @property
    def classes_(self) -> list[str]:
        """The types of spans ("_" if the tags name none), or the plain tags."""
        if self.scheme_ == "plain":
            return list(self.network_.tags)
        kinds = (split_tag(tag)[1] or UNTYPED for tag in self.network_.tags if tag != OUTSIDE)
        return list(dict.fromkeys(kinds))

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """The weight of each layer of the encoder by the place of the mix, and gamma at the end; empty without a mix."""
        return self.network_.words.mix_shares()

    def fit(
        self,
        X: Sequence[Sequence[str]],
        y: Sequence[Sequence[str]],
        validation: tuple[Sequence[Sequence[str]], Sequence[Sequence[str]]] | None = None,
    ) -> Self:
        """Train on tagged sentences.

        Args:
            X: the words of each sentence.
            y: a tag for each of them, in IOB1, BIO or BIOES, or plain tags.
            validation: X and y to measure on after each epoch; the best epoch is kept.

        Raises:
            UserError: a setting cannot work, the tags do not fit the words or are in no scheme, or there is one tag only.
        """
        settings = TaggerSettings(**self._checked_settings())
        held_out = None
        if validation is not None:
            pair = held_out_pair(validation)
            held_out = tagged_set(*pair, "the validation sentences", scheme=settings.scheme)
        train_set = tagged_set(X, y, scheme=settings.scheme)
        fitted, self.metrics_ = fit_tagger(train_set, settings, validation=held_out)
        return self._take_fitted(fitted)

    # Prediction

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """A tag for each word of each sentence, in the scheme that the tagger was fitted on.

        Raises:
            UserError: a sentence is a text, not a list of words, or something else than text among the words.
        """
        need_several(X, "sentences")
        sentences = list(X)
        for number, words in enumerate(sentences):
            need_several(words, "words")
            need_texts(words, f"sentences[{number}]")
        return [tags for tags, _ in self._tagged(sentences)]

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """F1 of the spans, or accuracy of plain tags. A tag that is not in the training data counts as an error."""
        scheme = "plain" if self.scheme_ == "plain" else self.scheme
        report = self.evaluate(tagged_set(X, y, scheme=scheme), unknown_labels="wrong")
        return report.accuracy if report.f1 is None else report.f1

    def __call__(self, texts: str | Sequence[str]) -> Any:
        """The spans of a raw text with their places in it, or a tag for each word where tags are plain.

        Args:
            texts: a text, whose list of spans is returned, or several, for a list of them.

        Returns:
            Of each span {"entity_group", "score", "word", "start", "end"}; of a word with a plain tag {"entity", ...}.
        """
        if isinstance(texts, str):
            return self([texts])[0]
        need_texts(texts, "texts")
        return [found for _, found in self.predict_stream(texts)]

    def _tagged(self, sentences: Sequence[Sequence[str]]) -> list[tuple[list[str], list[float]]]:
        """The tags of each sentence and their probabilities; a sentence without words has none."""
        texts = [" ".join("_".join(word.split()) or "_" for word in words) for words in sentences]
        full = [number for number, words in enumerate(sentences) if len(words)]
        result: list[tuple[list[str], list[float]]] = [([], []) for _ in sentences]
        device = next(self.network_.parameters()).device
        with prediction_format(self.precision, device):
            decoded = self.network_.decode([texts[number] for number in full])
        for number, (tags, shares) in zip(full, decoded, strict=True):
            named = [self.network_.tags[tag] for tag in tags]
            result[number] = convert_tags(named, self.network_.scheme, self.scheme_), shares
        return result

    def predict_stream(self, texts: Iterable[str]) -> Iterator[tuple[str, list[Entity]]]:
        """Each text and its spans, in order, in memory that does not grow with the stream."""
        for each in self.tag_stream(texts):
            yield each.text, each.entities

    def tag_stream(self, texts: Iterable[str]) -> Iterator[TaggedText]:
        """The same with all words and their tags."""
        remaining = iter(texts)
        while buffer := list(islice(remaining, BUFFER)):
            split = [(row, words) for row, text in enumerate(buffer) for words in sentences_of(text)]
            tagged = self._tagged([[word.text for word in words] for _, words in split])
            found = [TaggedText(text) for text in buffer]
            for (row, words), (tags, shares) in zip(split, tagged, strict=True):
                found[row].sentences.append((words, tags))
                found[row].entities.extend(self._entities(buffer[row], words, tags, shares))
            yield from found

    def tag_split_stream(self, sentences: Iterable[Sequence[str]]) -> Iterator[TaggedText]:
        """The same for sentences that are split into words already; each is a text of its words between spaces."""
        remaining = iter(sentences)
        while buffer := list(islice(remaining, BUFFER)):
            for tokens, (tags, shares) in zip(buffer, self._tagged(buffer), strict=True):
                text, words = " ".join(tokens), _placed(tokens)
                yield TaggedText(text, [(words, tags)], list(self._entities(text, words, tags, shares)))

    def _entities(
        self, text: str, words: Sequence[Word], tags: Sequence[str], shares: Sequence[float]
    ) -> Iterator[Entity]:
        if self.scheme_ == "plain":
            for word, tag, share in zip(words, tags, shares, strict=True):
                yield _entity("entity", tag, share, text, word.start, word.end)
            return
        for kind, start, end in spans_of(tags, self.scheme_):
            share = sum(shares[start:end]) / (end - start)
            first, last = words[start], words[end - 1]
            yield _entity("entity_group", kind or UNTYPED, share, text, first.start, last.end)

    # Evaluation

    def need_known(self, sentences: TaggedSet) -> None:
        """Raise UnknownLabel for a tag that is not in the training data, with its place."""
        for each, place, tag, _ in self._unknown(sentences):
            raise UnknownLabel(
                f"{sentences.source}:{each.number}: word {place + 1} has the tag {tag!r}, which is not in the training data "
                f"(it had {', '.join(self.classes_[:10])})"
            )

    def _unknown(self, sentences: TaggedSet) -> Iterator[tuple[TaggedSentence, int, str, str]]:
        """Sentence, place, tag and name of each word whose tag, or its type, is not in the training data."""
        plain, known = self.scheme_ == "plain", set(self.classes_)
        for each in sentences.examples:
            for place, tag in enumerate(each.tags):
                name = tag if plain or tag == OUTSIDE else split_tag(tag)[1] or UNTYPED
                if name not in known and (plain or tag != OUTSIDE):
                    yield each, place, tag, name

    def evaluate(
        self,
        sentences: TaggedSet,
        *,
        unknown_labels: Literal["error", "wrong"] = "error",
        progress: Progress = SILENT,
    ) -> TagReport:
        """Measure on tagged sentences, such as `unfreeze.text.tagged.read_tagged` reads from a file.

        Args:
            unknown_labels: what to do about tags that are not in the training data: raise an error, or count them as wrong.

        Raises:
            UserError: there is no sentence, one has a tag that is not in the training data, or tags are of another sort.
        """
        if not len(sentences):
            raise UserError(f"{sentences.source} holds no sentence to evaluate on")
        if (sentences.scheme == "plain") != (self.scheme_ == "plain"):
            sort = "plain tags" if self.scheme_ == "plain" else "spans"
            raise UserError(f"{sentences.source}: the tagger was fitted on {sort} (which column is it?)")
        if unknown_labels != "wrong":
            self.need_known(sentences)
        unknown = [name for *_, name in self._unknown(sentences)]
        own = sentences.in_scheme(self.network_.scheme)
        texts, gold = sentence_texts(own), [each.tags for each in own.examples]
        named: list[list[str]] = []
        with progress.bar("evaluate", total=len(texts), unit="sentence") as bar:
            for start in range(0, len(texts), BUFFER):
                with prediction_format(self.precision, next(self.network_.parameters()).device):
                    decoded = self.network_.decode(texts[start : start + BUFFER])
                named += [[self.network_.tags[tag] for tag in tags] for tags, _ in decoded]
                bar.advance(len(decoded))
        scheme = self.network_.scheme
        found = tag_metrics(gold, named, scheme)
        spans: list[SpanMetrics] = []
        if scheme != "plain":
            spans = span_metrics([spans_of(x, scheme) for x in gold], [spans_of(x, scheme) for x in named])
        return TagReport(
            found["accuracy"],
            found.get("f1"),
            spans,
            len(texts),
            own.n_words,
            len(unknown),
            tuple(sorted(set(unknown))),
        )

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and what the encoders need into `folder`, whole or not at all."""
        words = self.network_.words
        config: dict[str, Any] = {
            "kind": KIND,
            "scheme": self.scheme_,
            "tags": list(self.network_.tags),
            "network_scheme": self.network_.scheme,
            "settings": self.arguments_,
            "word_vectors": words.vectors is not None,
            "estimator": self._checked_settings(),
        }
        save_task_model(folder, config, self.network_.own_tensors(), words.encoder, words.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a tagger; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, TaggerConfig)
        settings = config["settings"]
        words, own = load_words(folder, config, settings["inputs"])
        tags, scheme = config["tags"], config["network_scheme"]
        if not tags or len(set(tags)) < len(tags):
            raise UserError(f"{folder / CONFIG}: tags is empty, or has a tag twice: the file is damaged")
        network = made_on_words(TaggerNetwork, folder, own, words, tags, scheme, **settings["body"])
        load_matching(network, own, network.own_tensors(), str(folder))
        return cls.of_network(network.eval(), config["scheme"], settings, cls._saved_settings(config, folder))


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
        loop = chosen.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        return run_identity("fit tagger", settings, chosen, train_set, validation)

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return SequenceTagger.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        with together():
            seed_everything(chosen.seed)
            network, arguments = make_network(train_set, chosen)
            tagger = SequenceTagger.of_network(network, train_set.scheme, arguments, settings)
            if validation is not None:
                tagger.need_known(validation)
            objective = make_objective(network, train_set, chosen, accelerator, validation, progress)
        records = run.train(objective, chosen.policy(), loop, "tagger")
        network.eval()
        # The cached layers of the training texts are rounded to 16 bits; a fitted model computes all texts in the same way.
        network.words.cached.clear()
        of_data = {
            "sentences": len(train_set),
            "words": train_set.n_words,
            "tags": ", ".join(tagger.classes_[:20]),
        }
        tagger.metrics_ = run.finish(
            tagger.save_pretrained,
            metrics_of(records, loop, without=("score", "loss")),
            title="Tagger",
            facts=card_facts(settings, chosen, network, command, train_set, **of_data),
            snippet=SNIPPET,
        )
        return tagger, tagger.metrics_


def _check(train_set: TaggedSet, validation: TaggedSet | None) -> None:
    if len(train_set.tag_names()) < 2:
        found = "all words have one tag" if len(train_set) else "there is no sentence with a word in it"
        raise UserError(f"{train_set.source}: {found}; two tags are needed")
    if validation is not None and not len(validation):
        raise UserError(f"{validation.source}: there is no sentence to measure on")
    if validation is not None and (train_set.scheme == "plain") != (validation.scheme == "plain"):
        raise UserError(
            f"{train_set.source} and {validation.source}: one has spans and the other plain tags (which column is it?)"
        )


def sentences_of(text: str) -> Iterator[list[Word]]:
    """The words of each sentence of a raw text, with their positions in it."""
    words, number = split_words(text), 0
    for _, end in split_sentences(text):
        own = []
        while number < len(words) and words[number].start < end:
            own.append(words[number])
            number += 1
        if own:
            yield own


def _placed(tokens: Sequence[str]) -> list[Word]:
    """Words with their positions in a text of them, separated by single spaces."""
    words, start = [], 0
    for token in tokens:
        words.append(Word(token, start, start + len(token)))
        start += len(token) + 1
    return words


def _entity(key: str, name: str, share: float, text: str, start: int, end: int) -> Entity:
    return {key: name, "score": share, "word": text[start:end], "start": start, "end": end}
