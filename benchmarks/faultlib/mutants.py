"""Valid images of every kind that the decoders know, and seeded ways to break them."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 37, 29
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PNG_FORMS = ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16)))  # colour type, depths
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour: int, depth: int, *, interlaced: bool = False, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG of noise in any colour type and depth."""
    draw = random.Random(f"{colour} {depth} {interlaced}")
    bits = CHANNELS[colour] * depth
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for left, top, across, down in passes:
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and lines > 0:
            rows += b"".join(b"\0" + draw.randbytes(-(-columns * bits // 8)) for _ in range(lines))
    palette = chunk(b"PLTE", draw.randbytes(3 * 2 ** min(depth, 8))) if colour == 3 else b""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = chunk(b"IHDR", head) + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _encoded(kind: str, mode: str, **options: object) -> bytes:
    rng = np.random.default_rng(len(kind) + len(mode))
    picture = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).resize((WIDTH, HEIGHT)).convert(mode)
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def valid_images() -> dict[str, bytes]:
    """One file of each kind, by file name."""
    found = {
        f"png{colour}-{depth}{'i' if interlaced else ''}.png": png(colour, depth, interlaced=interlaced)
        for colour, depths in PNG_FORMS
        for depth in depths
        for interlaced in (False, True)
    }
    frames = [Image.new("P", (WIDTH, HEIGHT), i) for i in range(3)]
    return found | {
        "baseline.jpg": _encoded("JPEG", "RGB"),
        "progressive.jpeg": _encoded("JPEG", "RGB", progressive=True),
        "grey.jpg": _encoded("JPEG", "L"),
        "cmyk.jpg": _encoded("JPEG", "CMYK"),
        "subsampled.jpg": _encoded("JPEG", "RGB", quality=40, subsampling=2),
        "rgb.bmp": _encoded("BMP", "RGB"),
        "palette.bmp": _encoded("BMP", "P"),
        "grey.bmp": _encoded("BMP", "L"),
        "still.gif": _encoded("GIF", "P"),
        "animated.gif": _encoded("GIF", "P", save_all=True, append_images=frames),
        "webp.png": _encoded("WEBP", "RGB"),
        "lossless-webp.png": _encoded("WEBP", "RGBA", lossless=True),
    }


def truncated(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flipped(data: bytes, draw: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8, 64))):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def flipped_head(data: bytes, draw: random.Random) -> bytes:
    out = bytearray(data)
    out[draw.randrange(min(64, len(out)))] ^= 1 << draw.randrange(8)
    return bytes(out)


def wrong_length(data: bytes, draw: random.Random) -> bytes:
    """A field of 2 or 4 bytes anywhere, most often near the start, becomes an extreme number."""
    out = bytearray(data)
    size = draw.choice((2, 4))
    place = draw.randrange(max(1, min(len(out), draw.choice((64, len(out)))) - size))
    number = draw.choice(
        (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, draw.getrandbits(32))
    )
    out[place : place + size] = (number & (256**size - 1)).to_bytes(size, draw.choice(("big", "little")))
    return bytes(out)


def zeroed(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 16, 256, len(data))))
    return data[:start] + bytes(end - start) + data[end:]


def text(data: bytes, draw: random.Random) -> bytes:
    words = "".join(draw.choice("lorem ipsum \n<html>{}") for _ in range(draw.randrange(400))).encode()
    return draw.choice((words, data[: draw.randrange(30)] + words))


def huge(data: bytes, draw: random.Random) -> bytes:
    """The header claims huge sides, in the place where each kind has them."""
    sides = [draw.choice((0, 1, 4000, 9000, 20000, 60000, 65535, 2**31 - 1, 2**32 - 1)) for _ in range(2)]
    out = bytearray(data)
    if data[:4] == b"\x89PNG":
        out[16:24] = struct.pack(">II", *sides)
        out[29:33] = struct.pack(">I", zlib.crc32(out[12:29]))
    elif data[:2] == b"\xff\xd8":
        frame = next(i for i in range(len(data) - 9) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
        out[frame + 5 : frame + 9] = struct.pack(">HH", *(side & 0xFFFF for side in sides))
    elif data[:2] == b"BM":
        out[18:26] = struct.pack("<II", *sides)
    elif data[:3] == b"GIF":
        frame = data.index(b"\x2c", 13)
        place = draw.choice((6, frame + 5))
        out[place : place + 4] = struct.pack("<HH", *(side & 0xFFFF for side in sides))
    else:
        return wrong_length(data, draw)
    return bytes(out)


def repeated(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:end] * draw.choice((1, 2, 50)) + data[end:]


def unchanged(data: bytes, draw: random.Random) -> bytes:  # noqa: ARG001
    return data


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    truncated,
    flipped,
    flipped,
    flipped_head,
    flipped_head,
    wrong_length,
    wrong_length,
    zeroed,
    text,
    huge,
    huge,
    repeated,
    unchanged,
)


def mutants(count: int, *, first_seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of `count` mutants, each kind and each way in turn; one in ten under another's suffix."""
    valid = sorted(valid_images().items())
    for seed in range(first_seed, first_seed + count):
        draw = random.Random(f"mutant {seed}")
        name, data = valid[seed % len(valid)]
        way = draw.choice(WAYS)
        stem, _, suffix = name.rpartition(".")
        suffix = draw.choice(SUFFIXES) if draw.random() < 0.1 else f".{suffix}"
        yield f"{seed:06d}-{way.__name__}-{stem}{suffix}", way(data, draw)
