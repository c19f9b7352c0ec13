"""fastText's binary models; the oracle is fasttext-wheel 0.9.2: its models of made-up text and its get_word_vector."""

from __future__ import annotations

import gzip
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from unfreeze.errors import UserError
from unfreeze.vectors.fasttext import FastTextVectors, read_fasttext
from unfreeze.vectors.reading import read_word_vectors

# train_unsupervised(model="skipgram", dim=3, bucket=20, minn=2, maxn=4, minCount=2, epoch=20, t=1) on 60 lines of
# "käse brot käse wein 日本 brot x" and "wein käse brot 日本 wein ab x".
MODEL = b64decode(
    """
    uhZPLwwAAAADAAAABQAAABQAAAACAAAABQAAAAEAAAACAAAAAgAAABQAAAACAAAABAAAAGQAAAAAAAAAAADwPwcAAAAHAAAAAAAA
    AOABAAAAAAAA//////////9rw6RzZQBaAAAAAAAAAABicm90AFoAAAAAAAAAAHdlaW4AWgAAAAAAAAAA5pel5pysADwAAAAAAAAA
    AHgAPAAAAAAAAAAAPC9zPgA8AAAAAAAAAABhYgAeAAAAAAAAAAAAGwAAAAAAAAADAAAAAAAAAO00LD9lCs8/zAezvwB7wL8R2C+/
    YPKMP2BiID9yyqY+oNVXvqayAL+WU0o++QexvjNXMD9qUBS+BbcqQIe9M7+B6WU/5Adkv599/b6GJgg+6anyPRcHcz+Bn60/9IyY
    v1mQ6D5dpL4/SGKJv599/b6GJgg+6anyPVsAgr/IAQi//6BZP1sAgr/IAQi//6BZPxcHcz+Bn60/9IyYvyyZi7/AlKS9kQBCP26y
    gL8+U8o+CAgxv599/b6GJgg+6anyPT0g+L9K0ia/LRI3P+a0GsDHFla+1jOGP2tBTz6Mh7k+UlYiQBcHcz+Bn60/9IyYvwmv0T9h
    FZs//uC8P7oN+b7g1wE/OQ4GvjIntT4gUZI/OG4Nv4Dcyb/+ito+QX0gP7mJvD/Xhw9A3Z25PlDNh70zPVM/DPKuvucqqb1K+gM/
    Y3kOvwAHAAAAAAAAAAMAAAAAAAAAxhcBPxGS/7/HYKi+8U7OP1Owkb/8T4C/PENUP8Epxb+DFBS/YptkP5wP679zf5i+yBzKPRX0
    GsD9Hvm/kOTbP5dZQMA/6QY+g7DIP9H0AcBejk2/
    """
)
# train_supervised(dim=3, minn=2, maxn=3, bucket=20, epoch=3) on "__label__a käse brot" and "__label__b wein ab".
CLASSIFIER = b64decode(
    """
    uhZPLwwAAAADAAAABQAAAAMAAAABAAAABQAAAAEAAAADAAAAAwAAABQAAAACAAAAAwAAAGQAAAAtQxzr4jYaPwcAAAAFAAAAAgAA
    ACgAAAAAAAAA//////////88L3M+AAoAAAAAAAAAAGvDpHNlAAUAAAAAAAAAAGJyb3QABQAAAAAAAAAAd2VpbgAFAAAAAAAAAABh
    YgAFAAAAAAAAAABfX2xhYmVsX19hAAUAAAAAAAAAAV9fbGFiZWxfX2IABQAAAAAAAAABABkAAAAAAAAAAwAAAAAAAABfqI2+mp2F
    Pu3UU77YxIq9y1smPq5TJT2YklM+eS33OEkc2DgglYu5K+hqubxmyrgglYu5K+hqubxmyrjUm3c5eS33OEkc2DhYc/y32qLeuLhY
    2zYAAAAAAAAAAAAAAABYc/y32qLeuLhY2zZYc/y32qLeuLhY2zYAAAAAAAAAAAAAAABVXJu5yxytuS2xvLgAAAAAAAAAAAAAAAAg
    lYu5K+hqubxmyrjUm3c5eS33OEkc2DhpDVg5GlVEN9nR5TjZm/c5fC13OUocWDkAAAAAAAAAAAAAAADUm3c5eS33OEkc2DjZm/c5
    fC13OUocWDlec3y42KJeubxYWzeqX1G6HS4wuhDNl7lVXJu5yxytuS2xvLjZm/c5fC13OUocWDkAAAAAAAAAAAAAAAAAAgAAAAAA
    AAADAAAAAAAAAB+G7DtvAW07Mj5OOx+G7LtzAW27MT5Ouw==
    """
)
VECTORS = {
    "käse": [0.2380872666835785, 1.0527714490890503, -0.07864796370267868],
    "brot": [-1.1191781759262085, 0.06091565638780594, 0.7028078436851501],
    "wein": [-0.24888105690479279, 0.6206456422805786, 0.22929410636425018],
    "日本": [-0.2269708663225174, 0.7624487280845642, -0.12073932588100433],
    "x": [1.0005838871002197, 0.9179450273513794, 1.7605220079421997],
    "</s>": [-0.7021107077598572, 0.8980942368507385, -0.8907454013824463],
    "ab": [-0.8737165331840515, 0.28938257694244385, 0.2450488805770874],
    # never seen:
    "käsebrot": [0.03213591128587723, 0.801613986492157, 0.0907183587551117],
    "日": [-0.5188881158828735, 0.7599079012870789, -0.8187898397445679],
    "y": [-0.6657226085662842, 0.03629417344927788, 0.27922913432121277],
    "": [-1.0054452419281006, 0.3951663374900818, -0.6915287971496582],
    "brote": [-0.823183000087738, 0.3470953106880188, 0.3205600380897522],
    "ﬀ🙂": [-0.2723678946495056, 0.2899281978607178, -0.09046065807342529],
}
N_WORDS = 7
CLASSIFIER_VECTORS = {
    "käse": [-0.006604970898479223, 0.01627654768526554, 0.004122662357985973],
    "neu": [1.6537194824195467e-05, -4.382589031592943e-05, 1.8456814359524287e-05],
}
# Where things stand in MODEL.
VERSION, N_PRUNED, FIRST_KIND, QUANTIZED, N_ROWS, ROWS = 4, 84, 106, 188, 189, 205


