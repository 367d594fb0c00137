"""Photos in class folders, as the studies read them."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hh_fast.backbone.weights import IMAGE_SIZE
from hh_fast.data.images import list_images
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.reading import in_threads

LARGE = (4000, 3000)  # 12 megapixels, width and height


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


def put(photo: Path, number: int, folder: Path, size: tuple[int, int] | None = None) -> None:
    """Copies a photo into the class folder of its name, under a number; scaled to (width, height), if it is given."""
    place = folder / photo.parent.name / f"{number:06d}.jpg"
    place.parent.mkdir(parents=True, exist_ok=True)
    if size is None:
        shutil.copyfile(photo, place)
    else:
        Image.open(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(place, quality=90)
