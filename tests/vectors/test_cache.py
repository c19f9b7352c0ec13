"""Word vectors that are mapped from the second time on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from unfreeze.errors import UserError
from unfreeze.vectors import cache as vector_cache
from unfreeze.vectors.cache import open_word_vectors
from unfreeze.vectors.reading import read_word_vectors
from unfreeze.vectors.table import VectorTable
from unfreeze.vectors.writing import write_word_vectors

WORDS = ["the", "wörd", "日本", "\u2028x", "a\x0bb"]


def some_file(folder: Path, suffix: str = ".txt", factor: float = 1.0) -> Path:
    matrix = np.random.default_rng(0).normal(size=(len(WORDS), 3)).astype(np.float32) * np.float32(factor)
    write_word_vectors(folder / f"vectors{suffix}", VectorTable(WORDS, matrix))
    return folder / f"vectors{suffix}"


def kept(cache: Path) -> list[Path]:
    """The folders of a cache, without the files that lock them."""
    return [entry for entry in cache.iterdir() if entry.suffix != ".lock"]


def same(one: VectorTable, other: VectorTable) -> bool:
    return (
        one.words == other.words
        and one.matrix.tobytes() == other.matrix.tobytes()
        and one.report == other.report
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read from then on, rather than mapped."""
    seen: list[Path] = []
    load = vector_cache.load_vectors

    def counted(path: Path, *arguments: object) -> VectorTable:
        seen.append(path)
        return load(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vector_cache, "load_vectors", counted)
    return seen


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".npz", ".txt.gz", ".bin.gz", ".npz.gz"])
def test_the_second_time_the_matrix_is_mapped(tmp_path: Path, reads: list[Path], suffix: str) -> None:
    path, cache = some_file(tmp_path, suffix), tmp_path / "cache"
    tables = [open_word_vectors(path, cache) for _ in range(3)]
    assert reads == [path]
    assert all(same(table, read_word_vectors(path)) for table in tables)
    assert not tables[0].matrix.flags.writeable and tables[0].matrix.flags.aligned
    assert [entry.name[:7] for entry in kept(cache)] == ["vectors"]


def test_what_was_odd_is_said_once_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.txt"
    path.write_bytes(b"a 1 2\na 3 4\nb 0 0\n\n")
    first = open_word_vectors(path, tmp_path / "cache")
    second = open_word_vectors(path, tmp_path / "cache")
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert (second.report.duplicates, second.report.zero_vectors) == (1, 1)
    assert same(first, second) and second.words == ["a", "b"]


def test_another_file_in_its_place_is_read_and_replaces_it(tmp_path: Path, reads: list[Path]) -> None:
    path, cache = some_file(tmp_path, ".bin"), tmp_path / "cache"
    open_word_vectors(path, cache)
    time = path.stat().st_mtime_ns
    some_file(tmp_path, ".bin", factor=2)
    os.utime(path, ns=(time, time))  # of the same size and time: only the digest tells them apart
    assert same(open_word_vectors(path, cache), read_word_vectors(path))
    os.utime(path, ns=(time, time + 1))
    assert same(open_word_vectors(path, cache), read_word_vectors(path))
    assert len(reads) == 3 and len(kept(cache)) == 1


def test_files_of_one_name_in_two_folders_do_not_mix(tmp_path: Path, reads: list[Path]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    paths = [some_file(tmp_path / "a"), some_file(tmp_path / "b", factor=2)]
    for path in [*paths, *paths]:
        assert same(open_word_vectors(path, tmp_path / "cache"), read_word_vectors(path))
    assert reads == paths


@pytest.mark.parametrize("name", ["words.json", "matrix.npy", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "nonsense"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, reads: list[Path], name: str, damage: str) -> None:
    path, cache = some_file(tmp_path), tmp_path / "cache"
    open_word_vectors(path, cache)
    part = kept(cache)[0] / name
    data = part.read_bytes()
    part.unlink()
    if damage != "gone":
        part.write_bytes(data[:-3] if damage == "cut" else b"[" * len(data))
    assert same(open_word_vectors(path, cache), read_word_vectors(path))
    open_word_vectors(path, cache)
    assert len(reads) == 2


def test_without_a_place_to_write_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = some_file(tmp_path)
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert same(open_word_vectors(path, tmp_path / "file" / "cache"), read_word_vectors(path))
    assert f"{path} is not cached: the cache {tmp_path / 'file' / 'cache'} cannot be written: " in caplog.text
    assert "set UNFREEZE_CACHE to a folder" in caplog.text


def test_without_a_home_it_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNFREEZE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    path = some_file(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert same(open_word_vectors(path), read_word_vectors(path))
    assert "is not cached: there is no home folder" in caplog.text and "UNFREEZE_CACHE" in caplog.text


@pytest.mark.parametrize("content", [b"a 1 2\nb 1\n", b" 1 2\n", b""])
def test_a_broken_file_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="broken.txt"):
        open_word_vectors(path, tmp_path / "cache")
    assert not kept(tmp_path / "cache")
    with pytest.raises(UserError, match="is not a file"):
        open_word_vectors(tmp_path / "nowhere", tmp_path / "cache")


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "here"))
    open_word_vectors(some_file(tmp_path))
    assert len(kept(tmp_path / "here" / "vectors")) == 1
    monkeypatch.delenv("UNFREEZE_CACHE")
    assert vector_cache.cache_folder("vectors") == Path.home() / ".cache" / "unfreeze" / "vectors"
