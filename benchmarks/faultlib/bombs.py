"""Small files that would take much memory or time, in every format that is decoded."""

import io
import struct
import zlib

from PIL import Image

from benchmarks.faultlib.mutants import chunk, png

PNG_START = b"\x89PNG\r\n\x1a\n"


def _lzw_zeros(count: int) -> bytes:
    """GIF's LZW of `count` zero pixels, 2 bits a pixel: nearly 3,000 pixels a byte."""
    bits = width_bits = 0
    out = bytearray()

    def put(code: int, width: int) -> None:
        nonlocal bits, width_bits
        bits |= code << width_bits
        width_bits += width
        while width_bits >= 8:
            out.append(bits & 0xFF)
            bits >>= 8
            width_bits -= 8

    width, length, code = 3, 1, 0
    following = 6
    put(4, width)
    left = count
    while left > 0:
        length = min(length, left)
        put(code if length > 1 else 0, width)
        left -= length
        if following < 4096:
            code = following
            following += 1
            length += 1
            if code == (1 << width) and width < 12:
                width += 1
        else:
            code = 4095
    put(5, width)
    out.append(bits & 0xFF)
    return bytes(out)


def gif(screen: tuple[int, int], frames: list[tuple[int, int]]) -> bytes:
    """A GIF of black frames of these sizes on a screen of that size."""
    body = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x91, 0, 0) + bytes(12)
    made: dict[tuple[int, int], bytes] = {}
    for size in frames:
        if size not in made:
            data = _lzw_zeros(size[0] * size[1])
            blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
            made[size] = b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0) + b"\2" + blocks + b"\0"
        body += made[size]
    return body + b"\x3b"


def png_claiming(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_START + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def _png_with(kind: bytes, data: bytes, times: int = 1) -> bytes:
    whole = png(2, 8)
    return whole[:33] + chunk(kind, data) * times + whole[33:]


def jpeg(width: int, height: int, *, progressive: bool = False) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height), 90).save(out, "JPEG", progressive=progressive)
    return out.getvalue()


def _claiming(data: bytes, width: int, height: int) -> bytes:
    frame = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def _jpeg_with_a_hidden_frame() -> bytes:
    """What a reader of segments takes for a small frame, libjpeg passes over as stuffing on its way to a huge one."""
    small = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xff\0" + struct.pack(">H", 2) + small + _claiming(jpeg(8, 8), 60000, 60000)[2:]


def _jpeg_of_many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each goes through all blocks."""
    data = jpeg(side, side, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def _webp(kind: bytes, body: bytes) -> bytes:
    part = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(part)) + b"WEBP" + part


def _webp_lossless_head(width: int, height: int) -> bytes:
    return b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(40)


def _webp_two_sizes() -> bytes:
    """A canvas of 8 x 8 around an image of 16383 x 16383."""
    inner = _webp_lossless_head(16383, 16383)
    canvas = bytes(4) + (7).to_bytes(3, "little") + (7).to_bytes(3, "little")
    parts = b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", len(inner)) + inner
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def bombs() -> dict[str, bytes]:
    """Files by name; those whose name starts with `refused` must be refused, all must cost little memory and time."""
    zeros = zlib.compress(bytes(1 << 28), 9)
    bmp = (
        b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 54 + 300, 0, 54, 40, 60000, 60000, 1, 24, 0, 300, 0, 0, 0, 0)
        + bytes(300)
    )
    return {
        "refused-png-claims.png": png_claiming(60000, 60000),
        "refused-png-just-over.png": png_claiming(10001, 10000),
        "png-second-header.png": png(2, 8)[:33] + png_claiming(20000, 20000)[8:],
        "png-text.png": _png_with(b"zTXt", b"k\0\0" + zeros),
        "png-many-texts.png": _png_with(b"zTXt", b"k\0\0" + zeros[:60000], 200),
        "png-profile.png": _png_with(b"iCCP", b"k\0\0" + zeros),
        "png-many-chunks.png": _png_with(b"tEXt", b"k\0x", 200_000),
        "refused-bmp-claims.bmp": bmp,
        "refused-jpeg-claims.jpg": _claiming(jpeg(8, 8), 60000, 60000),
        "refused-jpeg-hidden-frame.jpg": _jpeg_with_a_hidden_frame(),
        "refused-jpeg-many-scans.jpg": _jpeg_of_many_scans(3000, 2000),
        "refused-gif-screen.gif": gif((60000, 60000), [(8, 8)]),
        "refused-gif-frame.gif": gif((8, 8), [(12000, 12000)]),
        "gif-second-frame.gif": gif((8, 8), [(8, 8), (12000, 12000)]),
        "gif-many-frames.gif": gif((2000, 2000), [(2000, 2000)] * 1000),
        "gif-many-small-frames.gif": gif((8, 8), [(8, 8)] * 20_000),
        "refused-webp-canvas.png": _webp(b"VP8X", bytes(4) + (59999).to_bytes(3, "little") * 2),
        "refused-webp-lossless.png": _webp(b"VP8L", _webp_lossless_head(16383, 16383)),
        "webp-two-sizes.png": _webp_two_sizes(),
    }
