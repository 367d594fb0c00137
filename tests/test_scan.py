"""What files' bytes and headers say."""

import collections
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hh_fast.data.headers import format_and_size
from hh_fast.data.keras_rules import list_as_keras
from hh_fast.data.scan import (
    describe_left_out,
    fingerprint,
    left_out_kind,
    list_images,
    list_others,
    scan,
    scan_file,
)
from hh_fast.errors import DataError

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
        (b"plain text", "not a PNG, JPEG, BMP, GIF or WebP image"),
        (encoded("PNG")[:20], "truncated PNG header"),
        (encoded("JPEG")[:30], "truncated JPEG header"),
        (png_claiming(0, 5), "its header claims 0 x 5 pixels"),
        (png_claiming(60_000, 60_000), "its header claims 60000 x 60000 pixels, more than max_image_pixels=100000000"),
        (encoded("PNG"), None),
    ],
)
def test_faults_that_headers_show(tmp_path: Path, data: bytes, fault: str | None) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert scan_file(str(path), max_image_pixels=LIMIT).fault == fault


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    faults = [
        file.fault
        for file in scan(
            [str(tmp_path / name) for name in ("pipe.png", "dir.png", "dangling.png", "loop.png")],
            max_image_pixels=LIMIT,
        )
    ]
    assert faults == [
        "not a regular file",
        "not a regular file",
        "No such file or directory",
        "Too many levels of symbolic links",
    ]


def test_the_fingerprint_follows_content_and_order_but_not_names(make_images: Callable[..., Path]) -> None:
    paths = list_images(make_images("a", {"x": 3, "y": 3}))[0]
    files = scan(paths, max_image_pixels=LIMIT)
    same = scan(list_images(make_images("b", {"x": 3, "y": 3}))[0], max_image_pixels=LIMIT)
    other = scan(list_images(make_images("c", {"x": 3, "y": 3}, seed=1))[0], max_image_pixels=LIMIT)
    assert fingerprint(files) == fingerprint(same)
    assert len({fingerprint(files), fingerprint(other), fingerprint(files[::-1])}) == 3


def test_the_listing_is_that_of_keras(make_images: Callable[..., Path]) -> None:
    import keras

    root = make_images("a", {"b class": 3, "a": 2, "C": 2})
    (root / ".hidden").mkdir()
    (root / "a" / "inner").mkdir()
    (root / "a" / "inner" / "Z.PNG").write_bytes((root / "a" / "000.png").read_bytes())
    (root / "a" / "notes.txt").write_text("no image")
    (root / "a" / "001.webp").write_bytes(b"")
    (root / "stray.png").write_bytes(b"")
    paths, labels, class_names = list_as_keras(root, "inferred", None, follow_links=False)
    theirs = keras.utils.image_dataset_from_directory(
        root, shuffle=False, batch_size=None, image_size=(24, 24), verbose=False
    )
    assert paths == theirs.file_paths
    assert class_names == theirs.class_names
    np.testing.assert_array_equal(labels, [int(label) for _, label in theirs])


def test_names_that_are_not_utf8_or_hold_line_breaks_are_read(make_images: Callable[..., Path]) -> None:
    root = make_images("a", {"x": 1, "y": 1})
    data = (root / "x" / "000.png").read_bytes()
    for name in (b"bad\xff.png", b"line\nbreak.png", b"a space.png"):
        with open(os.path.join(os.fsencode(root / "x"), name), "wb") as out:
            out.write(data)
    paths, _, _ = list_images(root)
    assert len(paths) == 5
    assert [file.fault for file in scan(paths, max_image_pixels=LIMIT)] == [None] * 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no folder {root}: check the path"),
        (
            lambda root: root.write_text(""),
            "{root} is no folder: give a folder whose sub-folders are the classes, or a .zip of one",
        ),
        (
            lambda root: root.mkdir(),
            "no class sub-folders in {root}: put the images of each class into a sub-folder named after it",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    root = tmp_path / "root"
    make(root)
    with pytest.raises(DataError) as caught:
        list_images(root)
    assert str(caught.value) == message.format(root=root)


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
            "its header claims 60000 x 60000 pixels, more than max_image_pixels=100000000",
        ),
        (gif((8, 8), (8, 8), *[(9_000, 9_000)] * 2), None),
    ],
)
def test_the_first_frame_of_a_gif_counts_at_its_own_size(tmp_path: Path, data: bytes, fault: str | None) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(data)
    assert scan_file(str(path), max_image_pixels=LIMIT).fault == fault


