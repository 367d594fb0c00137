"""Opens any trained or exported model as a `Classifier`."""

import logging
import os
import sys
import zipfile
from pathlib import Path

from hh_fast.config import RUN_MODEL, RUN_RESULT
from hh_fast.errors import DataError, UsageError
from hh_fast.io.quiet import import_tensorflow
from hh_fast.predict.classifier import Classifier

logger = logging.getLogger(__name__)

MODEL_IDENTIFIER = b"TFL3"


def kind_of(path: Path) -> str:
    """`tflite`, `keras`, `run` or `saved_model`, by content, not by name.

    Raises:
        DataError: the path does not exist, or is none of these.
    """
    if not path.exists():
        beside = sorted(entry.name for entry in path.parent.glob("*") if entry.name.endswith(".tflite"))
        hint = f"its folder has {', '.join(beside)}" if beside else "check the path"
        raise DataError(f"no model {path}: {hint}")
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        if (path / RUN_MODEL).is_file():
            return "run"
        inside = sorted(entry.name for entry in path.glob("*.tflite"))
        hint = f"give one of the files in it: {', '.join(inside)}" if inside else "give a model file, or such a folder"
        raise DataError(f"{path} is neither a run folder with a model.keras nor a SavedModel: {hint}")
    if not path.is_file():
        raise DataError(f"{path} is not a regular file: give a model file")
    with path.open("rb") as file:
        if file.read(8)[4:] == MODEL_IDENTIFIER:
            return "tflite"
    if zipfile.is_zipfile(path):
        return "keras"
    raise DataError(f"{path} is not a .tflite, .keras or SavedModel, or it is truncated: export or copy it again")


def load_classifier(model: str | os.PathLike[str], *, num_threads: int | None = None) -> Classifier:
    """Opens the model at a path; TensorFlow is only loaded for a `.keras` file, a run folder or a SavedModel.

        >>> hh_fast.load_classifier("exports/mine/model_int8.tflite").classify(["photo.jpg"])
        [Classification(class_name='humans', score=0.98...)]

    A SavedModel can run any code with the user's rights: open only one that you trust.

    Args:
        model: Path of a `.tflite` or `.keras` file, a run folder, or a SavedModel folder.
        num_threads: Number of cores for the images of a batch (`.tflite` only). Default: all.

    Raises:
        DataError: no such model at that path, or one that is not an image classifier or contains code.
        UsageError: TensorFlow is needed but not installed.
    """
    path = Path(model).expanduser()
    kind = kind_of(path)
    if kind == "tflite":
        from hh_fast.predict.tflite import open_tflite
        from hh_fast.predict.trial import trial_run

        trial_run(path)
        return open_tflite(path, num_threads=num_threads)
    if "tensorflow" not in sys.modules:
        logger.info("%s needs TensorFlow: loading it (a .tflite file does not need it)", path)
    try:
        import_tensorflow()
    except ImportError as e:
        raise UsageError(
            "`model` must be a .tflite if TensorFlow is not installed: install tensorflow, or export the model with bin/export."
            f" Received: {path}"
        ) from e
    from hh_fast.any_model import load_model
    from hh_fast.predict import keras_model, saved_model

    if kind == "saved_model":
        return saved_model.open_saved_model(path)
    if kind == "run":
        if not (path / RUN_RESULT).is_file():
            logger.warning("%s has not finished training: using its best model so far", path)
        path = path / RUN_MODEL
    return keras_model.classifier(load_model(path), path)
