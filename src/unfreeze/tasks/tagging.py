"""The network of the tagger, a biLSTM with a CRF (Huang, Xu & Yu 2015), and its training.

Words are represented by their characters (Lample et al. 2016) and the layers of an encoder (Peters et al. 2018).

Legend: B batch, W words, N words of a batch without padding, K tags, H of each direction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.layers.crf import Crf
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.metrics import span_metrics
from unfreeze.tasks.plans import TaggerPlan
from unfreeze.tasks.task_encoders import cache_layers, make_words
from unfreeze.tasks.word_inputs import BODY_DROPOUT, BiLstmStack, NetworkOnWords, WordInputs, Words
from unfreeze.text.rules import normalized
from unfreeze.text.tag_schemes import (
    OUTSIDE,
    Scheme,
    allowed_moves,
    convert_tags,
    joined_tag,
    spans_of,
    split_tag,
)
from unfreeze.text.tagged import TaggedSet
from unfreeze.training.memory_check import planned_within_memory
from unfreeze.training.objective import Loss, SeparateExamples

if TYPE_CHECKING:
    from accelerate import Accelerator

BATCH_WORDS = 8_192
"""Words of a batch in prediction, padding included."""


class TaggerNetwork(NetworkOnWords):
    """Words -> biLSTM -> scores of the tags -> CRF.

    Args:
        tags: K names, in the scheme of the network (BIOES for spans).
        scheme: scheme of the tags, which says what may follow what.
        hidden_size: H.
        n_layers: number of layers of the biLSTM.
        dropout: dropout after each of its layers.
    """

    def __init__(
        self,
        words: WordInputs,
        tags: Sequence[str],
        scheme: Scheme,
        *,
        hidden_size: int = 200,
        n_layers: int = 1,
        dropout: float = BODY_DROPOUT,
    ) -> None:
        super().__init__()
        self.words, self.tags, self.scheme = words, tuple(tags), scheme
        self.body = BiLstmStack(words.size, hidden_size, n_layers, dropout)
        self.scores = nn.Linear(self.body.size + words.output_mix_size, len(self.tags))
        self.crf = Crf(len(self.tags), allowed_moves(self.tags, scheme))

    def read(self, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Sentences of at least one word, separated by single spaces -> scores (N, K) and the number of words of each."""
        words: Words = self.words(texts)
        states = self.body(words.inputs, words.lengths)
        if words.output_mix is not None:
            states = torch.cat([states, words.output_mix.to(states.dtype)], dim=2)
        real = torch.arange(states.shape[1], device=states.device) < words.lengths[:, None]
        return self.scores(states[real]).float(), words.lengths.tolist()

    def loss(self, texts: Sequence[str], tags: Tensor) -> Tensor:
        """Negative log-likelihood, summed; `tags` (N,) are indices, one sentence after the other."""
        scores, lengths = self.read(texts)
        return -self.crf.log_likelihood(scores, tags, lengths).sum()

    @torch.no_grad()
    def decode(self, texts: Sequence[str]) -> list[tuple[list[int], list[float]]]:
        """The best tags of each sentence and their probabilities; a sentence does not depend on the others."""
        found: list[tuple[list[int], list[float]]] = [([], [])] * len(texts)
        lengths = [text.count(" ") + 1 for text in texts]
        with evaluating(self):
            for numbers in token_bounded_batches(lengths, BATCH_WORDS):
                scores, counts = self.read([texts[number] for number in numbers])
                tags, _ = self.crf.decode(scores, counts)
                chosen = torch.from_numpy(tags).to(scores.device)
                shares = self.crf.marginals(scores, counts).to(scores.device).gather(1, chosen[:, None])[:, 0]
                start = 0
                for number, count in zip(numbers, counts, strict=True):
                    stop = start + count
                    found[number] = tags[start:stop].tolist(), shares[start:stop].tolist()
                    start = stop
        return found


