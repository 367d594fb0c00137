"""Which files `keras.utils.image_dataset_from_directory` takes, with which labels, in which order and subset. No TensorFlow."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from hh_fast.data.scan import KERAS_SUFFIXES, class_folders, images_below, images_by_class
from hh_fast.errors import UsageError


def list_as_keras(
    directory: str | os.PathLike[str], labels: Any, class_names: Sequence[str] | None, *, follow_links: bool
) -> tuple[list[str], np.ndarray, list[str] | None]:
    """(paths, labels (n,), class_names) of the files below `directory`, in the order of their names.

    The labels are "inferred" from its sub-folders, a sequence of one a file, or, for None, all 0; then there are no class names.

    Raises:
        UsageError: `class_names` that are no sub-folders, or as many labels as there are no files.
        OSError: no such folder.
    """
    root = os.fspath(directory)
    if isinstance(labels, str):
        folders = class_folders(root)
        if class_names is not None and not set(class_names) <= set(folders):
            raise UsageError(
                "The `class_names` passed did not match the sub-folders: name some of them, or all."
                f" Received: class_names={list(class_names)}, while {root} has {folders}"
            )
        names = folders if class_names is None else list(class_names)
        return *images_by_class(root, names, suffixes=KERAS_SUFFIXES, follow_links=follow_links), names
    paths = images_below(root, suffixes=KERAS_SUFFIXES, follow_links=follow_links)
    if labels is None:
        return paths, np.zeros(len(paths), np.int32), None
    if len(labels) != len(paths):
        raise UsageError(
            "Expected the lengths of `labels` to match the number of files: give one for each, in the order of their"
            f" paths. Received: {len(labels)} labels for the {len(paths)} files in {root}"
        )
    given = np.asarray(labels)
    kind = np.int32 if given.dtype.kind in "iub" else np.float32
    return paths, given.astype(kind), [str(label) for label in sorted(set(labels))]


def keras_subsets(num_files: int, seed: int | None, validation_split: float | None) -> dict[str, np.ndarray]:
    """The positions in the listing of each subset, in the order of Keras' `file_paths`; of all, named "", where there is no split.

    They are shuffled by `seed`, or as listed for None; the last `validation_split` of them, rounded down, are validated on.
    """
    positions = np.arange(num_files)
    if seed is not None:
        np.random.RandomState(seed).shuffle(positions)
    if not validation_split:
        return {"": positions}
    num_trained = num_files - int(validation_split * num_files)
    subsets = {"training": positions[:num_trained], "validation": positions[num_trained:]}
    for name, subset in subsets.items():
        if len(subset) == 0:
            raise UsageError(
                f"`validation_split` must leave a {name} image of the {num_files}. Received: {validation_split}"
            )
    return subsets
