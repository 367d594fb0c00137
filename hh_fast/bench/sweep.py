"""Precision x XLA x batch size x cache on this machine: each measured on real input, the best written as a flagfile.

One process for each compiled step, which all caches then share: compiling is most of a sweep's time.
"""

import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from hh_fast.bench.input_race import Batch
from hh_fast.bench.isolate import in_process
from hh_fast.bench.own_loop import make_step
from hh_fast.bench.progress import Progress
from hh_fast.bench.results import Results, SweepEntry
from hh_fast.bench.statistics import Rate, describe_failure
from hh_fast.bench.workload import Workload
from hh_fast.config import TrainConfig
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import train_batches
from hh_fast.io.files import write_text

logger = logging.getLogger(__name__)

CACHES = ("memory", "disk", "none")
# Each cache has so many turns, each of at least so long and so many steps.
ROUNDS = 3
MIN_S = 0.7
MIN_STEPS = 2
# Settings this close to the fastest count as equally fast; then the recipe's batch size and the simpler cache win.
TIE = 0.95


def steps_to_try(train: TrainConfig, batch_sizes: Sequence[int], *, has_gpu: bool) -> list[SweepEntry]:
    """All combinations, without those that a flag excludes; float16 only where there is a GPU for it."""
    precisions = ["mixed_bfloat16", "float32"] + (["mixed_float16"] if has_gpu else [])
    if train.precision != "auto":
        precisions = [train.precision]
    compilers = [False, True] if train.jit_compile == "auto" else [train.jit_compile == "true"]
    return [SweepEntry(*choice) for choice in itertools.product(precisions, compilers, sorted(set(batch_sizes)))]


def turn(step: Callable[[tf.Tensor, tf.Tensor], None], batches: Iterator[Batch]) -> tuple[Rate, float]:
    """A few steps on real input, and the share of their time that was waited for it."""
    num_images, num_steps, wait_s = 0, 0, 0.0
    start = now = time.perf_counter()
    while num_steps < MIN_STEPS or now - start < MIN_S:
        images, labels = next(batches)
        wait_s += time.perf_counter() - now
        step(images, labels)
        num_images += int(images.shape[0])
        num_steps += 1
        now = time.perf_counter()
    return Rate(num_images, now - start), wait_s / (now - start)


def batches_of(workload: Workload, cache: str) -> Iterator[Batch]:
    split = load_data(dataclasses.replace(workload.data, cache=cache)).train
    epochs = 1 << 20  # more than are run
    return iter(train_batches(split, batch_size=workload.train.batch_size, seed=workload.data.seed, epochs=epochs))


def measure_step(entry: SweepEntry, workload: Workload, caches: Sequence[str]) -> list[SweepEntry]:
    """An entry for each cache, which take turns under one compiled step; called in a measuring process."""
    start = time.perf_counter()
    step = make_step(workload)
    shape = workload.train.batch_size, *workload.data.image_size, 3
    step(tf.zeros(shape, tf.uint8), tf.zeros(shape[:1], tf.int32))
    compile_s = time.perf_counter() - start
    inputs = {cache: batches_of(workload, cache) for cache in caches}
    turns = [[turn(step, batches) for batches in inputs.values()] for _ in range(ROUNDS)]
    found = []
    for cache, of_cache in zip(inputs, zip(*turns, strict=True), strict=True):
        rates, waits = zip(*of_cache, strict=True)
        found.append(dataclasses.replace(entry, cache=cache, compile_s=compile_s, turns=rates, waits=waits))
    return found


def run_sweep(
    workload: Workload, batch_sizes: Sequence[int], *, has_gpu: bool, progress: Progress
) -> tuple[SweepEntry, ...]:
    """One entry for each step and cache; a step that fails has one with its reason."""
    caches = CACHES if workload.data.cache == "auto" else (workload.data.cache,)
    steps = steps_to_try(workload.train, batch_sizes, has_gpu=has_gpu)
    progress.expect(float(len(steps)))
    entries: list[SweepEntry] = []
    for entry in steps:
        progress.begin(f"sweep: {entry.name}", 1.0)
        changes = {"precision": entry.precision, "batch_size": entry.batch_size}
        on = workload.changed(jit_compile="true" if entry.jit_compile else "false", **changes)
        try:
            entries += in_process(measure_step, entry, on, caches, use_gpu=True)
        except Exception as e:  # one setting that this machine cannot run must not take the others with it
            entries.append(dataclasses.replace(entry, failure=describe_failure(e)))
            logger.warning("%s failed: %s", entry.name, entries[-1].failure)
    return tuple(entries)


def best(entries: Sequence[SweepEntry], *, batch_size: int) -> SweepEntry | None:
    """The fastest; of those within 5% of it, one with `batch_size`, then the earlier cache of memory, disk, none."""
    measured = [entry for entry in entries if not entry.failure]
    if not measured:
        return None
    fastest = max(entry.images_per_s for entry in measured)
    near = [entry for entry in measured if entry.images_per_s >= TIE * fastest]
    return min(near, key=lambda entry: (entry.batch_size != batch_size, CACHES.index(entry.cache), -entry.images_per_s))


def flagfile(results: Results, winner: SweepEntry) -> str:
    """The flagfile of the winner, with the figures that chose it as comments."""
    machine = results.machine
    ranked = sorted((entry for entry in results.sweep if not entry.failure), key=lambda entry: -entry.images_per_s)
    return "\n".join(
        [
            f"# The best settings that bin/bench --sweep found on {results.started[:10]}.",
            f"# {machine.in_words}; TensorFlow {machine.versions['tensorflow']}, Keras {machine.versions['keras']}.",
            f"# Images of {' x '.join(map(str, results.images.image_size))}. Use: bin/train --flagfile=THIS_FILE",
            "# A batch size changes what is learned, not only how fast: check the accuracy if it is not the recipe's 128.",
            "# Training, images a second, steady-state epochs:",
            *(f"#   {entry.images_per_s:8,.0f}  {entry.name}, cache {entry.cache}" for entry in ranked),
            f"--precision={winner.precision}",
            f"--jit_compile={'true' if winner.jit_compile else 'false'}",
            f"--batch_size={winner.batch_size}",
            f"--cache={winner.cache}",
            "",
        ]
    )


def write_flagfile(results: Results, path: Path) -> str:
    """Writes the winner's flagfile and returns what to tell about it."""
    winner = best(results.sweep, batch_size=results.train.batch_size)
    if winner is None:
        return f"Nothing was written to {path}: every setting failed."
    write_text(path, flagfile(results, winner))
    return f"Best settings ({winner.name}, cache {winner.cache}): {path}"
