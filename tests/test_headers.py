"""What files' bytes and headers say."""

import io
import struct
import zlib

import pytest
from PIL import Image

from hh_fast.data.headers import format_and_size, read_header

LIMIT = 100_000_000


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (50, 40)).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded("PNG"), "png"),
        (encoded("JPEG"), "jpeg"),
        (encoded("JPEG", progressive=True), "jpeg"),
        (encoded("JPEG", "CMYK"), "jpeg"),
        (encoded("JPEG", exif=b"Exif\0\0" + b"x" * 9000), "jpeg"),
        (encoded("BMP"), "bmp"),
        (encoded("GIF"), "gif"),
        (encoded("WEBP"), "webp"),
        (encoded("WEBP", lossless=True), "webp"),
        (encoded("WEBP", "RGBA", exif=b"Exif\0\0x"), "webp"),
        (encoded("AVIF"), "avif"),
    ],
)
def test_format_and_size_come_from_the_header(data: bytes, kind: str) -> None:
    assert format_and_size(data) == (kind, 50, 40)


def png_claiming(width: int, height: int) -> bytes:
    data = encoded("PNG")
    return data[:16] + struct.pack(">II", width, height) + data[24:]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty file"),
        (b"plain text", "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image"),
        (encoded("PNG")[:20], "truncated PNG header"),
        (encoded("JPEG")[:30], "truncated JPEG header"),
        (png_claiming(0, 5), "its header states 0 x 5 pixels"),
        (png_claiming(60_000, 60_000), "its header states 60000 x 60000 pixels, more than max_image_pixels=100000000"),
        (encoded("PNG"), None),
    ],
)
def test_faults_that_headers_show(data: bytes, fault: str | None) -> None:
    assert read_header(data, max_image_pixels=LIMIT).fault == fault


def gif(screen: tuple[int, int], *frames: tuple[int, int], comment: bytes = b"") -> bytes:
    """A GIF with colour tables of both kinds and no pixels worth the name."""
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + bytes(12)
    if comment:
        data += b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0"
    for frame in frames:
        data += b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0x80) + bytes(6) + b"\2\2\x44\x01\0"
    return data + b"\x3b"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (gif((8, 8), (8, 8)), None),
        (
            gif((8, 8), (60_000, 60_000), comment=b"\x2c\x3b"),
            "its header states 60000 x 60000 pixels, more than max_image_pixels=100000000",
        ),
        (gif((8, 8), (8, 8), *[(9_000, 9_000)] * 2), None),
    ],
)
def test_the_first_frame_of_a_gif_counts_at_its_own_size(data: bytes, fault: str | None) -> None:
    assert read_header(data, max_image_pixels=LIMIT).fault == fault


def test_a_jpeg_of_many_scans_is_refused_but_what_it_embeds_is_not_counted() -> None:
    whole = encoded("JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    files = {
        "bomb": whole[:last] + whole[last:-2] * 200 + whole[-2:],
        "behind": whole + b"\xff\xda" * 200,
        "embedded": encoded("JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 200),
    }
    faults = {name: read_header(data, max_image_pixels=LIMIT).fault for name, data in files.items()}
    number = whole.count(b"\xff\xda") + 199
    expected = f"{number} scans, more than 100, and each takes a pass over the whole image"
    assert faults == {"bomb": expected, "behind": None, "embedded": None}


def test_what_a_jpeg_decoder_passes_over_is_no_header() -> None:
    whole = encoded("JPEG")
    hidden = b"\xff\0\0\2" + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    assert format_and_size(whole[:2] + b"\xff" + hidden + whole[2:]) == ("jpeg", None, None)


PNG = encoded("PNG")
IDAT, IEND = PNG[33:-12], PNG[-12:]
DAMAGED = "damaged: invalid sequence of PNG chunks"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (PNG[:33] + b"\0\0\0\1tEXtk...." + PNG[33:], None),  # a text's checksum: no pixel depends on it
        (PNG[:-5] + b"X" + PNG[-4:], "damaged: its IENX chunk fails its checksum"),
        (PNG[:30] + b"X" + PNG[31:], "damaged: its IHDR chunk fails its checksum"),
        (PNG[:-12], "the file is truncated: part of the image is missing"),
        (PNG[:33] + IEND, DAMAGED),
        (PNG[:33] + PNG[8:33] + PNG[33:], DAMAGED),
        (PNG[:33] + IDAT + b"\0\0\0\0CgBI" + struct.pack(">I", zlib.crc32(b"CgBI")) + IEND, DAMAGED),
        (PNG[:33] + IDAT + b"\0\0\0\0tEXt...." + IDAT + IEND, DAMAGED),
    ],
)
def test_png_files_that_libpng_refuses(data: bytes, fault: str | None) -> None:
    assert read_header(data, max_image_pixels=LIMIT).fault == fault


def test_a_jpeg_of_another_making_is_not_plain() -> None:
    whole = encoded("JPEG", subsampling=2)
    frame = whole.index(b"\xff\xc0")
    cases = {
        True: [whole, whole + b"trailing", encoded("JPEG", "L"), PNG],
        False: [
            whole[:-2],  # no end
            whole[: frame + 1] + b"\xc9" + whole[frame + 2 :],  # arithmetic coding
            whole[: frame + 4] + b"\x0c" + whole[frame + 5 :],  # 12 bits
            whole[: frame + 11] + b"\x41" + whole[frame + 12 :],  # 4:1:1
            encoded("JPEG", "CMYK"),
            encoded("WEBP"),
        ],
    }
    for is_plain, contents in cases.items():
        for data in contents:
            header = read_header(data, max_image_pixels=LIMIT)
            assert (header.fault, header.is_plain) == (None, is_plain)


def test_the_largest_image_of_a_heic_counts() -> None:
    """A photo is made of tiles, and has a preview."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    sizes = [(512, 512), (4032, 3024), (320, 240)]
    properties = b"".join(box(b"ispe", struct.pack(">III", 0, *size)) for size in sizes)
    data = box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", properties)
    assert format_and_size(data) == ("heic", 4032, 3024)
    assert read_header(data, max_image_pixels=10**7).fault == (
        "its header states 4032 x 3024 pixels, more than max_image_pixels=10000000"
    )
