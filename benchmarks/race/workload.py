"""What is raced on: links to some of a data set's images, and the settings that all arms share."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import in_process
from hh_fast.config import DataConfig, TrainConfig, require_model_size
from hh_fast.errors import DataError, UsageError, require
from hh_fast.io.files import scratch_dir


@dataclasses.dataclass(frozen=True)
class Workload:
    """Folders of images in `data`, of whole training batches; the recipe's settings in `train`."""

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
    def num_images(self) -> int:
        """Of both splits."""
        return sum(path.is_symlink() for path in self.train_dir.parent.glob("*/*/*"))

    @property
    def head(self) -> str:
        softmax = self.train.head == "softmax" or (self.train.head == "auto" and self.num_classes != 2)
        return "softmax" if softmax else "sigmoid"

    @property
    def train_reader(self) -> dict[str, Any]:
        """What every reader of the images to train on is told."""
        size, seed = self.data.size, self.data.seed
        return {"directory": self.train_dir, "image_size": size, "batch_size": self.train.batch_size, "seed": seed}

    @property
    def validation_reader(self) -> dict[str, Any] | None:
        """The same of those to validate on, in their order; None where there are none."""
        directory, batch_size = self.data.validation_dir, self.train.validation_batch_size
        changes = {"directory": directory, "batch_size": batch_size, "shuffle": False}
        return {**self.train_reader, **changes} if directory else None

    def changed(self, **train: Any) -> "Workload":
        """The same with other training settings."""
        return dataclasses.replace(self, train=dataclasses.replace(self.train, **train))

    def seeded(self, seed: int) -> "Workload":
        """The same with other weights, another order and other augmentation."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, seed=self.data.seed + seed))


def refuse_unequal_work(train: TrainConfig) -> None:
    """Raises `UsageError` for flags that one of the arms could not follow in the same way as the others."""
    if given := train.augmentation():
        raise UsageError(
            "`augment` and its ranges must be left out of a bench: its arms say which of them augment."
            f" Received: {', '.join(given)}"
        )
    reasons = {
        "steps_per_epoch": "an epoch is all images, once",
        "shard_data": "it measures one machine",
        "model": "it races the recipe's CNN, or a backbone",
        "unfreeze": "it races a head on a frozen network",
    }
    for name, reason in reasons.items():
        given = getattr(train, name)
        if given:
            raise UsageError(f"`{name}` must be left out of a bench: {reason}. Received: {given}")
    if train.strategy not in ("auto", "none"):
        raise UsageError(f"`strategy` must be none in a bench: it measures one device. Received: {train.strategy}")


def list_images(config: DataConfig) -> dict[str, Any]:
    """The data set's name, fingerprint, class names, and (paths, labels) of each split; called in a measuring process."""
    from hh_fast.data.load import load_data

    data = load_data(dataclasses.replace(config, cache="none"))
    splits = {"train": data.train, "validation": data.validation}
    return {
        "name": data.source.name,
        "fingerprint": data.fingerprint,
        "class_names": list(data.class_names),
        **{
            name: (list(split.images.paths), np.asarray(split.labels)) if split else None
            for name, split in splits.items()
        },
    }


def choose(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Positions of `num_images` images, in order, spread over the list so that the classes keep their shares."""
    order = np.argsort(labels, kind="stable")
    picked = order[np.linspace(0, len(order), num_images, endpoint=False).astype(np.int64)]
    return np.sort(picked)


def link_images(
    paths: Sequence[str], labels: np.ndarray, class_names: Sequence[str], num_images: int, folder: Path
) -> None:
    """Links `num_images` of the images into class folders under `folder`.

    The files keep their suffixes and their order; their names become numbers, since two folders of one class may hold
    equal names.

    Raises:
        DataError: fewer images than one for each class.
    """
    positions = choose(labels, min(num_images, len(paths)))
    for label, class_name in enumerate(class_names):
        (folder / class_name).mkdir(parents=True)
        chosen = [position for position in positions if labels[position] == label]
        if not chosen:
            raise DataError(f"no image of class {class_name} among {num_images} images: take more images")
        for position in chosen:
            source = Path(paths[position])
            (folder / class_name / f"{position:07d}{source.suffix.lower()}").symlink_to(source.resolve())


@contextlib.contextmanager
def linked(
    config: DataConfig, train: TrainConfig, num_images: int | None = None
) -> Iterator[tuple[Workload, dict[str, Any]]]:
    """A workload of the whole batches in `num_images` images of the data set (default: in all), and what it is made of.

    The links lie beside the caches, and are gone afterwards.

    Raises:
        UsageError: fewer images than a batch. DataError: images that cannot be used.
    """
    refuse_unequal_work(train)
    if train.backbone is None:
        require_model_size(config.size)
    found = in_process(list_images, config)
    paths, labels = found["train"]
    train = train.for_images(len(paths))
    require(
        train.batch_size <= len(paths),
        f"`batch_size` must be at most the {len(paths)} training images",
        train.batch_size,
    )
    num_train = max(1, min(num_images or len(paths), len(paths)) // train.batch_size) * train.batch_size
    held_paths, held_labels = found["validation"] or ([], np.zeros(0))
    num_validation = min(len(held_paths), -(-len(held_paths) * num_train // len(paths)))
    with scratch_dir(config.cache_root / "bench") as folder:
        link_images(paths, labels, found["class_names"], num_train, folder / "train")
        if num_validation:
            link_images(held_paths, held_labels, found["class_names"], num_validation, folder / "validation")
        data = dataclasses.replace(
            config,
            dataset="sample",
            train_dir=str(folder / "train"),
            validation_dir=str(folder / "validation") if num_validation else None,
            validation_split=None if num_validation else 0.0,
            tfds_manual_dir=None,
            cache_dir=str(folder / "cache"),
        )
        about = {
            "name": found["name"],
            "fingerprint": found["fingerprint"],
            "image_size": list(config.size),
            "num_available": len(paths),
            "num_train": num_train,
            "num_validation": num_validation,
        }
        yield Workload(data, train, len(found["class_names"])), about
