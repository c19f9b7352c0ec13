"""word2vec: what training must do to vectors, in every mode; the same bits by one thread, also after an interruption."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.pretraining.numbered_texts import (
    BOS,
    NumberTokenizer,
    Recorder,
    make_store,
    topic_contrast,
    two_topics,
)
from unfreeze.errors import Interrupted, UserError
from unfreeze.pretraining import token_blocks
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.word2vec import train as word2vec
from unfreeze.pretraining.word2vec.settings import Word2VecSettings
from unfreeze.pretraining.word2vec.tables import bag_table
from unfreeze.pretraining.word2vec.train import Matrices, train_matrices, train_word_vectors
from unfreeze.text.token_store import TokenStore
from unfreeze.training.checkpoints import Checkpoints


def train(
    store: TokenStore, vocabulary_size: int, *, skip: frozenset[int] = frozenset({BOS}), **options: Any
) -> np.ndarray:
    """The input vectors; options are those of `train_matrices` and of the settings."""
    own = {"workers", "minutes", "progress", "bags", "start", "checkpoints", "checkpoint_minutes"}
    settings = Word2VecSettings(**{name: value for name, value in options.items() if name not in own})
    others = {name: value for name, value in options.items() if name in own}
    counts = count_tokens(store, vocabulary_size)
    return train_matrices(store, counts, settings, skip_ids=skip, **others).inputs


@pytest.mark.parametrize("workers", [1, 3])
def test_two_topics_come_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 1000)
    store, recorder = make_store(tmp_path, two_topics(), 21), Recorder()
    matrix = train(
        store,
        21,
        size=20,
        workers=workers,
        subsample=0,
        progress=recorder,
    )
    assert topic_contrast(Matrices.start(21, 21, 20, 0).inputs) < 0.2
    assert topic_contrast(matrix) > 0.7
    assert sum(recorder.steps) == 5 * store.n_tokens
    losses = [figures["loss"] for figures in recorder.figures]
    assert losses[-1] < losses[0] - 0.2 < 6 * np.log(2)
    rates = [figures["learning_rate"] for figures in recorder.figures]
    assert min(rates) < 0.001 < 0.024 < max(rates)


def test_one_thread_and_a_seed_give_the_same_bits(tmp_path: Path) -> None:
    store = make_store(tmp_path, two_topics(60), 21)

    def bits(seed: int) -> bytes:
        return train(store, 21, epochs=2, workers=1, seed=seed).tobytes()

    assert bits(1) == bits(1) != bits(2)


def test_skipped_ids_might_as_well_not_be_there(tmp_path: Path) -> None:
    words = [token for document in two_topics(20) for token in document]
    with_skipped = [token for word in words for token in (BOS, word, 21)]
    matrices = [
        train(
            make_store(tmp_path / str(len(document)), [document], 22),
            22,
            skip=frozenset({BOS, 21}),
            size=16,
            workers=1,
        )
        for document in (words, with_skipped)
    ]
    start = Matrices.start(22, 22, 16, 0).inputs
    assert np.array_equal(*matrices)
    assert np.array_equal(matrices[0][[BOS, 21]], start[[BOS, 21]])
    assert (matrices[0][1:21] != start[1:21]).any(axis=1).all()


def test_windows_do_not_cross_documents(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[1], [2], [3]] * 50, 4)
    start = Matrices.start(4, 4, 100, 0)
    before = start.inputs.copy()
    with pytest.raises(UserError, match="learned nothing"):
        train(store, 4, subsample=0, workers=1, start=start)
    assert np.array_equal(start.inputs, before)


MODES: list[dict[str, Any]] = [
    {},
    {"architecture": "cbow"},
    {"hierarchical": True},
    {"architecture": "cbow", "hierarchical": True},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_training_without_an_update_says_why(tmp_path: Path, mode: dict[str, Any]) -> None:
    pairs = make_store(tmp_path / "pairs", [[1, 2], [1, 2]], 3)
    with pytest.raises(UserError) as caught:
        train(pairs, 3, subsample=1e-9, workers=1, **mode)
    assert str(caught.value) == (
        "word2vec learned nothing: of 4 occurrences of words in the vocabulary, after subsampling to about 0 a pass, no two were"
        " in the same document: give more text, lower min_count or set subsample to 0"
    )
    single = make_store(tmp_path / "single", [[1], [2], [2]], 3)
    with pytest.raises(UserError, match="of 3 occurrences .* no two .*give more text, lower min_count$"):
        train(single, 3, subsample=0, workers=1, **mode)
    with pytest.raises(UserError, match="learned nothing: the time limit ended before the first block"):
        train(pairs, 3, subsample=0, workers=1, minutes=1e-12, **mode)
    assert np.isfinite(train(pairs, 3, subsample=0, workers=1, **mode)).all()  # two words are enough


def test_few_updates_are_said_and_the_loss_is_that_of_the_last_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = list(range(1, 9))
    store, said = make_store(tmp_path, [words], 9), []
    for seed in range(20):
        caplog.clear()
        settings = Word2VecSettings(subsample=1e-3, epochs=5, seed=seed)
        counts = count_tokens(store, 9)
        try:
            found = train_matrices(store, counts, settings, skip_ids=frozenset({BOS}), workers=1)
        except UserError:
            continue
        # Outputs that were hardly moved: ln 2 for a pair and for each of its negatives, those left out that are its word.
        assert 3 * np.log(2) < found.metrics["loss"] <= 6.1 * np.log(2)
        said += caplog.messages
    assert len(said) > 5 and all("word2vec learned from only" in each for each in said)


def test_time_ends_the_training(tmp_path: Path) -> None:
    store, recorder = make_store(tmp_path, two_topics(20), 21), Recorder()
    train(store, 21, epochs=1)  # compiles
    train(store, 21, epochs=10**6, minutes=0.01, workers=2, progress=recorder)
    assert 0 < sum(recorder.steps) < 10**6 * store.n_tokens
    assert recorder.figures[-1]["learning_rate"] < 0.1 * recorder.figures[0]["learning_rate"]


def test_counts_and_word_vectors(tmp_path: Path) -> None:
    store, tokenizer = make_store(tmp_path, [[3, 2, 3, 1], [3, 1, 3, 5]], 6), NumberTokenizer(6)
    assert count_tokens(store, 6).tolist() == [2, 2, 1, 4, 0, 1]
    vectors = train_word_vectors(store, tokenizer, size=8, subsample=0, workers=1)
    assert vectors.words == ["w3", "w1", "w2", "w5"]
    rows = train(store, 6, size=8, subsample=0, workers=1)
    assert np.array_equal(vectors.matrix, rows[[3, 1, 2, 5]])
    with pytest.raises(UserError, match="another tokenizer"):
        train_word_vectors(store, NumberTokenizer(7))


def test_a_corpus_of_one_word_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[1, 1, 1]], 4)
    with pytest.raises(UserError, match="no two different words"):
        train(store, 4)


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
@pytest.mark.parametrize("hierarchical", [False, True])
@pytest.mark.parametrize("ngrams", [False, True])
def test_every_mode_tells_two_topics_apart(
    tmp_path: Path, architecture: str, hierarchical: bool, ngrams: bool
) -> None:
    store = make_store(tmp_path, two_topics(), 21)
    bags = bag_table([[word, 21 + word % 3] for word in range(21)]) if ngrams else None
    options = {"architecture": architecture, "hierarchical": hierarchical, "bags": bags}
    matrix = train(store, 21, size=20, workers=1, subsample=0, epochs=8, **options)
    assert topic_contrast(matrix[:21]) > 0.3


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 500)
    store = make_store(tmp_path, two_topics(100), 21)
    whole = train(store, 21, workers=1, epochs=2)
    train_block, calls = word2vec.train_block, 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise KeyboardInterrupt
        return train_block(*arguments)

    # Ctrl-C reaches the main thread, while the workers finish their block: here the block itself is not done.
    monkeypatch.setattr(word2vec._Run, "_worker", _worker_that_counts_what_is_done(word2vec._Run._worker))
    monkeypatch.setattr(word2vec, "train_block", interrupted)
    attempts = 0
    while attempts < 100:
        attempts += 1
        try:
            checkpoints = Checkpoints(tmp_path / "training")
            found = train(store, 21, workers=1, epochs=2, checkpoints=checkpoints, checkpoint_minutes=1e-4)
            break
        except Interrupted as stop:
            assert "rerun the command to resume" in str(stop)
    assert attempts > 2
    assert np.array_equal(found, whole)


def test_a_run_that_an_earlier_version_began_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its checkpoint does not say how much was learned: nothing is said of it, even where little is left."""
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 500)
    store = make_store(tmp_path, two_topics(20), 21)
    n_blocks = len(token_blocks.TokenBlocks(store, 5, 0))
    whole = train_matrices(
        store, count_tokens(store, 21), Word2VecSettings(), skip_ids=frozenset({BOS}), workers=1
    )
    state = {"position": n_blocks, "seconds": 9.0, "epoch": 4, "loss": 0.0, "predictions": 0, "words": 99}
    checkpoints = Checkpoints(tmp_path / "training")
    tensors = {"inputs": torch.from_numpy(whole.inputs), "outputs": torch.from_numpy(whole.outputs)}
    checkpoints.save(state | tensors)
    caplog.clear()
    assert np.array_equal(train(store, 21, workers=1, checkpoints=checkpoints), whole.inputs)
    checkpoints.save(state | tensors | {"position": n_blocks - 1})
    assert not np.array_equal(train(store, 21, workers=1, checkpoints=checkpoints), whole.inputs)
    assert not any("learned" in message for message in caplog.messages)


