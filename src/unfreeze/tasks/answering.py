"""Extractive question answering: a reader with attention both ways (BiDAF), its loss, and how spans are found.

Seo et al. 2017; the vectors of words come from any encoder (Peters et al. 2018 put ELMo's at the input and the output). A
window's scores of first and last words have one more place, for "no answer here" (Levy et al. 2017), which learns from
questions with another article's context.

Contexts of any length are read in windows of words that overlap.

Legend: B batch, T words of a window, K answers, H of each direction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.layers.attention_flow import AttentionFlow
from unfreeze.encoders.layers.dropouts import VariationalDropout
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.metrics import answer_f1, exact_match
from unfreeze.tasks.plans import AnswererPlan
from unfreeze.tasks.task_encoders import cache_layers, make_words
from unfreeze.tasks.word_inputs import BODY_DROPOUT, BiLstmStack, NetworkOnWords, WordInputs, Words
from unfreeze.text.questions import Question, QuestionSet
from unfreeze.text.rules import normalized
from unfreeze.text.words import Word, split_words
from unfreeze.training.memory_check import planned_within_memory
from unfreeze.training.objective import Loss, SeparateExamples

if TYPE_CHECKING:
    from accelerate import Accelerator

LONGEST_ANSWER = 17
"""Longest answer in words; 99 percent of the answers in SQuAD are shorter."""
UNRELATED = 8
"""For each of this number of questions in a batch, one question with another article's context is added."""
BATCH_WORDS = 8_192
"""Words of a batch in prediction, padding included."""
LONGEST, STRIDE = 400, 200
"""Length of a window, and distance between the beginnings of two windows, in words."""


@dataclass(frozen=True)
class Window:
    """A part of a context with a question."""

    number: int
    """Index of the question."""
    question: str
    """Its words, separated by single spaces."""
    context: str
    """The words of the window, likewise."""
    words: Sequence[Word]
    """The words with their positions in the whole context."""
    span: tuple[int, int] | None = None
    """First and last word of the answer in the window, or None if it is not in it."""
    owned: tuple[int, int] | None = None
    """First and last (exclusive) word at which answers of this window begin; None for all. Overlapping windows own their
    middles, so that every position is considered once, in the window that has most context around it."""


def joined(words: Sequence[Word]) -> str:
    """Words separated by single spaces, as `WordInputs` reads them."""
    return " ".join(word.text for word in words)


def windows_of(
    questions: Sequence[Question], *, longest: int = LONGEST, stride: int = STRIDE
) -> list[Window]:
    """The windows of all questions; a context without words has none."""
    margin = (longest - stride) // 2
    found: list[Window] = []
    known: dict[str, tuple[list[Word], list[tuple[int, list[Word], str]]]] = {}
    for number, each in enumerate(questions):
        if each.context not in known:
            words = split_words(each.context)
            parts = [
                (start, words[start : start + longest]) for start in _starts(len(words), longest, stride)
            ]
            known[each.context] = words, [(start, own, joined(own)) for start, own in parts]
        words, cut = known[each.context]
        text = joined(split_words(each.question))
        if not text:
            continue
        whole = _span(words, each)
        for start, own, context in cut:
            owned = (margin if start else 0, len(own) if start == cut[-1][0] else margin + stride)
            found.append(Window(number, text, context, own, _within(whole, start, len(own)), owned))
    return found


def _starts(count: int, longest: int, stride: int) -> list[int]:
    if not count:
        return []
    return (
        [0, *(start for start in range(stride, count, stride) if start + longest - stride < count)]
        if count > longest
        else [0]
    )


def _span(words: Sequence[Word], question: Question) -> tuple[int, int] | None:
    """First and last word that the first answer overlaps."""
    if not question.answers:
        return None
    begin = question.answers[0].start
    end = begin + len(question.answers[0].text)
    touched = [number for number, word in enumerate(words) if word.start < end and word.end > begin]
    return (touched[0], touched[-1]) if touched else None


