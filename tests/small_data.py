"""Examples without files, and tables of image files that were read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from hh_fast.data.images import Images, list_images
from hh_fast.data.load import Examples
from hh_fast.data.reading import in_threads, read_file
from hh_fast.data.rows import KeptRows


def examples_of(rows: Any, labels: Sequence[int], paths: Sequence[str] = ()) -> Examples:
    """Rows (n, ...), as an array or a tensor, with these labels."""
    labels = np.asarray(labels, np.int32)
    names = tuple(f"class{i}" for i in range(int(labels.max(initial=0)) + 1))
    paths = tuple(paths) or tuple(map(str, range(len(labels))))
    return Examples(Images(Path(), names, paths, labels, np.arange(len(labels))), KeptRows(rows))


def read_table(root: Path, max_image_pixels: int = 10**8) -> Images:
    """The table of a folder, each file read."""
    images, _ = list_images(root)
    read = in_threads(lambda path: read_file(path, max_image_pixels=max_image_pixels), images.paths)
    return Images(
        images.directory, images.class_names, images.paths, images.labels, images.indices, *zip(*read, strict=True)
    )


def pictures(count: int, seed: int) -> list[np.ndarray]:
    """uint8 (240, 320, 3), no two alike: as in photos, the larger a structure the more contrast it has."""
    rng = np.random.default_rng(seed)

    def picture() -> np.ndarray:
        octaves = [cv2.resize(rng.normal(0, 100 / side, (side, side, 3)), (320, 240)) for side in (3, 6, 12, 24, 48)]
        return np.clip(128 + sum(octaves), 0, 255).astype(np.uint8)

    return [picture() for _ in range(count)]


def bursts(root: Path, sizes: dict[str, Sequence[int]], seed: int = 7) -> Path:
    """Class folders of so many pictures of each scene, no two of the same bytes: each is a little darker than the one before."""
    scenes = iter(pictures(sum(map(len, sizes.values())), seed))
    for class_name, counts in sizes.items():
        (root / class_name).mkdir(parents=True)
        for scene, count in enumerate(counts):
            pixels = cv2.resize(next(scenes), (112, 84))
            for i in range(count):
                Image.fromarray((pixels * (1 - 0.02 * i)).astype(np.uint8)).save(
                    root / class_name / f"{scene:02d}-{i}.png"
                )
    return root
