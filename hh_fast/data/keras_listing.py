"""Which files `keras.utils.image_dataset_from_directory` takes, with which labels, in which order and subset. No TensorFlow."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from hh_fast.data.scan import KERAS_SUFFIXES, class_folders, images_below
from hh_fast.errors import UsageError


@dataclasses.dataclass(frozen=True)
class KerasListing:
    """A folder's image files in the order of their names.

    `labels` (n,) has an element for each, and `class_names` the classes' names; both are None where there are no labels.
    """

    paths: list[str]
    labels: np.ndarray | None
    class_names: list[str] | None


def _inferred(root: str, class_names: Sequence[str] | None, follow_links: bool) -> KerasListing:
    folders = class_folders(root)
    if class_names is not None and not set(class_names) <= set(folders):
        raise UsageError(
            "The `class_names` passed did not match the sub-folders: name some of them, or all."
            f" Received: class_names={list(class_names)}, while {root} has {folders}"
        )
    names = folders if class_names is None else list(class_names)
    below = functools.partial(images_below, suffixes=KERAS_SUFFIXES, follow_links=follow_links)
    found = [below(os.path.join(root, name)) for name in names]  # noqa: PTH118
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(paths) for paths in found])
    return KerasListing([path for paths in found for path in paths], labels, names)


def list_as_keras(
    directory: str | os.PathLike[str], labels: Any, class_names: Sequence[str] | None, *, follow_links: bool
) -> KerasListing:
    """The files below `directory`, and their labels: "inferred" from its sub-folders, a sequence of one a file, or None.

    Raises:
        UsageError: `class_names` that are no sub-folders, or as many labels as there are no files.
        OSError: no such folder.
    """
    root = os.fspath(directory)
    if isinstance(labels, str):
        return _inferred(root, class_names, follow_links)
    paths = images_below(root, suffixes=KERAS_SUFFIXES, follow_links=follow_links)
    if labels is None:
        return KerasListing(paths, None, None)
    if len(labels) != len(paths):
        raise UsageError(
            "Expected the lengths of `labels` to match the number of files: give one for each, in the order of their"
            f" paths. Received: {len(labels)} labels for the {len(paths)} files in {root}"
        )
    given = np.asarray(labels)
    kind = np.int32 if given.dtype.kind in "iub" else np.float32
    return KerasListing(paths, given.astype(kind), [str(label) for label in sorted(set(labels))])


def keras_order(num_files: int, seed: int | None) -> np.ndarray:
    """Positions in a listing in the order of Keras' `file_paths`: shuffled by `seed`, or as listed for None."""
    positions = np.arange(num_files)
    if seed is not None:
        np.random.RandomState(seed).shuffle(positions)
    return positions


def keras_split(positions: np.ndarray, validation_split: float) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation): the last `validation_split` of the positions, rounded down, are validated on."""
    num_held = int(validation_split * len(positions))
    return positions[: len(positions) - num_held], positions[len(positions) - num_held :]
