"""Token stores: what was put in comes out, whatever the workers, the kills and the borders of files."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.errors import UserError
from unfreeze.progress import Bar, Progress
from unfreeze.text import store_builder
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import train_tokenizer

COLORS = ["red", "blue", "green", "yellow"]
TEXTS = st.lists(st.text(alphabet="ab?é \n", max_size=12), min_size=1, max_size=12)


class ByteTokenizer:
    """A stand-in with the surface that a store needs: a byte is a token, "?" a word that is unknown."""

    unknown_id, pad_id, bos_id = 0, 1, 2

    def __init__(self, size: int = 259) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def fingerprint(self) -> str:
        return f"bytes-{self.size}"

    def encode_ids(self, texts: list[str]) -> list[list[int]]:
        return [ids for ids, _ in self.encode_with_unknown_bytes(texts)]

    def encode_with_unknown_bytes(self, texts: list[str]) -> list[tuple[list[int], int]]:
        return [self._encode(text.encode()) for text in texts]

    def _encode(self, data: bytes) -> tuple[list[int], int]:
        ids = [self.unknown_id if byte == ord("?") else byte + self.size - 256 for byte in data]
        return [self.bos_id, *ids], data.count(b"?")


class CountingTokenizer(ByteTokenizer):
    """Knows how many documents it encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_with_unknown_bytes(self, texts: list[str]) -> list[tuple[list[int], int]]:
        self.encoded += len(texts)
        return super().encode_with_unknown_bytes(texts)


class Interrupted(Exception):
    pass


def interrupted(texts: list[str], after: int) -> Iterator[str]:
    yield from texts[:after]
    raise Interrupted


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def documents_of(store: TokenStore) -> list[list[int]]:
    return [store.document(number).tolist() for number in range(store.n_documents)]


def build(texts: list[str], folder: Path, **options: int) -> TokenStore:
    return TokenStore.build(iter(texts), ByteTokenizer(), folder, **{"workers": 1, **options})


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_builder, "FILE_TOKENS", 20)


@settings(max_examples=50)
@given(texts=TEXTS, shard_characters=st.integers(1, 40), file_tokens=st.integers(1, 60))
def test_documents_and_totals_come_back_wherever_shards_and_files_end(
    texts: list[str], shard_characters: int, file_tokens: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_builder, "FILE_TOKENS", file_tokens)
        build(texts, Path(folder) / "store", shard_characters=shard_characters)
        store = TokenStore.open(Path(folder) / "store")
        expected = ByteTokenizer().encode_ids(texts)
        assert documents_of(store) == expected
        assert store.lengths.tolist() == [len(ids) for ids in expected]
        assert store.lengths.dtype == np.int64
        assert (store.n_documents, store.n_tokens) == (len(texts), sum(map(len, expected)))
        assert store.n_bytes == sum(len(text.encode()) for text in texts)
        assert store.unknown_bytes == sum(text.count("?") for text in texts)


@settings(max_examples=50)
@given(texts=TEXTS, data=st.data())
def test_any_piece_of_the_documents_in_any_order(texts: list[str], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_builder, "FILE_TOKENS", 10)
        store = build(texts, Path(folder) / "store", shard_characters=5)
        order = np.array(data.draw(st.permutations(range(len(texts)))))
        encoded = [ByteTokenizer().encode_ids(texts)[number] for number in order]
        stream = [token for ids in encoded for token in ids]
        reverse = [token for ids in encoded for token in ids[:1] + ids[:0:-1]]
        whole = [token for ids in encoded for token in ids[::-1]]
        cumulative = np.concatenate([[0], np.cumsum(store.lengths[order])])
        start = data.draw(st.integers(0, len(stream)))
        stop = data.draw(st.integers(start, len(stream)))
        assert store.gather(order, cumulative, start, stop).tolist() == stream[start:stop]
        begins = data.draw(st.lists(st.integers(0, len(stream)), min_size=1, max_size=4))
        length = data.draw(st.integers(0, len(stream) - max(begins)))
        directions = {"forward": stream, "backward": reverse, "reversed": whole}
        for direction, tokens in directions.items():
            rows = store.rows(order, cumulative, np.array(begins), length, direction=direction)  # type: ignore[arg-type]
            assert rows.dtype == store.dtype
            assert rows.tolist() == [tokens[begin : begin + length] for begin in begins]


