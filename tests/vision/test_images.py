"""Images of every kind become upright 8-bit RGB; whatever is wrong with a file is one line that names it."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from unfreeze.errors import MissingExtra, UserError
from unfreeze.vision.images import ImageFile, image_size, load_image, read_image


def picture(width: int = 12, height: int = 9) -> Image.Image:
    """A smooth picture without symmetries."""
    y, x = np.mgrid[:height, :width]
    values = np.stack([200 * x / width, 250 * y / height, 120 * (x + 2 * y) / (width + 2 * height)], axis=2)
    return Image.fromarray(values.astype(np.uint8))


def content(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image"
    path.write_bytes(content(picture(), kind, exif=exif))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == (12, 9) if orientation < 5 else (9, 12)
    assert read_image(path).shape == (*image_size(path)[::-1], 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_at_a_part_of_its_size_covers_the_same_rectangle(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = content(picture(205, 155), kind, exif=exif, quality=95)
    full = load_image(ImageFile(Path("full"), data))
    reduced = load_image(ImageFile(Path("reduced"), data), at_least=19)
    assert min(reduced.picture.size) == 20  # ceil(155 / 8)
    assert reduced.size == full.size == ((205, 155) if orientation < 5 else (155, 205))
    width, height = full.size
    for rectangle in [(0, 0, width, height), (10.5, 20, width - 30, height - 3)]:
        one, other = (np.asarray(each.resized(rectangle, (8, 8)), dtype=float) for each in (full, reduced))
        # An offset of half a pixel of the reduced image would be 4 of 155 to 205 pixels: up to 6 of 250 gray values.
        assert np.abs(one - other).max() < 3


def test_at_least_is_a_lower_bound_of_both_sides() -> None:
    for side in range(1, 64, 7):
        file = ImageFile(Path("x.jpg"), content(picture(64, 200), "JPEG"))
        assert min(read_image(file, at_least=side).shape[:2]) >= side
    assert read_image(file, at_least=500).shape == (200, 64, 3)
    opened = Image.open(io.BytesIO(file.data or b""))
    assert read_image(opened, at_least=4).shape == (13, 4, 3)
    assert opened.size == (64, 200)  # the user's own image is left as it is


def test_modes() -> None:
    rgb = picture()
    gray = np.asarray(rgb.convert("L"))
    expected_gray = np.repeat(gray[:, :, None], 3, axis=2)
    sixteen = Image.fromarray(gray.astype(np.uint16) * 257)
    for image, kind in [(rgb.convert("L"), "PNG"), (sixteen, "PNG"), (sixteen, "TIFF"), (sixteen, "PPM")]:
        found = read_image(ImageFile(Path("gray"), content(image, kind)))
        np.testing.assert_array_equal(found, expected_gray, err_msg=f"{image.mode} {kind}")
    np.testing.assert_array_equal(read_image(rgb.convert("1")), np.asarray(rgb.convert("1").convert("RGB")))
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_image(palette), np.asarray(palette.convert("RGB")))
    np.testing.assert_allclose(read_image(rgb.convert("CMYK")), np.asarray(rgb), atol=1)
    floats = Image.fromarray(gray.astype(np.float32) / 255)
    np.testing.assert_array_equal(read_image(floats), expected_gray)
    with pytest.raises(UserError, match="the image has values from 0 to 400 of the type float32"):
        read_image(Image.fromarray(np.array([[0, 400]], dtype=np.float32)))


def test_transparent_places_are_white() -> None:
    rgba = picture().convert("RGBA")
    alpha = np.zeros((9, 12), dtype=np.uint8)
    alpha[:, 4:] = 255
    alpha[:, 8:] = 51
    rgba.putalpha(Image.fromarray(alpha))
    found = read_image(ImageFile(Path("x.png"), content(rgba, "PNG")))
    rgb = np.asarray(picture())
    assert (found[:, :4] == 255).all()
    np.testing.assert_array_equal(found[:, 4:8], rgb[:, 4:8])
    np.testing.assert_allclose(found[:, 8:], 0.2 * rgb[:, 8:] + 0.8 * 255, atol=1)
    np.testing.assert_allclose(read_image(np.asarray(rgba)), found, atol=1)
    # One color, or one entry of a palette, is transparent.
    stripes = Image.fromarray(np.tile(np.array([0, 90], dtype=np.uint8), (2, 2)))
    for image in (stripes, stripes.convert("RGB"), stripes.convert("P")):
        transparent = (0, 0, 0) if image.mode == "RGB" else 0
        file = ImageFile(Path("x.png"), content(image, "PNG", transparency=transparent))
        np.testing.assert_array_equal(read_image(file)[0, :, 0], [255, 90, 255, 90])


def test_of_an_animation_the_first_frame_is_read(caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    file = ImageFile(Path("moving.gif"), content(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert read_image(file)[0, 0].tolist() == [255, 0, 0]
    assert caplog.messages == ["moving.gif is animated; its first frame is read"]


def header_of(width: int, height: int) -> bytes:
    """A PNG of some bytes that claims to have this size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 4) + b"IDAT"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a format that is read"),
        (b"a text", r"not an image of a format that is read \(JPEG, "),
        (content(picture(64, 64), "JPEG")[:900], "truncated or damaged"),
        (content(picture(64, 64), "PNG")[:-40], "truncated or damaged"),
        (header_of(9434, 9434), "9,434 x 9,434 pixels are more than the 89 million"),
        (header_of(9460, 9460), "more than the 89 million"),
        (header_of(100_000, 100_000), "more than the 89 million"),
    ],
)
def test_bad_files_are_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(data)
    for source in (path, str(path), ImageFile(path), ImageFile(Path("cat.jpg"), data)):
        with pytest.raises(UserError, match=message) as caught:
            read_image(source)
        assert str(caught.value).startswith((str(path), "cat.jpg"))
        assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for read in (read_image, image_size, lambda path: ImageFile(path).digest()):
        with pytest.raises(UserError, match=r"none\.png: no such file"):
            read(tmp_path / "none.png")
        with pytest.raises(UserError, match="cannot be read: Is a directory"):
            read(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r"pip install 'unfreeze\[vision\]'"):
        read_image(tmp_path / "none.png")


