"""The ways from a folder to batches, each as its users would write it, and how one is measured, without a model.

A path's `open` makes it ready: listing, and whatever it does once, such as filling a cache, which counts for the first epoch.
All read the same folder, in batches of one size, and yield every image once an epoch; the folder holds whole batches, so
none drops a remainder.
"""

import contextlib
import dataclasses
import errno
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hh_fast.bench import baselines
from hh_fast.bench.bounds import copy_bound, decode_bound
from hh_fast.bench.isolate import isolated
from hh_fast.bench.results import InputFigures
from hh_fast.bench.statistics import Claim, Rate, Variant
from hh_fast.bench.workload import Workload
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches, train_batches
from hh_fast.io.cores import num_cores
from hh_fast.io.memory import PeakMemory

# (images (batch, height, width, 3), labels (batch,)), as arrays or tensors.
Batch = tuple[Any, Any]
# From (first epoch, number of epochs) to their batches.
Epochs = Callable[[int, int], Iterable[Batch]]
# A steady window is at least so long; epochs of 2 ms: up to so many make one.
MIN_STEADY_S = 0.5
MAX_STEADY_EPOCHS = 512

# Which paths are raced: with `bin/bench --quick`, by `bin/bench`, and for the published table.
QUICK, RACED, PUBLISHED = range(3)

GENERATOR, STOCK, OWN = "ImageDataGenerator", "image_dataset_from_directory", "hh_fast, memory"
CACHED = f"{STOCK}, cache, prefetch"
DECODE_BOUND = "bound: bare decoding, every core"
COPY_BOUND = "bound: memory copy, one core"
CLAIMS = (
    Claim("steady input", OWN, GENERATOR, "steady_images_per_s"),
    Claim("first epoch's input", OWN, GENERATOR, "first_images_per_s"),
    Claim("share of bound: steady input", OWN, COPY_BOUND, "steady_images_per_s", bound=True),
    Claim("share of bound: first epoch's input", OWN, DECODE_BOUND, "first_images_per_s", bound=True),
)


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


def _repeated(epoch: Callable[[], Iterable[Batch]]) -> Epochs:
    return lambda _, num_epochs: itertools.chain.from_iterable(epoch() for _ in range(num_epochs))


def _generator(workload: Workload, **how: Any) -> Epochs:
    iterator = baselines.generator(**workload.train_reader, **how)
    return _repeated(lambda: baselines.generator_batches(iterator))


def _stock(workload: Workload, **how: Any) -> Epochs:
    dataset = baselines.stock_dataset(**workload.train_reader, **how)
    return _repeated(lambda: dataset)


def _own(workload: Workload, *, shuffle: bool = True, cache: str = "memory", second_run: bool = False) -> Epochs:
    """This package's input; a `second_run` finds the disk cache that an earlier one left."""
    around, train_only = workload.train_dir.parent, workload.on(workload.train_dir, None).data
    kept = contextlib.nullcontext(str(around / "kept"))
    # What is mapped of a cache stays readable without its name.
    with kept if second_run else tempfile.TemporaryDirectory(prefix="cache-", dir=around) as cache_dir:
        split = load_data(dataclasses.replace(train_only, cache=cache, cache_dir=cache_dir)).train
    batch_size, seed = workload.train.batch_size, workload.data.seed
    if not shuffle:
        return _repeated(lambda: eval_batches(split, batch_size=batch_size))
    return lambda first, num: train_batches(
        split, batch_size=batch_size, seed=seed, first_epoch=first, epochs=first + num
    )


