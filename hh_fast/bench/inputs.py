"""The ways from a folder to batches, each as its users would write it, and how one is measured, without a model.

  open      listing, and whatever the path does once, such as filling a cache     counts for the first epoch
  epochs    batches of the epochs asked for
  ordered   one pass in the order of the file names, for the check that all paths yield the same

All paths read the same folder, in batches of one size, and yield every image once an epoch; the folder holds whole
batches, so none drops a remainder.
"""

import abc
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hh_fast.bench import baseline
from hh_fast.bench.window import MIN_WARM_S, Batch, Window, count
from hh_fast.config import DataConfig
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches, train_batches
from hh_fast.io.memory import PeakMemory

# From (first epoch, number of epochs) to their batches.
Epochs = Callable[[int, int], Iterable[Batch]]
# Some epochs take 2 ms: a warm window takes as many as make it long enough, up to this number.
MAX_WARM_EPOCHS = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputPath(abc.ABC):
    """One way of reading `directory`, whose sub-folders are the classes."""

    directory: Path
    image_size: tuple[int, int]
    batch_size: int
    seed: int = 0

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """For tables."""

    @property
    @abc.abstractmethod
    def yields(self) -> str:
        """The dtype and range of its images, for tables."""

    # What brings its values to 0..255.
    to_uint8_scale = 1.0

    @abc.abstractmethod
    def open(self) -> Epochs:
        """Makes the path ready; what it keeps lives as long as what is returned."""

    @abc.abstractmethod
    def ordered(self) -> Iterable[Batch]:
        """One pass in the order of the file names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorInput(InputPath):
    """`ImageDataGenerator(rescale=1/255).flow_from_directory`."""

    feeding: baseline.Feeding
    to_uint8_scale = 255.0
    yields = "float32, 0 to 1"

    @property
    def name(self) -> str:
        return self.feeding.name

    def _iterator(self, *, shuffle: bool) -> Any:
        return baseline.generator(
            self.directory,
            image_size=self.image_size,
            batch_size=self.batch_size,
            feeding=self.feeding,
            shuffle=shuffle,
            seed=self.seed,
        )

    def open(self) -> Epochs:
        iterator = self._iterator(shuffle=True)

        def epochs(_: int, num_epochs: int) -> Iterator[Batch]:
            for _ in range(num_epochs):
                yield from baseline.batches(iterator)

        return epochs

    def ordered(self) -> Iterable[Batch]:
        return baseline.batches(self._iterator(shuffle=False))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KerasInput(InputPath):
    """`keras.utils.image_dataset_from_directory`: `plain` as it comes, with `prefetch`, or with `cache` (float32)."""

    kind: str = "plain"
    yields = "float32, 0 to 255"

    @property
    def name(self) -> str:
        return (
            "image_dataset_from_directory"
            + {"plain": "", "prefetch": ", prefetch", "cache": ", cache, prefetch"}[self.kind]
        )

    def _dataset(self, *, shuffle: bool) -> tf.data.Dataset:
        dataset = keras.utils.image_dataset_from_directory(
            str(self.directory),
            image_size=self.image_size,
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            verbose=False,
        )
        if self.kind == "cache":
            dataset = dataset.cache()
        return dataset if self.kind == "plain" else dataset.prefetch(tf.data.AUTOTUNE)

    def open(self) -> Epochs:
        dataset = self._dataset(shuffle=True)

        def epochs(_: int, num_epochs: int) -> Iterator[Batch]:
            for _ in range(num_epochs):
                yield from dataset

        return epochs

    def ordered(self) -> Iterable[Batch]:
        return self._dataset(shuffle=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HHFastInput(InputPath):
    """This package's input. With `kept_dir`, the disk cache of an earlier run is found there."""

    cache: str = "memory"
    kept_dir: Path | None = None
    yields = "uint8, 0 to 255"

    @property
    def name(self) -> str:
        return f"hh_fast, {self.cache}" + (", second run" if self.kept_dir else "")

    def _load(self, cache_dir: Path) -> Any:
        config = DataConfig(
            train_dir=str(self.directory),
            validation_split=0.0,
            image_size=self.image_size,
            cache=self.cache,
            cache_dir=str(cache_dir),
            seed=self.seed,
        )
        return load_data(config).train

    def _split(self) -> Any:
        if self.kept_dir is not None:
            return self._load(self.kept_dir)
        cache_dir = Path(tempfile.mkdtemp(prefix="cache-", dir=self.directory.parent))
        try:
            return self._load(cache_dir)  # what it mapped of the cache stays readable without its name
        finally:
            shutil.rmtree(cache_dir)

    def open(self) -> Epochs:
        split = self._split()
        return lambda first, num: train_batches(
            split, batch_size=self.batch_size, seed=self.seed, first_epoch=first, epochs=first + num
        )

    def ordered(self) -> Iterable[Batch]:
        return eval_batches(self._split(), batch_size=self.batch_size)


def _warm(epochs: Epochs) -> Window:
    """Epochs after the first: as many at once as fill `MIN_WARM_S`. The shorter windows before them are a warm-up."""
    first, num_epochs = 1, 1
    while True:
        start = time.perf_counter()
        window = count(epochs(first, num_epochs), start)
        if window.total_s >= MIN_WARM_S or num_epochs == MAX_WARM_EPOCHS:
            return window
        first += num_epochs
        enough = 1.2 * num_epochs * MIN_WARM_S / max(window.total_s, 1e-6)
        num_epochs = min(MAX_WARM_EPOCHS, max(2 * num_epochs, int(enough)))


def measure_input(
    path: InputPath, *, num_images: int, before: Callable[[], Any] | None = None
) -> dict[str, float | None]:
    """One repeat's figures for a path: its first epoch (with all that it does once) and its warm epochs, apart.

    `before` runs outside the window. The peak is how far this process' memory rises over its start; mapped files are
    told apart, and the memory of worker processes is not in it.

    Raises:
        ValueError: the first epoch did not yield `num_images` images.
    """
    with PeakMemory() as peak:
        if before is not None:
            before()
        start = time.perf_counter()
        epochs = path.open()
        first = count(epochs(0, 1), start)
        if first.num_images != num_images:
            raise ValueError(f"it yields {first.num_images} of the {num_images} images that the others yield")
        warm = _warm(epochs)
    return {
        "first_images": first.num_images,
        "first_s": first.total_s,
        "first_img_s": first.images_per_s,
        "first_batch_s": first.first_batch_s,
        "warm_images": warm.num_images,
        "warm_s": warm.total_s,
        "warm_img_s": warm.images_per_s,
        "peak_bytes": peak.own_bytes,
        "peak_mapped_bytes": peak.mapped_bytes,
    }


def input_paths(
    directory: Path, *, image_size: tuple[int, int], batch_size: int, seed: int, kept_dir: Path
) -> list[InputPath]:
    """Every path of the race, in the order of the tables."""
    common: dict[str, Any] = {"directory": directory, "image_size": image_size, "batch_size": batch_size, "seed": seed}
    return [
        *(GeneratorInput(**common, feeding=feeding) for feeding in baseline.feedings()),
        *(KerasInput(**common, kind=kind) for kind in ("plain", "prefetch", "cache")),
        *(HHFastInput(**common, cache=cache) for cache in ("memory", "disk")),
        HHFastInput(**common, cache="disk", kept_dir=kept_dir),
        HHFastInput(**common, cache="none"),
    ]
