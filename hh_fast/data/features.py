"""Features: what a frozen network makes of an image's pixels, made once and kept as any rows are. No TensorFlow until they are made."""

import contextlib
import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from hh_fast.backbone.weights import find_weights, weights_path
from hh_fast.config import DataConfig
from hh_fast.data.images import Images
from hh_fast.data.pixels import ImageForm
from hh_fast.data.reading import DECODERS, PixelFill
from hh_fast.data.store import Fill, on_disk
from hh_fast.io.files import read_sealed, write_sealed
from hh_fast.io.quiet import import_tensorflow
from hh_fast.io.versions import package_versions

if TYPE_CHECKING:
    import keras

    from hh_fast.backbone.features import Front


class FeatureFill:
    """Fills rows with what `front` makes of the pixels that the fill `pixels` gives, and shows on a terminal how far it is."""

    def __init__(
        self, pixels: Fill, form: ImageForm, front: Callable[[np.ndarray], np.ndarray], num_images: int
    ) -> None:
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


def rows_folder(cache_root: Path, images: Images, form: ImageForm, max_image_pixels: int, front_key: str = "") -> Path:
    """Where the rows of `images` are kept: their pixels, or with a `front_key` what that front makes of them."""
    made_of = f"{images.fingerprint()} {form} {max_image_pixels} {DECODERS} {front_key}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    return cache_root / ("features" if front_key else "decoded") / name


def backbone_features(
    tables: Sequence[Images], backbone: str, weights: str | None, config: DataConfig
) -> tuple[np.ndarray, str]:
    """What a pretrained network makes of the images of `tables`, which were read, float32 (n, d), and the key of its front.

    Rows of images that cannot be used are 0. They are those that training with the same network keeps on disk, whoever makes
    them first; where all are there no network is built, and TensorFlow is not loaded.

    Raises:
        DataError: as `find_weights` and `build`.
        OSError: a cache that cannot be written.
    """
    root, form, limit = config.cache_root, ImageForm(config.size), config.max_image_pixels
    path = Path(weights).expanduser() if weights else weights_path(backbone)
    if weights is None and not path.exists():
        path = find_weights(backbone)
    made_of = (
        f"{backbone} {hashlib.sha256(path.read_bytes()).hexdigest()} {config.size} {package_versions('ai-edge-litert')}"
    )
    record = root / "fronts" / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.json"

    @functools.cache
    def front() -> "Front":
        import_tensorflow()
        from hh_fast.backbone.features import Front
        from hh_fast.backbone.frozen import split
        from hh_fast.backbone.pretrained import build

        frozen = build(backbone, path, config.size)  # all of it, so it is a front
        return Front(cast("tuple[keras.Model, keras.Model]", split(frozen))[0], root)

    def folders(key: str) -> list[Path]:
        return [rows_folder(root, images, form, limit, key) for images in tables]

    known = None
    with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged record is written again
        known = read_sealed(record)
    if known is None or not all(folder.exists() for folder in folders(known["key"])):
        known = {"key": front().key, "shape": front().shape}
        write_sealed(record, known)
    shape, blocks = tuple(known["shape"]), []
    for images, folder in zip(tables, folders(known["key"]), strict=True):
        pixels = PixelFill(images, form, max_image_pixels=limit)
        fill = FeatureFill(pixels, form, lambda batch: front()(batch), len(images))
        blocks.append(on_disk(folder, len(images), shape, "float32", fill, what="rows of features")[0])
    return np.concatenate(blocks), known["key"]
