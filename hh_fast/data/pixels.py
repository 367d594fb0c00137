"""The only decoder: the bytes of an image to resized pixels, as image viewers show them. No TensorFlow.

Training, explore and predict read every image here. JPEG is decoded by libjpeg-turbo (simplejpeg) and PNG by OpenCV, both with
exactly Pillow's pixels, and all else by Pillow; OpenCV resizes. Allocating memory takes longer than decoding, so each thread reuses
its own buffer, and the result is written to memory of the caller.
"""

import dataclasses
import io
import math
import sys
import threading

import cv2
import numpy as np
import pi_heif
import simplejpeg
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hh_fast.data.folders import read_bytes
from hh_fast.data.headers import TRUNCATED, Header, read_header, without_metadata
from hh_fast.errors import DataError

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
NO_LIMIT = sys.maxsize  # of pixels
# Not Image.open(), which has a pixel limit of its own for the whole process.
READERS: dict[str, type[ImageFile]] = {
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}
COLOURS = {1: "GRAY", 3: "RGB", 4: "RGBA"}  # simplejpeg's, by the number of channels
LUMA = np.array([[9798], [19235], [3735]])  # libpng's weights of red, green and blue
MAX_KEPT = 1 << 26  # bytes, for a photo of 22 megapixels


@dataclasses.dataclass(frozen=True)
class ImageForm:
    """The form of all decoded images of a data set: uint8 `shape`, values 0 to 255.

    `image_size` is (height, width) in pixels, `channels` 1 (grey), 3 (RGB) or 4 (RGBA). `interpolation` is one of
    `INTERPOLATIONS`, all without antialiasing. `aspect` is how an image of another aspect ratio is fitted: `stretch`, `crop` (the
    largest central window) or `pad` (with zeros, equally on both sides).
    """

    image_size: tuple[int, int]
    channels: int = 3
    interpolation: str = "bilinear"
    aspect: str = "stretch"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.image_size, self.channels)

    @property
    def num_bytes(self) -> int:
        """Bytes per image."""
        return math.prod(self.shape)


class _Scratch(threading.local):
    """A reusable buffer per thread; buffers larger than `MAX_KEPT` are allocated each time."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.uint8)

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        if size > MAX_KEPT:
            return np.empty(shape, np.uint8)
        if self._block.size < size:
            self._block = np.empty(size, np.uint8)
        return self._block[:size].reshape(shape)


_scratch = _Scratch()


def _reason(e: Exception, header: Header) -> str:
    text = " ".join(str(e).split()) or type(e).__name__
    if any(sign in text.lower() for sign in ("truncated", "unexpected end of file")) or isinstance(e, EOFError):
        return TRUNCATED
    return f"damaged {str(header.format).upper()} data ({text})"


def _load(data: bytes, header: Header, *, has_alpha: bool) -> Image.Image:
    """The (first) image in `data`, decoded by Pillow, with the stored orientation; HEIC is always upright.

    Raises:
        DataError: the reason why it cannot be used, without its path.
    """
    try:
        if header.format == "heic":
            image = pi_heif.open_heif(io.BytesIO(data)).to_pillow()
        else:
            stripped = without_metadata(data, header.format, has_alpha=has_alpha)
            image = READERS[str(header.format)](io.BytesIO(stripped))
        claimed = (header.width or 0) * (header.height or 0)
        is_one_size = image.size == (header.width, header.height)
        if math.prod(image.size) > claimed or not (is_one_size or header.format in ("heic", "avif")):
            raise DataError(
                f"its parts contradict each other about its size, {header.width} x {header.height} pixels or another"
            )
        image.load()
    except DataError:
        raise
    except Exception as e:  # Pillow raises nearly anything for broken files
        raise DataError(_reason(e, header)) from e
    return image


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An upright view of (height, width, channels), by EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def stored_mode(path: str, header: Header) -> str:
    """The Pillow mode of a decodable file: RGB, RGBA, L, P ..."""
    if header.format == "heic":
        return str(pi_heif.open_heif(path).mode)
    with READERS[str(header.format)](path) as image:
        return str(image.mode)


def of_pillow(image: Image.Image, channels: int = 3) -> np.ndarray:
    """The pixels of an image of any mode, uint8 (height, width, channels), values 0 to 255, upright by its EXIF orientation.

    `channels` 3 drops alpha and repeats grey; 1 gives grey; 4 gives RGB and alpha. Of 16-bit values the high byte is taken.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return _upright(_array(image, channels), orientation)


def _array(image: Image.Image, channels: int) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "CMYK":  # Pillow converts it only to RGB
        image = image.convert("RGB")
    if channels == 1 and image.mode not in ("1", "L", "LA"):
        return (np.asarray(image.convert("RGB")) @ LUMA >> 15).astype(np.uint8)
    return np.atleast_3d(np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])))


