"""The model to export and its data: those of a finished run, or any Keras model with the user's data."""

import dataclasses
import hashlib
import logging
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
from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, UNKNOWN, DataConfig, ExportConfig
from hh_fast.data.images import Images
from hh_fast.data.load import Examples, load_data
from hh_fast.data.pixels import ImageForm
from hh_fast.data.rows import DecodedRows
from hh_fast.data.sources import source_name
from hh_fast.errors import DataError, UsageError, require
from hh_fast.export.saved_model import of_pixels, score_per_class_model
from hh_fast.predict import keras_model
from hh_fast.predict.classifier import Classifier
from hh_fast.training.report import training_command
from hh_fast.training.run import HELD_OUT, Run, RunConfig
from hh_fast.unknown import has_unknown

logger = logging.getLogger(__name__)

METADATA = "metadata.json"


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A Keras model, its training images, and the images on which it is checked.

    `model` maps images float32 (batch, height, width, 3) with values 0 to `input_max` to its own outputs; `source` is its name in
    messages. `sha256`, in hex, is that of its file, or of its config and weights. `current_fingerprint` is that of the data now.
    `run` is None for a model that no run trained; `num_missing` counts held-out images of the run that no longer exist.
    """

    model: keras.Model
    name: str
    source: str
    sha256: str
    input_max: float
    train: Examples
    validation: Examples
    data_name: str
    current_fingerprint: str
    run: RunConfig | None = None
    num_missing: int = 0

    def __post_init__(self) -> None:
        num_classes, where = max(self.model.outputs[0].shape[1], 2) - self.has_unknown, self.train.images.directory
        names = self.train.images.class_names
        if self.run is not None and self.run.class_names != names:
            raise DataError(
                f"the model of {self.source} has the classes {', '.join(self.run.class_names)}, but its data in {where} has"
                f" {', '.join(names)}: give the run's own data with --train_dir"
            )
        if num_classes != len(names):
            raise DataError(
                f"{self.source} has {num_classes} classes, but {where} has {len(names)},"
                f" {', '.join(names)}: give the images that it was trained on"
            )

    @property
    def has_unknown(self) -> bool:
        """Whether its last output is for pictures that belong to no class."""
        return has_unknown(self.model)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each score of the exported files, ending with `unknown` if the model has it."""
        return (*self.train.images.class_names, *([UNKNOWN] if self.has_unknown else []))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return image_size_of(self.model)

    @property
    def num_train(self) -> int:
        """Number of training images, from the run if there is one, as their folder may have changed since."""
        return self.run.num_train if self.run else len(self.train)

    @property
    def fingerprint(self) -> str:
        return self.run.fingerprint if self.run else self.current_fingerprint

    def reference(self) -> Classifier:
        """The Keras model itself, against which every exported file is checked."""
        return keras_model.classifier(
            self.model, Path(self.source), self.train.images.class_names, input_max=self.input_max
        )

    def exported(self) -> keras.Model:
        """The model to convert, in float32, from pixels, float32 with values 0 to 255, to one score per class.

        Raises:
            DataError: the outputs are not probabilities, or the model cannot be rebuilt from its config.
        """
        fits = is_float32(self.model) and can_save(self.model)
        model = self.model if fits else with_policy(self.model, "float32", rename=True)
        return of_pixels(score_per_class_model(model, self.source), self.input_max)


def _read_run(run_dir: Path) -> RunConfig:
    if not run_dir.is_dir():
        raise DataError(f"no run folder {run_dir}: check the path, or create it with bin/train --run_dir={run_dir}")
    if (run_dir / METADATA).is_file():
        raise DataError(f"{run_dir} is a bundle written by bin/export: give --run_dir the folder of the run")
    config = Run(run_dir).read_config()
    if config is None:
        raise DataError(f"{run_dir} is not a run folder, it has no {RUN_CONFIG}: check the path")
    missing = [name for name in (HELD_OUT, RUN_MODEL, RUN_RESULT) if not (run_dir / name).is_file()]
    if missing:
        best = (
            f", or export its best model so far with --model={run_dir / RUN_MODEL}" if missing == [RUN_RESULT] else ""
        )
        raise DataError(
            f"{run_dir} is not a finished run, it has no {missing[0]}: let `{training_command(config)}` finish it{best}"
        )
    return config


