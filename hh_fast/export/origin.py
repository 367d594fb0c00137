"""What is exported: a finished run's model with the run's data, or a `.keras` file from elsewhere with data of the user's."""

import dataclasses
import hashlib
import json
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


@dataclasses.dataclass(frozen=True)
class Origin:
    """The model, its data, and where they are from.

    `model` maps images float32 (batch, height, width, 3) with values 0 to `input_max` to its own outputs. `run` is the
    run's config.json, empty for a model from elsewhere. `sha256` is that of the `.keras` file, as hex.
    """

    name: str
    model_path: Path
    sha256: str
    model: keras.Model
    input_max: float
    data: Data
    run: dict[str, Any]

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
    missing = [name for name in (RUN_CONFIG, RUN_MODEL, RUN_RESULT) if not (run_dir / name).is_file()]
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


def _overruled(run_data: DataConfig, flags: DataConfig) -> DataConfig:
    """The run's data settings, with those that a flag gives (data that moved since) in their place."""
    defaults = DataConfig()
    changed = {
        field.name: value
        for field in dataclasses.fields(DataConfig)
        if (value := getattr(flags, field.name)) != getattr(defaults, field.name)
    }
    return dataclasses.replace(run_data, **changed)


def find_origin(config: ExportConfig, flags: DataConfig) -> Origin:
    """The model and data that `config` and the data flags name.

    Raises:
        DataError: an unfinished run, a missing or foreign model, data that cannot be used or that does not fit the model.
        UsageError: data flags that contradict the run.
    """
    if config.run_dir is not None:
        run_dir = Path(config.run_dir).expanduser()
        run, path, name = _read_run(run_dir), run_dir / RUN_MODEL, run_dir.resolve().name
        data_config = _overruled(DataConfig.from_json(run["data"]), flags)
    else:
        path = Path(str(config.model)).expanduser()
        run, name, data_config = {}, path.stem, flags
    if kind_of(path) != "keras":
        raise DataError(f"{path} is no .keras file: export needs the Keras model, not what was made from it")
    model = keras_model.load(path)
    image_size = image_size_of(model)
    if flags.image_size not in (DataConfig().image_size, image_size):
        raise UsageError(
            f"`image_size` must be the model's own, {image_size[0]},{image_size[1]}, or left out."
            f" Received: {flags.image_size[0]},{flags.image_size[1]}"
        )
    data = load_data(dataclasses.replace(data_config, image_size=image_size))
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
            f"no validation images beside {data.source.train_dir}, so nothing could be checked: give --validation_dir,"
            " or a --validation_split above 0"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Origin(name, path, digest, model, config.input_max, data, run)