def test_a_jpeg_of_many_scans_is_refused_but_what_it_embeds_is_not_counted(tmp_path: Path) -> None:
    whole = encoded("JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    files = {
        "bomb": whole[:last] + whole[last:-2] * 200 + whole[-2:],
        "behind": whole + b"\xff\xda" * 200,
        "embedded": encoded("JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 200),
    }
    faults = {}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        faults[name] = scan_file(str(tmp_path / name), max_image_pixels=LIMIT).fault
    number = whole.count(b"\xff\xda") + 199
    expected = f"{number} scans, more than 100, each of which is a pass over the whole image"
    assert faults == {"bomb": expected, "behind": None, "embedded": None}


def test_what_a_jpeg_decoder_passes_over_is_no_header(tmp_path: Path) -> None:
    whole = encoded("JPEG")
    hidden = b"\xff\0\0\2" + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    assert format_and_size(whole[:2] + b"\xff" + hidden + whole[2:]) == ("jpeg", None, None)


def test_what_is_left_out_is_counted(make_images: Callable[..., Path]) -> None:
    root = make_images("a", {"x": 1, "y": 1})
    for name in ("x/1.heic", "x/2.HEIC", "y/README", "y/.DS_Store", "stray.png"):
        (root / name).touch()
    others = list_others(root)
    assert others == [str(root / name) for name in ("stray.png", "x/1.heic", "x/2.HEIC", "y/README")]
    kinds = collections.Counter(map(left_out_kind, others))
    assert describe_left_out(kinds) == ".heic (2), .png in no class folder (1), no suffix (1)"


PNG = encoded("PNG")
IDAT, IEND = PNG[33:-12], PNG[-12:]
DAMAGED = "damaged: its chunks are not those of a PNG"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (PNG[:33] + b"\0\0\0\1tEXtk...." + PNG[33:], None),  # a text's checksum: no pixel depends on it
        (PNG[:-5] + b"X" + PNG[-4:], "damaged: its IENX chunk fails its checksum"),
        (PNG[:30] + b"X" + PNG[31:], "damaged: its IHDR chunk fails its checksum"),
        (PNG[:-12], "the file is cut off: not all of the image is there"),
        (PNG[:33] + IEND, DAMAGED),
        (PNG[:33] + PNG[8:33] + PNG[33:], DAMAGED),
        (PNG[:33] + IDAT + b"\0\0\0\0CgBI" + struct.pack(">I", zlib.crc32(b"CgBI")) + IEND, DAMAGED),
        (PNG[:33] + IDAT + b"\0\0\0\0tEXt...." + IDAT + IEND, DAMAGED),
    ],
)
def test_png_files_that_libpng_refuses(tmp_path: Path, data: bytes, fault: str | None) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert scan_file(str(path), max_image_pixels=LIMIT).fault == fault


def test_a_jpeg_of_another_making_is_left_to_pillow(tmp_path: Path) -> None:
    whole = encoded("JPEG", subsampling=2)
    frame = whole.index(b"\xff\xc0")
    cases = {
        "tensorflow": [whole, whole + b"trailing", encoded("JPEG", "L")],
        "pillow": [
            whole[:-2],  # no end
            whole[: frame + 1] + b"\xc9" + whole[frame + 2 :],  # arithmetic coding
            whole[: frame + 4] + b"\x0c" + whole[frame + 5 :],  # 12 bits
            whole[: frame + 11] + b"\x41" + whole[frame + 12 :],  # 4:1:1
            encoded("JPEG", "CMYK"),
        ],
    }
    path = tmp_path / "a.jpg"
    for decoder, contents in cases.items():
        for data in contents:
            path.write_bytes(data)
            file = scan_file(str(path), max_image_pixels=LIMIT)
            assert (file.fault, file.header.decoder) == (None, decoder)