def input_paths(level: int = PUBLISHED) -> list[InputPath]:
    """The paths that are raced at this level, in the order of the tables."""
    cores = max(2, num_cores())
    threads = functools.partial(_generator, workers=cores)
    processes = functools.partial(_generator, workers=cores, use_multiprocessing=True)
    cached = functools.partial(_stock, cache=True, prefetch=True)
    second = functools.partial(_own, cache="disk", second_run=True)
    paths = [
        InputPath(GENERATOR, _generator, by_pillow=True),
        InputPath(f"{GENERATOR}, {cores} threads", threads, by_pillow=True, level=RACED),
        InputPath(f"{GENERATOR}, {cores} processes", processes, by_pillow=True, level=PUBLISHED),
        InputPath(STOCK, _stock, level=RACED),
        InputPath(f"{STOCK}, prefetch", functools.partial(_stock, prefetch=True), level=PUBLISHED),
        InputPath(CACHED, cached),
        InputPath(OWN, _own),
        InputPath("hh_fast, disk", functools.partial(_own, cache="disk"), level=RACED),
        InputPath("hh_fast, disk, second run", second, level=RACED),
        InputPath("hh_fast, none", functools.partial(_own, cache="none"), level=RACED),
    ]
    return [path for path in paths if path.level <= level]


def count(batches: Iterable[Batch], start: float) -> tuple[Rate, float]:
    """Consumes `batches`; the window began at `start` (`time.perf_counter()`) and ends with the last one.

    Returns:
        The images that the batches held in it, and the seconds to the first batch.
    """
    num_images, first, now = 0, 0.0, start
    for images, _ in batches:
        num_images += int(images.shape[0])
        now = time.perf_counter()
        first = first or now
    return Rate(num_images, now - start), first - start


def _steady(epochs: Epochs) -> Rate:
    """Epochs after the first: as many at once as fill `MIN_STEADY_S`. The shorter windows before them are a warm-up."""
    first, num_epochs = 1, 1
    while True:
        window, _ = count(epochs(first, num_epochs), time.perf_counter())
        if window.seconds >= MIN_STEADY_S or num_epochs == MAX_STEADY_EPOCHS:
            return window
        first += num_epochs
        enough = 1.2 * num_epochs * MIN_STEADY_S / max(window.seconds, 1e-6)
        num_epochs = min(MAX_STEADY_EPOCHS, max(2 * num_epochs, int(enough)))


def measure_input(path: InputPath, workload: Workload, *, cold: bool = False) -> InputFigures:
    """One repeat's figures; called in a measuring process. `cold` drops the files from the page cache first.

    Raises:
        ValueError: the first epoch did not yield as many images as there are files.
    """
    with PeakMemory() as peak:
        cold_share = drop_from_page_cache(workload.files) if cold else None
        start = time.perf_counter()
        epochs = path.open(workload)
        first, first_batch_s = count(epochs(0, 1), start)
        if first.num_images != len(workload.files):
            raise ValueError(f"it yields {first.num_images} of the {len(workload.files)} images that the others yield")
        steady = _steady(epochs)
    return InputFigures(first, steady, first_batch_s, peak.own_bytes, peak.mapped_bytes, cold_share)


def input_variants(paths: Sequence[InputPath], workload: Workload, *, cold: bool) -> list[Variant]:
    """The race's variants: the paths, and the bounds that none of them can exceed."""
    measure = functools.partial(measure_input, cold=cold)
    return [
        *(isolated(path.name, measure, path, workload) for path in paths),
        isolated(DECODE_BOUND, decode_bound, workload.files),
        isolated(COPY_BOUND, copy_bound, workload),
    ]


def _is_cached(path: str) -> bool:
    """Whether the file's first page would be read without touching the disk.

    Raises:
        OSError: the file cannot be read, or the system cannot tell (EOPNOTSUPP, ENOSYS).
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) >= 0
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def drop_from_page_cache(paths: Sequence[str]) -> float:
    """Drops these files from the page cache (Linux, no root needed), and returns the share of them that is out of it.

    0.0 where the system offers no way to do so, or none to check it: then nothing can be called cold.
    """
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT") or not paths:
        return 0.0
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages not yet written stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    try:
        return sum(not _is_cached(path) for path in paths) / len(paths)
    except OSError as e:
        if e.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return 0.0
        raise