class TaggingObjective(SeparateExamples):
    """The objective of a tagger for the training loop.

    Args:
        network: trained in place.
        train_set: sentences in the network's scheme.
        validation: sentences to evaluate after each epoch, in the same scheme.
    """

    def __init__(
        self,
        network: TaggerNetwork,
        train_set: TaggedSet,
        validation: TaggedSet | None = None,
        *,
        batch_size: int = 16,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        lengths = [len(each.tokens) for each in train_set.examples]
        super().__init__(network, lengths, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        self.network, self.validation = network, validation
        self.texts = sentence_texts(train_set)
        number_of = {name: number for number, name in enumerate(network.tags)}
        self.targets = [[number_of[tag] for tag in each.tags] for each in train_set.examples]

    def loss(self, batch: list[int]) -> Loss:
        """Loss of this process's part of a batch; without a sentence, that of the first one with weight 0."""
        numbers = batch or [0]
        device = next(self.model.parameters()).device
        tags = torch.tensor([tag for number in numbers for tag in self.targets[number]], device=device)
        loss = self.network.loss([self.texts[number] for number in numbers], tags)
        return Loss(loss if batch else loss * 0.0, len(batch), self.network.words.penalty())

    def validate(self) -> dict[str, float]:
        """Accuracy of the tags and, unless they are plain, F1 of the spans."""
        if self.validation is None:
            return {}
        found = self.network.decode(sentence_texts(self.validation))
        named = [[self.network.tags[tag] for tag in tags] for tags, _ in found]
        gold = [each.tags for each in self.validation.examples]
        return tag_metrics(gold, named, self.network.scheme)


def tag_metrics(
    gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]], scheme: Scheme
) -> dict[str, float]:
    """`accuracy` of the tags (of spans in BIO), `f1` of spans, and `score`, the one to select epochs by."""
    pairs = zip(*([_as_bio(tags, scheme) for tags in each] for each in (gold, found)), strict=True)
    right = sum(a == b for x, y in pairs for a, b in zip(x, y, strict=True))
    accuracy = right / max(1, sum(map(len, gold)))
    if scheme == "plain":
        return {"accuracy": accuracy, "loss": 1.0 - accuracy, "score": accuracy}
    total = span_metrics([spans_of(x, scheme) for x in gold], [spans_of(x, scheme) for x in found])[-1]
    return {"accuracy": accuracy, "f1": total.f1, "loss": 1.0 - total.f1, "score": total.f1}


def _as_bio(tags: Sequence[str], scheme: Scheme) -> list[str]:
    return list(tags) if scheme == "plain" else convert_tags(tags, scheme, "bio")


def sentence_texts(sentences: TaggedSet) -> list[str]:
    """The words of each sentence, separated by single spaces as `WordInputs` reads them."""
    return [" ".join(each.tokens) for each in sentences.examples]


@planned_within_memory
def make_network(train_set: TaggedSet, plan: TaggerPlan) -> tuple[TaggerNetwork, dict[str, Any]]:
    """A network to train on the sentences, and its arguments for config.json."""
    counts = Counter(normalized(token) for each in train_set.examples for token in each.tokens)
    words = make_words(counts, len(train_set), plan)
    body = {name: getattr(plan, name) for name in ("hidden_size", "n_layers", "dropout")}
    own: Scheme = "plain" if train_set.scheme == "plain" else "bioes"
    names = span_tags(train_set) if own == "bioes" else train_set.tag_names()
    inputs = {**plan.inputs(), "layers": words.layers}
    return TaggerNetwork(words, names, own, **body), {"inputs": inputs, "body": body}


def span_tags(train_set: TaggedSet) -> list[str]:
    """All tags of BIOES for all types of spans, whether they occur or not."""
    kinds = sorted({split_tag(tag)[1] for tag in train_set.tag_names() if tag != OUTSIDE})
    return [OUTSIDE, *(joined_tag(letter, kind) for kind in kinds for letter in "BIES")]


def make_objective(
    network: TaggerNetwork,
    train_set: TaggedSet,
    plan: TaggerPlan,
    accelerator: Accelerator,
    validation: TaggedSet | None = None,
    progress: Progress = SILENT,
) -> TaggingObjective:
    """Prepare network and sentences for training; the layers of a frozen encoder are computed once."""
    sets = [each.in_scheme(network.scheme) for each in (train_set, validation) if each is not None]
    texts = [text for each in sets for text in sentence_texts(each)]
    network.to(accelerator.device)
    cache_layers(network.words, texts, plan, accelerator, progress)
    return TaggingObjective(
        network,
        sets[0],
        sets[1] if validation is not None else None,
        batch_size=plan.batch_size,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
