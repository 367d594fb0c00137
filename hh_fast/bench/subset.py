"""A folder of links to some of a split's images: every path then reads the same files from the same kind of place."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hh_fast.data.load import Split
from hh_fast.errors import DataError


def choose(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Positions of `num_images` images, in order, spread over the list so that the classes keep their shares."""
    order = np.argsort(labels, kind="stable")
    picked = order[np.linspace(0, len(order), num_images, endpoint=False).astype(np.int64)]
    return np.sort(picked)


def link_images(split: Split, class_names: Sequence[str], num_images: int, directory: Path) -> Path:
    """Links `num_images` of the split's images into class folders under `directory`, which is returned.

    The files keep their suffixes and their order; their names become numbers, since two folders of one class may hold
    equal names.

    Raises:
        DataError: fewer images than one for each class.
    """
    positions = choose(split.labels, min(num_images, split.num_images))
    for label, class_name in enumerate(class_names):
        folder = directory / class_name
        folder.mkdir(parents=True)
        chosen = [position for position in positions if split.labels[position] == label]
        if not chosen:
            raise DataError(f"no image of class {class_name} among {num_images} of {split.name}: take more images")
        for position in chosen:
            source = Path(split.paths[position])
            os.symlink(source.resolve(), folder / f"{position:07d}{source.suffix.lower()}")  # noqa: PTH211
    return directory
