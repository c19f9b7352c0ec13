"""The capabilities of language models.

Scoring, filling gaps, generating text and measuring perplexity are each written once, against these classes; a model derives from
`LanguageModel` (model.py) and from those of `Fills`, `Generates` and `Adapts` that it offers.

A model that has directions "forward" and "backward" predicts each token from those before it and from those after it. The
symbol that begins a text is given to every model and predicted by none.

Legend: V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor

from unfreeze.errors import UserError
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer


@dataclass(frozen=True)
class ScoredTokens:
    """The tokens of a text that a model predicts, in the order of the text; begin symbols are not among them."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in characters."""
    log_probabilities: dict[str, list[float]]
    """By direction, in nats: of each token, given all tokens before it in the reading order."""


@dataclass(frozen=True)
class MeasuredPart:
    """What a model lost on a part of a token store in one direction."""

    name: str
    """Parts of one name are added up: the direction, or "mean" where only the mean over directions is reported."""
    nats: float
    """Summed negative log-probability of the targets."""
    n_targets: float
    n_read: int
    """Tokens that were read, for the progress bar."""
    unknown_bytes: int = 0
    """UTF-8 bytes of unknown words, beyond those that the store counted."""


@dataclass(frozen=True)
class ReadableText:
    """A text as the readers of a model take it, in the order of the text."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in characters."""
    rows: Tensor | None = None
    """What the ids are rows of, in a model that reads words by their characters."""


class Reader(Protocol):
    """One direction of a language model, with the state after the tokens it has read.

    A copy by `copy.copy` reads on independently: `read` replaces the state and does not change it in place.
    """

    def read(self, ids: Sequence[int], /) -> None:
        """Read at least one token, in the reading order of the direction; the begin symbol comes first."""

    def log_probabilities(self) -> Tensor:
        """log p of every entry of the vocabulary to come next, in nats: (V,) of float64 on the CPU."""


class HasDirections(ABC):
    """Base class of all capabilities."""

    verb: ClassVar[str]
    """The verb that uses the capability, for messages."""
    offered_by: ClassVar[str] = "`unfreeze pretrain lm`, `pretrain elmo` or `pretrain ngram`"
    """The commands whose models have it, for messages."""
    tokenizer: TextTokenizer

    @property
    @abstractmethod
    def directions(self) -> list[str]:
        """ "forward", "backward", or both."""


class Scores(HasDirections):
    """Gives each token of a text a log-probability."""

    verb = "score"

    @abstractmethod
    def token_log_probabilities(self, texts: Sequence[str]) -> list[ScoredTokens]:
        """The log-probabilities of each text's tokens; no text affects another."""


class MeasuresPerplexity(HasDirections):
    """Is measured on the documents of a token store, which it reads once for each of its directions."""

    verb = "evaluate"

    @abstractmethod
    def measure(self, store: TokenStore, tokenizer: TextTokenizer) -> Iterator[MeasuredPart]:
        """Read all documents of `store`, each from a zero state.

        Args:
            tokenizer: the store's, as `store_tokenizer` gave it.
        """

    def store_tokenizer(self, documents: Iterable[str]) -> TextTokenizer:
        """The tokenizer of a token store of these documents."""
        return self.tokenizer


class Reads(HasDirections):
    """Gives the distribution of the next token."""

    @abstractmethod
    def reader(self, direction: str, text: ReadableText | None = None) -> Reader:
        """A reader that has not read anything.

        Args:
            text: its ids are what will be read; None reads ids of the vocabulary.
        """


class Fills(Reads):
    """Ranks the words that may fill a gap."""

    verb = "fill"
    offered_by = "`unfreeze pretrain lm` or `pretrain elmo`"

    def readable(self, text: str) -> ReadableText:
        """A text as the readers take it."""
        pieces = self.tokenizer.encode(text)
        return ReadableText(pieces.ids, pieces.offsets)

    def reading_order(self, direction: str, n_tokens: int) -> list[int]:
        """The places of a text's tokens in the order in which a direction reads them: the begin symbol comes first."""
        rest = range(1, n_tokens)
        return [0, *(rest if direction == "forward" else reversed(rest))]


class Generates(Reads):
    """Continues a text by sampling one token after the other."""

    verb = "generate"
    offered_by = "`unfreeze pretrain lm` or `pretrain ngram`"


class Adapts(HasDirections):
    """Can be trained further on other text."""

    verb = "adapt"
    offered_by = "`unfreeze pretrain lm`, `pretrain elmo` or `pretrain word2vec`"


Capability = TypeVar("Capability", bound=HasDirections)


def need(model: object, capability: type[Capability], name: str = "this model") -> Capability:
    """The model, if it has the capability.

    Args:
        name: what the message calls the model.

    Raises:
        UserError: it does not; the message names the verbs that the model has.
    """
    if not isinstance(model, capability):
        raise lacking(type(model), capability, name)
    return model


def lacking(found: type, capability: type[HasDirections], name: str) -> UserError:
    """Return the error for a class of language models that lacks a capability."""
    verbs = verbs_of(found)
    return UserError(
        f"{name} is {getattr(found, 'described', 'no language model')}; {capability.verb} needs a model of "
        f"{capability.offered_by}{f': use {verbs}' if verbs else ''}"
    )


def verbs_of(found: type) -> str:
    """What a class of language models can be used for: "evaluate, score or fill"; empty for another class."""
    every: tuple[type[HasDirections], ...] = (MeasuresPerplexity, Scores, Fills, Generates)
    verbs = [each.verb for each in every if issubclass(found, each)]
    return " or ".join(filter(None, [", ".join(verbs[:-1]), *verbs[-1:]]))
