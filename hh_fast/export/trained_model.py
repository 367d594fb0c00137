"""What is exported: a finished run's model with the run's data, or a `.keras` file from elsewhere with data of the user's."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from hh_fast.any_model import (
    can_save,
    digest,
    image_size_of,
    is_float32,
    load_model,
    require_classifier,
    with_policy,
)
from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, DataConfig, ExportConfig, require
from hh_fast.data.images import Images
from hh_fast.data.load import Data, Examples, load_data
from hh_fast.data.pixels import ImageForm
from hh_fast.data.rows import DecodedRows
from hh_fast.data.sources import Source, source_name
from hh_fast.errors import DataError, UsageError
from hh_fast.export.saved_model import of_pixels, score_per_class_model
from hh_fast.predict import keras_model
from hh_fast.predict.classifier import Classifier
from hh_fast.training.report import training_command
from hh_fast.training.run import HELD_OUT, Run, RunConfig

logger = logging.getLogger(__name__)

METADATA = "metadata.json"


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A Keras model, the data that it was trained on, and the images that it is checked on.

    `model` maps images float32 (batch, height, width, 3) with values 0 to `input_max` to its own outputs. `run` is None for
    a model from elsewhere; `num_missing` counts the images that the run held out and that are not there any more. `sha256`
    is that of the `.keras` file, as hex.
    """

    name: str
    path: Path
    sha256: str
    model: keras.Model
    input_max: float
    data: Data
    validation: Examples
    run: RunConfig | None
    num_missing: int

    @property
    def num_train(self) -> int:
        """Images trained on, as far as is known; their folder may have changed since."""
        return self.run.num_train if self.run else len(self.data.train)

    @property
    def fingerprint(self) -> str:
        return self.run.fingerprint if self.run else self.data.fingerprint

    def reference(self) -> Classifier:
        """The Keras model as it is, against which every exported file is checked."""
        return keras_model.classifier(self.model, self.path, self.data.class_names, input_max=self.input_max)

    def exported(self) -> keras.Model:
        """What is exported, in float32: pixels, float32 with values 0 to 255, to one score a class.

        Raises:
            DataError: the model gives no probabilities, or cannot be made again from its config.
        """
        fits = is_float32(self.model) and can_save(self.model)
        model = self.model if fits else with_policy(self.model, "float32", rename=True)
        return of_pixels(score_per_class_model(model, self.path), self.input_max)


def _read_run(run_dir: Path) -> RunConfig:
    if not run_dir.is_dir():
        raise DataError(f"no run folder {run_dir}: check the path, or make one by bin/train --run_dir={run_dir}")
    if (run_dir / METADATA).is_file():
        raise DataError(f"{run_dir} is a bundle, what bin/export made of a run: give --run_dir the run's own folder")
    config = Run(run_dir).read_config()
    if config is None:
        raise DataError(f"{run_dir} is no run folder, it has no {RUN_CONFIG}: check the path")
    missing = [name for name in (HELD_OUT, RUN_MODEL, RUN_RESULT) if not (run_dir / name).is_file()]
    if missing:
        best = f", or export its best model so far by --model={run_dir / RUN_MODEL}" if missing == [RUN_RESULT] else ""
        raise DataError(
            f"{run_dir} is not a finished run, it has no {missing[0]}: let `{training_command(config)}` finish it{best}"
        )
    return config


def _data_config(run_data: DataConfig, given: dict[str, Any]) -> DataConfig:
    """The run's data settings, with those that are given (data that moved since) in their place."""
    changed = dict(given)
    if "dataset" in given and "train_dir" not in given:
        changed |= {"train_dir": None, "validation_dir": None, "validation_split": None}
    elif "train_dir" in given and "dataset" not in given:
        changed["dataset"] = "sample"  # not used then
    if "validation_dir" in given:
        changed["validation_split"] = None
    return dataclasses.replace(run_data, **changed)


def _load(run_dir: Path, data_config: DataConfig, given: dict[str, Any]) -> tuple[Data, int]:
    """The run's data with the images that it held out to check on, and how many of these are not there any more."""
    rule = "left out where --run_dir is given, for the run knows which images it held out"
    require("validation_split" not in given, "validation_split", rule, given.get("validation_split"))
    recorded = Run(run_dir).held_out
    if recorded:
        data = load_data(data_config, recorded=recorded)
        num_missing = len(recorded) - (len(data.validation) if data.validation else 0)
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


