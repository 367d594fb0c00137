"""Which images a folder holds, and what their bytes and headers say, without decoding them. No TensorFlow."""

import concurrent.futures
import dataclasses
import hashlib
import os
import re
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores

# What keras.utils.image_dataset_from_directory takes.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# Encoders write about ten; a file of 80 kB can hold thousands and keep a core busy for minutes.
MAX_JPEG_SCANS = 100
_JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in a scan's data, FF 00 is an FF and FF D0 to D7 restart it


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """What one image file is known to be without decoding it.

    `format` is by content: png, jpeg, bmp, gif, webp, or None where it is none of these. `width` and `height` are the
    header's, in pixels. `fault` says why the file cannot be used, or None where nothing speaks against it yet.
    """

    path: str
    size_bytes: int
    sha256: str
    format: str | None
    width: int | None
    height: int | None
    fault: str | None


def list_images(directory: str | os.PathLike[str]) -> tuple[list[str], "np.ndarray", list[str]]:
    """(paths, labels int32 (n,), class_names) of a folder whose sub-folders are the classes.

    The same files in the same order as `keras.utils.image_dataset_from_directory(shuffle=False)`: classes by name, then
    folders and files by name, links to folders not followed.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder.
    """
    root = Path(directory)
    if not root.exists():
        raise DataError(f"no folder {root}: check the path")
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give a folder whose sub-folders are the classes, or a .zip of one")
    class_names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not class_names:
        raise DataError(
            f"no class sub-folders in {root}: put the images of each class into a sub-folder named after it"
        )
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        for folder, _, files in sorted(os.walk(root / name), key=lambda entry: entry[0]):
            found = [os.path.join(folder, file) for file in sorted(files) if file.lower().endswith(SUFFIXES)]  # noqa: PTH118
            paths += found
            labels += [label] * len(found)
    return paths, np.asarray(labels, np.int32), class_names


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker in _JPEG_START_OF_FRAME:
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        if marker == 0:  # decoders pass over it as data, so what stands behind it is no segment
            return None
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        else:
            position += 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
    return None


def _jpeg_scans(data: bytes) -> int:
    """Scans of the image itself; what is embedded in it or stands behind it has others."""
    number, position = 0, 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = data[match.start() + 1], match.end()
        if marker == 0xD9:
            break
        number += marker == 0xDA
        position += int.from_bytes(data[position : position + 2], "big")
    return number


def _gif_frames(data: bytes) -> tuple[int, int]:
    """(number, pixels) of all frames: decoders read every one, whatever is made of it, at sizes of its own."""
    if len(data) < 13:
        return 0, 0
    number = pixels = 0
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while position < len(data):
        if data[position] == 0x2C and position + 10 <= len(data):
            width, height, flags = struct.unpack("<HHB", data[position + 5 : position + 10])
            number, pixels = number + 1, pixels + width * height
            position += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif data[position] == 0x21:
            position += 2
        else:
            break
        while position < len(data) and data[position]:  # sub-blocks, each behind its length
            position += 1 + data[position]
        position += 1
    return number, pixels


def _webp_size(data: bytes) -> tuple[int, int] | None:
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def read_header(data: bytes) -> tuple[str | None, int | None, int | None]:
    """(format, width, height) of an encoded image; None for what its first bytes do not say."""
    size: tuple[int, int] | None = None
    kind: str | None = None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "png"
        size = struct.unpack(">II", data[16:24]) if len(data) >= 24 else None
    elif data.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
        size = _jpeg_size(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        kind = "gif"
        size = struct.unpack("<HH", data[6:10]) if len(data) >= 10 else None
    elif data.startswith(b"BM"):
        kind = "bmp"
        if len(data) >= 26:
            width, height = struct.unpack("<ii", data[18:26])
            size = abs(width), abs(height)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind = "webp"
        size = _webp_size(data)
    return (kind, *size) if size else (kind, None, None)


def _fault(data: bytes, kind: str | None, width: int | None, height: int | None, max_image_pixels: int) -> str | None:
    if not data:
        return "empty file"
    if kind is None:
        return "not a PNG, JPEG, BMP, GIF or WebP image"
    if width is None or height is None:
        return f"truncated {kind.upper()} header"
    if width == 0 or height == 0:
        return f"its header claims {width} x {height} pixels"
    if width * height > max_image_pixels:
        return f"its header claims {width} x {height} pixels, more than max_image_pixels={max_image_pixels}"
    if kind == "gif":
        number, pixels = _gif_frames(data)
        if pixels > max_image_pixels:
            return f"its {number} frames claim {pixels} pixels, more than max_image_pixels={max_image_pixels}"
    if (
        kind == "jpeg"
        and data.count(b"\xff\xda") > MAX_JPEG_SCANS
        and (num_scans := _jpeg_scans(data)) > MAX_JPEG_SCANS
    ):
        return f"{num_scans} scans, more than {MAX_JPEG_SCANS}, each of which is a pass over the whole image"
    return None


def scan_file(path: str, *, max_image_pixels: int) -> ImageFile:
    """Reads one file whole; a file that cannot be read comes back with that as its fault."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # a pipe would wait for ever
            return ImageFile(path, 0, "", None, None, None, "not a regular file")
        data = Path(path).read_bytes()
    except OSError as e:
        return ImageFile(path, 0, "", None, None, None, e.strerror or str(e))
    kind, width, height = read_header(data)
    fault = _fault(data, kind, width, height, max_image_pixels)
    return ImageFile(path, len(data), hashlib.sha256(data).hexdigest(), kind, width, height, fault)


def scan(paths: Sequence[str], *, max_image_pixels: int) -> list[ImageFile]:
    """What each file's bytes say, in the order of `paths`. Hashing and reading leave the GIL, so threads share the work."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(16, 2 * num_cores())) as pool:
        return list(pool.map(lambda path: scan_file(path, max_image_pixels=max_image_pixels), paths, chunksize=16))


def fingerprint(files: Sequence[ImageFile]) -> str:
    """A SHA-256, as hex, of the contents of these files in this order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((file.sha256 or f"unreadable {file.path!r}").encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