def _within(span: tuple[int, int] | None, start: int, count: int) -> tuple[int, int] | None:
    if span is None or span[0] < start or span[1] >= start + count:
        return None
    return span[0] - start, span[1] - start


class ReaderNetwork(NetworkOnWords):
    """Words -> biLSTM -> attention both ways -> biLSTMs -> scores of the first and the last word.

    Args:
        hidden_size: H.
        dropout: dropout after each part.
    """

    def __init__(self, words: WordInputs, *, hidden_size: int = 100, dropout: float = BODY_DROPOUT) -> None:
        super().__init__()
        self.words = words
        self.contextual = BiLstmStack(words.size, hidden_size, 1, dropout)
        width = self.contextual.size
        self.attention = AttentionFlow(width)
        self.joined = nn.Linear(4 * width, width)
        self.dropout = VariationalDropout(dropout)
        self.modelling = BiLstmStack(width + words.output_mix_size, hidden_size, 1, dropout)
        self.ending = BiLstmStack(2 * width, hidden_size, 1, dropout)
        self.first, self.last = nn.Linear(2 * width, 1), nn.Linear(2 * width, 1)
        self.nothing = nn.Linear(2 * width, 2)

    def forward(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Scores of the first and the last word, (B, T + 1) each; the last column is "no answer here"."""
        context: Words = self.words([window.context for window in windows])
        question: Words = self.words([window.question for window in windows])
        mask = _mask(context.lengths)
        states = self.contextual(context.inputs, context.lengths)
        of_question = self.contextual(question.inputs, question.lengths)
        flow = self.attention(states, of_question, mask, _mask(question.lengths))
        x = torch.relu(self.joined(flow))
        x = self.dropout(x.transpose(0, 1)).transpose(0, 1)
        read = x if context.output_mix is None else torch.cat([x, context.output_mix.to(x.dtype)], dim=2)
        modelled = self.modelling(read, context.lengths)
        ended = self.ending(torch.cat([x, modelled], dim=2), context.lengths)
        first = self.first(torch.cat([x, modelled], dim=2))[:, :, 0].float()
        last = self.last(torch.cat([x, ended], dim=2))[:, :, 0].float()
        both = torch.cat([modelled, ended], dim=2).float().masked_fill(~mask[:, :, None], -torch.inf).amax(1)
        nothing = self.nothing(both).float()
        scores = (first, last)
        begin, end = (
            torch.cat([each.masked_fill(~mask, -torch.inf), nothing[:, [place]]], dim=1)
            for place, each in enumerate(scores)
        )
        return begin, end


def _mask(lengths: Tensor) -> Tensor:
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Found:
    """An answer in a window."""

    begin: int
    """Index of its first word in the window."""
    end: int
    """Index of its last word."""
    margin: float
    """Logarithm of its odds relative to "no answer here": comparable between the windows of a context."""


def best_spans(
    begin: NDArray[np.float32],
    end: NDArray[np.float32],
    count: int,
    owned: tuple[int, int] | None = None,
) -> tuple[list[Found], float]:
    """The best spans of a window of T words, from its log-probabilities (T + 1,).

    Args:
        count: largest number of spans.
        owned: first and last (exclusive) word at which a span may begin.

    Returns:
        The spans, best first, and the logarithm of the odds that any span is the answer.
    """
    n_words = len(begin) - 1
    pairs = np.full((n_words, LONGEST_ANSWER), -np.inf, dtype=np.float64)
    for more in range(min(LONGEST_ANSWER, n_words)):
        pairs[: n_words - more, more] = begin[: n_words - more].astype(np.float64) + end[more:n_words]
    nothing = float(begin[-1]) + float(end[-1])
    if owned is not None:
        pairs[: owned[0]] = pairs[owned[1] :] = -np.inf
    flat = pairs.ravel()
    chosen = np.argsort(-flat, kind="stable")[:count]
    found = [
        Found(
            int(place // LONGEST_ANSWER),
            int(place // LONGEST_ANSWER + place % LONGEST_ANSWER),
            float(flat[place] - nothing),
        )
        for place in chosen
        if np.isfinite(flat[place])
    ]
    return found, float(np.logaddexp.reduce(flat)) - nothing if n_words else -np.inf


@torch.no_grad()
def read_windows(
    network: ReaderNetwork, windows: Sequence[Window], count: int = 1
) -> list[tuple[list[Found], float]]:
    """The best spans of each window, and the logarithm of the odds that it has the answer; no window depends on the others."""
    result: list[tuple[list[Found], float]] = [([], -np.inf)] * len(windows)
    lengths = [len(window.words) + 16 for window in windows]
    with evaluating(network):
        for numbers in token_bounded_batches(lengths, BATCH_WORDS):
            begin, end = network([windows[number] for number in numbers])
            begins, ends = (torch.log_softmax(x, dim=1).cpu().numpy() for x in (begin, end))
            for row, number in enumerate(numbers):
                kept = [*range(len(windows[number].words)), begins.shape[1] - 1]
                result[number] = best_spans(begins[row, kept], ends[row, kept], count, windows[number].owned)
    return result


class AnsweringObjective(SeparateExamples):
    """The objective of an answerer for the training loop: windows that have the answer, and some that have none.

    Args:
        network: trained in place.
        train_set: questions; the first answer of each is learned.
        validation: questions to evaluate after each epoch.
    """

    def __init__(
        self,
        network: ReaderNetwork,
        train_set: QuestionSet,
        validation: QuestionSet | None = None,
        *,
        batch_size: int = 32,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.network, self.validation = network, validation
        windows = windows_of(train_set.examples)
        empty = {number for number, each in enumerate(train_set.examples) if not each.answers}
        self.windows = [each for each in windows if each.span is not None or each.number in empty]
        questions = [train_set.examples[each.number] for each in self.windows]
        self.articles = [each.title or each.context for each in questions]
        lengths = [len(window.words) for window in self.windows]
        super().__init__(network, lengths, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)

    def batches(self, epoch: int, start: int) -> Iterator[list[Window]]:
        """This process's part of each batch, with some questions that belong to another article."""
        batches = self.epoch_batches(epoch)
        for number in range(start, len(batches)):
            chosen = random.Random(f"{self.seed} {epoch} {number}")
            every = [self.windows[each] for each in batches[number]]
            yield [*every, *self._unrelated(batches[number], chosen)][self.rank :: self.world_size]

    def _unrelated(self, batch: Sequence[int], chosen: random.Random) -> Iterator[Window]:
        """Questions with another article's context, drawn from the whole batch: they do not depend on the number of processes."""
        for _ in range(len(batch) // UNRELATED + (chosen.random() < len(batch) % UNRELATED / UNRELATED)):
            one, other = chosen.choice(batch), chosen.choice(batch)
            if self.articles[one] != self.articles[other]:
                yield replace(self.windows[one], question=self.windows[other].question, span=None)

    def loss(self, batch: list[Window]) -> Loss:
        """Cross-entropy of both ends, summed; without a window in this process, that of the first one with weight 0."""
        windows = batch or self.windows[:1]
        begin, end = self.network(windows)
        nothing = begin.shape[1] - 1
        spans = [(nothing, nothing) if window.span is None else window.span for window in windows]
        targets = torch.tensor(spans, device=begin.device)
        loss = sum(
            F.cross_entropy(x, targets[:, place], reduction="sum") for place, x in enumerate((begin, end))
        )
        assert isinstance(loss, Tensor)
        return Loss(loss if batch else loss * 0.0, len(batch), self.network.words.penalty())

    def validate(self) -> dict[str, float]:
        """Exact match and F1 of the best answers; `score` is F1."""
        if self.validation is None:
            return {}
        found = best_answers(self.validation, answer_texts(self.network, self.validation, 1))
        metrics = answer_metrics(self.validation, found)
        return {**metrics, "loss": 1.0 - metrics["f1"], "score": metrics["f1"]}


@dataclass(frozen=True)
class Answers:
    """The answers to a question."""

    spans: list[tuple[str, int, int, float]]
    """(text, start, end, probability) of each, best first; start and end are characters of the context."""
    nothing: float
    """Probability that the context has no answer."""
    margin: float
    """Logarithm of the odds of the best answer relative to no answer in its window."""


def answer_texts(network: ReaderNetwork, questions: QuestionSet, count: int) -> list[Answers]:
    """The best answers to each question over all windows of its context.

    Each window gives the odds of its spans against no answer in it. Since there is at most one answer and each span belongs to
    one window, these odds, divided by one plus their sum over all windows, are probabilities.
    """
    windows = windows_of(questions.examples)
    margins: list[list[tuple[float, int, int]]] = [[] for _ in questions.examples]
    total = [0.0] * len(questions)  # logarithm of 1 + the odds that a window read so far has the answer
    for window, (found, odds) in zip(windows, read_windows(network, windows, count), strict=True):
        total[window.number] = float(np.logaddexp(total[window.number], odds))
        words = window.words
        margins[window.number] += [
            (-each.margin, words[each.begin].start, words[each.end].end) for each in found
        ]
    result = []
    for question, own, every in zip(questions.examples, margins, total, strict=True):
        ordered = sorted(own)[:count]
        spans = [(question.context[a:b], a, b, float(np.exp(-cost - every))) for cost, a, b in ordered]
        result.append(Answers(spans, float(np.exp(-every)), -ordered[0][0] if ordered else -np.inf))
    return result


def best_answers(questions: QuestionSet, answers: Sequence[Answers]) -> list[str]:
    """The best answer to each question; if some of them have no answer, "" unless it is more likely than none."""
    may_be_silent = any(not each.answers for each in questions.examples)
    return [
        "" if not each.spans or (may_be_silent and each.margin <= 0.0) else each.spans[0][0]
        for each in answers
    ]


def answer_metrics(questions: QuestionSet, found: Sequence[str]) -> dict[str, float]:
    """Means over the questions of `exact_match` and `f1`."""
    true = [[answer.text for answer in each.answers] for each in questions.examples]
    return {
        "exact_match": float(np.mean([exact_match(one, own) for one, own in zip(found, true, strict=True)])),
        "f1": float(np.mean([answer_f1(one, own) for one, own in zip(found, true, strict=True)])),
    }


@planned_within_memory
def make_network(train_set: QuestionSet, plan: AnswererPlan) -> tuple[ReaderNetwork, dict[str, Any]]:
    """A network to train on the questions, and its arguments for config.json."""
    counts: Counter[str] = Counter()
    for text in dict.fromkeys(
        text for window in windows_of(train_set.examples) for text in (window.context, window.question)
    ):
        counts.update(map(normalized, text.split(" ")))
    words = make_words(counts, len(train_set), plan)
    body = {name: getattr(plan, name) for name in ("hidden_size", "dropout")}
    inputs = {**plan.inputs(), "layers": words.layers}
    return ReaderNetwork(words, **body), {"inputs": inputs, "body": body}


def make_objective(
    network: ReaderNetwork,
    train_set: QuestionSet,
    plan: AnswererPlan,
    accelerator: Accelerator,
    validation: QuestionSet | None = None,
    progress: Progress = SILENT,
) -> AnsweringObjective:
    """Prepare network and questions for training; the layers of a frozen encoder are computed once."""
    sets = [each for each in (train_set, validation) if each is not None]
    every = [window for each in sets for window in windows_of(each.examples)]
    texts = [text for window in every for text in (window.context, window.question)]
    network.to(accelerator.device)
    cache_layers(network.words, texts, plan, accelerator, progress)
    return AnsweringObjective(
        network,
        train_set,
        validation,
        batch_size=plan.batch_size,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
