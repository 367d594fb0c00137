"""`Classifier`: a model of any file format that scores batches of uint8 images."""

import dataclasses
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from hh_fast.config import RUN_CONFIG, PredictConfig
from hh_fast.data.pixels import ImageForm, fit, of_pillow, read_pixels
from hh_fast.errors import DataError, UsageError

logger = logging.getLogger(__name__)

BATCH = 32


class Classification(NamedTuple):
    """The class with the highest score, and that score, 0 to 1."""

    class_name: str
    score: float


@dataclasses.dataclass(frozen=True)
class Classifier:
    """An opened model.

    `score` maps images, uint8 (n, height, width, 3) with values 0 to 255, to one score per class, float32 (n, num_classes)
    with values 0 to 1. `score_bytes` takes encoded images; None if the model does not decode images itself.
    """

    path: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    score: Callable[[np.ndarray], np.ndarray]
    score_bytes: Callable[[Sequence[bytes]], np.ndarray] | None = None

    def classify(self, images: Iterable[Any]) -> list[Classification]:
        """The class of each image, and its score.

            >>> classifier = hh_fast.load_classifier("exports/mine/model_int8.tflite")
            >>> for name, score in classifier.classify(["photo.jpg"]):
            ...     print(f"{name} {score:.3f}")

        Args:
            images: One or more paths, Pillow images, or arrays, uint8 (height, width, 3) with values 0 to 255, of any size.

        Raises:
            UsageError: an image of another type.
            DataError: a file that fails to decode.
            OSError: a file that cannot be read.
        """
        if isinstance(images, (str, os.PathLike, Image.Image)) or getattr(images, "ndim", 4) == 3:
            images = [images]
        found: list[Classification] = []
        stream = iter(images)
        while batch := [_to_input(image, self.image_size) for image in itertools.islice(stream, BATCH)]:
            for scores in self.score(np.stack(batch)):
                best = int(np.argmax(scores))
                found.append(Classification(self.class_names[best], float(scores[best])))
        return found


def _to_input(image: Any, image_size: tuple[int, int]) -> np.ndarray:
    """The image as uint8 (height, width, 3), values 0 to 255, upright, and resized as in training.

    Args:
        image: A path, a Pillow image of any mode, or an array, uint8 (any, any, 3).

    Raises:
        UsageError: an image of another type.
        DataError: a file that fails to decode.
        OSError: a file that cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        path = str(Path(image).expanduser())
        return read_pixels(path, ImageForm(image_size), max_image_pixels=PredictConfig.max_image_pixels)
    if isinstance(image, Image.Image):
        return fit(of_pillow(image), ImageForm(image_size))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return fit(image, ImageForm(image_size))
    got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UsageError(f"`images` must be paths, Pillow images, or arrays, uint8 (height, width, 3). Received: {got}")


def read_labels(text: str) -> tuple[str, ...]:
    """The class names in the text of a labels.txt, one per line."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _names_beside(path: Path) -> tuple[str, ...]:
    config, labels = path.parent / RUN_CONFIG, path.parent / "labels.txt"
    try:
        if config.is_file() and (names := json.loads(config.read_text(encoding="utf-8")).get("class_names")):
            return tuple(map(str, names))
        return read_labels(labels.read_text(encoding="utf-8")) if labels.is_file() else ()
    except (ValueError, TypeError, AttributeError) as e:
        raise DataError(f"cannot read the class names in {config if config.is_file() else labels}: {e}") from e


def name_classes(path: Path, num_outputs: int, own_names: Sequence[str] = ()) -> tuple[str, ...]:
    """The class names: `own_names` of the model, else those in the config.json or labels.txt beside it, else class_0, class_1 ...

    Raises:
        DataError: the number of names differs from that of classes (one output has two), or the names cannot be read.
    """
    names, num_classes = tuple(own_names) or _names_beside(path), max(num_outputs, 2)
    if not names:
        logger.warning("%s has no class names: using class_0 to class_%d", path, num_classes - 1)
        return tuple(f"class_{i}" for i in range(num_classes))
    if len(names) != num_classes:
        raise DataError(
            f"{path} gives {num_classes} scores, but there are {len(names)} class names for it: {', '.join(names)}"
        )
    return names
