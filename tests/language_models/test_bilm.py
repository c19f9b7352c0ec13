"""The biLM: its loss against every word's probability read by itself, streams, resuming, held-out figures, gaps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import data_folder
from tests.encoders.elmos import small_bilm
from unfreeze.encoders.elmo import DIRECTIONS, Elmo
from unfreeze.errors import UserError
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.language_models.fill import read_gap
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.language_models.score import score_texts
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.elmo import pretrain_elmo
from unfreeze.pretraining.elmo_settings import ElmoSettings, tiny
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.vocabulary_transfer import transfer_output_words
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer, train_cased_tokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.words import word_texts
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.processes import make_accelerator

TEXTS = [
    "The cat sat on the mat. It saw a bird.",
    "A dog, and the bird flew away",
    "",
    "the zebra saw it . The end .",
    "on the mat the cat sat and the dog saw the cat",
]


def store_tokenizer(model: BiLanguageModel) -> CasedTokenizer:
    return model.store_tokenizer(TEXTS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    tokenizer = store_tokenizer(small_bilm())
    return TokenStore.build(TEXTS, tokenizer, tmp_path_factory.mktemp("store") / "tokens", workers=1)


@torch.no_grad()
def nats_by_hand(model: BiLanguageModel, text: str) -> dict[str, list[float]]:
    """-log p of every target, each from the states of the encoder over the whole text, read in one piece."""
    tokenizer, encoder = model.tokenizer, model.encoder
    batch = encoder.prepare([text])
    vectors = encoder.token_vectors(batch.rows)[batch.ids[0]]
    ids = tokenizer.encode(text).ids
    found: dict[str, list[float]] = {}
    for name in DIRECTIONS:
        order = list(range(len(ids)))[:: 1 if name == "forward" else -1]
        read = vectors[order][:, None]
        layers, _ = encoder.run({name: read}, None, [1] * len(order))
        skipped = tokenizer.bos_id if name == "forward" else tokenizer.eos_id
        every = model.output.log_probabilities(layers[name][-1][:, 0])
        found[name] = [
            -float(every[step, ids[order[step + 1]]])
            for step in range(len(order) - 1)
            if ids[order[step + 1]] != skipped
        ]
    return found


def test_perplexity_is_that_of_every_word_by_hand(store: TokenStore) -> None:
    model = small_bilm()
    found = evaluate_perplexity(model, store, store_tokenizer(model))
    by_hand = [nats_by_hand(model, text) for text in TEXTS]
    for name in DIRECTIONS:
        nats = [value for each in by_hand for value in each[name]]
        own = found.directions[name]
        assert own.n_tokens == len(nats)
        assert own.loss == pytest.approx(sum(nats) / len(nats), rel=1e-5)
        known = [word for text in TEXTS for word in word_texts(text) if model.tokenizer.id(word) is None]
        unknown = sum(len(word) for word in known)
        bits = sum(nats) / math.log(2) + 8 * unknown
        assert own.bits_per_byte == pytest.approx(bits / sum(map(len, TEXTS)), rel=1e-5)
    assert found.metrics()["perplexity_backward"] == found.directions["backward"].perplexity


def test_the_loss_of_an_epoch_is_that_of_its_streams(store: TokenStore) -> None:
    """One lane a direction: the epoch's loss is the stream's, whatever the length of the batches."""
    totals = []
    for bptt in (3, 1000):
        model = small_bilm()
        objective = BilmObjective(model, store_tokenizer(model), store, batch_size=1, bptt=bptt)
        with torch.no_grad():
            losses = [objective.loss(batch) for batch in objective.batches(0, 0)]
        totals.append((sum(float(loss.total) for loss in losses), sum(loss.n_items for loss in losses)))
    assert totals[0][1] == totals[1][1]
    assert totals[0][0] == pytest.approx(totals[1][0], rel=1e-5)


def test_streams_of_the_directions_are_independent_and_end_to_end(store: TokenStore) -> None:
    model = small_bilm()
    tokenizer = store_tokenizer(model)
    objective = BilmObjective(model, tokenizer, store, batch_size=1, bptt=1000)
    (batch,) = objective.batches(0, 0)
    streams = {name: batch[name].inputs[0].tolist() for name in DIRECTIONS}
    assert streams["forward"][0] == tokenizer.bos_id and streams["backward"][0] == tokenizer.eos_id
    texts = {tuple(ids) for ids in tokenizer.encode_ids(TEXTS)}
    for name, stream in streams.items():
        stream = [*stream, int(batch[name].targets[0, -1])][:: 1 if name == "forward" else -1]
        cut, found = [], set()
        for number in stream:
            cut.append(number)
            if tuple(cut) in texts:
                found.add(tuple(cut))
                cut = []
        assert found == texts and not cut


def test_the_loss_learns_every_parameter(store: TokenStore) -> None:
    for softmax in ("full", "adaptive", "sampled"):
        model = small_bilm(softmax=softmax).train()
        objective = BilmObjective(model, store_tokenizer(model), store, batch_size=2, bptt=8)
        for batch in objective.batches(0, 0):
            objective.loss(batch).total.backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None or not parameter.numel(), name
            assert parameter.grad is None or bool(parameter.grad.abs().sum() > 0) or not parameter.numel(), (
                name
            )


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Dying(BilmObjective):
    """Dies before a given step."""

    dies_at: int | None = None

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        for number, batch in enumerate(super().batches(epoch, start), start):
            if epoch == 1 and number == self.dies_at:
                raise Killed
            yield batch


def run(store: TokenStore, folder: Path, dies_at: int | None = None) -> dict[str, torch.Tensor]:
    from unfreeze.training.checkpoints import Checkpoints

    seed_everything(0)
    model = small_bilm(softmax="sampled", dropout=0.1)
    objective = Dying(model, store_tokenizer(model), store, store, batch_size=2, bptt=4)
    objective.dies_at = dies_at
    settings = LoopSettings(epochs=2, checkpoint_minutes=0.0, optimizer="adagrad")
    policy = replace(tiny().policy, learning_rate=0.1)
    checkpoints = Checkpoints(folder / "training")
    train(
        objective,
        policy=policy,
        settings=settings,
        checkpoints=checkpoints,
        accelerator=make_accelerator("fp32"),
    )
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_killed_and_run_again_it_ends_with_the_same_weights(store: TokenStore, tmp_path: Path) -> None:
    expected = run(store, tmp_path / "whole")
    with pytest.raises(Killed):
        run(store, tmp_path / "killed", dies_at=3)
    found = run(store, tmp_path / "killed")
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_scores_are_the_words_log_probabilities() -> None:
    model = small_bilm()
    text = "The cat sat on the zebra . It saw"
    (score,) = score_texts(model, [text])
    by_hand = nats_by_hand(model, text)
    for name, found in score.directions.items():
        assert [text[token.start : token.end] for token in found.tokens] == word_texts(text)
        values = [token.log_probability for token in found.tokens]
        nats = by_hand[name] if name == "forward" else by_hand[name][::-1]
        framed = model.tokenizer.encode(text).words
        skipped = model.tokenizer.bos_id if name == "forward" else model.tokenizer.eos_id
        targets = [w for w, i in zip(framed, model.tokenizer.encode(text).ids, strict=True) if i != skipped]
        words = [value for value, word in zip(nats, targets, strict=True) if word >= 0]
        np.testing.assert_allclose(values, [-value for value in words], rtol=1e-4, atol=1e-5)
        assert found.log_probability == pytest.approx(sum(values))


@torch.no_grad()
def test_a_gap_is_read_from_both_sides() -> None:
    model = small_bilm()
    gap = read_gap(model, "The cat ___ on the mat .")
    words = list(gap.candidates)
    assert "." not in words and "cat" in words and "The" in words
    for shares in gap.probabilities.values():
        assert shares.sum() == pytest.approx(1.0)
    filled = {
        word: score_texts(model, [f"The cat {word} on the mat ."])[0].directions for word in ("sat", "bird")
    }
    for name in DIRECTIONS:  # the ratio of two words is that of the texts with them
        at = {word: each[name].tokens[2].log_probability for word, each in filled.items()}
        shares = gap.probabilities[name]
        ratio = shares[gap.candidates["sat"]] / shares[gap.candidates["bird"]]
        assert math.log(ratio) == pytest.approx(at["sat"] - at["bird"], abs=1e-4)
    counts = model.tokenizer.counts
    assert counts is not None
    both = {
        word: gap.probabilities["forward"][gap.candidates[word]]
        * gap.probabilities["backward"][gap.candidates[word]]
        / counts[model.tokenizer.id(word) or 0]
        for word in ("sat", "bird")
    }
    shares = gap.probabilities["both"]
    found = shares[gap.candidates["sat"]] / shares[gap.candidates["bird"]]
    assert found == pytest.approx(both["sat"] / both["bird"], rel=1e-6)
    with pytest.raises(UserError, match="no gap"):
        read_gap(model, "nothing missing")


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_reader_takes_ids_of_the_vocabulary_or_of_a_readable_text(name: str) -> None:
    model, text = small_bilm(), "The cat sat on the mat ."
    ids, readable = model.tokenizer.encode(text).ids, model.readable(text)
    assert model.tokenizer.unknown_id not in ids
    order = model.reading_order(name, len(ids))
    whole, stepwise = model.reader(name, readable), model.reader(name)
    whole.read([readable.ids[n] for n in order])
    for n in order:
        stepwise.read([ids[n]])
    found = whole.log_probabilities()
    torch.testing.assert_close(stepwise.log_probabilities(), found, rtol=1e-4, atol=1e-5)
    assert float(found.exp().sum()) == pytest.approx(1.0)


def quick(**changes: Any) -> ElmoSettings:
    spelling = {"embedding": 4, "filters": [[1, 8], [2, 8]], "n_highway": 1, "longest": 12}
    settings = replace(
        tiny(), projection_size=16, hidden_size=16, char_cnn=spelling, batch_size=2, bptt=10, min_count=1
    )
    return replace(settings, loop=LoopSettings(epochs=2), **changes)


def test_from_files_to_a_folder_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(TEXTS * 4), encoding="utf-8")
    (tmp_path / "held.txt").write_text("The unseen cat sat.", encoding="utf-8")
    corpus = Corpus(paths=[tmp_path / "text.txt"], validation=[tmp_path / "held.txt"])
    _, figures = pretrain_elmo(corpus, quick(), output=tmp_path / "elmo", precision="fp32")
    assert figures["perplexity"] > 1 and figures["unknown_share"] == pytest.approx(6 / 19)
    _, again = pretrain_elmo(corpus, quick(), output=tmp_path / "elmo", precision="fp32")
    assert again["perplexity"] == figures["perplexity"]
    loaded = BiLanguageModel.from_pretrained(tmp_path / "elmo")
    assert "unseen" not in loaded.tokenizer.vocabulary and "zebra" in loaded.tokenizer.vocabulary
    encoder = Elmo.from_pretrained(tmp_path / "elmo")
    batch = ["The cat"]
    torch.testing.assert_close(
        encoder.word_layers(encoder.prepare(batch))[0][2],
        loaded.encoder.word_layers(loaded.encoder.prepare(batch))[0][2],
    )
    with pytest.raises(UserError, match="occurs 99 times"):
        pretrain_elmo(corpus, quick(min_count=99), output=tmp_path / "other", precision="fp32")


def test_elmo_fixture_training_reaches_its_perplexity(tmp_path: Path) -> None:
    """bilm-tf's own test: its few lines, its vocabulary, a perplexity under 20."""
    folder = data_folder("elmo-fixtures") / "bilm-tf" / "train"
    lines = (folder / "data.txt").read_text(encoding="utf-8").splitlines()
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split()[3:]
    vocabulary = CasedTokenizer([*CASED_SPECIAL_TOKENS, *words])
    larger = vocabulary.with_words(word for line in lines for word in word_texts(line))
    store = TokenStore.build(lines, larger, tmp_path / "tokens", workers=1)
    seed_everything(0)
    spelling = {"embedding": 4, "filters": [[1, 16], [2, 16], [3, 16]], "n_highway": 1}
    model = BiLanguageModel(Elmo(vocabulary, size=16, cells=32, spelling=spelling), "full")
    objective = BilmObjective(model, larger, store, store, batch_size=2, bptt=10)
    settings = LoopSettings(epochs=70, optimizer="adagrad", clip=10.0)
    policy = replace(tiny().policy, learning_rate=0.2, schedule="constant")
    records = train(objective, policy=policy, settings=settings, accelerator=make_accelerator("fp32"))
    assert records[-1]["perplexity_forward"] < 20 and records[-1]["perplexity_backward"] < 20
    assert records[-1]["perplexity"] < records[0]["perplexity"] / 2


def test_a_vocabulary_is_learned_from_what_is_not_held_out() -> None:
    trained = train_cased_tokenizer(TEXTS, size=50)
    assert trained.vocabulary[4] == "the"


@torch.no_grad()
@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_another_vocabulary_keeps_what_is_known_of_its_words(softmax: str) -> None:
    model = small_bilm(softmax=softmax)
    model.output.layer.bias.normal_()
    tokenizer = CasedTokenizer([*CASED_SPECIAL_TOKENS, "cat", "zebra", "the"])
    moved = transfer_output_words(model, tokenizer)
    for word in ("cat", "the"):
        old, new = model.tokenizer.id(word), tokenizer.id(word)
        torch.testing.assert_close(moved.output.weight[new], model.output.weight[old])
        torch.testing.assert_close(moved.output.layer.bias[new], model.output.layer.bias[old])
    torch.testing.assert_close(moved.output.weight[tokenizer.id("zebra")], model.output.weight.mean(0))
    for x, y in zip(
        model.encoder.layers(model.encoder.prepare_words([["zebra", "cat"]]))[0],
        moved.encoder.layers(moved.encoder.prepare_words([["zebra", "cat"]]))[0],
        strict=True,
    ):
        torch.testing.assert_close(x, y)