def decode(data: bytes, header: Header, channels: int = 3) -> np.ndarray:
    """The image in `data`, uint8 (height, width, channels), upright; valid until this thread's next call.

    Raises:
        DataError: the reason why it cannot be used, without its path.
    """
    if header.fault is not None or header.format is None:
        raise DataError(header.fault)
    if header.format == "jpeg" and header.is_plain:
        buffer = _scratch.take((int(header.height or 0), int(header.width or 0), channels))
        try:
            return _upright(simplejpeg.decode_jpeg(data, COLOURS[channels], buffer=buffer), header.orientation)
        except ValueError:  # simplejpeg also refuses unusual files: Pillow decides, and gives the reason
            pass
    if header.format == "png" and channels == 3:
        # OpenCV would not report damage or truncation, but read_header has checked for these.
        stripped = np.frombuffer(without_metadata(data, "png", has_alpha=False), np.uint8)
        try:
            pixels = cv2.imdecode(stripped, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # more pixels than its own limit
            pixels = None
        if pixels is not None:
            return _upright(pixels, header.orientation)
    image = _load(data, header, has_alpha=channels == 4)
    return (
        of_pillow(image, channels) if header.format == "avif" else _upright(_array(image, channels), header.orientation)
    )


def _nearest(image: np.ndarray, out: np.ndarray) -> None:
    rows, columns = (
        ((np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new)).astype(np.intp).clip(max=old - 1)
        for new, old in zip(out.shape[:2], image.shape[:2], strict=True)
    )
    np.take(image[rows], columns, axis=1, out=out)


def _by_tensorflow(image: np.ndarray, out: np.ndarray, interpolation: str) -> None:
    """Interpolations that OpenCV computes differently."""
    import tensorflow as tf

    with tf.device("CPU"):
        resized = tf.image.resize(image, out.shape[:2], method=interpolation)
        np.copyto(out, tf.saturate_cast(tf.round(resized), tf.uint8).numpy())


def _central_window(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The largest central window with the aspect ratio of `image_size`, with Keras' rounding."""
    height, width = image.shape[:2]
    down = min(max(int(width * image_size[0] / image_size[1]), 1), height)
    across = min(max(int(height * image_size[1] / image_size[0]), 1), width)
    top, left = (height - down) // 2, (width - across) // 2
    return image[top : top + down, left : left + across]


def _padded(image: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The part of `out` that the image fills, at least 1 x 1 pixels; sets the rest to 0."""
    sides, whole = (np.array(array.shape[:2], np.float32) for array in (image, out))
    scaled = sides / np.max(sides / whole)  # with TensorFlow's rounding
    down, across = np.maximum(scaled.astype(int), 1)
    top, left = np.maximum(((whole - scaled) / 2).astype(int), 0)
    out[...] = 0
    return out[top : top + down, left : left + across]


def fit(image: np.ndarray, form: ImageForm, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes uint8 (any, any, channels) to `form`, as `keras.utils.image_dataset_from_directory` does, rounded to nearest.

    Bilinear and nearest are within 1 of Keras' pixels, the others are equal. `out`: where to write it, contiguous uint8
    `form.shape`.
    """
    out = np.empty(form.shape, np.uint8) if out is None else out
    if form.aspect == "crop":
        image = _central_window(image, form.image_size)
    place = _padded(image, out) if form.aspect == "pad" else out
    if image.shape == place.shape and form.interpolation in ("bilinear", "nearest"):
        np.copyto(place, image)
        return out
    image = np.ascontiguousarray(image)
    target = place if place.flags.c_contiguous else np.empty(place.shape, np.uint8)
    if form.interpolation == "bilinear":
        cv2.resize(image, target.shape[1::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    elif form.interpolation == "nearest":
        _nearest(image, target)
    else:
        _by_tensorflow(image, target, form.interpolation)
    if target is not place:
        np.copyto(place, target)
    return out


def read_pixels(
    source: str | bytes, form: ImageForm | None, *, max_image_pixels: int = NO_LIMIT, out: np.ndarray | None = None
) -> np.ndarray:
    """Reads an image of any format, size and mode as uint8 `form.shape`, values 0 to 255; with None, as RGB of its own size.

    Args:
        source: The path of the file, or its bytes.
        max_image_pixels: Larger images, by their header, are refused before memory is allocated.
        out: Where to write it, contiguous uint8 `form.shape`.

    Raises:
        DataError: `PATH: REASON`; for bytes, only the reason.
        OSError: the file cannot be read.
    """
    data = read_bytes(source) if isinstance(source, str) else source
    try:
        pixels = decode(data, read_header(data, max_image_pixels=max_image_pixels), form.channels if form else 3)
    except DataError as e:
        raise DataError(f"{source}: {e}" if isinstance(source, str) else str(e)) from None
    return np.array(pixels) if form is None else fit(pixels, form, out)
