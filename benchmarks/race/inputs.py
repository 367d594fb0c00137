"""The ways from a folder to batches, each as its users would write it, and how one is measured, without a model.

A path's `open` makes it ready: listing, and whatever it does once, such as filling a cache, which counts for the first epoch.
All read the same folder, in batches of one size, and yield every image once an epoch; the folder holds whole batches, so
none drops a remainder.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.harness import Measure, Row, isolated
from benchmarks.process import peak_memory
from benchmarks.race import ours, rivals
from benchmarks.race.bounds import copy_bound, decode_bound
from benchmarks.race.names import COPY_BOUND, DECODE_BOUND, READ_CACHED, READ_GENERATOR, READ_OWN, READ_STOCK
from benchmarks.race.workload import Workload
from hh_fast.io.cores import num_cores

# From (first epoch, number of epochs) to their batches.
Epochs = Callable[[int, int], Iterable[ours.Batch]]
# A steady window is at least so long; epochs of 2 ms: up to so many make one.
MIN_STEADY_S = 0.5
MAX_STEADY_EPOCHS = 512

# Which paths are raced: with `bin/bench --quick`, by `bin/bench`, and with `--full`.
QUICK, DEFAULT, FULL = range(3)


@dataclasses.dataclass(frozen=True)
class InputPath:
    """One way of reading. `by_pillow`: decoded and resized by Pillow, as `ImageDataGenerator` does; `level`: raced from it on.

    Where `shuffle` is false, `open(workload, shuffle=...)` gives the images in the order of the file names.
    """

    name: str
    open: Callable[..., Epochs]
    by_pillow: bool = False
    level: int = QUICK

    @property
    def to_uint8_scale(self) -> float:
        """What brings its values to 0..255: `ImageDataGenerator` gives 0 to 1."""
        return 255.0 if self.by_pillow else 1.0


def _repeated(epoch: Callable[[], Iterable[ours.Batch]]) -> Epochs:
    return lambda _, num_epochs: itertools.chain.from_iterable(epoch() for _ in range(num_epochs))


def _generator(workload: Workload, *, threads: int = 1, **how: Any) -> Epochs:
    iterator = rivals.generator(**workload.train_reader, **how)
    return _repeated(lambda: rivals.generator_batches(iterator, threads))


def _stock(workload: Workload, **how: Any) -> Epochs:
    dataset = rivals.stock_dataset(**workload.train_reader, **how)
    return _repeated(lambda: dataset)


def input_paths(level: int = FULL) -> list[InputPath]:
    """The paths that are raced at this level, in the order of the tables."""
    cores = max(2, num_cores())
    threads = functools.partial(_generator, threads=cores)
    cached = functools.partial(_stock, cache=True, prefetch=True)
    second = functools.partial(ours.open_input, cache="disk", second_run=True)
    paths = [
        InputPath(READ_GENERATOR, _generator, by_pillow=True),
        InputPath(f"{READ_GENERATOR}, {cores} threads", threads, by_pillow=True, level=DEFAULT),
        InputPath(READ_STOCK, _stock, level=DEFAULT),
        InputPath(f"{READ_STOCK}, prefetch", functools.partial(_stock, prefetch=True), level=FULL),
        InputPath(READ_CACHED, cached),
        InputPath(READ_OWN, ours.open_input),
        InputPath("hh_fast, disk", functools.partial(ours.open_input, cache="disk"), level=DEFAULT),
        InputPath("hh_fast, disk, second run", second, level=DEFAULT),
        InputPath("hh_fast, none", functools.partial(ours.open_input, cache="none"), level=DEFAULT),
    ]
    return [path for path in paths if path.level <= level]


def consume(batches: Iterable[ours.Batch], start: float) -> tuple[int, float, float]:
    """Images that the batches held, seconds from `start` (`time.perf_counter()`) to the last batch, and to the first."""
    num_images, first, now = 0, 0.0, start
    for images, _ in batches:
        num_images += int(images.shape[0])
        now = time.perf_counter()
        first = first or now
    return num_images, now - start, first - start


def steady_images_per_s(epochs: Epochs) -> float:
    """Of epochs after the first: as many at once as fill `MIN_STEADY_S`. The shorter windows before them are a warm-up."""
    first, num_epochs = 1, 1
    while True:
        num_images, seconds, _ = consume(epochs(first, num_epochs), time.perf_counter())
        if seconds >= MIN_STEADY_S or num_epochs == MAX_STEADY_EPOCHS:
            return num_images / seconds
        first += num_epochs
        enough = 1.2 * num_epochs * MIN_STEADY_S / max(seconds, 1e-6)
        num_epochs = min(MAX_STEADY_EPOCHS, max(2 * num_epochs, int(enough)))


def measure_input(path: InputPath, workload: Workload) -> Row:
    """One repeat's figures; called in a measuring process. The peaks are of its own pages and of mapped files.

    Raises:
        ValueError: the first epoch did not yield as many images as there are files.
    """
    with peak_memory() as peak:
        start = time.perf_counter()
        epochs = path.open(workload)
        num_images, seconds, first_batch_s = consume(epochs(0, 1), start)
        if num_images != len(workload.files):
            raise ValueError(f"it yields {num_images} of the {len(workload.files)} images that the others yield")
        steady = steady_images_per_s(epochs)
    return {
        "first_images_per_s": num_images / seconds,
        "steady_images_per_s": steady,
        "first_batch_s": first_batch_s,
        **peak,
    }


def input_arms(paths: Sequence[InputPath], workload: Workload) -> dict[str, Measure]:
    """The paths, and the bounds that none of them can exceed."""
    return {
        **{path.name: isolated(measure_input, path, workload) for path in paths},
        DECODE_BOUND: isolated(decode_bound, workload.files),
        COPY_BOUND: isolated(copy_bound, workload),
    }
