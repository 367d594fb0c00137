"""Pillow's and NumPy's pixels against those that training sees."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_table import png_chunk
from PIL import Image, ImageOps

from hh_fast.data.headers import CUT_OFF
from hh_fast.data.pixels import read_image, resize
from hh_fast.data.scan import scan_file
from hh_fast.errors import DataError

SIZE = (30, 40)
PIXELS = np.random.default_rng(0).integers(0, 256, (57, 51, 4), np.uint8)
LIMIT = 1_000_000


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [
        ((57, 51), (30, 40)),
        ((10, 7), (96, 96)),
        ((300, 200), (200, 300)),
        ((1, 1), (5, 3)),
        ((500, 1), (30, 40)),
        ((641, 359), (299, 301)),
        ((96, 96), (96, 96)),
    ],
)
def test_resize_equals_tensorflow(size_in: tuple[int, int], size_out: tuple[int, int]) -> None:
    import tensorflow as tf

    image = np.random.default_rng(1).integers(0, 256, (*size_in, 3), np.uint8)
    expected = np.rint(tf.image.resize(image, size_out).numpy()).astype(np.uint8)
    made = resize(image, size_out)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, expected)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey_png(bits: int) -> bytes:
    """16 x 8 grey PNG of `bits` bits, which Pillow does not write."""
    data = b"".join(b"\0" + PIXELS[i].tobytes()[: 2 * bits] for i in range(8))
    head = struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png16(channels: int) -> bytes:
    import tensorflow as tf

    values = np.random.default_rng(2).integers(0, 65536, (20, 21, channels)).astype(np.uint16)
    return bytes(tf.io.encode_png(values).numpy())


RGB = Image.fromarray(PIXELS[..., :3])
GREY = Image.fromarray(PIXELS[..., 0])
BY_TENSORFLOW: dict[str, Callable[[], bytes]] = {
    "palette with a clear color": lambda: encoded(RGB.convert("P"), "PNG", transparency=3),
    "1 bit": lambda: encoded(GREY.convert("1"), "PNG"),
    "2 bit grey": lambda: grey_png(2),
    "4 bit grey": lambda: grey_png(4),
    "16 bit grey": lambda: png16(1),
    "16 bit grey and alpha": lambda: png16(2),
    "16 bit rgb": lambda: png16(3),
    "16 bit rgba": lambda: png16(4),
    "grey and alpha": lambda: encoded(Image.fromarray(PIXELS[..., :2].copy(), "LA"), "PNG"),
    "jpeg": lambda: encoded(RGB, "JPEG", quality=80),
}


@pytest.mark.parametrize("name", BY_TENSORFLOW)
def test_pixels_are_those_of_tensorflow(name: str, tmp_path: Path) -> None:
    from hh_fast.data.decode import decode
    from hh_fast.data.image_form import ImageForm

    path = tmp_path / "image"
    path.write_bytes(BY_TENSORFLOW[name]())
    assert scan_file(str(path), max_image_pixels=LIMIT).header.decoder == "tensorflow"
    made = read_image(str(path), SIZE, max_image_pixels=LIMIT)
    assert made.shape == (*SIZE, 3)
    np.testing.assert_array_equal(made, decode(path.read_bytes(), ImageForm(SIZE)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    RGB.save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(str(path), None, max_image_pixels=LIMIT), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a PNG, JPEG, BMP, GIF or WebP image"),
        (encoded(RGB, "WEBP")[:400], "damaged WEBP data (could not create decoder object)"),
        (encoded(RGB, "PNG")[:30], CUT_OFF),
        (encoded(RGB, "PNG")[:2000], CUT_OFF),
        (encoded(RGB, "JPEG")[:900], CUT_OFF),
        (encoded(RGB, "GIF")[:900], CUT_OFF),
    ],
)
def test_says_what_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(str(path), SIZE, max_image_pixels=LIMIT)
    assert str(caught.value) == f"{path}: {reason}"


def test_what_no_pixel_depends_on_is_no_obstacle(tmp_path: Path) -> None:
    """A text of 2 MB and a profile that is none, over which Pillow or libpng would stumble."""
    whole = encoded(RGB, "PNG")
    path = tmp_path / "image.png"
    texts = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000))) + png_chunk(b"iCCP", b"no profile")
    path.write_bytes(whole[:33] + texts + whole[33:])
    np.testing.assert_array_equal(read_image(str(path), None, max_image_pixels=LIMIT), PIXELS[..., :3])


def test_the_limit_of_pixels_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "image.png"
    RGB.save(path)
    np.testing.assert_array_equal(read_image(str(path), None, max_image_pixels=LIMIT), PIXELS[..., :3])


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        read_image(str(tmp_path / "pipe.png"), SIZE, max_image_pixels=LIMIT)


def test_takes_no_memory_for_more_pixels_than_allowed(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head))
    with pytest.raises(DataError) as caught:
        read_image(str(path), SIZE, max_image_pixels=100_000_000)
    assert str(caught.value) == (
        f"{path}: its header claims 60000 x 60000 pixels, more than max_image_pixels=100000000"
    )
