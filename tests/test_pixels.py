"""Pillow's and NumPy's pixels against those that training sees."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hh_fast.errors import DataError
from hh_fast.predict.pixels import read_image, resize

SIZE = (30, 40)
PIXELS = np.random.default_rng(0).integers(0, 256, (57, 51, 4), np.uint8)
LIMIT = 1_000_000


def training_pixels(encoded: bytes, size: tuple[int, int] = SIZE) -> np.ndarray:
    from hh_fast.data.decode import decode

    return decode(encoded, size).numpy()


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
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
    assert (made != expected).mean() < 1e-3


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey_png(bits: int) -> bytes:
    """16 x 8 grey PNG of `bits` bits, which Pillow does not write."""
    data = b"".join(b"\0" + PIXELS[i].tobytes()[: 2 * bits] for i in range(8))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def png16(channels: int) -> bytes:
    import tensorflow as tf

    values = np.random.default_rng(2).integers(0, 65536, (20, 21, channels)).astype(np.uint16)
    return bytes(tf.io.encode_png(values).numpy())


RGB = Image.fromarray(PIXELS[..., :3])
GREY = Image.fromarray(PIXELS[..., 0])
LEVELS16 = Image.fromarray(np.random.default_rng(3).integers(0, 65536, (20, 21)).astype(np.uint16))
ENCODED: dict[str, Callable[[], bytes]] = {
    "rgb": lambda: saved(RGB, "PNG"),
    "rgba": lambda: saved(Image.fromarray(PIXELS), "PNG"),
    "grey": lambda: saved(GREY, "PNG"),
    "grey and alpha": lambda: saved(Image.fromarray(PIXELS[..., :2].copy(), "LA"), "PNG"),
    "palette": lambda: saved(RGB.convert("P"), "PNG"),
    "palette with a clear color": lambda: saved(RGB.convert("P"), "PNG", transparency=3),
    "1 bit": lambda: saved(GREY.convert("1"), "PNG"),
    "2 bit grey": lambda: grey_png(2),
    "4 bit grey": lambda: grey_png(4),
    "16 bit grey": lambda: saved(LEVELS16, "PNG"),
    "16 bit grey and alpha": lambda: png16(2),
    "16 bit rgb": lambda: png16(3),
    "16 bit rgba": lambda: png16(4),
    "bmp": lambda: saved(RGB, "BMP"),
    "grey bmp": lambda: saved(GREY, "BMP"),
    "palette bmp": lambda: saved(RGB.convert("P"), "BMP"),
    "gif": lambda: saved(RGB.convert("P"), "GIF"),
    "gif with a clear color": lambda: saved(RGB.convert("P"), "GIF", transparency=3),
    "webp": lambda: saved(RGB, "WEBP"),
    "moving gif": lambda: saved(
        RGB.convert("P"), "GIF", save_all=True, append_images=[RGB.rotate(90, expand=False).convert("P")]
    ),
}


@pytest.mark.parametrize("name", ENCODED)
def test_reads_what_training_reads(name: str, tmp_path: Path) -> None:
    encoded = ENCODED[name]()
    path = tmp_path / "image"
    path.write_bytes(encoded)
    made = read_image(str(path), SIZE, max_image_pixels=LIMIT)
    assert made.shape == (*SIZE, 3)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, training_pixels(encoded))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_differs_by_the_decoders_rounding_only(mode: str, tmp_path: Path) -> None:
    smooth = RGB.resize((300, 200), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees, which training does not heed
    encoded = saved(smooth, "JPEG", quality=90, exif=exif)
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded)
    difference = np.abs(
        read_image(str(path), SIZE, max_image_pixels=LIMIT).astype(int) - training_pixels(encoded).astype(int)
    )
    assert difference.mean() < 1.5
    assert difference.max() <= 14


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "{path}: not a PNG, JPEG, BMP, GIF or WebP image"),
        (b"hello", "{path}: not a PNG, JPEG, BMP, GIF or WebP image"),
        (saved(RGB, "WEBP")[:400], "{path}: "),
        (saved(RGB, "PNG")[:30], "{path}: "),
        (saved(RGB, "PNG")[:2000], "{path}: it does not decode: image file is truncated"),
        (saved(RGB, "JPEG")[:900], "{path}: it does not decode: image file is truncated"),
        (saved(RGB, "GIF")[:900], "{path}: it does not decode: image file is truncated"),
    ],
)
def test_says_what_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(str(path), SIZE, max_image_pixels=LIMIT)
    assert str(caught.value).startswith(reason.format(path=path))
    assert "\n" not in str(caught.value)


def test_takes_no_memory_for_more_pixels_than_allowed(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header)
    with pytest.raises(DataError) as caught:
        read_image(str(path), SIZE, max_image_pixels=100_000_000)
    assert str(caught.value) == (
        f"{path}: its header claims 60000 x 60000 pixels, more than max_image_pixels=100000000"
    )
