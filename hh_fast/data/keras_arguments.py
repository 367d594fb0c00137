"""The arguments of `keras.utils.image_dataset_from_directory`: Keras' rules, in errors that name the argument. No TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hh_fast.data.image_form import INTERPOLATIONS, ImageForm
from hh_fast.errors import UsageError

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


def require(holds: bool, text: str, received: object) -> None:
    """Raises `UsageError` with what was received, unless `holds`."""
    if not holds:
        raise UsageError(f"{text}. Received: {received}")


def require_one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    require(value in allowed, f"`{name}` must be one of {', '.join(map(repr, allowed))}", repr(value))


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
        "`validation_split` must be set where `subset` is, and the other way round",
        f"validation_split={validation_split}, subset={subset!r}",
    )
    require(
        subset in ("training", "validation", "both", None),
        '`subset` must be either "training", "validation" or "both"',
        repr(subset),
    )
    require(
        not (validation_split and shuffle and seed is None),
        "You must provide a `seed` where `validation_split` and `shuffle` are given, or a second call, for the other"
        " subset, would draw it anew",
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
    require_one_of("interpolation", interpolation.lower(), INTERPOLATIONS)
    require(not (crop and pad), "Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be true", "both")
    aspect = "crop" if crop else "pad" if pad else "stretch"
    return ImageForm((int(size[0]), int(size[1])), CHANNELS[color_mode], interpolation.lower(), aspect)