def saved(folder: Path, data: bytes = MODEL, name: str = "model.bin") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.fixture
def model(tmp_path: Path) -> FastTextVectors:
    return read_fasttext(saved(tmp_path))


def changed(place: int, value: bytes) -> bytes:
    return MODEL[:place] + value + MODEL[place + len(value) :]


@pytest.mark.parametrize("word", VECTORS)
def test_vectors_are_fasttexts_bit_by_bit(model: FastTextVectors, word: str) -> None:
    assert model.vectors([word])[0].tolist() == VECTORS[word]
    assert (word in model.index) == (word in list(VECTORS)[:N_WORDS])


def test_what_is_in_a_model(model: FastTextVectors) -> None:
    assert model.words == list(VECTORS)[:N_WORDS]
    assert (model.size, model.minn, model.maxn, model.buckets) == (3, 2, 4, 20)
    assert model.vectors(["y", "ab"]).tolist() == [VECTORS["y"], VECTORS["ab"]]
    assert model.vectors([]).shape == (0, 3)


def test_the_table_of_a_model(model: FastTextVectors) -> None:
    table = model.table()
    assert table.words == model.words
    assert table.matrix.tolist() == [VECTORS[word] for word in table.words]


@pytest.mark.parametrize("name", ["model.bin", "model.bin.gz", "model.txt"])
def test_a_model_is_known_by_its_beginning(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, gzip.compress(MODEL) if name.endswith(".gz") else MODEL, name)
    table = read_word_vectors(path)
    assert table.matrix.tolist() == [VECTORS[word] for word in table.words]
    assert read_word_vectors(path, limit=3).words == ["käse", "brot", "wein"]
    some = read_word_vectors(path, only={"x", "never"})
    assert some.words == ["x"] and some.matrix.tolist() == [VECTORS["x"]]
    assert read_word_vectors(path, only={"ab"}).matrix.tolist() == [VECTORS["ab"]]
    assert read_fasttext(path).vectors(["y"])[0].tolist() == VECTORS["y"]


