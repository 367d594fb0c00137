"""Photos in class folders, as the studies read them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hh_fast.backbone.weights import IMAGE_SIZE
from hh_fast.data.images import list_images
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.reading import in_threads


class Photos(NamedTuple):
    """uint8 (n, 224, 224, 3), and their labels, int32 (n,)."""

    pixels: np.ndarray
    labels: np.ndarray


def read_photos(folder: Path, limit: int = 10**9) -> Photos:
    """About `limit` of the photos, spread over the classes."""
    images = list_images(folder)[0]
    images = images.select(np.arange(0, len(images), max(1, len(images) // limit)))
    form = ImageForm(IMAGE_SIZE)
    pixels = in_threads(lambda path: read_pixels(path, form).copy(), images.paths)
    return Photos(np.stack(list(pixels)), images.labels)
