"""Features: what a frozen network makes of an image's pixels, made once and kept as any rows are."""

import sys

import numpy as np
from tqdm import tqdm

from hh_fast.backbone import Front
from hh_fast.data.pixels import ImageForm
from hh_fast.data.store import Fill


class FeatureFill:
    """Fills rows with what `front` makes of the pixels that the fill `pixels` gives, and shows on a terminal how far it is."""

    def __init__(self, pixels: Fill, form: ImageForm, front: Front, num_images: int) -> None:
        self._pixels = pixels
        self._form = form
        self._front = front
        self._num_images = num_images
        self._shown: tqdm | None = None

    def __call__(self, start: int, out: np.ndarray) -> dict[int, str]:
        if self._shown is None:
            self._shown = tqdm(
                desc="Frozen layers",
                unit=" images",
                total=self._num_images,
                initial=start,
                disable=not sys.stderr.isatty(),
            )
        images = np.zeros((len(out), *self._form.shape), np.uint8)
        faults = self._pixels(start, images)
        out[...] = self._front(images)
        out[[row - start for row in faults]] = 0
        self._shown.update(len(out))
        if start + len(out) == self._num_images:
            self._shown.close()
        return faults
