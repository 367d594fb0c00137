"""What a caller has of an image, a path, a Pillow image or an array, as the pixels that a classifier takes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hh_fast.config import PredictConfig
from hh_fast.data.pixels import read_image, resize, to_pixels
from hh_fast.errors import UsageError

EXIF_ORIENTATION = 0x0112


def to_input(image: Any, image_size: tuple[int, int]) -> np.ndarray:
    """uint8 (height, width, 3), values 0 to 255: upright, and resized as training resizes.

    Args:
        image: A path, a Pillow image of any mode, or an array, uint8 (any, any, 3).

    Raises:
        UsageError: something else.
        DataError: a file that does not decode.
        OSError: a file that cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        path = str(Path(image).expanduser())
        return read_image(path, image_size, max_image_pixels=PredictConfig.max_image_pixels)
    if isinstance(image, Image.Image):
        return resize(to_pixels(image, image.getexif().get(EXIF_ORIENTATION, 1)), image_size)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return resize(image, image_size)
    got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UsageError(f"`images` must be paths, Pillow images, or arrays, uint8 (height, width, 3). Received: {got}")
