"""`embed`: every line at its place, whatever the batches; going on after a kill; three kinds of files."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders.elmos import WORDS, small_elmo
from tests.language_models.models import random_model, word_tokenizer
from unfreeze.analysis.contexts import nearest_occurrences, sentences, word_vector
from unfreeze.commands import embed as embed_command
from unfreeze.commands.embed import Embed
from unfreeze.encoders import features
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.encoders.features import EmbeddedText, embed_text
from unfreeze.errors import UserError
from unfreeze.formats import embedded_files
from unfreeze.formats.embedded_files import NPZ_HEAD, write_embedded

LINES = ["The cat sat", "", "a/b 'c' größer", "   ", " ".join(WORDS * 3), "the\tdog saw it.", "cat"]
ENCODER = small_elmo()


def read_strings(arrays: np.lib.npyio.NpzFile, name: str) -> list[str]:
    data, ends = arrays[name].tobytes(), arrays[f"{name}_ends"].tolist()
    return [data[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]


@torch.no_grad()
def alone(encoder: Encoder, text: str) -> np.ndarray:
    """(W, K, D) of a line by itself."""
    layers, _ = encoder.word_layers(encoder.prepare([text]))
    return torch.stack([layer[0] for layer in layers], dim=1).numpy()


def test_every_line_is_what_it_is_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "LINES", 3)
    monkeypatch.setattr(features, "BATCH_WORDS", 20)
    text = embed_text(ENCODER, LINES, tmp_path / "a", EmbedSettings())
    assert text.n_lines == len(LINES)
    for line, expected in zip(text.lines(), LINES, strict=True):
        assert line.text == expected
        if not expected.strip():
            assert line.words == [] and line.vectors.shape == (0, 3, 16)
            continue
        assert all(word in expected for word in line.words)
        np.testing.assert_allclose(line.vectors, alone(ENCODER, expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_pooled_lines_and_chosen_layers(tmp_path: Path, pool: str) -> None:
    text = embed_text(ENCODER, LINES, tmp_path / "a", EmbedSettings(layers=-1, pool=pool))  # type: ignore[arg-type]
    assert text.vectors.shape == (len(LINES), 1, 16)
    for line, source in zip(text.lines(), LINES, strict=True):
        if not source.strip():
            assert not line.vectors.any()
            continue
        words = alone(ENCODER, source)[:, 2]
        expected = {"mean": words.mean(0), "max": words.max(0), "last": words[-1]}[pool]
        np.testing.assert_allclose(line.vectors[0, 0], expected, rtol=1e-4, atol=1e-5)
    mean = embed_text(ENCODER, LINES[:1], tmp_path / "b", EmbedSettings(layers="mean", half=True))
    np.testing.assert_allclose(mean.vectors[:, 0], alone(ENCODER, LINES[0]).mean(1), atol=2e-3)


class Killed(BaseException):
    """Stands for kill -9."""


def dying(lines: list[str], at: int) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == at:
            raise Killed
        yield line


@pytest.mark.parametrize("odd", [b"", b"{}\n", b"[]\n", b'{"lines": 9, "rows": -1, "bytes": 3}\n'])
def test_killed_it_goes_on_and_ends_the_same(
    odd: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "LINES", 2)
    expected = embed_text(ENCODER, LINES, tmp_path / "whole", EmbedSettings())
    with pytest.raises(Killed):
        embed_text(ENCODER, dying(LINES, 5), tmp_path / "killed", EmbedSettings())
    with pytest.raises(UserError, match="config.json"):
        EmbeddedText(tmp_path / "killed")
    with (tmp_path / "killed" / "journal.jsonl").open("ab") as file:
        file.write(odd)
    for name in ("vectors.bin", "words.jsonl", "journal.jsonl"):  # half a batch was on its way
        with (tmp_path / "killed" / name).open("ab") as file:
            file.write(b'["half')
    (tmp_path / "killed" / ".config.json.123.part").write_text("{")  # and the config of the whole
    seen: list[int] = []
    monkeypatch.setattr(
        features, "_embed_lines", lambda *a, f=features._embed_lines: (seen.append(len(a[1])), f(*a))[1]
    )
    found = embed_text(ENCODER, LINES, tmp_path / "killed", EmbedSettings())
    assert sum(seen) == len(LINES) - 4
    for name in ("vectors.bin", "words.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }
    assert found.n_lines == expected.n_lines
    other = embed_text(ENCODER, LINES[:2], tmp_path / "killed", EmbedSettings(), identity="another text")
    assert other.n_lines == 2


@pytest.mark.parametrize("suffix", [".npz", ".npz in place", ".parquet", ".hdf5"])
@pytest.mark.parametrize("half", [False, True])
def test_files_hold_every_line(tmp_path: Path, suffix: str, half: bool) -> None:
    settings = EmbedSettings(half=half)
    text = embed_text(ENCODER, LINES, tmp_path / "a", settings)
    suffix, _, in_place = suffix.partition(" ")
    path = tmp_path / f"out{suffix}"
    head = NPZ_HEAD if in_place else 0
    write_embedded(embed_text(ENCODER, LINES, tmp_path / "b", settings, head=head), path)
    lines = list(text.lines())
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        assert (tmp_path / "b" / "vectors.bin").exists() != bool(in_place)
        arrays = np.load(path)
        assert read_strings(arrays, "texts") == LINES
        assert read_strings(arrays, "words") == [word for line in lines for word in line.words]
        np.testing.assert_array_equal(arrays["vectors"], text.vectors)
        assert arrays["offsets"].tolist() == np.cumsum([0, *(len(line.words) for line in lines)]).tolist()
    elif suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        table = pq.read_table(path)
        assert table["text"].to_pylist() == LINES and table["line"].to_pylist() == list(range(len(LINES)))
        assert table["words"].to_pylist() == [line.words for line in lines]
        for found, line in zip(table["vectors"].to_pylist(), lines, strict=True):
            np.testing.assert_array_equal(
                np.array(found, text.vectors.dtype).reshape(-1, 3, 16), line.vectors
            )
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path) as file:
            assert [each.decode() for each in file["sentences"][...]] == LINES
            for number, line in enumerate(lines):
                np.testing.assert_array_equal(file[str(number)][...], np.swapaxes(line.vectors, 0, 1))
    with pytest.raises(UserError, match=r"\.parquet, \.npz or \.hdf5"):
        write_embedded(text, tmp_path / "out.csv")


def test_an_npz_that_was_interrupted_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embedded() -> EmbeddedText:
        return embed_text(ENCODER, dying(LINES, len(LINES)), tmp_path / "a", EmbedSettings(), head=NPZ_HEAD)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(embedded_files, "_add_strings", die)
        write_embedded(embedded(), tmp_path / "a.npz")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(embedded_files.shutil, "move", die)
        write_embedded(embedded(), tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()
    write_embedded(embedded(), tmp_path / "a.npz")
    write_embedded(embed_text(ENCODER, LINES, tmp_path / "b", EmbedSettings()), tmp_path / "b.npz")
    found, expected = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert sorted(found) == sorted(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    again = embed_text(
        ENCODER, LINES, tmp_path / "a", EmbedSettings(), head=NPZ_HEAD
    )  # its vectors were moved away
    np.testing.assert_array_equal(again.vectors, expected["vectors"])


@pytest.mark.parametrize("damage", ["config.json", "vectors.bin", "missing"])
def test_a_damaged_folder_is_computed_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = embed_text(ENCODER, LINES, tmp_path / "a", EmbedSettings()).vectors.copy()
    place = tmp_path / "a" / ("vectors.bin" if damage == "missing" else damage)
    place.write_bytes(place.read_bytes()[:-5])
    if damage == "missing":
        place.unlink()
    found = embed_text(ENCODER, LINES, tmp_path / "a", EmbedSettings())
    np.testing.assert_array_equal(found.vectors, expected)
    assert "it is computed again" in caplog.text


def test_other_encoders_are_embedded_too(tmp_path: Path) -> None:
    encoder = random_model(word_tokenizer(), "both", ()).encoder.eval()
    with pytest.raises(UserError, match="one at a time"):
        embed_text(encoder, ["the river"], tmp_path / "a", EmbedSettings())
    with pytest.raises(UserError, match="no layer 9"):
        embed_text(encoder, ["the river"], tmp_path / "a", EmbedSettings(layers=9))
    text = embed_text(encoder, ["So so so the river, VERY."], tmp_path / "a", EmbedSettings(layers=-1))
    (line,) = text.lines()
    assert len(line.words) == len(line.vectors) and line.words[-2:] == ["VERY", "."]
    joined = embed_text(encoder, ["the river"], tmp_path / "b", EmbedSettings(layers="joined"))
    assert joined.vectors.shape == (2, 1, sum(encoder.widths))


def test_nearest_occurrences_are_the_largest_cosines(tmp_path: Path) -> None:
    corpus = list(sentences(["The cat sat. A cat saw the dog.\nthe cat sat", "Cat . bird cat"]))
    assert corpus[:2] == ["The cat sat.", "A cat saw the dog. the cat sat"]
    text = embed_text(ENCODER, corpus, tmp_path / "a", EmbedSettings(layers=-1))
    vector = word_vector(ENCODER, "a cat flew away", "Cat", -1)
    found = nearest_occurrences(text, vector, word="cat", top=3, excluded="The cat sat.")
    scored = []
    for line in text.lines():
        for position, word in enumerate(line.words):
            if word.lower() == "cat" and line.text != "The cat sat.":
                x = line.vectors[position, 0]
                scored.append(
                    (float(x @ vector / np.linalg.norm(x) / np.linalg.norm(vector)), line.text, position)
                )
    scored.sort(key=lambda each: -each[0])
    assert [(each.sentence, each.position) for each in found] == [(text, at) for _, text, at in scored[:3]]
    np.testing.assert_allclose(
        [each.score for each in found], [score for score, _, _ in scored[:3]], rtol=1e-4
    )
    assert len(nearest_occurrences(text, vector, top=100)) > len(scored)
    assert nearest_occurrences(text, vector, word="nowhere") == []
    with pytest.raises(UserError, match="no word 'bank'"):
        word_vector(ENCODER, "a cat", "bank", -1)


def test_what_is_complete_is_not_read_again(tmp_path: Path) -> None:
    first = embed_text(ENCODER, LINES, tmp_path / "a", EmbedSettings())
    again = embed_text(ENCODER, dying(LINES, 0), tmp_path / "a", EmbedSettings())
    np.testing.assert_array_equal(again.vectors, first.vectors)


@pytest.mark.parametrize(
    ("options", "as_earlier"),
    [
        ({}, True),
        ({"text_column": "2"}, True),
        ({"encoding": "latin-1"}, False),
        ({"header": True}, False),
        ({"header": False}, False),
    ],
)
def test_runs_of_earlier_versions_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], as_earlier: bool
) -> None:
    """They told texts apart by four facts; what is not as usual is told besides."""
    monkeypatch.setattr("unfreeze.registry.weights_digest", lambda name: f"digest of {name}")
    file = tmp_path / "a.csv"
    file.write_text("1,a b\n", encoding="utf-8")
    facts = file.stat()
    column = options.get("text_column")
    earlier = "|".join(map(str, ("digest of e", facts.st_size, facts.st_mtime_ns, column)))
    digest = hashlib.blake2b(earlier.encode(), digest_size=12).hexdigest()
    found = embed_command._identity(Embed(encoder="e", file=file, output=tmp_path / "b.npz", **options))
    assert (found == digest) == as_earlier
