"""Inspects the bytes of an encoded image without decoding it: format, size, orientation, faults.

All commands use this, so that they agree on which files are images. No TensorFlow.
"""

import dataclasses
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, TypeAlias

# Encoders write about ten; a malicious file of 80 kB can have thousands and keep a core busy for minutes.
MAX_JPEG_SCANS = 100
Segment: TypeAlias = tuple[int, int, int]  # of a JPEG: marker, start and end of the content
_JPEG_MARKER = re.compile(
    rb"\xff[^\x00\xff\xd0-\xd7]"
)  # in scan data, FF 00 is an escaped FF, and FF D0 to FF D7 are restart markers
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_APP1_TO_APP13_APP15_COMMENT = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_LUMA_SAMPLINGS = (0x11, 0x21, 0x22)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = {b"IHDR": "H", b"PLTE": "P", b"IDAT": "D", b"IEND": "E"}
_PNG_ORDER = re.compile(r"Ha*(P?)a*D+a*E")
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
# HEIC and AVIF: the size property of an image or of one of its tiles.
_ISPE = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})
NOT_AN_IMAGE = "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image"
TRUNCATED = "the file is truncated: part of the image is missing"


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What is known of an encoded image without decoding it.

    `format` is by content: png, jpeg, webp, heic, avif, bmp, gif, or None for others. `width` and `height` are as stored, in
    pixels. `orientation` is EXIF's, 1 (upright) to 8. `is_plain`: a PNG or common kind of JPEG that all decoders decode to the
    pixels that image viewers show, except for the orientation. `fault` is the reason why the image cannot be used, or None if
    none is known yet.
    """

    format: str | None
    width: int | None
    height: int | None
    orientation: int = 1
    is_plain: bool = False
    fault: str | None = None

    @property
    def is_upright_and_plain(self) -> bool:
        """Whether a decoder that ignores the orientation decodes it correctly."""
        return self.is_plain and self.orientation == 1


def _jpeg_segments(data: bytes) -> list[Segment]:
    """The segments up to the header of the first scan, or to the first invalid one; empty if this is not a JPEG."""
    found: list[Segment] = []
    position = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0:  # decoders skip this as data, so what follows is not a segment
            break
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        else:
            end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            if not position + 4 <= end <= len(data):
                break
            found.append((marker, position + 4, end))
            if marker == _START_OF_SCAN:
                break
            position = end
    return found


def _jpeg_size(data: bytes, segments: Sequence[Segment]) -> tuple[int, int] | None:
    for marker, start, end in segments:
        if marker in _START_OF_FRAME and end - start >= 6:
            height, width = struct.unpack(">HH", data[start + 1 : start + 5])
            return width, height
    return None


def _jpeg_scans(data: bytes, segments: Sequence[Segment]) -> int:
    """The number of scans of the image itself, without those of embedded previews or trailing data.

    1 if it is not progressive and the first scan has all components, as decoders then ignore any others.
    """
    components = 0
    for marker, start, _ in segments:
        if marker in (0xC0, 0xC1):
            components = data[start + 5]
        if marker == _START_OF_SCAN and components and data[start] == components:
            return 1
    number, position = 0, 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = data[match.start() + 1], match.end()
        if marker == 0xD9:
            break
        number += marker == _START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")
    return number


def _is_plain_jpeg(data: bytes, segments: Sequence[Segment]) -> bool:
    """Whether all libjpeg builds decode it alike: Huffman-coded 8-bit grey or colour, not CMYK, with common subsampling."""
    frames = [segment for segment in segments if segment[0] in _START_OF_FRAME]
    if len(frames) != 1 or segments[-1][0] != _START_OF_SCAN or data.rfind(b"\xff\xd9", segments[-1][2]) < 0:
        return False
    marker, start, end = frames[0]
    precision, num_components = data[start], data[start + 5]
    samplings = data[start + 7 : end : 3]
    return (
        marker in _HUFFMAN_FRAMES
        and precision == 8
        and num_components in (1, 3)
        and len(samplings) == num_components
        and samplings[0] in _LUMA_SAMPLINGS
        and set(samplings[1:]) <= {0x11}
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each chunk, up to the end of the image or of a truncated file."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        kind = data[position + 4 : position + 8]
        start = position + 8
        end = start + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return
        yield kind, start, end
        if kind == b"IEND":
            return
        position = end + 4


def _png_fault(data: bytes) -> str | None:
    """The fault that libpng finds, and Pillow not always: critical chunks that are damaged, missing or out of order.

    Ancillary chunks (texts, profiles, dates) are not checked, since decoding does not depend on them.
    """
    order, view = "", memoryview(data)
    for kind, start, end in _png_chunks(data):
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"damaged: its {kind.decode('ascii', 'backslashreplace')} chunk fails its checksum"
        order += _CRITICAL.get(kind, "?") if is_critical else "a"
    if not order.endswith("E"):
        return TRUNCATED
    depth, colour, compression, filtering, interlace = data[24:29]
    match = _PNG_ORDER.fullmatch(order)
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        return "damaged: invalid PNG header"
    if match is None or (colour == 3 and not match[1]):
        return "damaged: invalid sequence of PNG chunks"
    return None


def _gif_first_frame(data: bytes) -> tuple[int, int]:
    """The right and bottom end of the first frame, which may exceed the logical screen."""
    position = 13 + (3 << (data[10] & 7) + 1 if data[10:11] and data[10] & 0x80 else 0)
    while position < len(data):
        if data[position] == 0x2C and position + 9 <= len(data):
            left, top, width, height = struct.unpack("<HHHH", data[position + 1 : position + 9])
            return left + width, top + height
        if data[position] != 0x21:
            break
        position += 2
        while position < len(data) and data[position]:  # sub-blocks, each after its length
            position += 1 + data[position]
        position += 1
    return 0, 0


def _gif_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 10:
        return None
    width, height = struct.unpack("<HH", data[6:10])
    across, down = _gif_first_frame(data)
    return max(width, across), max(height, down)


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 26:
        return None
    if data[14:18] == b"\x0c\0\0\0":  # OS/2's short header
        return struct.unpack("<HH", data[18:22])
    width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)


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


def _is_of(data: bytes, brands: Collection[bytes]) -> bool:
    """Whether an ISO base media file has one of `brands` as its major or a compatible brand."""
    named = data[8 : int.from_bytes(data[:4], "big")] if data[4:8] == b"ftyp" else b""
    return any(named[i : i + 4] in brands for i in range(0, min(len(named), 256), 4))


def _iso_size(data: bytes) -> tuple[int, int] | None:
    """The size of the largest image in the file; the others are its tiles, previews and masks."""
    sizes = [struct.unpack(">II", match[1] + match[2]) for match in _ISPE.finditer(data)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def format_and_size(data: bytes) -> tuple[str | None, int | None, int | None]:
    """(format, width, height) of an encoded image; None for unknown ones."""
    return _format_and_size(data, _jpeg_segments(data))


def _format_and_size(data: bytes, segments: Sequence[Segment]) -> tuple[str | None, int | None, int | None]:
    size: tuple[int, int] | None = None
    kind: str | None = None
    if data.startswith(PNG_SIGNATURE):
        kind = "png"
        size = struct.unpack(">II", data[16:24]) if len(data) >= 29 else None
    elif data.startswith(b"\xff\xd8\xff"):
        kind, size = "jpeg", _jpeg_size(data, segments)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        kind, size = "gif", _gif_size(data)
    elif data.startswith(b"BM"):
        kind, size = "bmp", _bmp_size(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind, size = "webp", _webp_size(data)
    elif _is_of(data, (b"avif", b"avis")):
        kind, size = "avif", _iso_size(data)
    elif _is_of(data, _HEIC_BRANDS):
        kind, size = "heic", _iso_size(data)
    return (kind, *size) if size else (kind, None, None)


def _exif(data: bytes, kind: str, segments: Sequence[Segment]) -> bytes:
    """The EXIF block, a TIFF file without an image; empty if there is none."""
    if kind == "jpeg":
        found = (
            data[start + 6 : end]
            for marker, start, end in segments
            if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0"
        )
    elif kind == "png":
        found = (data[start:end] for name, start, end in _png_chunks(data) if name == b"eXIf")
    elif kind == "webp" and data[12:16] == b"VP8X":
        found = (
            data[start:end].removeprefix(b"Exif\0\0") for name, start, end in _riff_chunks(data) if name == b"EXIF"
        )
    else:
        return b""
    return next(found, b"")


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position + 8, end
        position = end + end % 2


def _orientation(exif: bytes) -> int:
    """EXIF's orientation tag, 0x0112: 1 to 8; 1 if it is absent or invalid."""
    if exif[:2] not in (b"II", b"MM"):
        return 1
    endian: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(exif[place : place + size], endian)

    entries = number(4, 4)
    for entry in range(entries + 2, min(entries + 2 + 12 * number(entries, 2), len(exif)), 12):
        if number(entry, 2) == 0x0112 and number(entry + 2, 2) == 3:
            return value if 1 <= (value := number(entry + 8, 2)) <= 8 else 1
    return 1


