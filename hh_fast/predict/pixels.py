"""Image files to the pixels that training sees, by Pillow and NumPy: for where there is no TensorFlow.

Equal to `hh_fast.data.decode` for PNG, BMP, GIF and WebP (whose alpha TensorFlow refuses). JPEG: TensorFlow decodes with
libjpeg-turbo's fast integer transform, Pillow with its accurate one, which differ by 1 of 255 on average and by up to 14
in single pixels of a noisy image.
"""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hh_fast.data.scan import read_header
from hh_fast.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
HEADER_BYTES = 1 << 20


def _weights(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output position: the input positions below and above it, and the share of the one above.

    Pixel i has its centre at i + 0.5. As `tf.image.resize(method="bilinear", antialias=False)`, in float32.
    """
    scale = np.float32(size_in / size_out)
    position = (np.arange(size_out, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(position)
    share = (position - below).astype(np.float32)
    return np.maximum(below, 0).astype(np.intp), np.minimum(np.ceil(position), size_in - 1).astype(np.intp), share


def resize(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Bilinear without antialiasing, rounded to nearest: uint8 (any, any, 3) to uint8 (height, width, 3)."""
    if image.shape[:2] == tuple(image_size):
        return image
    top, bottom, down = _weights(image.shape[0], image_size[0])
    left, right, across = _weights(image.shape[1], image_size[1])
    rows, places = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    needed = image[rows]
    start, end = needed[:, left].astype(np.float32), needed[:, right].astype(np.float32)
    end -= start
    end *= across[:, None]
    start += end  # the needed rows, each as wide as the result
    upper, lower = start[places[: len(top)]], start[places[len(top) :]]
    lower -= upper
    lower *= down[:, None, None]
    upper += lower
    return np.rint(upper, out=upper).astype(np.uint8)


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 (height, width, 3) as TensorFlow's decoders make it: alpha dropped, grey repeated, 16 bits' high byte."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return np.repeat((values >> 8 if values.dtype.itemsize > 1 else values).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "CMYK":
        ink = 255 - np.asarray(image).astype(np.uint16)
        return (ink[..., :3] * ink[..., 3:] // 255).astype(np.uint8)
    if image.format == "BMP" and image.mode == "P":  # TensorFlow takes the palette's index for a grey value
        return np.repeat(np.asarray(image)[..., None], 3, axis=2)
    pixels = np.array(image.convert("RGB"))
    if image.format == "GIF" and image.mode == "P" and isinstance(transparent, int):
        pixels[np.asarray(image) == transparent] = 0
    return pixels


def read_image(path: str, image_size: tuple[int, int], *, max_image_pixels: int) -> np.ndarray:
    """One PNG, JPEG, BMP, GIF or WebP (first frame) of any size and mode as uint8 (height, width, 3), values 0 to 255.

    As in training, alpha is dropped (not blended) and EXIF orientation is not applied.

    Raises:
        DataError: the file is no such image, is cut off, or its header claims more than `max_image_pixels`.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        kind, width, height = read_header(file.read(HEADER_BYTES))
        if kind is None:
            raise DataError(f"{path}: not a PNG, JPEG, BMP, GIF or WebP image")
        if (width or 1) * (height or 1) > max_image_pixels:
            raise DataError(
                f"{path}: its header claims {width} x {height} pixels, more than max_image_pixels={max_image_pixels}"
            )
        file.seek(0)
        try:
            with Image.open(file, formats=FORMATS) as image:
                image.seek(0)
                pixels = _rgb(image)
        except UnidentifiedImageError as e:
            raise DataError(f"{path}: not a PNG, JPEG, BMP, GIF or WebP image, or a damaged one") from e
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as e:
            raise DataError(f"{path}: it does not decode: {' '.join(str(e).split())}") from e
    return resize(pixels, image_size)
