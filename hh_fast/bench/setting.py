"""What the races share: which images, linked where, and the settings of each path."""

import dataclasses
from pathlib import Path

from hh_fast.bench import inputs, whole
from hh_fast.bench.plan import Plan
from hh_fast.bench.subset import link_images
from hh_fast.config import BenchConfig, DataConfig, TrainConfig
from hh_fast.data.load import Data
from hh_fast.errors import UsageError

NOT_QUICK = (" processes", "directory, prefetch", "second run")
NOTHING = Plan(0, 0, 0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the races share: where the linked images are, and the settings."""

    bench: BenchConfig
    data: DataConfig
    train: TrainConfig
    folder: Path
    num_classes: int
    plan: Plan = NOTHING

    @property
    def input_dir(self) -> Path:
        return self.folder / "input"

    def input_paths(self) -> list[inputs.InputPath]:
        """Every path of the input race; `--quick` leaves out those that say the least."""
        paths = inputs.input_paths(
            self.input_dir,
            image_size=self.data.image_size,
            batch_size=self.train.batch_size,
            seed=self.data.seed,
            kept_dir=self.folder / "kept",
        )
        return [path for path in paths if not (self.bench.quick and path.name.endswith(NOT_QUICK))]

    def job(self, precision: str) -> whole.Job:
        data = dataclasses.replace(
            self.data,
            dataset="sample",
            train_dir=str(self.folder / "train"),
            validation_dir=str(self.folder / "validation") if self.plan.num_validation else None,
            validation_split=None if self.plan.num_validation else 0.0,
            tfds_manual_dir=None,
            cache_dir=str(self.folder / "cache"),
        )
        train = dataclasses.replace(self.train, precision=precision, epochs=self.bench.epochs)
        return whole.Job(data, train, self.num_classes)


def refuse_unequal_work(train: TrainConfig) -> None:
    """Raises `UsageError` for flags that one of the paths could not follow in the same way as the others."""
    if train.augment:
        raise UsageError("`augment` must be left out of a bench: the paths augment in different ways. Received: true")
    if train.steps_per_epoch is not None:
        raise UsageError(
            "`steps_per_epoch` must be left out of a bench: an epoch is all images, once."
            f" Received: {train.steps_per_epoch}"
        )
    for name in ("shard_data", "data_service"):
        if getattr(train, name):
            raise UsageError(
                f"`{name}` must be left out of a bench: it measures one machine. Received: {getattr(train, name)}"
            )
    if train.strategy not in ("auto", "none"):
        raise UsageError(f"`strategy` must be none in a bench: it measures one device. Received: {train.strategy}")


def link_all(data: Data, plan: Plan, folder: Path) -> None:
    """Links the images of each race into `folder`."""
    link_images(data.train, data.class_names, plan.num_input, folder / "input")
    link_images(data.train, data.class_names, plan.num_train, folder / "train")
    if plan.num_validation and data.validation is not None:
        link_images(data.validation, data.class_names, plan.num_validation, folder / "validation")
