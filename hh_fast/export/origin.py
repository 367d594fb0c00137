"""What is exported: a finished run's model with the run's data, or a `.keras` file from elsewhere with data of the user's."""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import keras

from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, DataConfig, ExportConfig
from hh_fast.data.load import Data, load_data
from hh_fast.errors import DataError, UsageError
from hh_fast.export.saved_model import image_size_of, of_pixels, score_per_class_model
from hh_fast.predict import keras_model
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.opening import kind_of
from hh_fast.training.run_folder import HELD_OUT, read_held_out

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Origin:
    """The model, its data, and where they are from.

    `model` maps images float32 (batch, height, width, 3) with values 0 to `input_max` to its own outputs. `run` is the
    run's config.json, empty for a model from elsewhere; `num_missing` counts the images that it held out and that are not
    there any more. `sha256` is that of the `.keras` file, as hex.
    """

    name: str
    model_path: Path
    sha256: str
    model: keras.Model
    input_max: float
    data: Data
    run: dict[str, Any]
    num_missing: int

    @property
    def num_train(self) -> int:
        """Images trained on, as far as is known; their folder may have changed since."""
        return int(self.run.get("num_train", self.data.train.num_images))

    @property
    def fingerprint(self) -> str:
        return str(self.run.get("fingerprint", self.data.fingerprint))

    def reference(self) -> Classifier:
        """The Keras model as it is, against which every exported file is checked."""
        model = of_pixels(self.model, self.input_max)
        return keras_model.classifier(model, self.model_path, self.data.class_names)

    def exported(self) -> keras.Model:
        """The model that is exported: pixels, float32 with values 0 to 255, to one score a class.

        Raises:
            DataError: the model gives no probabilities.
        """
        return of_pixels(score_per_class_model(self.model, self.model_path), self.input_max)


def _read_run(run_dir: Path) -> dict[str, Any]:
    if not run_dir.is_dir():
        raise DataError(f"no run folder {run_dir}: check the path, or make one by bin/train --run_dir={run_dir}")
    missing = [name for name in (RUN_CONFIG, HELD_OUT, RUN_MODEL, RUN_RESULT) if not (run_dir / name).is_file()]
    if missing:
        raise DataError(
            f"{run_dir} is not a finished run, it has no {missing[0]}: let bin/train --run_dir={run_dir} finish it"
            + (f", or export its best model so far by --model={run_dir / RUN_MODEL}" if missing == [RUN_RESULT] else "")
        )
    try:
        config = json.loads((run_dir / RUN_CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not {"data", "class_names"} <= set(config):
            raise ValueError("it lacks data or class_names")
    except ValueError as e:
        raise DataError(f"{run_dir / RUN_CONFIG} is damaged ({e}): train again, or copy the run folder again") from e
    return config


def _run_data(run: dict[str, Any], given: dict[str, Any]) -> DataConfig:
    """The run's data settings, with those that are given (data that moved since) in their place."""
    changed = dict(given)
    if "dataset" in given and "train_dir" not in given:
        changed |= {"train_dir": None, "validation_dir": None, "validation_split": None}
    elif "train_dir" in given and "dataset" not in given:
        changed["dataset"] = "sample"  # not used then
    if "validation_dir" in given:
        changed["validation_split"] = None
    return dataclasses.replace(DataConfig.from_json(run["data"]), **changed)


def _load(run_dir: Path, data_config: DataConfig, given: dict[str, Any]) -> tuple[Data, int]:
    """The run's data with the images that it held out to check on, and how many of these are not there any more."""
    if "validation_split" in given:
        raise UsageError(
            "`validation_split` must be left out where --run_dir is given, for the run knows which images it held out."
            f" Received: {given['validation_split']}"
        )
    recorded = read_held_out(run_dir)
    if recorded:
        data = load_data(data_config, recorded=recorded)
        num_missing = len(recorded) - (data.validation.num_images if data.validation else 0)
        if num_missing:
            logger.warning(
                "%d of the %d images that the run held out are not there any more: checking on the others",
                *(num_missing, len(recorded)),
            )
        return data, num_missing
    if data_config.validation_dir is None:
        raise DataError(
            f"{run_dir} held no images out for validation, so nothing could be checked: give --validation_dir, a folder of"
            " images that it was not trained on"
        )
    return load_data(data_config), 0


def find_origin(config: ExportConfig, given: dict[str, Any]) -> Origin:
    """The model that `config` names, and its data: the run's, or those of the `given` fields of `DataConfig`.

    Raises:
        DataError: an unfinished run, a missing or foreign model, data that cannot be used or that does not fit the model.
        UsageError: data settings that contradict the run.
    """
    run_dir = None if config.run_dir is None else Path(config.run_dir).expanduser()
    if run_dir is not None:
        run, path, name = _read_run(run_dir), run_dir / RUN_MODEL, run_dir.resolve().name
        data_config = _run_data(run, given)
    else:
        path = Path(str(config.model)).expanduser()
        run, name, data_config = {}, path.stem, DataConfig(**given)
    if kind_of(path) != "keras":
        raise DataError(f"{path} is no .keras file: export needs the Keras model, not what was made from it")
    model = keras_model.load(path)
    image_size = image_size_of(model)
    if given.get("image_size", image_size) != image_size:
        raise UsageError(
            f"`image_size` must be the model's own, {image_size[0]},{image_size[1]}, or left out."
            f" Received: {','.join(map(str, given['image_size']))}"
        )
    data_config, num_missing = dataclasses.replace(data_config, image_size=image_size), 0
    if run_dir is not None:
        data, num_missing = _load(run_dir, data_config, given)
    else:
        data = load_data(data_config)
    if run and tuple(run["class_names"]) != data.class_names:
        raise DataError(
            f"the model of {config.run_dir} knows the classes {', '.join(run['class_names'])}, but its data in"
            f" {data.source.train_dir} has {', '.join(data.class_names)}: give the run's own data by --train_dir"
        )
    num_outputs = model.outputs[0].shape[1]
    if max(num_outputs, 2) != len(data.class_names):
        raise DataError(
            f"{path} tells {max(num_outputs, 2)} classes apart, but {data.source.train_dir} has"
            f" {len(data.class_names)}, {', '.join(data.class_names)}: give the images that it was trained on"
        )
    if data.validation is None:
        raise DataError(
            f"no validation images beside {data.source.train_dir}, so nothing could be checked: give --validation_dir"
            " instead of --validation_split=0"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Origin(name, path, digest, model, config.input_max, data, run, num_missing)