@pytest.mark.parametrize(("size", "bits"), [(2**16, 16), (2**16 + 1, 32)])
def test_ids_take_16_bits_as_long_as_the_vocabulary_fits(size: int, bits: int, tmp_path: Path) -> None:
    store = TokenStore.build(["\xff"], ByteTokenizer(size), tmp_path / "store")
    assert store.dtype.itemsize * 8 == bits
    assert store.document(0).tolist() == ByteTokenizer(size).encode_ids(["\xff"])[0]
    assert store.document(0).max() > 2**15


def test_a_store_of_one_token(tmp_path: Path) -> None:
    assert documents_of(build([""], tmp_path / "store")) == [[ByteTokenizer.bos_id]]


def test_a_lone_surrogate_does_not_stop_the_hash() -> None:
    assert store_builder.text_hash(["\ud800"]) != store_builder.text_hash(["\ud801"])


@given(texts=TEXTS, others=TEXTS)
def test_the_hash_tells_texts_and_their_borders_apart(texts: list[str], others: list[str]) -> None:
    assert (store_builder.text_hash(texts) == store_builder.text_hash(others)) == (texts == others)


@pytest.mark.usefixtures("small_files")
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    texts = [f"document {number} {'x' * (number % 7)}" for number in range(40)]
    build(texts, tmp_path / "one", workers=1, shard_characters=30)
    build(texts, tmp_path / "three", workers=3, shard_characters=30)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert len(list((tmp_path / "one").glob("tokens-*.bin"))) > 3


DAMAGES = [
    "none",
    "torn journal",
    "no journal",
    "torn tokens",
    "torn offsets",
    "no tokens",
    "longer tokens",
    "no first line",
]


def damage(folder: Path, kind: str) -> None:
    """What a kill, a full disk or a power failure may leave of a folder in which a store grows."""
    journal, offsets = folder / "shards.jsonl", folder / "offsets.bin"
    tokens = max(folder.glob("tokens-*.bin"))
    match kind:
        case "torn journal":
            journal.write_bytes(journal.read_bytes()[:-9])
        case "no first line":
            journal.write_bytes(b"\0\0" + journal.read_bytes())
        case "no journal":
            journal.unlink()
        case "torn tokens":
            tokens.write_bytes(tokens.read_bytes()[:-1])
        case "torn offsets":
            offsets.write_bytes(offsets.read_bytes()[:-13])
        case "no tokens":
            tokens.unlink()
        case "longer tokens":
            tokens.write_bytes(tokens.read_bytes() + b"half a shard")


@pytest.mark.parametrize("damaged", DAMAGES)
@settings(max_examples=10)
@given(texts=st.lists(st.sampled_from(["one", "three", "é"]), min_size=4, max_size=9), data=st.data())
def test_an_interrupted_build_goes_on_to_the_same_bytes(
    damaged: str, texts: list[str], data: st.DataObject
) -> None:
    after = data.draw(st.integers(3, len(texts)))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_builder, "FILE_TOKENS", 12)
        whole, resumed = Path(folder) / "whole", Path(folder) / "resumed"
        build(texts, whole, shard_characters=1)
        with pytest.raises(Interrupted):
            TokenStore.build(
                interrupted(texts, after), ByteTokenizer(), resumed, workers=1, shard_characters=1
            )
        assert not resumed.exists()
        damage(Path(folder) / ".resumed.building", damaged)
        build(texts, resumed, shard_characters=1)
        assert contents(resumed) == contents(whole)
        assert sorted(path.name for path in Path(folder).iterdir()) == ["resumed", "whole"]