def _fault(
    data: bytes,
    kind: str | None,
    width: int | None,
    height: int | None,
    max_image_pixels: int,
    segments: Sequence[Segment],
) -> str | None:
    if not data:
        return "empty file"
    if kind is None:
        return NOT_AN_IMAGE
    if width is None or height is None:
        return f"truncated {kind.upper()} header"
    if width == 0 or height == 0:
        return f"its header states {width} x {height} pixels"
    if width * height > max_image_pixels:
        return f"its header states {width} x {height} pixels, more than max_image_pixels={max_image_pixels}"
    if kind == "png":
        return _png_fault(data)
    if kind == "jpeg" and (num_scans := _jpeg_scans(data, segments)) > MAX_JPEG_SCANS:
        return f"{num_scans} scans, more than {MAX_JPEG_SCANS}, and each takes a pass over the whole image"
    return None


def read_header(data: bytes, *, max_image_pixels: int) -> Header:
    """The header of an image file, from all of its bytes."""
    segments = _jpeg_segments(data)
    kind, width, height = _format_and_size(data, segments)
    fault = _fault(data, kind, width, height, max_image_pixels, segments)
    if kind is None or fault is not None:
        return Header(kind, width, height, fault=fault)
    orientation = _orientation(_exif(data, kind, segments))
    is_plain = kind == "png" or (kind == "jpeg" and _is_plain_jpeg(data, segments))
    return Header(kind, width, height, orientation, is_plain)


def without_metadata(data: bytes, kind: str | None, *, has_alpha: bool) -> bytes:
    """The same image without metadata on which a decoder could fail (texts, previews, profiles); without alpha unless `has_alpha`."""
    if kind == "png":
        needed = {*_CRITICAL, b"tRNS"} if has_alpha else _CRITICAL
        chunks = list(_png_chunks(data))
        if all(name in needed for name, _, _ in chunks):
            return data
        return PNG_SIGNATURE + b"".join(data[start - 8 : end + 4] for name, start, end in chunks if name in needed)
    segments = _jpeg_segments(data)
    if not segments or segments[-1][0] != _START_OF_SCAN:
        return data
    kept = [data[s - 4 : e] for marker, s, e in segments if marker not in _APP1_TO_APP13_APP15_COMMENT]
    return data[:2] + b"".join(kept) + data[segments[-1][2] :]