def test_labels_of_a_classifier_are_skipped(tmp_path: Path) -> None:
    model = read_fasttext(saved(tmp_path, CLASSIFIER))
    assert model.words == ["</s>", "käse", "brot", "wein", "ab"]
    for word, vector in CLASSIFIER_VECTORS.items():
        assert model.vectors([word])[0].tolist() == vector


def test_words_that_are_not_utf_8_keep_their_ngrams(tmp_path: Path) -> None:
    latin = MODEL.replace("käse\0".encode(), b"k\xe4\xe4se\0")
    model = read_fasttext(saved(tmp_path, latin))
    assert model.words[0] == "k\ufffd\ufffdse" and model.report.not_utf8 == 1
    assert np.array_equal(model.table().matrix[0], model.vectors([model.words[0]])[0])
    assert not np.array_equal(model.vectors([model.words[0]])[0], model.vectors(["k\ufffd\ufffdse!"])[0])
    assert read_word_vectors(tmp_path / "model.bin").report.not_utf8 == 1


def test_without_ngrams_a_vector_is_the_row_and_unknown_words_have_none(tmp_path: Path) -> None:
    rows = np.frombuffer(MODEL, "<f4", N_WORDS * 3, ROWS).reshape(-1, 3)
    data = MODEL[:44] + np.array([0, 0, 0], "<i4").tobytes() + MODEL[56:]  # buckets, minn, maxn
    data = data[:N_ROWS] + np.array([N_WORDS, 3], "<i8").tobytes() + data[ROWS : ROWS + rows.nbytes]
    model = read_fasttext(saved(tmp_path, data))
    assert np.array_equal(model.table().matrix, rows) and np.array_equal(model.vectors(["wein"])[0], rows[2])
    assert model.vectors(["never"])[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"7 3 not a model" * 9, "magic number"),
        (b"", "first part"),
        (changed(VERSION, b"\x0d"), "version 13: versions 11 and 12"),
        (changed(N_PRUNED, bytes(8)), "pruned"),
        (changed(QUANTIZED, b"\x01"), r"quantized model \(.ftz\): the .bin"),
        (changed(FIRST_KIND, b"\x01"), "word 1 is of kind 1"),
        (changed(N_ROWS, b"\x1a"), "matrix of 26 x 3 for 7 words, 20 buckets"),
        (MODEL[:130], "ends at word 3 of 7"),
        (MODEL[:200], "first part"),
        (MODEL[: ROWS + 40], "ends at row 4 of 27"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_model_says_what_is_wrong(tmp_path: Path, data: bytes, message: str, packed: bool) -> None:
    if packed:
        data = gzip.compress(data)
    with pytest.raises(UserError, match=message) as caught:
        read_fasttext(saved(tmp_path, data, "model.bin" + ".gz" * packed))
    assert str(tmp_path) in str(caught.value)


def test_numbers_that_are_not_finite_name_the_word(tmp_path: Path) -> None:
    nan = np.array([np.nan], "<f4").tobytes()
    model = read_fasttext(saved(tmp_path, changed(ROWS + 12, nan)))
    assert np.isfinite(model.vectors(["wein"])[0]).all()
    with pytest.raises(UserError, match="'brot' in a fastText model holds NaN"):
        model.vectors(["brot"])[0]
    with pytest.raises(UserError, match=r"model.bin: the vector of word 2 \('brot'\) holds NaN"):
        read_word_vectors(tmp_path / "model.bin")
    with pytest.raises(UserError, match="is not a file"):
        read_fasttext(tmp_path / "nowhere.bin")
