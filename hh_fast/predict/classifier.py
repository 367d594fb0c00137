"""`Classifier`: an artifact that scores batches of uint8 images, whatever kind of file it came from."""

import dataclasses
import json
import logging
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hh_fast.errors import DataError, UsageError
from hh_fast.io.quiet import import_tensorflow

logger = logging.getLogger(__name__)

TFLITE_IDENTIFIER = b"TFL3"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """An artifact, opened.

    `score` maps images, uint8 (n, height, width, 3) with values 0 to 255, to one score a class, float32
    (n, num_classes) with values 0 to 1. `score_bytes`, where the artifact decodes images itself, takes encoded files.
    """

    path: str
    kind: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    score: Callable[[np.ndarray], np.ndarray]
    score_bytes: Callable[[Sequence[bytes]], np.ndarray] | None = None

    @property
    def needs_tensorflow(self) -> bool:
        return self.kind != "tflite"


def score_per_class(outputs: np.ndarray) -> np.ndarray:
    """Scores float32 (n, num_classes); the one output p of a sigmoid head becomes [1 - p, p]."""
    scores = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
    return np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def name_classes(names: Sequence[str] | None, num_classes: int, path: str) -> tuple[str, ...]:
    """`names`, where they are as many as the classes; without names, class_0 and so on.

    Raises:
        DataError: another number of names.
    """
    if not names:
        logger.warning("%s names no classes: calling them class_0 to class_%d", path, num_classes - 1)
        return tuple(f"class_{i}" for i in range(num_classes))
    if len(names) != num_classes:
        raise DataError(
            f"{path} gives {num_classes} scores, but {len(names)} class names come with it: {', '.join(names)}"
        )
    return tuple(names)


def read_labels(text: str) -> tuple[str, ...]:
    """The class names of a labels.txt, one a line."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def names_beside(path: Path) -> tuple[str, ...] | None:
    """Class names from the run folder's config.json or the labels.txt that stands beside `path`, or None.

    Raises:
        DataError: such a file that cannot be understood.
    """
    config, labels = path.parent / "config.json", path.parent / "labels.txt"
    try:
        if config.is_file() and (names := json.loads(config.read_text(encoding="utf-8")).get("class_names")):
            return tuple(map(str, names))
        return read_labels(labels.read_text(encoding="utf-8")) if labels.is_file() else None
    except (ValueError, TypeError, AttributeError) as e:
        raise DataError(f"cannot read the class names in {config if config.is_file() else labels}: {e}") from e


def kind_of(path: Path) -> str:
    """`tflite`, `keras`, `run` or `saved_model`, by content rather than by name.

    Raises:
        DataError: nothing there, or something else.
    """
    if not path.exists():
        raise DataError(f"no model {path}: check the path")
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        if (path / "model.keras").is_file():
            return "run"
        inside = sorted(entry.name for entry in path.glob("*.tflite"))
        hint = f"name one of the files in it: {', '.join(inside)}" if inside else "give a model file, or such a folder"
        raise DataError(f"{path} is neither a run folder with a model.keras nor a SavedModel: {hint}")
    if not path.is_file():
        raise DataError(f"{path} is not a regular file: give a model file")
    with path.open("rb") as file:
        if file.read(8)[4:] == TFLITE_IDENTIFIER:
            return "tflite"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if {"config.json", "model.weights.h5"} <= set(archive.namelist()):
                return "keras"
    raise DataError(f"{path} is no .tflite, no .keras and no SavedModel, or it is cut off: export or copy it again")


def open_classifier(model: str, *, num_threads: int | None = None) -> Classifier:
    """Opens the artifact at `model`; TensorFlow loads only for a `.keras` file, a run folder or a SavedModel.

    A SavedModel is a program that runs with the user's rights: open only one that you trust.

    Args:
        model: Path of a `.tflite` or `.keras` file, a run folder, or a SavedModel folder.
        num_threads: Cores to share among the images of a batch (`.tflite` only). Default: all.

    Raises:
        DataError: a path that holds no model of these kinds, or one that does not fit, or brings code of its own.
        UsageError: TensorFlow is needed and not installed.
    """
    path = Path(model).expanduser()
    kind = kind_of(path)
    if kind == "tflite":
        from hh_fast.predict.tflite import open_tflite

        return open_tflite(path, num_threads=num_threads)
    if "tensorflow" not in sys.modules:
        logger.info("%s needs TensorFlow: loading it (a .tflite would not)", path)
    try:
        import_tensorflow()
    except ImportError as e:
        raise UsageError(
            "`model` must be a .tflite where TensorFlow is not installed: install tensorflow, or bin/export the model."
            f" Received: {path}"
        ) from e
    from hh_fast.predict import keras_model, saved_model

    if kind == "saved_model":
        return saved_model.open_saved_model(path)
    if kind == "run":
        if not (path / "result.json").is_file():
            logger.warning("%s has not finished training: using its best model so far", path)
        path = path / "model.keras"
    return keras_model.classifier(keras_model.load(path), path, names_beside(path))
