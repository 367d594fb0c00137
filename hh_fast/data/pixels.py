"""The one meaning of an image's pixels: what an image viewer shows, by Pillow and NumPy. No TensorFlow.

Explore and predict read every file here. Training does so where `headers.Header.decoder` says "pillow"; what TensorFlow
decodes there, `hh_fast.data.decode`, has the same pixels to the bit.
"""

import io

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hh_fast.data.headers import CUT_OFF, Header, read_header, without_metadata
from hh_fast.data.scan import read_bytes
from hh_fast.errors import DataError

# Not Image.open(), whose limit of pixels is another than max_image_pixels, and one for the whole process.
READERS: dict[str, type[ImageFile]] = {
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}
TO_UPRIGHT = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


def _reason(e: Exception, header: Header) -> str:
    text = " ".join(str(e).split()) or type(e).__name__
    if "truncated" in text.lower() or isinstance(e, EOFError):
        return CUT_OFF
    return f"damaged {str(header.format).upper()} data ({text})"


def load(data: bytes, header: Header) -> Image.Image:
    """The image that `data` holds (of several the first), decoded, as it is stored.

    Raises:
        DataError: why it cannot be used, without its path.
    """
    if header.fault is not None or header.format is None:
        raise DataError(header.fault)
    try:
        image = READERS[header.format](io.BytesIO(without_metadata(data, header.format)))
        if image.size != (header.width, header.height):
            raise DataError(f"its parts disagree about its size, {header.width} x {header.height} pixels or another")
        image.load()
    except DataError:
        raise
    except Exception as e:  # Pillow raises nearly anything for broken files
        raise DataError(_reason(e, header)) from e
    return image


def to_pixels(image: Image.Image, orientation: int, channels: int = 3) -> np.ndarray:
    """uint8 (height, width, channels), values 0 to 255: upright, of 16 bits the high byte.

    `channels` 3: alpha dropped, grey repeated; 1: grey; 4: RGB and alpha.
    """
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "CMYK":  # which Pillow turns into no other
        image = image.convert("RGB")
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    return np.atleast_3d(np.array(image.transpose(TO_UPRIGHT[orientation]) if orientation in TO_UPRIGHT else image))


def read_image(
    path: str, image_size: tuple[int, int] | None, *, max_image_pixels: int, channels: int = 3
) -> np.ndarray:
    """One PNG, JPEG, BMP, GIF or WebP of any size and mode as uint8 (height, width, channels), values 0 to 255, resized.

    Without `image_size` it keeps its own.

    Raises:
        DataError: `PATH: REASON`, for the same files and reasons as training refuses.
        OSError: the file cannot be read.
    """
    data = read_bytes(path)
    header = read_header(data, max_image_pixels=max_image_pixels)
    try:
        pixels = to_pixels(load(data, header), header.orientation, channels)
    except DataError as e:
        raise DataError(f"{path}: {e}") from e.__cause__
    return pixels if image_size is None else resize(pixels, image_size)


def mode_or_fault(path: str, *, max_image_pixels: int) -> tuple[str | None, str | None]:
    """(Pillow's mode, None) of a file that `read_image` reads; else (None, the reason that it gives, without the path)."""
    try:
        data = read_bytes(path)
        return load(data, read_header(data, max_image_pixels=max_image_pixels)).mode, None
    except DataError as e:
        return None, str(e)
    except OSError as e:
        return None, e.strerror or str(e)