KINDS = ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", *["AVIF"] * bool(features.check("avif"))]
GOOD = [content(picture(), kind) for kind in KINDS]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_damaged_files_are_read_or_refused(good: bytes, data: st.DataObject) -> None:
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(good)))]
    try:
        found = read_image(ImageFile(Path("damaged"), bytes(damaged)), at_least=4)
    except UserError as error:
        assert str(error).startswith("damaged: ")
    else:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


def test_arrays() -> None:
    rgb = np.asarray(picture())
    np.testing.assert_array_equal(read_image(rgb), rgb)
    for array in (rgb.astype(np.uint16) * 257, rgb.astype(int), rgb / 255, (rgb / 255).astype(np.float32)):
        np.testing.assert_array_equal(read_image(array), rgb)
    for gray in (rgb[:, :, 0], rgb[:, :, :1]):
        np.testing.assert_array_equal(read_image(gray), np.repeat(rgb[:, :, :1], 3, axis=2))
    assert read_image(np.eye(2) > 0)[0, :, 0].tolist() == [255, 0]
    assert image_size(rgb) == (12, 9)
    with pytest.raises(UserError, match=r"shape 3x9x12, .* transpose\(1, 2, 0\)"):
        read_image(rgb.transpose(2, 0, 1))
    for wrong in (rgb - 300.0, rgb[:0], rgb[0, 0, 0], rgb / 100, rgb * np.nan, None, 3, ["a"]):
        with pytest.raises(UserError):
            read_image(wrong)  # type: ignore[arg-type]


def test_dark_arrays_are_read_as_bright_ones() -> None:
    """The type decides how values are read; that a single image has only small ones does not."""
    dark = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(read_image(dark.astype(np.uint16) * 20)[:, :, 0], np.rint(dark * 20 / 257))
    for kind in (np.int16, np.int32, np.uint32, np.int64):
        np.testing.assert_array_equal(read_image(dark.astype(kind))[:, :, 0], dark)
        with pytest.raises(UserError, match=f"from 256 to 267 of the type {np.dtype(kind)}: .* to uint16"):
            read_image((dark + 256).astype(kind))
    whole = Image.fromarray(dark.astype(np.int32))
    assert whole.mode == "I"
    np.testing.assert_array_equal(read_image(whole)[:, :, 0], dark)
    large = ImageFile(Path("deep.tif"), content(Image.fromarray(dark.astype(np.int32) + 300), "TIFF"))
    with pytest.raises(UserError, match=r"^deep\.tif has values from 300 to 311"):
        read_image(large)


def test_a_file_is_identified_by_its_bytes(tmp_path: Path) -> None:
    data = content(picture(), "PNG")
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(data)
    digests = {ImageFile(tmp_path / name).digest() for name in ("one.png", "two.png")}
    assert digests == {ImageFile(Path("three.png"), data).digest()}
    assert ImageFile(Path("three.png"), data[:-1]).digest() not in digests
