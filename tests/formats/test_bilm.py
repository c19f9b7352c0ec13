"""ELMo's published files: every expected vector, the characters, the token vectors; and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import data_folder
from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError
from unfreeze.formats.bilm import read_bilm, write_bilm

h5py = pytest.importorskip("h5py")

SETS = {
    "allennlp": ("allennlp", "sentences.json"),
    "bilm-tf": ("bilm-tf/model", "lm_embeddings_sentences.json"),
}


@pytest.fixture(params=list(SETS))
def published(request: pytest.FixtureRequest) -> tuple[Path, list[list[list[str]]]]:
    """A folder of published files, and the three rows of ten sentences that their vectors are of."""
    name, sentences = SETS[request.param]
    folder = data_folder("elmo-fixtures") / name
    rows = json.loads((folder / sentences).read_text(encoding="utf-8"))
    return folder, [[sentence.split() for sentence in row] for row in rows]


def read(folder: Path) -> Elmo:
    return read_bilm(folder / "options.json", folder / "lm_weights.hdf5")


def expected_top(folder: Path, row: int, batch: int) -> np.ndarray:
    """(T, 2 P): both directions of the top layer."""
    with h5py.File(folder / f"lm_embeddings_{row}.hdf5") as file:
        return np.concatenate(file[str(batch)][...], axis=1)


@torch.no_grad()
def test_elmo_fixture_every_vector_with_state_carried(published: tuple[Path, list[list[list[str]]]]) -> None:
    folder, rows = published
    encoder, states = read(folder), None
    for batch in range(10):
        sentences = [row[batch] for row in rows]
        layers, mask, states = encoder.layers_after(encoder.prepare_words(sentences), states)
        for row, sentence in enumerate(sentences):
            assert mask[row].sum() == len(sentence)
            found = layers[2][row, : len(sentence)].numpy()
            np.testing.assert_allclose(found, expected_top(folder, row, batch), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_elmo_fixture_stateless_is_the_first_batch(published: tuple[Path, list[list[list[str]]]]) -> None:
    folder, rows = published
    encoder = read(folder)
    for _ in range(2):  # a text gets the same vectors each time
        layers, _ = encoder.layers(encoder.prepare_words([row[0] for row in rows]))
        for row in range(3):
            expected = expected_top(folder, row, 0)
            np.testing.assert_allclose(
                layers[2][row, : len(expected)].numpy(), expected, rtol=1e-5, atol=1e-6
            )


@torch.no_grad()
def test_elmo_fixture_token_vectors_of_a_vocabulary() -> None:
    folder = data_folder("elmo-fixtures") / "allennlp"
    words = (folder / "vocab_test.txt").read_text(encoding="utf-8").split("\n")
    encoder = read(folder)
    with h5py.File(folder / "elmo_token_embeddings.hdf5") as file:
        expected = file["embedding"][...]
    rows = encoder.spell(words)
    rows[[words.index("<S>"), words.index("</S>")]] = encoder.frames()
    np.testing.assert_allclose(encoder.token_vectors(rows).numpy(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_elmo_fixture_cache_gives_the_same_vectors(published: tuple[Path, list[list[list[str]]]]) -> None:
    folder, rows = published
    encoder = read(folder)
    sentences = [row[3] for row in rows]
    before, _ = encoder.layers(encoder.prepare_words(sentences))
    encoder.cache_tokens(sentences[0] + sentences[1][:3])
    after, _ = encoder.layers(encoder.prepare_words(sentences))
    for x, y in zip(before, after, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="cache"), torch.enable_grad():
        encoder.train().layers(encoder.prepare_words(sentences))


@torch.no_grad()
def test_elmo_fixture_written_and_read_again(
    published: tuple[Path, list[list[list[str]]]], tmp_path: Path
) -> None:
    folder, _ = published
    options, weights = write_bilm(read(folder), tmp_path)
    with h5py.File(folder / "lm_weights.hdf5") as theirs, h5py.File(weights) as ours:
        names: list[str] = []
        theirs.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        for name in names:
            np.testing.assert_allclose(ours[name][...], theirs[name][...], rtol=0, atol=2e-7)
    wanted = json.loads((folder / "options.json").read_text())
    assert json.loads(options.read_text()) == wanted