def test_a_build_that_goes_on_encodes_only_what_is_missing(tmp_path: Path) -> None:
    texts = [f"document {number}" for number in range(10)]
    with pytest.raises(Interrupted):
        TokenStore.build(
            interrupted(texts, 7), ByteTokenizer(), tmp_path / "store", workers=1, shard_characters=1
        )
    tokenizer = CountingTokenizer()
    TokenStore.build(texts, tokenizer, tmp_path / "store", workers=1, shard_characters=1)
    assert tokenizer.encoded == 3


@pytest.mark.usefixtures("small_files")
@settings(max_examples=50)
@given(earlier=st.lists(st.sampled_from(["one", "two", "three"]), min_size=1), later=st.data())
def test_a_store_of_other_documents_is_replaced_and_its_common_beginning_reused(
    earlier: list[str], later: st.DataObject
) -> None:
    kept = later.draw(st.integers(0, len(earlier)))
    texts = earlier[:kept] + later.draw(st.lists(st.just("other"), min_size=kept == 0, max_size=3))
    with TemporaryDirectory() as folder:
        build(earlier, Path(folder) / "store", shard_characters=1)
        tokenizer = CountingTokenizer()
        TokenStore.build(texts, tokenizer, Path(folder) / "store", workers=1, shard_characters=1)
        assert tokenizer.encoded == len(texts) - kept
        build(texts, Path(folder) / "anew", shard_characters=1)
        assert contents(Path(folder) / "store") == contents(Path(folder) / "anew")


def test_a_store_of_fewer_documents_replaces_it(tmp_path: Path) -> None:
    build(["one", "two", "three"], tmp_path / "store", shard_characters=1)
    store = build(["one", "two"], tmp_path / "store", shard_characters=1)
    assert documents_of(store) == ByteTokenizer().encode_ids(["one", "two"])


def test_the_same_store_again_is_left_untouched(tmp_path: Path) -> None:
    build(["one", "two"], tmp_path / "store")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()}
    build(["one", "two"], tmp_path / "store")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()} == before


def test_another_tokenizer_makes_everything_anew(tmp_path: Path) -> None:
    build(["one"], tmp_path / "store")
    store = TokenStore.build(["one"], ByteTokenizer(300), tmp_path / "store")
    assert documents_of(store) == ByteTokenizer(300).encode_ids(["one"])


def test_a_store_in_use_survives_its_replacement(tmp_path: Path) -> None:
    store = build(["one", "two"], tmp_path / "store")
    build(["three"], tmp_path / "store")
    assert documents_of(store) == ByteTokenizer().encode_ids(["one", "two"])


def test_an_interrupted_replacement_leaves_the_earlier_store(tmp_path: Path) -> None:
    build(["one", "two"], tmp_path / "store")
    with pytest.raises(Interrupted):
        TokenStore.build(interrupted(["one"] * 9, 8), ByteTokenizer(), tmp_path / "store", shard_characters=3)
    assert documents_of(TokenStore.open(tmp_path / "store")) == ByteTokenizer().encode_ids(["one", "two"])


KILLED_BUILD = """
import os, signal, sys
from tests.text.test_token_store import ByteTokenizer
from unfreeze.text.token_store import TokenStore

def documents():
    for number in range(200):
        if number == 120:
            os.kill(os.getpid(), signal.SIGKILL)
        yield f"document {number}"

TokenStore.build(documents(), ByteTokenizer(), sys.argv[1], workers=2, shard_characters=100)
"""


