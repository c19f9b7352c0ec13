"""`unfreeze cache`: what is kept, how old it is, and what another process is making stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands.calls import fail, succeed
from tests.disk import files_of
from tests.encoders.elmos import small_elmo
from unfreeze.analysis.contexts import embed_corpus
from unfreeze.caches import CacheEntry, cache_entries, delete_entry, making
from unfreeze.encoders import features
from unfreeze.errors import UserError
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.vectors import cache as vector_cache
from unfreeze.vectors.cache import open_word_vectors


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(cache: Path, kind: str, name: str, n_bytes: int, days: float) -> Path:
    folder = cache / kind / name
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"0" * n_bytes)
    os.utime(folder, (time.time() - 86_400 * days,) * 2)
    return folder


def test_listed_and_deleted(cache: Path) -> None:
    assert succeed("cache", "--json").rows == []
    old = keep(cache, "layers", "old", 3_000_000, 10)
    new, contexts = keep(cache, "layers", "new", 1_000_000, 0), keep(cache, "contexts", "one", 5, 20)
    keep(cache, "vectors", ".being-written.part", 5, 30)
    rows = succeed("cache", "--json").rows
    assert [(row["kind"], row["path"]) for row in rows] == [
        ("contexts", str(contexts)),
        ("layers", str(old)),
        ("layers", str(new)),
    ]
    assert rows[1]["gigabytes"] == 0.003 and rows[1]["unused_days"] == pytest.approx(10, abs=0.1)
    (said,) = succeed("cache", "--delete", "layers", "--unused-days", 7, "--json").rows
    assert said == {"deleted": 1, "bytes": 3_000_000}
    assert not old.exists() and new.is_dir() and contexts.is_dir()
    assert "deleted 2" in succeed("cache", "--delete", "all").out
    assert cache_entries() == []
    assert "--unused-days must be at least 0" in fail("cache", "--unused-days", -1)


def test_what_is_being_made_stays(cache: Path) -> None:
    folder = keep(cache, "layers", "one", 10, 1)
    (kept,) = cache_entries()
    with making(folder):
        assert not delete_entry(kept) and folder.is_dir()
    assert delete_entry(kept) and not folder.exists()
    assert delete_entry(kept)  # another process was faster


@pytest.mark.parametrize("kind", ["layers", "contexts", "vectors"])
def test_all_that_is_kept_is_made_under_its_lock(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A deletion in the middle of the making is refused, whoever makes."""
    refused = []

    def delete_now(kept: Path) -> None:
        refused.append(not delete_entry(CacheEntry(kind, kept, 0, 0.0)))

    real = features.embed_text

    def embed(encoder: Any, texts: Any, folder: Path, *rest: Any, **options: Any) -> Any:
        delete_now(folder)
        return real(encoder, texts, folder, *rest, **options)

    monkeypatch.setattr(features, "embed_text", embed)
    keep_vectors = vector_cache._keep
    monkeypatch.setattr(
        vector_cache, "_keep", lambda path, place, key: (delete_now(place), keep_vectors(path, place, key))
    )
    text = tmp_path / "v.txt"
    text.write_text("a 1 2\nb 3 4\n", encoding="utf-8")
    makers = {
        "layers": lambda: WordInputs(small_elmo(), tokenized=True).cache_layers(["the cat"], "digest"),
        "contexts": lambda: embed_corpus(small_elmo(), "digest", [text], 1),
        "vectors": lambda: open_word_vectors(text),
    }
    makers[kind]()
    assert refused == [True]


def test_a_cache_that_cannot_be_written_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "file"))
    text = tmp_path / "a.txt"
    text.write_text("the cat sat\n", encoding="utf-8")
    makers = {
        "layers": lambda: WordInputs(small_elmo(), tokenized=True).cache_layers(["the cat"], "digest"),
        "contexts": lambda: embed_corpus(small_elmo(), "digest", [text], 1),
    }
    for kind, make in makers.items():
        with pytest.raises(UserError) as caught:
            make()
        said = str(caught.value)
        assert said.startswith(f"the cache {tmp_path / 'file' / kind} cannot be written: ")
        assert said.endswith("; set UNFREEZE_CACHE to a folder with room that can be written")


def test_a_cache_on_a_full_disk_is_named_with_its_variable(cache: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("the cat sat\n" * 200, encoding="utf-8")
    with files_of(500), pytest.raises(UserError) as caught:
        embed_corpus(small_elmo(), "digest", [text], 1)
    assert str(caught.value).startswith(f"the cache {cache / 'contexts'} cannot be written: File too large; ")


def test_what_else_is_wrong_is_not_blamed_on_the_cache(cache: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match=r"a\.txt:1:4: not utf-8"):
        embed_corpus(small_elmo(), "digest", [text], 1)


def test_without_a_home_the_variable_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNFREEZE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    said = "there is no home folder for the cache: set HOME or UNFREEZE_CACHE"
    assert fail("cache") == f"unfreeze: {said}\n"


def test_what_is_damaged_is_made_anew(cache: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("the cat sat\n", encoding="utf-8")
    first = embed_corpus(small_elmo(), "digest", [text], 1).vectors[:].copy()
    (kept,) = cache_entries()
    (kept.path / "vectors.bin").unlink()
    np.testing.assert_array_equal(embed_corpus(small_elmo(), "digest", [text], 1).vectors[:], first)


def test_what_is_used_again_is_new_again(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a 1 2\nb 3 4\n", encoding="utf-8")
    open_word_vectors(path)
    WordInputs(small_elmo(), tokenized=True).cache_layers(["the cat"], "digest")
    before = cache_entries()
    assert [each.kind for each in before] == ["vectors", "layers"]
    for each in before:
        os.utime(each.path, (0, 0))
    np.testing.assert_array_equal(open_word_vectors(path).matrix, [[1, 2], [3, 4]])
    WordInputs(small_elmo(), tokenized=True).cache_layers(["the cat"], "digest")
    assert all(time.time() - each.used < 3600 for each in cache_entries())
