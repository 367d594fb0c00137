"""What is raced on: links to some of a data set's images, and the settings that all arms share."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hh_fast.bench.results import DataSummary, Plan
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import Data, Split
from hh_fast.errors import DataError, UsageError
from hh_fast.model import build_model, choose_head


@dataclasses.dataclass(frozen=True)
class Workload:
    """Folders of whole training batches in `data`, the recipe's settings in `train`."""

    data: DataConfig
    train: TrainConfig
    num_classes: int

    @property
    def train_dir(self) -> Path:
        return Path(str(self.data.train_dir))

    @property
    def files(self) -> list[str]:
        """The links to train on, in the order in which every path lists them: by class, then by name."""
        return [str(path) for class_dir in sorted(self.train_dir.iterdir()) for path in sorted(class_dir.iterdir())]

    @property
    def head(self) -> str:
        return choose_head(self.train.head, self.num_classes)

    @property
    def train_reader(self) -> dict[str, Any]:
        """What every reader of the images to train on is told."""
        data = self.data
        return {
            "directory": self.train_dir,
            "image_size": data.image_size,
            "batch_size": self.train.batch_size,
            "seed": data.seed,
        }

    @property
    def validation_reader(self) -> dict[str, Any] | None:
        """The same of those to validate on, in their order; None where there are none."""
        directory, batch_size = self.data.validation_dir, self.train.validation_batch_size
        changes = {"directory": directory, "batch_size": batch_size, "shuffle": False}
        return {**self.train_reader, **changes} if directory else None

    def initial_weights(self) -> list[np.ndarray]:
        """What every arm starts from, float32."""
        return self.model("float32").get_weights()

    def model(self, dtype: str) -> keras.Sequential:
        """The CNN in stock Keras layers, on uint8 or float (batch, height, width, 3) with values 0 to 255."""
        data = self.data
        return build_model(data.image_size, num_classes=self.num_classes, head=self.head, seed=data.seed, dtype=dtype)

    def changed(self, **train: Any) -> "Workload":
        """The same with other training settings."""
        return dataclasses.replace(self, train=dataclasses.replace(self.train, **train))

    def on(self, train_dir: Path, validation_dir: Path | None) -> "Workload":
        """The same on other folders."""
        data = dataclasses.replace(
            self.data,
            dataset="sample",
            train_dir=str(train_dir),
            validation_dir=str(validation_dir) if validation_dir else None,
            validation_split=None if validation_dir else 0.0,
            tfds_manual_dir=None,
            cache_dir=str(train_dir.parent / "cache"),
        )
        return dataclasses.replace(self, data=data)


def refuse_unequal_work(train: TrainConfig) -> None:
    """Raises `UsageError` for flags that one of the arms could not follow in the same way as the others."""
    if given := train.augmentation():
        raise UsageError(
            "`augment` and its ranges must be left out of a bench: its arms say which of them augment."
            f" Received: {', '.join(given)}"
        )
    if train.steps_per_epoch is not None:
        raise UsageError(
            "`steps_per_epoch` must be left out of a bench: an epoch is all images, once."
            f" Received: {train.steps_per_epoch}"
        )
    if train.shard_data:
        raise UsageError("`shard_data` must be left out of a bench: it measures one machine. Received: True")
    if train.strategy not in ("auto", "none"):
        raise UsageError(f"`strategy` must be none in a bench: it measures one device. Received: {train.strategy}")


def choose(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Positions of `num_images` images, in order, spread over the list so that the classes keep their shares."""
    order = np.argsort(labels, kind="stable")
    picked = order[np.linspace(0, len(order), num_images, endpoint=False).astype(np.int64)]
    return np.sort(picked)


def link_images(split: Split, class_names: Sequence[str], num_images: int, directory: Path) -> Path:
    """Links `num_images` of the split's images into class folders under `directory`, which is returned.

    The files keep their suffixes and their order; their names become numbers, since two folders of one class may hold
    equal names.

    Raises:
        DataError: fewer images than one for each class.
    """
    positions = choose(split.labels, min(num_images, split.num_images))
    for label, class_name in enumerate(class_names):
        folder = directory / class_name
        folder.mkdir(parents=True)
        chosen = [position for position in positions if split.labels[position] == label]
        if not chosen:
            raise DataError(f"no image of class {class_name} among {num_images} of {split.name}: take more images")
        for position in chosen:
            source = Path(split.paths[position])
            os.symlink(source.resolve(), folder / f"{position:07d}{source.suffix.lower()}")  # noqa: PTH211
    return directory


def link_workloads(data: Data, plan: Plan, workload: Workload, folder: Path) -> tuple[Workload, Workload]:
    """The workloads of the input race and of the training race, linked in `folder`."""
    names = data.class_names
    inputs = link_images(data.train, names, plan.num_input, folder / "input")
    train = link_images(data.train, names, plan.num_train, folder / "train")
    validation = (
        link_images(data.validation, names, plan.num_validation, folder / "validation")
        if plan.num_validation and data.validation is not None
        else None
    )
    return workload.on(inputs, None), workload.on(train, validation)


def summarize(data: Data) -> DataSummary:
    return DataSummary(
        name=data.source.name,
        fingerprint=data.fingerprint,
        num_train=data.train.num_images,
        num_validation=data.validation.num_images if data.validation else 0,
        image_size=data.train.image_size,
    )
