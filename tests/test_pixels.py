"""The decoder, beside Pillow and Keras."""

import io
import os
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from picture_table import png_chunk, turned
from PIL import Image, ImageOps

from hh_fast.data.headers import TRUNCATED, read_header
from hh_fast.data.pixels import ImageForm, fit, read_pixels
from hh_fast.errors import DataError

SIZE = (30, 40)
FORM = ImageForm(SIZE)
PIXELS = np.random.default_rng(0).integers(0, 256, (57, 51, 4), np.uint8)
LIMIT = 1_000_000
RGB = Image.fromarray(PIXELS[..., :3])
GREY = Image.fromarray(PIXELS[..., 0])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [
        ((57, 51), (30, 40)),
        ((10, 7), (96, 96)),
        ((300, 200), (200, 300)),
        ((1, 1), (5, 3)),
        ((500, 1), (30, 40)),
        ((641, 359), (299, 301)),
        ((1500, 2000), (224, 224)),
        ((4, 40_000), (30, 40)),
        ((96, 96), (96, 96)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_is_that_of_tensorflow(size_in: tuple[int, int], size_out: tuple[int, int], channels: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size_in, channels), np.uint8)
    made = fit(image, ImageForm(size_out, channels))
    assert made.dtype == np.uint8
    np.testing.assert_allclose(made, np.rint(tf.image.resize(image, size_out)), atol=1)


def test_crop_and_pad_of_a_line_leave_something() -> None:
    line = np.full((10, 4000, 3), 200, np.uint8)
    assert (fit(line, ImageForm((50, 40), aspect="crop")) == 200).all()
    padded = fit(line, ImageForm((50, 40), aspect="pad"))
    assert (padded[24] == 200).all()
    assert (np.delete(padded, 24, axis=0) == 0).all()


def grey_png(bits: int) -> bytes:
    """16 x 8 grey PNG of `bits` bits, which Pillow does not write."""
    data = b"".join(b"\0" + PIXELS[i].tobytes()[: 2 * bits] for i in range(8))
    head = struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png16(channels: int) -> bytes:
    values = np.random.default_rng(2).integers(0, 65536, (20, 21, channels)).astype(np.uint16)
    return bytes(tf.io.encode_png(values).numpy())


PNGS = {
    "palette with a clear color": encoded(RGB.convert("P"), "PNG", transparency=3),
    "1 bit": encoded(GREY.convert("1"), "PNG"),
    "2 bit grey": grey_png(2),
    "4 bit grey": grey_png(4),
    "16 bit grey": png16(1),
    "16 bit grey and alpha": png16(2),
    "16 bit rgb": png16(3),
    "16 bit rgba": png16(4),
    "grey and alpha": encoded(Image.fromarray(PIXELS[..., :2].copy(), "LA"), "PNG"),
    "rgba": encoded(Image.fromarray(PIXELS), "PNG"),
}


def test_pixels_of_png_are_those_of_keras(tmp_path: Path) -> None:
    for name, data in PNGS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(data)
    theirs = keras.utils.image_dataset_from_directory(
        tmp_path, shuffle=False, batch_size=None, image_size=SIZE, verbose=False
    )
    assert len(theirs.class_names) == len(PNGS)
    for path, (pixels, _) in zip(theirs.file_paths, theirs, strict=True):
        np.testing.assert_allclose(read_pixels(path, FORM), np.rint(pixels), atol=1, err_msg=path)


JPEGS = [  # Pillow mode, options
    ("RGB", {"quality": 80}),
    ("RGB", {"quality": 97, "subsampling": 0}),
    ("RGB", {"quality": 50, "subsampling": 1}),
    ("RGB", {"quality": 20, "progressive": True}),
    ("L", {"quality": 90}),
    ("CMYK", {"quality": 90}),
]


@pytest.mark.parametrize(("mode", "options"), JPEGS)
def test_pixels_of_jpeg_are_those_of_pillow(mode: str, options: dict[str, object]) -> None:
    for size in [(31, 40), (200, 301)]:
        data = encoded(RGB.resize(size[::-1], Image.Resampling.BICUBIC, (0, 0, 9, 9)).convert(mode), "JPEG", **options)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(read_pixels(data, None), expected)
        np.testing.assert_array_equal(read_pixels(data, ImageForm(size)), expected)


def test_what_libjpeg_only_warns_of_is_read_as_viewers_do(capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.effect_noise((64, 64), 50)
    data = bytearray(encoded(image, "JPEG"))
    data[-100:-90] = b"\xff\xd0" * 5
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert read_header(bytes(data), max_image_pixels=LIMIT).is_plain
    np.testing.assert_array_equal(read_pixels(bytes(data), None), expected)
    assert capfd.readouterr().err == ""


def test_memory_that_is_used_again_does_not_show_in_results() -> None:
    jpegs = [encoded(Image.new("RGB", (40, 30), (i, i, i)), "JPEG") for i in (20, 200)]
    first, second = (read_pixels(data, None) for data in jpegs)
    assert abs(int(first.mean()) - 20) <= 1
    assert abs(int(second.mean()) - 200) <= 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    data = encoded(RGB, kind, exif=turned(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(read_pixels(data, None), expected)
    resized = np.rint(tf.image.resize(expected, SIZE))
    np.testing.assert_allclose(read_pixels(data, FORM), resized, atol=1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image"),
        (encoded(RGB, "WEBP")[:400], "damaged WEBP data (could not create decoder object)"),
        (encoded(RGB, "PNG")[:30], TRUNCATED),
        (encoded(RGB, "PNG")[:2000], TRUNCATED),
        (encoded(RGB, "JPEG")[:900], TRUNCATED),
        (encoded(RGB, "GIF")[:900], TRUNCATED),
        (encoded(RGB, "AVIF")[:900], "damaged AVIF data (Failed to decode image: BMFF parsing failed)"),
    ],
)
def test_says_what_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_pixels(str(path), FORM, max_image_pixels=LIMIT)
    assert str(caught.value) == f"{path}: {reason}"


def test_what_no_pixel_depends_on_is_no_obstacle() -> None:
    """A text of 2 MB and a profile that is none, over which Pillow or libpng would stumble."""
    whole = encoded(RGB, "PNG")
    texts = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000))) + png_chunk(b"iCCP", b"no profile")
    np.testing.assert_array_equal(read_pixels(whole[:33] + texts + whole[33:], None), PIXELS[..., :3])


def test_the_limit_of_pixels_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(read_pixels(encoded(RGB, "PNG"), None), PIXELS[..., :3])


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        read_pixels(str(tmp_path / "pipe.png"), FORM)


def test_takes_no_memory_for_more_pixels_than_allowed() -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    with pytest.raises(DataError) as caught:
        read_pixels(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head), FORM, max_image_pixels=100_000_000)
    assert str(caught.value) == "its header states 60000 x 60000 pixels, more than max_image_pixels=100000000"