def _worker_that_counts_what_is_done(worker: Any) -> Any:
    def run(self: Any, bar: Any) -> None:
        try:
            worker(self, bar)
        except KeyboardInterrupt:
            self.state.position -= 1
            raise

    return run


def test_training_goes_on_from_given_matrices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 500)
    store = make_store(tmp_path, two_topics(), 21)
    counts, recorders = count_tokens(store, 21), [Recorder(), Recorder()]
    start = None
    for recorder in recorders:
        settings = Word2VecSettings(size=20, epochs=1, subsample=0)
        start = train_matrices(
            store, counts, settings, skip_ids=frozenset({BOS}), workers=1, start=start, progress=recorder
        )
    first, second = (recorder.figures[0]["loss"] for recorder in recorders)
    assert second < first - 0.3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size must be above 0"),
        ({"window": 0}, "window must be"),
        ({"negatives": 0}, "negatives must be at least 1"),
        ({"epochs": 0}, "epochs must be"),
        ({"subsample": -1.0}, "subsample must be from 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Word2VecSettings(**wrong)


@pytest.mark.parametrize("options", [{}, {"architecture": "cbow"}, {"hierarchical": True}])
def test_a_rate_that_diverges_is_said(tmp_path: Path, options: dict[str, Any]) -> None:
    store = make_store(tmp_path, two_topics(), 21)
    with pytest.raises(UserError, match="word2vec diverges at the learning rate 1e.06: choose a lower one"):
        train(store, 21, learning_rate=1e6, workers=1, epochs=20, **options)


def test_a_second_interrupt_leaves_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block counts from the moment that it is taken: saved while a thread works, its words would never be learned."""
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 500)
    store = make_store(tmp_path, two_topics(20), 21)
    train_block, in_hand, over = word2vec.train_block, threading.Event(), threading.Event()
    seen: list[int] = []

    def slow(*arguments: Any) -> Any:
        in_hand.set()
        over.wait()
        return train_block(*arguments)

    def interrupt(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def press_twice() -> None:
        in_hand.wait()
        for count in (1, 2):
            time.sleep(0.2)  # until the main thread waits
            os.kill(os.getpid(), signal.SIGINT)
            while len(seen) < count:
                time.sleep(0.01)
        over.set()

    monkeypatch.setattr(word2vec, "train_block", slow)
    checkpoints = Checkpoints(tmp_path / "training")
    fingers = threading.Thread(target=press_twice)
    earlier = signal.signal(signal.SIGINT, interrupt)
    try:
        fingers.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            train(store, 21, workers=1, checkpoints=checkpoints)
        fingers.join()
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert not isinstance(caught.value, Interrupted) and checkpoints.load() is None


def test_one_interrupt_is_saved_once_the_block_in_hand_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_blocks, "BLOCK_TOKENS", 500)
    store = make_store(tmp_path, two_topics(20), 21)
    whole = train(store, 21, workers=1)
    train_block, seen = word2vec.train_block, threading.Event()

    def interrupt(number: int, frame: object) -> None:
        seen.set()
        raise KeyboardInterrupt

    def pressed(*arguments: Any) -> Any:
        time.sleep(0.2)  # until the main thread waits
        os.kill(os.getpid(), signal.SIGINT)
        seen.wait()
        time.sleep(0.2)
        return train_block(*arguments)

    signal.signal(signal.SIGINT, interrupt)
    with monkeypatch.context() as patch:
        patch.setattr(word2vec, "train_block", pressed)
        with pytest.raises(Interrupted):
            train(store, 21, workers=1, checkpoints=Checkpoints(tmp_path / "training"))
    state = Checkpoints(tmp_path / "training").load()
    assert state is not None and state["position"] == 1
    assert np.array_equal(train(store, 21, workers=1, checkpoints=Checkpoints(tmp_path / "training")), whole)