def test_a_killed_build_with_workers_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    script = [sys.executable, "-c", KILLED_BUILD, str(tmp_path / "killed")]
    assert subprocess.run(script, cwd=Path(__file__).parents[2], check=False).returncode == -signal.SIGKILL
    kept = (tmp_path / ".killed.building" / "shards.jsonl").read_bytes().splitlines()
    assert len(kept) > 2
    texts = [f"document {number}" for number in range(200)]
    build(texts, tmp_path / "killed", shard_characters=100)
    build(texts, tmp_path / "whole", shard_characters=100)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_full_disk_is_said_and_leaves_the_earlier_store(tmp_path: Path) -> None:
    build(["one"], tmp_path / "store")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))  # any write beyond fails, as on a full disk
    try:
        with pytest.raises(UserError, match=r"cannot write .*store: .*intact"):
            build(["x" * 1000] * 10, tmp_path / "store", shard_characters=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert documents_of(TokenStore.open(tmp_path / "store")) == ByteTokenizer().encode_ids(["one"])
    store = build(["x" * 1000] * 10, tmp_path / "store", shard_characters=1)
    assert documents_of(store) == ByteTokenizer().encode_ids(["x" * 1000] * 10)


def test_no_document_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the corpus is empty"):
        build([], tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(UserError, match="not a token store"):
        build(["one"], tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "irreplaceable"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert build(["one"], tmp_path).n_documents == 1


def test_opening_nothing_or_a_damaged_store_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        TokenStore.open(tmp_path / "nothing")
    for name, match in [("tokens-00000.bin", "has 6 bytes, not 8"), ("offsets.bin", "has 14 bytes, not 16")]:
        build(["one"], tmp_path / name)
        path = tmp_path / name / name
        path.write_bytes(path.read_bytes()[:-2])
        with pytest.raises(UserError, match=match):
            TokenStore.open(tmp_path / name)
        path.unlink()
        with pytest.raises(UserError, match="is missing"):
            TokenStore.open(tmp_path / name)
        assert documents_of(build(["one"], tmp_path / name)) == ByteTokenizer().encode_ids(["one"])


def test_a_store_with_a_broken_configuration_is_built_again(tmp_path: Path) -> None:
    build(["one"], tmp_path / "store")
    (tmp_path / "store" / "config.json").write_text("{")
    assert documents_of(build(["one"], tmp_path / "store")) == ByteTokenizer().encode_ids(["one"])


def test_the_store_names_its_tokenizer(tmp_path: Path) -> None:
    store = build(["one"], tmp_path / "store")
    assert (store.fingerprint, store.pad_id) == (ByteTokenizer().fingerprint(), ByteTokenizer.pad_id)
    assert json.loads((tmp_path / "store" / "config.json").read_text())["kind"] == "token-store"


@pytest.mark.parametrize("kind", ["word", "subword"])
def test_workers_and_the_real_tokenizers_give_the_ids_that_they_give_alone(
    kind: Literal["word", "subword"], tmp_path: Path
) -> None:
    texts = [
        f"The {color} house number {number} Xyzzy stands here." for number in range(30) for color in COLORS
    ]
    tokenizer = train_tokenizer(texts, kind=kind, vocabulary_size=60, workers=1)
    store = TokenStore.build(texts, tokenizer, tmp_path / "store", workers=2, shard_characters=1000)
    assert documents_of(store) == tokenizer.encode_ids(texts)
    assert store.unknown_bytes == sum(unknown for _, unknown in tokenizer.encode_with_unknown_bytes(texts))
    assert (store.pad_id, store.fingerprint) == (tokenizer.pad_id, tokenizer.fingerprint())


def test_progress_counts_every_document_of_new_and_known_shards(tmp_path: Path) -> None:
    class CountingProgress(Progress):
        done = 0

        @contextmanager
        def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
            outer = self

            class Count(Bar):
                def advance(self, n: int = 1, **figures: float) -> None:
                    outer.done += n

            yield Count()

    for _ in range(2):
        progress = CountingProgress()
        TokenStore.build(
            ["one"] * 10, ByteTokenizer(), tmp_path / "store", shard_characters=7, progress=progress
        )
        assert progress.done == 10


def test_reading_maps_no_pages(tmp_path: Path) -> None:
    """The resident part of the process must not grow by what it has read."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("this system has no /proc/self/status")

    def mapped_bytes() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssFile"))
        return int(line.split()[1]) * 1024

    store = build(["x" * 2**20] * 8, tmp_path / "store", shard_characters=2**22)  # 16 MiB of tokens
    cumulative = np.concatenate([[0], np.cumsum(store.lengths)])
    before = mapped_bytes()
    for start in range(0, store.n_tokens - 2**16, 2**16):
        store.gather(np.arange(8), cumulative, start, start + 2**16)
    assert mapped_bytes() - before < 4 * 2**20
