"""The CRF compared with pytorch-crf, and the tagger compared with flair's SequenceTagger of the same sizes, in words per second.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only crf tagging

CRF: 32 sentences of CoNLL-2003 with random scores for 17 tags; training is the likelihood and its gradient. Tagger: word vectors
of dimension 200, character features of dimension 50 (a CNN on our side, a biLSTM in flair), a biLSTM of 200 per direction, CRF,
random weights, on tokenized sentences of CoNLL-2003; tagging in batches of 32 with the method of each library, and one training
step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.report import Row, speed_row
from benchmarks.texts import NoData, Texts
from benchmarks.turns import rates_in_turns
from unfreeze.encoders.layers.crf import Crf
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.tasks.sequence_tagger import SequenceTagger
from unfreeze.tasks.tagging import TaggerNetwork, span_tags
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tag_schemes import spans_of
from unfreeze.text.tagged import TaggedSet, read_tagged
from unfreeze.text.tokenizers import WordTokenizer

BATCH, N_TAGS = 32, 17
N_SENTENCES = 1_000
SIZE, HIDDEN, CHARACTERS = 200, 200, 50
Call = Callable[[], object]


def run(name: str, texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Run `crf` or `tagging` and return the rows.

    Raises:
        NoData: CoNLL-2003 or the peer is missing.
    """
    path = texts.data / "conll2003" / "eng.train"
    if not path.is_file():
        raise NoData(f"{path} is not there: name the data's folder with --data")
    sentences = read_tagged(path)
    sentences = sentences.subset(sentences.examples[:N_SENTENCES])
    try:
        return crf(sentences, rounds, say) if name == "crf" else tagging(sentences, rounds, say)
    except ImportError as error:
        raise NoData(f"{error.name} is not installed: run benchmarks/setup") from None


def compare(what: str, calls: dict[str, Call], count: int, rounds: int, say: Callable[[str], None]) -> Row:
    """Speeds of "ours" and "theirs", measured alternately."""
    rates = rates_in_turns(calls, count, rounds, seconds=1.0)
    say(f"{what}: " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in rates.items()))
    return speed_row(what, rates["ours"], rates["theirs"], goal=">= 2")


def crf(sentences: TaggedSet, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Speed of the likelihood with its gradient, and of decoding."""
    from torchcrf import CRF

    torch.manual_seed(0)
    lengths = sorted((len(each.tokens) for each in sentences.examples[:BATCH]), reverse=True)
    mask = torch.arange(lengths[0])[None] < torch.tensor(lengths)[:, None]
    scores = torch.randn(BATCH, lengths[0], N_TAGS, requires_grad=True)
    tags = torch.randint(N_TAGS, mask.shape)
    mine, peer = Crf(N_TAGS), CRF(N_TAGS, batch_first=True)
    with torch.no_grad():
        peer.transitions.copy_(mine.transitions)
        peer.start_transitions.copy_(mine.first)
        peer.end_transitions.copy_(mine.last)
    packed, own = scores[mask].detach().requires_grad_(), tags[mask]
    with torch.no_grad():
        apart = mine.log_likelihood(packed, own, lengths).sum() - peer(scores, tags, mask)
    say(f"log-likelihood of {sum(lengths)} words differs by {abs(float(apart)):.1e}")
    training: dict[str, Call] = {
        "ours": lambda: mine.log_likelihood(packed, own, lengths).sum().backward(),
        "theirs": lambda: peer(scores, tags, mask).backward(),
    }
    decoding: dict[str, Call] = {
        "ours": lambda: mine.decode(packed, lengths),
        "theirs": lambda: peer.decode(scores, mask),
    }
    count = sum(lengths)
    return [
        compare(
            f"CRF, {N_TAGS} tags, {BATCH} sentences, words/s, likelihood and gradient; theirs pytorch-crf",
            training,
            count,
            rounds,
            say,
        ),
        compare(
            f"CRF, {N_TAGS} tags, {BATCH} sentences, words/s, best paths; theirs pytorch-crf",
            decoding,
            count,
            rounds,
            say,
        ),
    ]


def tagging(sentences: TaggedSet, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Words per second of tagging and of a training step."""
    from benchmarks.flair_peer import TaggerPeer

    counts = Counter(token.lower() for each in sentences.examples for token in each.tokens)
    words = list(counts)
    tagger = our_tagger(sentences, words)
    peer = TaggerPeer(words, tagger.classes_, SIZE, HIDDEN)
    tokens = [list(each.tokens) for each in sentences.examples]
    batch = sentences.subset(sentences.examples[:BATCH])
    own = batch.in_scheme("bioes")
    spans = [[tuple(span) for span in spans_of(each.tags, "bioes")] for each in own.examples]
    count, small = sentences.n_words, batch.n_words
    rows = []
    for precision in ("fp32", "auto"):
        tagger.precision = precision  # type: ignore[assignment]
        calls: dict[str, Call] = {
            "ours": partial(tagger.predict, tokens),
            "theirs": partial(peer.predict, tokens, BATCH),
        }
        rows.append(compare(f"tag, words/s, {precision}; theirs flair", calls, count, rounds, say))
    update = our_update(tagger.network, own)
    calls = {"ours": update, "theirs": partial(peer.update, tokens[:BATCH], spans)}
    rows.append(
        compare(
            "train a tagger, words/s, a step of 32 sentences in fp32; theirs flair", calls, small, rounds, say
        )
    )
    return rows


def our_tagger(sentences: TaggedSet, words: list[str]) -> SequenceTagger:
    """A tagger with random weights."""
    torch.manual_seed(0)
    vectors = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=SIZE)
    torch.nn.init.normal_(vectors.embedding)
    inputs = WordInputs(None, vectors=vectors, characters=CHARACTERS, tokenized=True)
    network = TaggerNetwork(inputs, span_tags(sentences), "bioes", hidden_size=HIDDEN)
    return SequenceTagger.of_network(network.eval(), sentences.scheme, {})


def our_update(network: TaggerNetwork, batch: TaggedSet) -> Call:
    """Make one update with AdamW."""
    number_of = {name: number for number, name in enumerate(network.tags)}
    texts = [" ".join(each.tokens) for each in batch.examples]
    tags = torch.tensor([number_of[tag] for each in batch.examples for tag in each.tags])
    parameters = [parameter for group in network.layer_groups() for parameter in group]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    def update() -> None:
        network.train()
        optimizer.zero_grad()
        (network.loss(texts, tags) / len(texts)).backward()
        optimizer.step()

    return update
