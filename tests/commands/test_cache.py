"""`unfreeze cache`: what is kept, how old it is, and what another process is making stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tests.commands.calls import fail, succeed
from tests.encoders.elmos import small_elmo
from unfreeze.caches import give_up, kept_things
from unfreeze.formats.vector_cache import open_word_vectors
from unfreeze.tasks.word_inputs import WordInputs


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
    assert kept_things() == [] and not list(cache.rglob("*.lock"))
    assert "--unused-days must be at least 0" in fail("cache", "--unused-days", -1)


def test_what_is_being_made_stays(cache: Path) -> None:
    folder = keep(cache, "layers", "one", 10, 1)
    (kept,) = kept_things()
    with FileLock(folder.with_name("one.lock")):
        assert not give_up(kept) and folder.is_dir()
    assert give_up(kept) and not folder.exists()


def test_what_is_used_again_is_new_again(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a 1 2\nb 3 4\n", encoding="utf-8")
    open_word_vectors(path)
    WordInputs(small_elmo(), tokenized=True).keep_layers(["the cat"], "digest")
    before = kept_things()
    assert [each.kind for each in before] == ["vectors", "layers"]
    for each in before:
        os.utime(each.path, (0, 0))
    np.testing.assert_array_equal(open_word_vectors(path).matrix, [[1, 2], [3, 4]])
    WordInputs(small_elmo(), tokenized=True).keep_layers(["the cat"], "digest")
    assert all(time.time() - each.used < 3600 for each in kept_things())
