"""A picture of each row of the guide's table of formats: its bytes, and its pixels or why it is refused."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

SIZE = (24, 36)  # height, width
LIMIT = 10_000
_rng = np.random.default_rng(0)
_colours = _rng.integers(0, 256, (200, 4), np.uint8)
_indices = _rng.integers(0, 200, SIZE)
RGBA = _colours[_indices]
RGB, GREY = RGBA[..., :3], RGBA[..., 0]
GREY3 = np.repeat(GREY[..., None], 3, axis=2)
BILEVEL = np.repeat(np.where(GREY > 127, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
SMOOTH = Image.fromarray(RGB[:6, :9]).resize(SIZE[::-1], Image.Resampling.BICUBIC)

Expected = np.ndarray | str


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def shown(data: bytes) -> np.ndarray:
    """What Pillow makes of an image that is neither turned nor in an odd mode."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def as_shown(data: bytes) -> tuple[bytes, np.ndarray]:
    return data, shown(data)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png16(pixels: np.ndarray, colour: int) -> bytes:
    """16 bits a channel, which Pillow writes of grey only; the low byte is noise."""
    wide = np.stack([pixels, _rng.integers(0, 256, pixels.shape, np.uint8)], axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _palette() -> Image.Image:
    image = Image.fromarray(_indices.astype(np.uint8), "P")
    image.putpalette(_colours[:, :3].tobytes())
    return image


def _bad_checksum() -> bytes:
    data = bytearray(encoded(RGB, "PNG"))
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of IDAT's checksum
    return bytes(data)


def _moving(kind: str, **options: object) -> bytes:
    first = _palette() if kind == "GIF" else Image.fromarray(RGB)
    return encoded(first, kind, save_all=True, append_images=[Image.new("RGB", SIZE[::-1])], **options)


JPEG = encoded(SMOOTH, "JPEG", quality=90)
JPEG_AS_SHOWN = shown(JPEG)
CMYK = SMOOTH.convert("CMYK")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TRUNCATED = "the file is truncated: part of the image is missing"

# Red, 36 x 24, lossless, which libheif (x265) wrote: the package can only read HEIC.
HEIC = base64.b85decode(
    b"0000SW^{RQXk}@500000ZE0pPXk}@5ZE0a<0004gZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l"
    b"0RRC200001q5uH^000000052v001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002~X>f9I0002qX>en20001Y"
    b"Xm(>m0R#vD005pi00000|L_3(|M>U-01pFT0096OKmiN^|NjIC00093o;Uyi0{{U3x&lC90096hLID8;2mk;B0G>Di00RI3|BwU_AhO+6(_GvH"
    b"Gyo6)00RM#000935P)I;0RRX@0l{!EV6h+o000wXZ)|dIV{CW;0RRmE0Du4h02FC+aAg1h0000006+i$06+i$04QT@VQ>Hd03-ka0096102lxO"
    b"00IC1|KtDw00RI2|JVQk00IC201$9#cxeCt0009B2nYZG02pa-ZD9Za00000009621%Uzs1%v<q0G4fJVRQfh0E#F9uLZInSa8rU1;n%e|4;s#"
    b"`Y+9VSH*l+#e84I{9ncVU&Z`i#gz~L`4hGO|J$Lqgw8Fq18_G3a5n_(PQ>g^#OzMQ>^x`xvF?B$_P^~vu>D8Oe8<du$ISfC%>2*H{Ljq%&EQPM"
    b"Y)cTbTx)>IH)lX!;9;WJT4O+BzXksw3t&&+>+&ZI"
)
RED = np.full((*SIZE, 3), (250, 20, 30), np.uint8)

# (row of the guide's table, file name, content, pixels or the reason for refusing it)
PICTURES: list[tuple[str, str, bytes, Expected]] = [
    ("PNG, any kind", "rgb.png", encoded(RGB, "PNG"), RGB),
    ("PNG, any kind", "grey.png", encoded(GREY, "PNG"), GREY3),
    ("PNG, any kind", "palette.png", encoded(_palette(), "PNG"), RGB),
    ("PNG, any kind", "one_bit.png", encoded(Image.fromarray(GREY > 127), "PNG"), BILEVEL),
    ("PNG, any kind", "animated.png", _moving("PNG"), RGB),
    ("PNG, 16 bits", "grey16.png", _png16(GREY[..., None], 0), GREY3),
    ("PNG, 16 bits", "rgb16.png", _png16(RGB, 2), RGB),
    ("PNG, 16 bits", "rgba16.png", _png16(RGBA, 6), RGB),
    ("JPEG", "baseline.jpg", JPEG, JPEG_AS_SHOWN),
    ("JPEG", "progressive.jpeg", *as_shown(encoded(SMOOTH, "JPEG", progressive=True))),
    ("JPEG", "grey.jpg", *as_shown(encoded(SMOOTH.convert("L"), "JPEG"))),
    ("JPEG", "camera.jfif", JPEG, JPEG_AS_SHOWN),
    ("JPEG, CMYK", "cmyk.jpg", *as_shown(encoded(CMYK, "JPEG", quality=95))),
    ("BMP", "rgb.bmp", encoded(RGB, "BMP"), RGB),
    ("BMP", "palette.bmp", encoded(_palette(), "BMP"), RGB),
    ("BMP", "one_bit.bmp", encoded(Image.fromarray(GREY > 127), "BMP"), BILEVEL),
    ("BMP", "rgba.bmp", encoded(RGBA, "BMP"), RGB),
    ("GIF", "still.gif", encoded(_palette(), "GIF"), RGB),
    ("GIF", "animated.gif", _moving("GIF"), RGB),
    ("WebP", "lossless.webp", encoded(RGB, "WEBP", lossless=True), RGB),
    ("WebP", "lossy.webp", *as_shown(encoded(SMOOTH, "WEBP"))),
    ("WebP", "animated.webp", _moving("WEBP", lossless=True), RGB),
    ("HEIC", "iphone.heic", HEIC, RED),
    ("AVIF", "lossy.avif", *as_shown(encoded(SMOOTH, "AVIF"))),
    ("AVIF", "turned.avif", encoded(SMOOTH, "AVIF", exif=turned(6)), np.rot90(shown(encoded(SMOOTH, "AVIF")), -1)),
    ("transparent", "rgba.png", encoded(RGBA, "PNG"), RGB),
    ("transparent", "clear_colour.png", encoded(_palette(), "PNG", transparency=3), RGB),
    ("transparent", "clear_colour.gif", encoded(_palette(), "GIF", transparency=3), RGB),
    ("transparent", "rgba.webp", encoded(RGBA, "WEBP", lossless=True, exact=True), RGB),
    ("turned by EXIF", "turned.jpg", encoded(SMOOTH, "JPEG", quality=90, exif=turned(6)), np.rot90(JPEG_AS_SHOWN, -1)),
    ("turned by EXIF", "turned.png", encoded(RGB, "PNG", exif=turned(3)), RGB[::-1, ::-1]),
    ("turned by EXIF", "turned.webp", encoded(RGB, "WEBP", lossless=True, exif=turned(8)), np.rot90(RGB)),
    ("with a colour profile", "profile.jpg", encoded(SMOOTH, "JPEG", quality=90, icc_profile=PROFILE), JPEG_AS_SHOWN),
    ("with a colour profile", "profile.png", encoded(RGB, "PNG", icc_profile=PROFILE), RGB),
    ("of another format than its suffix", "really_webp.png", encoded(RGB, "WEBP", lossless=True), RGB),
    ("of another format than its suffix", "really_png.jpg", encoded(RGB, "PNG"), RGB),
    ("of another format than its suffix", "really_heic.jpg", HEIC, RED),
    ("cut off", "cut.png", encoded(RGB, "PNG")[:-20], TRUNCATED),
    ("cut off", "cut.jpg", JPEG[:-60], TRUNCATED),
    ("cut off", "cut.gif", encoded(_palette(), "GIF")[:-100], TRUNCATED),
    ("cut off", "cut.bmp", encoded(RGB, "BMP")[:-100], TRUNCATED),
    ("cut off", "cut.heic", HEIC[:-10], TRUNCATED),
    ("damaged", "checksum.png", _bad_checksum(), "damaged: its IDAT chunk fails its checksum"),
    ("larger than `--max_image_pixels`", "large.png", encoded(np.zeros((101, 100), np.uint8), "PNG"),
     "its header states 100 x 101 pixels, more than max_image_pixels=10000"),
    ("TIFF, SVG, raw", "really_tiff.png", encoded(RGB, "TIFF"), "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image"),
]  # fmt: skip
LEFT_OUT = ("drawing.svg", "scan.TIF", "scan2.tif")


def write_pictures(root: Path) -> Callable[[str], Expected]:
    """Makes two classes below `root`, each with every picture of the table, and returns what is expected of a path."""
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for _, file, data, _ in PICTURES:
            (root / name / file).write_bytes(data)
        for file in LEFT_OUT:
            (root / name / file).write_bytes(b"whatever")
    expected = {file: pixels for _, file, _, pixels in PICTURES}
    return lambda path: expected[Path(path).name]
