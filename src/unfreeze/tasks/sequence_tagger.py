"""`SequenceTagger`: fit on tagged sentences, predict, evaluate, save.

from unfreeze.tasks.sequence_tagger import SequenceTagger

tagger = SequenceTagger.fit([["U.N.", "official", "Ekeus"]], [["B-ORG", "O", "B-PER"]], encoder="none")
tagger.predict(["Ekeus heads for Baghdad."])
# [[{"entity_group": "PER", "score": 0.98, "word": "Ekeus", "start": 0, "end": 5}, ...]]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from unfreeze.encoders.saving import load_matching
from unfreeze.errors import UnknownLabel, UserError, need_several, need_texts
from unfreeze.folders import CONFIG, Config, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.tasks.metrics import SpanMetrics, span_metrics
from unfreeze.tasks.tagging import TaggerNetwork, figures, sentence_texts
from unfreeze.tasks.word_task import WordTaskParts, load_words, made_on_words, save_task_model
from unfreeze.text.tag_schemes import OUTSIDE, UNTYPED, Scheme, convert_tags, spans_of, split_tag
from unfreeze.text.tagged import TaggedSentence, TaggedSet, tagged_set
from unfreeze.text.words import Word, split_sentences, split_words
from unfreeze.training.precision import Precision, choose_precision, prediction_format

KIND = "sequence_tagger"
BUFFER = 1024
"""Sentences that are sorted by length together while a stream is tagged."""

Entity = dict[str, Any]
"""As transformers' pipeline has them: entity_group (a plain tag: entity), score, word, start, end."""


@dataclass(frozen=True)
class TagReport:
    """How a tagger did on tagged sentences."""

    accuracy: float
    """Share of words whose tag (of spans: in BIO) is right."""
    f1: float | None
    """Of spans, micro, both ends and the type right; None for plain tags."""
    spans: list[SpanMetrics]
    """By type, then of all."""
    n_sentences: int
    n_words: int
    n_unknown_labels: int = 0
    """Words with a tag that training lacked; each counts as an error."""
    unknown_names: tuple[str, ...] = ()
    """The types of spans, or the plain tags, that training lacked."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TaggedText:
    """A text, tagged; of a sentence that was split already its words between spaces."""

    text: str
    sentences: list[tuple[list[Word], list[str]]] = field(default_factory=list)
    """Words with their places in the text, and a tag for each."""
    entities: list[Entity] = field(default_factory=list)
    """Its spans, or each word's tag where tags are plain."""


@dataclass(frozen=True, kw_only=True)
class TaggerConfig(Config):
    """What config.json says of a tagger."""

    scheme: Scheme
    tags: list[str]
    network_scheme: Scheme
    settings: WordTaskParts