def _require_same_classes(trained_classes: Sequence[str] | None, num_outputs: int, source: str, data: Data) -> None:
    where, found = data.source.train_dir, ", ".join(data.class_names)
    if trained_classes is not None and tuple(trained_classes) != data.class_names:
        raise DataError(
            f"the model of {source} knows the classes {', '.join(trained_classes)}, but its data in {where} has {found}:"
            " give the run's own data by --train_dir"
        )
    if max(num_outputs, 2) != len(data.class_names):
        raise DataError(
            f"{source} tells {max(num_outputs, 2)} classes apart, but {where} has {len(data.class_names)}, {found}: give"
            " the images that it was trained on"
        )


def load_trained_model(config: ExportConfig, given: dict[str, Any]) -> TrainedModel:
    """The model that `config` names, and its data: the run's, or those of the `given` fields of `DataConfig`.

    Raises:
        DataError: an unfinished run, a missing or foreign model, data that cannot be used or that does not fit the model.
        UsageError: data settings that contradict the run.
    """
    run_dir = None if config.run_dir is None else Path(config.run_dir).expanduser()
    run = None if run_dir is None else _read_run(run_dir)
    path = Path(str(config.model)).expanduser() if run_dir is None else run_dir / RUN_MODEL
    data_config = _data_config(run.data, given) if run else DataConfig(**given)
    model = load_model(path)
    image_size = image_size_of(model)
    asked = data_config.image_size or image_size
    require(asked == image_size, "image_size", f"the model's own, {image_size[0]},{image_size[1]}, or left out", asked)
    data_config = dataclasses.replace(data_config, image_size=image_size)
    data, num_missing = (load_data(data_config), 0) if run_dir is None else _load(run_dir, data_config, given)
    _require_same_classes(
        run.class_names if run else None, model.outputs[0].shape[1], str(config.run_dir or path), data
    )
    if data.validation is None:
        raise DataError(
            f"no validation images beside {data.source.train_dir}, so nothing could be checked: give --validation_dir"
            " instead of --validation_split=0"
        )
    return TrainedModel(
        name=path.stem if run_dir is None else run_dir.resolve().name,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        model=model,
        input_max=config.input_max,
        data=data,
        validation=data.validation,
        run=run,
        num_missing=num_missing,
    )


def _images(name: str, dataset: Any) -> Images:
    images = getattr(dataset, "images", None)
    rule = "a labelled data set as hh_fast.image_dataset_from_directory returns it, before any map or prefetch"
    if not isinstance(images, Images) or not dataset.class_names:
        raise UsageError(f"`{name}` must be {rule}. Received: {type(dataset).__name__}")
    return images


def take_trained_model(config: ExportConfig, model: keras.Model, train: Any, validation: Any) -> TrainedModel:
    """A model in memory, and the data sets of `image_dataset_from_directory` that it was trained and is checked on.

    Raises:
        DataError: a model that is no classifier of these images, or that cannot be rebuilt from its config.
        UsageError: other data sets.
    """
    sides = [_images("train", train), _images("validation", validation)]
    if train.class_names != validation.class_names:
        raise UsageError(
            f"`validation` must have the classes of `train`, {', '.join(train.class_names)}."
            f" Received: {', '.join(validation.class_names)}"
        )
    for name, side in (("train", sides[0]), ("validation", sides[1])):
        labels, count = set(side.labels.tolist()), len(train.class_names)
        rule = f"labelled by the classes' positions, 0 to {count - 1}"
        require(labels <= set(range(count)), name, rule, tuple(sorted(labels)))
    name = f"the model {model.name}"
    require_classifier(model, name)
    image_size = image_size_of(model)
    form = ImageForm(image_size)
    if train.form != form:
        logger.warning(
            "Exported files take images stretched to %d x %d, bilinear, in RGB: they are checked on such, and `train` has others",
            *image_size,
        )
    content = " ".join(
        f"{label} {sha256}" for side in sides for label, sha256 in zip(side.labels, side.sha256, strict=True)
    )
    directory = sides[0].directory
    trained_on, checked_on = (Examples(side, DecodedRows(side.paths, form)) for side in sides)
    data = Data(
        source=Source(source_name(DataConfig(train_dir=str(directory))), directory, None),
        train=trained_on,
        validation=checked_on,
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        listing="",
        cache="none",
        bad=(),
        copies="",
    )
    _require_same_classes(None, model.outputs[0].shape[1], name, data)
    return TrainedModel(
        name=model.name,
        path=Path(name),
        sha256=digest(model),
        model=model,
        input_max=config.input_max,
        data=data,
        validation=checked_on,
        run=None,
        num_missing=0,
    )
