"""Keras' rules for `image_dataset_from_directory`: its arguments, and the files, their labels and order.

No TensorFlow.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hh_fast.data.folders import KERAS_SUFFIXES, Found, class_folders, walk, walk_classes
from hh_fast.data.images import Images
from hh_fast.data.pixels import INTERPOLATIONS, ImageForm
from hh_fast.errors import UsageError, require

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


def check_labels(labels: Any, label_mode: Any, class_names: Any) -> None:
    is_known = labels == "inferred" if isinstance(labels, str) else labels is None or isinstance(labels, (list, tuple))
    require(is_known, '`labels` argument should be "inferred", None, or a list of a label for each file', repr(labels))
    modes = ("int", "categorical", "binary", None)
    require(label_mode in modes, f"`label_mode` argument must be one of {', '.join(map(repr, modes))}", label_mode)
    inferred = isinstance(labels, str) and label_mode is not None
    require(
        class_names is None or inferred,
        'You can only pass `class_names` if `labels="inferred"` and `label_mode` is not None',
        f"labels={labels!r}, label_mode={label_mode!r}, class_names={class_names}",
    )


def check_split(validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None) -> None:
    if validation_split:
        require(0 < validation_split < 1, "`validation_split` must be between 0 and 1", validation_split)
    require(
        bool(validation_split) == bool(subset),
        "`validation_split` must be set if `subset` is, and the other way round",
        f"validation_split={validation_split}, subset={subset!r}",
    )
    require(
        subset in ("training", "validation", "both", None),
        '`subset` must be either "training", "validation" or "both"',
        repr(subset),
    )
    require(
        not (validation_split and shuffle and seed is None),
        "You must provide a `seed` if `validation_split` and `shuffle` are given, or a second call for the other subset would"
        " draw another split",
        seed,
    )


def make_form(image_size: Any, color_mode: str, interpolation: str, crop: bool, pad: bool) -> ImageForm:
    require(color_mode in CHANNELS, f"`color_mode` must be one of {', '.join(CHANNELS)}", repr(color_mode))
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    require(
        len(size) == 2 and all(isinstance(side, (int, np.integer)) and side > 0 for side in size),
        "`image_size` must be two whole numbers from 1, (height, width)",
        image_size,
    )
    rule = f"`interpolation` must be one of {', '.join(map(repr, INTERPOLATIONS))}"
    require(interpolation.lower() in INTERPOLATIONS, rule, repr(interpolation))
    require(not (crop and pad), "Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be true", "both")
    aspect = "crop" if crop else "pad" if pad else "stretch"
    return ImageForm((int(size[0]), int(size[1])), CHANNELS[color_mode], interpolation.lower(), aspect)


def list_as_keras(
    directory: str | os.PathLike[str], labels: Any, class_names: Sequence[str] | None, *, follow_links: bool
) -> tuple[Images, Found, list[str] | None]:
    """The (unread) image files below `directory`, in the order of their names; all files found there; and the class names.

    The labels are "inferred" from the sub-folders, or a sequence of one per file; with None all are 0 and there are no class names.

    Raises:
        UsageError: `class_names` that are not sub-folders, or a label count that differs from the file count.
        OSError: no such folder.
    """
    root = os.fspath(directory)
    names: list[str] | None = None
    if isinstance(labels, str):
        folders = class_folders(root)
        if class_names is not None and not set(class_names) <= set(folders):
            raise UsageError(
                "The `class_names` passed did not match the sub-folders: give some or all of them."
                f" Received: class_names={list(class_names)}, while {root} has {folders}"
            )
        names = folders if class_names is None else list(class_names)
        found, values = walk_classes(root, names, suffixes=KERAS_SUFFIXES, follow_links=follow_links)
    else:
        found = walk(root, suffixes=KERAS_SUFFIXES, follow_links=follow_links)
        num_files = len(found.images)
        if labels is not None and len(labels) != num_files:
            raise UsageError(
                "Expected the lengths of `labels` to match the number of files: give one for each, in the order of their"
                f" paths. Received: {len(labels)} labels for the {num_files} files in {root}"
            )
        given = np.zeros(num_files, np.int32) if labels is None else np.asarray(labels)
        values = (
            given if given.dtype.kind == "U" else given.astype(np.int32 if given.dtype.kind in "iub" else np.float32)
        )
        names = None if labels is None else [str(label) for label in sorted(set(labels))]
    images = Images(Path(root), tuple(names or ()), tuple(found.images), values, np.arange(len(found.images)))
    return images, found, names


def keras_subsets(num_files: int, seed: int | None, validation_split: float | None) -> dict[str, np.ndarray]:
    """The positions in the listing of each subset, in the order of Keras' `file_paths`; without a split, of all images, as "".

    They are shuffled by `seed`, unless it is None; the last `validation_split` of them, rounded down, are for validation.
    """
    positions = np.arange(num_files)
    if seed is not None:
        np.random.RandomState(seed).shuffle(positions)
    if not validation_split:
        return {"": positions}
    num_trained = num_files - int(validation_split * num_files)
    subsets = {"training": positions[:num_trained], "validation": positions[num_trained:]}
    for name, subset in subsets.items():
        require(len(subset) > 0, f"`validation_split` must leave a {name} image of the {num_files}", validation_split)
    return subsets