class SequenceTagger:
    """A fitted tagger.

    Args:
        network: what scores and decodes.
        scheme: of the tags that it was fitted on, in which it answers.
        settings: what the network was made with, for saving.
    """

    def __init__(self, network: TaggerNetwork, scheme: Scheme, settings: dict[str, Any]) -> None:
        self.network, self.scheme, self.settings = network, scheme, settings
        self._precision: Precision = "fp32"

    @property
    def precision(self) -> Precision:
        """What predictions are computed in: fp32 or bf16; "auto" tries at once which is faster here."""
        return self._precision

    @precision.setter
    def precision(self, wanted: Precision) -> None:
        chosen = choose_precision(wanted, next(self.network.parameters()).device)
        self._precision = "bf16" if chosen == "bf16" else "fp32"

    @property
    def kinds(self) -> list[str]:
        """The types of spans ("_" where tags name none), or the plain tags."""
        if self.scheme == "plain":
            return list(self.network.tags)
        kinds = (split_tag(tag)[1] or UNTYPED for tag in self.network.tags if tag != OUTSIDE)
        return list(dict.fromkeys(kinds))

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """How much each layer of the encoder counts, by the place of the mix, and gamma at the end; where there is a mix."""
        return self.network.words.mix_shares()

    @classmethod
    def fit(
        cls,
        tokens: Sequence[Sequence[str]],
        tags: Sequence[Sequence[str]],
        *,
        scheme: Scheme | None = None,
        **settings: Any,
    ) -> SequenceTagger:
        """Fit a tagger in memory.

        Args:
            tokens: the words of each sentence.
            tags: a tag for each of them, in IOB1, BIO, BIOES, or plain ones.
            scheme: which of these; found out by default.
            settings: of `unfreeze.tasks.word_task_settings.TaggerSettings`.

        Raises:
            UserError: not a tag for each word, tags in no scheme, or one tag only.
        """
        from unfreeze.tasks.fit_tagger import fit_tagger
        from unfreeze.tasks.word_task_settings import TaggerSettings

        return fit_tagger(tagged_set(tokens, tags, scheme=scheme), TaggerSettings(**settings))[0]

    # Prediction

    def predict_tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """A tag for each word of each sentence, in the scheme that the tagger was fitted on.

        Raises:
            UserError: a sentence is a text, not a list of words.
        """
        for each in (sentences, *sentences):
            need_several(each, "words")
        return [tags for tags, _ in self._tagged(sentences)]

    def _tagged(self, sentences: Sequence[Sequence[str]]) -> list[tuple[list[str], list[float]]]:
        """Tags and the probability of each word's; a sentence without words has none."""
        texts = [" ".join("_".join(word.split()) or "_" for word in words) for words in sentences]
        full = [number for number, words in enumerate(sentences) if len(words)]
        result: list[tuple[list[str], list[float]]] = [([], []) for _ in sentences]
        device = next(self.network.parameters()).device
        with prediction_format(self.precision, device):
            decoded = self.network.decode([texts[number] for number in full])
        for number, (tags, shares) in zip(full, decoded, strict=True):
            named = [self.network.tags[tag] for tag in tags]
            result[number] = convert_tags(named, self.network.scheme, self.scheme), shares
        return result

    def predict(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The spans of each raw text with their places in it, or a tag for each word where tags are plain.

        Raises:
            UserError: one text instead of several.
        """
        need_texts(texts, "texts")
        return [found for _, found in self.predict_stream(texts)]

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
        if self.scheme == "plain":
            for word, tag, share in zip(words, tags, shares, strict=True):
                yield _entity("entity", tag, share, text, word.start, word.end)
            return
        for kind, start, end in spans_of(tags, self.scheme):
            share = sum(shares[start:end]) / (end - start)
            first, last = words[start], words[end - 1]
            yield _entity("entity_group", kind or UNTYPED, share, text, first.start, last.end)

    # Evaluation

    def need_known(self, sentences: TaggedSet) -> None:
        """Raise UnknownLabel for a tag that training lacked, with its place."""
        for each, place, tag, _ in self._unknown(sentences):
            raise UnknownLabel(
                f"{sentences.source}:{each.number}: word {place + 1} has the tag {tag!r}, which training lacked "
                f"(it had {', '.join(self.kinds[:10])})"
            )

    def _unknown(self, sentences: TaggedSet) -> Iterator[tuple[TaggedSentence, int, str, str]]:
        """Sentence, place, tag and name of each word whose tag, or its type, training lacked."""
        plain, known = self.scheme == "plain", set(self.kinds)
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
            unknown_labels: what a tag that training lacked is: an error that is raised, or one that is counted.

        Raises:
            UserError: there is no sentence, one has a tag that training lacked, or tags are of another sort.
        """
        if not len(sentences):
            raise UserError(f"{sentences.source} holds no sentence to evaluate on")
        if (sentences.scheme == "plain") != (self.scheme == "plain"):
            sort = "plain tags" if self.scheme == "plain" else "spans"
            raise UserError(f"{sentences.source}: the tagger was fitted on {sort} (which column is it?)")
        if unknown_labels != "wrong":
            self.need_known(sentences)
        unknown = [name for *_, name in self._unknown(sentences)]
        own = sentences.in_scheme(self.network.scheme)
        texts, gold = sentence_texts(own), [each.tags for each in own.examples]
        named: list[list[str]] = []
        with progress.bar("evaluate", total=len(texts), unit="sentence") as bar:
            for start in range(0, len(texts), BUFFER):
                with prediction_format(self.precision, next(self.network.parameters()).device):
                    decoded = self.network.decode(texts[start : start + BUFFER])
                named += [[self.network.tags[tag] for tag in tags] for tags, _ in decoded]
                bar.advance(len(decoded))
        scheme = self.network.scheme
        found = figures(gold, named, scheme)
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
        words = self.network.words
        config: dict[str, Any] = {
            "kind": KIND,
            "scheme": self.scheme,
            "tags": list(self.network.tags),
            "network_scheme": self.network.scheme,
            "settings": self.settings,
            "word_vectors": words.vectors is not None,
        }
        save_task_model(folder, config, self.network.own_tensors(), words.encoder, words.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> SequenceTagger:
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
        return cls(network.eval(), config["scheme"], settings)


def sentences_of(text: str) -> Iterator[list[Word]]:
    """The words of each sentence of a raw text, with their places in it."""
    words, number = split_words(text), 0
    for _, end in split_sentences(text):
        own = []
        while number < len(words) and words[number].start < end:
            own.append(words[number])
            number += 1
        if own:
            yield own


def _placed(tokens: Sequence[str]) -> list[Word]:
    """Words between single spaces with their places."""
    words, start = [], 0
    for token in tokens:
        words.append(Word(token, start, start + len(token)))
        start += len(token) + 1
    return words


def _entity(key: str, name: str, share: float, text: str, start: int, end: int) -> Entity:
    return {key: name, "score": share, "word": text[start:end], "start": start, "end": end}
