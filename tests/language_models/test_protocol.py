"""A toy language model, one class and one registry line: it is scored, filled, continued and measured like all others."""

from __future__ import annotations

import doctest
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.commands.calls import fail, succeed
from tests.language_models.models import TEXTS, random_model, word_tokenizer
from unfreeze import registry
from unfreeze.errors import UserError
from unfreeze.folders import FORMAT_VERSION, write_json
from unfreeze.language_models import model as facade
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.base import Fills, Generates, MeasuredPart, ReadableText, ScoredTokens, need
from unfreeze.language_models.model import LanguageModel
from unfreeze.language_models.ngram import NgramModel
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer

TOKENIZER = word_tokenizer()


class Unigram(LanguageModel, Fills, Generates):
    """Each token by its share of the training text, whatever stands before or behind it."""

    kind = "toy"

    def __init__(self, tokenizer: TextTokenizer) -> None:
        counts = np.maximum(tokenizer.counts or [1] * len(tokenizer), 1).astype(np.float64)
        self.tokenizer, self.log_shares = tokenizer, np.log(counts / counts.sum())

    @property
    def directions(self) -> list[str]:
        return ["forward", "backward"]

    def token_log_probabilities(self, texts: Sequence[str]) -> list[ScoredTokens]:
        pieces = [self.tokenizer.encode(text) for text in texts]
        return [
            ScoredTokens(p.ids[1:], p.offsets[1:], dict.fromkeys(self.directions, self.log_shares[p.ids[1:]].tolist()))
            for p in pieces
        ]  # fmt: skip

    def measure(self, store: TokenStore, tokenizer: TextTokenizer) -> Iterator[MeasuredPart]:
        for name in self.directions:
            for number in range(store.n_documents):
                ids = store.document(number)
                yield MeasuredPart(name, -float(self.log_shares[ids[1:]].sum()), len(ids) - 1, len(ids))

    def reader(self, direction: str, text: ReadableText | None = None) -> Unigram:
        return self

    def read(self, ids: Sequence[int]) -> None:
        assert len(ids)

    def log_probabilities(self) -> Tensor:
        return torch.from_numpy(self.log_shares.copy())

    @classmethod
    def load_folder(cls, folder: Path, config: dict[str, Any]) -> Self:
        return cls(load_tokenizer(folder))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a saved toy."""
    monkeypatch.setitem(registry.LANGUAGE_MODELS, "toy", f"{__name__}:Unigram")
    (tmp_path / "toy").mkdir()
    write_json(tmp_path / "toy" / "config.json", {"kind": "toy", "format_version": FORMAT_VERSION})
    TOKENIZER.save(tmp_path / "toy")
    return tmp_path / "toy"


def shares_of(text: str) -> list[float]:
    """log p of each token, counted by hand."""
    counts = [max(1, count) for count in TOKENIZER.counts or []]
    return [math.log(counts[number] / sum(counts)) for number in TOKENIZER.encode_ids([text])[0][1:]]


def test_a_toy_is_scored(toy: Path) -> None:
    text = "The river was cold."
    (found,) = LanguageModel.from_pretrained(toy).score([text])
    assert list(found.directions) == ["forward", "backward"]
    for direction in found.directions.values():
        assert [token.log_probability for token in direction.tokens] == pytest.approx(shares_of(text))
        assert direction.log_probability == pytest.approx(sum(shares_of(text)))
    (row,) = succeed("score", toy, text, "--json").rows
    assert row["backward"]["perplexity"] == pytest.approx(
        math.exp(-sum(shares_of(text)) / len(shares_of(text)))
    )


def test_a_toys_gap_is_filled_by_the_words_counts(toy: Path) -> None:
    """Neither side matters, so each distribution is that of the counts: p p / p = p."""
    counts = {word: max(1, TOKENIZER.counts[n]) for n, word in enumerate(TOKENIZER.vocabulary)}  # type: ignore[index]
    words = LanguageModel.from_pretrained(toy).fill("The ___ was cold.", top=10_000)
    total = sum(counts[word.word] for word in words)
    for word in words:
        for share in word.probabilities.values():
            assert share == pytest.approx(counts[word.word] / total)
    (row,) = succeed("fill", toy, "The ___ was cold.", "--top", 1, "--json").rows
    assert row["words"][0]["word"] == max((word.word for word in words), key=counts.__getitem__)


def test_a_toy_continues_a_prompt(toy: Path) -> None:
    model = LanguageModel.from_pretrained(toy)
    assert isinstance(model, Unigram)
    model.log_shares[TOKENIZER.id("river")] = 1.0
    assert model.generate("The", tokens=3, temperature=0) == "The river river river"
    text = succeed("generate", toy, "The", "--tokens", 5, "--json").rows[0]["text"]
    assert text.startswith("The")


def test_a_toys_perplexity_is_that_of_its_scores(toy: Path, tmp_path: Path) -> None:
    documents = [*TEXTS, "A wombat sat."]
    every = [value for text in documents for value in shares_of(text)]
    found = LanguageModel.from_pretrained(toy).perplexity(documents)
    loss = -sum(every) / len(every)
    n_bytes = sum(len(text.encode()) for text in documents)
    assert found.loss == pytest.approx(loss) and found.perplexity == pytest.approx(math.exp(loss))
    assert (found.n_tokens, found.n_documents) == (len(every), len(documents))
    assert found.bits_per_byte == pytest.approx(
        (loss * len(every) / math.log(2) + 8 * len("wombat")) / n_bytes
    )
    assert {name: each.loss for name, each in found.directions.items()} == pytest.approx(
        {"forward": loss, "backward": loss}
    )
    (tmp_path / "held.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (row,) = succeed("evaluate", toy, tmp_path / "held.txt", "--json").rows
    assert row["documents"] == len(documents) and row["perplexity_backward"] == pytest.approx(math.exp(loss))


def test_the_facade_returns_whichever_model_a_folder_holds(tmp_path: Path) -> None:
    store = TokenStore.build(TEXTS, TOKENIZER, tmp_path / "tokens", workers=1)
    NgramModel.fit(store, TOKENIZER, 2).save_pretrained(tmp_path / "ngram")
    random_model(TOKENIZER).save_pretrained(tmp_path / "lm")
    assert type(LanguageModel.from_pretrained(tmp_path / "ngram")) is NgramModel
    assert type(LanguageModel.from_pretrained(tmp_path / "lm")) is AwdLstmLanguageModel
    with pytest.raises(UserError, match="is an n-gram model; a model of `unfreeze pretrain lm` is needed"):
        AwdLstmLanguageModel.from_pretrained(tmp_path / "ngram")
    said = "is an n-gram model; fill needs a model of `unfreeze pretrain lm` or `pretrain elmo`: use evaluate, score or generate"
    with pytest.raises(UserError, match=f"^this model {said}$"):
        LanguageModel.from_pretrained(tmp_path / "ngram").fill("___")
    assert f"{tmp_path / 'ngram'} {said}" in fail("fill", tmp_path / "ngram", "___")


def test_a_model_that_lacks_a_capability_says_what_it_has() -> None:
    model = random_model(TOKENIZER)
    assert need(model, Generates) is model
    with pytest.raises(
        UserError,
        match="no language model; generate needs a model of `unfreeze pretrain lm` or `pretrain ngram`$",
    ):
        need(model.encoder, Generates)
    with pytest.raises(UserError, match="one text"):
        model.score("The river was cold.")
    with pytest.raises(UserError, match="one text"):
        model.perplexity("The river was cold.")


def test_a_language_model_is_uploaded_with_its_output_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload_folder(*, repo_id: str, folder_path: Path, token: str | None) -> str:
        shutil.copytree(folder_path, tmp_path / repo_id)
        return "address"

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **options: None)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    model = random_model(TOKENIZER)
    assert model.push_to_hub("owner/lm") == "address"
    again = LanguageModel.from_pretrained(tmp_path / "owner" / "lm")
    assert again.score(TEXTS) == model.score(TEXTS)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("word_vectors", "holds word vectors, not a language model: train one with `unfreeze pretrain lm`"),
        ("awd_lstm", "holds an encoder without an output layer, not a language model: train one with `unfreeze pretrain lm`"),
        (
            "sequence_tagger",
            "is a sequence tagger, not a language model: use predict or evaluate, or take the language model that it was fitted from",
        ),
    ],
)  # fmt: skip
def test_the_advice_about_a_model_of_another_kind_can_be_followed(
    kind: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format_version": FORMAT_VERSION, "kind": kind}))
    with pytest.raises(UserError) as caught:
        LanguageModel.from_pretrained(tmp_path)
    assert str(caught.value) == f"{tmp_path} {said}"


def test_the_examples_of_the_docstrings_run() -> None:
    found = doctest.testmod(facade)
    assert found.attempted >= 10 and found.failed == 0


def test_wrong_types_are_named_before_anything_is_computed() -> None:
    model = Unigram(TOKENIZER)
    text = f"{TEXTS[0]} ___"
    calls: list[tuple[Any, str]] = [
        (lambda: model.fill(None), r"texts\[0\] is None, not a text"),  # type: ignore[arg-type]
        (lambda: model.fill(text, top=-1), "top is a number of words, at least 0, not -1"),
        (lambda: model.fill(text, top="3"), "top is a number of words"),  # type: ignore[arg-type]
        (lambda: model.fill(text, candidates="city"), "candidates come in a list, and 'city' is one text"),
        (lambda: model.fill(text, candidates=[None]), r"candidates\[0\] is None"),  # type: ignore[list-item]
        (lambda: model.generate(["a"]), r"prompts\[0\] is of type list"),  # type: ignore[arg-type]
        (lambda: model.generate("a", tokens=1.5), "tokens must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: model.generate("a", seed="x"), "seed must be a whole number, not 'x'"),  # type: ignore[arg-type]
        (lambda: model.perplexity([]), "there are no texts to measure the perplexity of"),
        (lambda: model.score({"a"}), "texts come in a list, an array or a pandas Series"),  # type: ignore[arg-type]
    ]
    for call, message in calls:
        with pytest.raises(UserError, match=message):
            call()


def test_texts_may_be_an_iterator() -> None:
    model = Unigram(TOKENIZER)
    assert model.score(iter(TEXTS)) == model.score(TEXTS)  # type: ignore[arg-type]
    assert model.perplexity(iter(TEXTS)) == model.perplexity(TEXTS)  # type: ignore[arg-type]