def _data_config(run_data: DataConfig, given: dict[str, Any]) -> DataConfig:
    """The run's data settings, with those in `given` (for data that moved) replaced."""
    changed = dict(given)
    if "dataset" in given and "train_dir" not in given:
        changed |= {"train_dir": None, "validation_dir": None, "validation_split": None}
    elif "train_dir" in given and "dataset" not in given:
        changed["dataset"] = "sample"  # unused
    if "validation_dir" in given:
        changed["validation_split"] = None
    return dataclasses.replace(run_data, **changed)


def load_trained_model(config: ExportConfig, given: dict[str, Any]) -> TrainedModel:
    """The model named by `config`, and its data: that of the run, with the `given` fields of `DataConfig` replaced.

    Raises:
        DataError: an unfinished run, an unusable model, or data that is unusable or does not match the model.
        UsageError: data settings that contradict the run.
    """
    run, held_out = None, None
    if config.run_dir is None:
        path = Path(str(config.model)).expanduser()
        name, data_config = path.stem, DataConfig(**given)
    else:
        run_dir = Path(config.run_dir).expanduser()
        path, name, run = run_dir / RUN_MODEL, run_dir.resolve().name, _read_run(run_dir)
        rule = "left out if --run_dir is given, as the run has its own split"
        require("validation_split" not in given, f"`validation_split` must be {rule}", given.get("validation_split"))
        held_out, data_config = Run(run_dir).held_out, _data_config(run.data, given)
        if not held_out and data_config.validation_dir is None:
            raise DataError(
                f"{run_dir} held out no images for validation, so nothing can be checked: give --validation_dir, a folder of"
                " images that it was not trained on"
            )
    model = load_model(path)
    image_size = image_size_of(model)
    rule = f"the model's own, {image_size[0]},{image_size[1]}, or left out"
    data_config.require("image_size", data_config.image_size in (None, image_size), rule)
    data = load_data(dataclasses.replace(data_config, image_size=image_size), recorded=held_out or None)
    if data.validation is None:
        raise DataError(
            f"no validation images for {data.source.train_dir}, so nothing can be checked: give --validation_dir instead of"
            " --validation_split=0"
        )
    num_missing = len(held_out) - len(data.validation) if held_out else 0
    if num_missing:
        logger.warning(
            "%d of the %d images that the run held out no longer exist: checking on the others",
            *(num_missing, num_missing + len(data.validation)),
        )
    return TrainedModel(
        model=model,
        name=name,
        source=str(config.run_dir or path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        input_max=config.input_max,
        train=data.train,
        validation=data.validation,
        data_name=data.source.name,
        current_fingerprint=data.fingerprint,
        run=run,
        num_missing=num_missing,
    )


def take_trained_model(model: keras.Model, train: Any, validation: Any, *, input_max: float) -> TrainedModel:
    """A model in memory, with its training and validation data sets from `image_dataset_from_directory`.

    Raises:
        DataError: a model that is not a classifier of these images.
        UsageError: unsuitable data sets.
    """
    source = f"the model {model.name}"
    require_classifier(model, source)
    form, sides = ImageForm(image_size_of(model)), []
    for name, dataset in (("train", train), ("validation", validation)):
        images = getattr(dataset, "images", None)
        rule = "a labelled data set as hh_fast.image_dataset_from_directory returns it, before any map or prefetch"
        if not isinstance(images, Images) or not dataset.class_names:
            raise UsageError(f"`{name}` must be {rule}. Received: {type(dataset).__name__}")
        labels, count = set(images.labels.tolist()), len(images.class_names)
        rule = f"labelled with class numbers, 0 to {count - 1}"
        require(labels <= set(range(count)), f"`{name}` must be {rule}", ",".join(map(str, sorted(labels))))
        sides.append(Examples(images, DecodedRows(images.paths, form)))
    names, others = (side.images.class_names for side in sides)
    rule = f"`validation` must be labelled with the classes of `train`, {', '.join(names)}"
    require(names == others, rule, ", ".join(others))
    if train.form != form:
        logger.warning(
            "Exported files take RGB images stretched to %d x %d, bilinear: they are checked on such images, unlike those of `train`",
            *form.image_size,
        )
    directory = sides[0].images.directory
    return TrainedModel(
        model=model,
        name=model.name,
        source=source,
        sha256=digest(model),
        input_max=input_max,
        train=sides[0],
        validation=sides[1],
        data_name=source_name(DataConfig(train_dir=str(directory))),
        current_fingerprint=hashlib.sha256(" ".join(side.images.fingerprint() for side in sides).encode()).hexdigest(),
    )
