"""Precision x XLA x batch size x cache on this machine: each measured on real input, the best written as a flagfile.

One process for each compiled step, which all caches then share: compiling is most of a sweep's time. Its rows come three to
an arm, in turn with those of the other caches.
"""

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import Results, Row, arms_of, machine_in_words, median
from benchmarks.process import describe_failure, in_process
from benchmarks.race.workload import Workload
from hh_fast.config import TrainConfig

logger = logging.getLogger("hh_fast.benchmarks")

CACHES = ("memory", "disk", "none")
# Each cache has so many turns, each of at least so long and so many steps.
ROUNDS = 3
MIN_S = 0.7
MIN_STEPS = 2
# Settings this close to the fastest count as equally fast; then the recipe's batch size and the simpler cache win.
TIE = 0.95


def steps_to_try(train: TrainConfig, batch_sizes: Sequence[int], *, has_gpu: bool) -> list[Row]:
    """All combinations, without those that a flag excludes; float16 only where there is a GPU for it."""
    precisions = ["mixed_bfloat16", "float32"] + (["mixed_float16"] if has_gpu else [])
    if train.precision != "auto":
        precisions = [train.precision]
    compilers = ["false", "true"] if train.jit_compile == "auto" else [train.jit_compile]
    keys = ("precision", "jit_compile", "batch_size")
    combinations = itertools.product(precisions, compilers, sorted(set(batch_sizes)))
    return [dict(zip(keys, values, strict=True)) for values in combinations]


def name_of(step: Row) -> str:
    compiler = "XLA" if step["jit_compile"] == "true" else "no XLA"
    return f"{step['precision']}, {compiler}, batch {step['batch_size']}"


def _turn(step: Any, batches: Iterator[Any]) -> Row:
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
    return {"images_per_s": num_images / (now - start), "input_wait": wait_s / (now - start)}


def measure_step(step: Row, workload: Workload, caches: Sequence[str]) -> list[Row]:
    """The rows of one compiled step, three for each cache; called in a measuring process."""
    import tensorflow as tf

    from benchmarks.race import ours

    on = workload.changed(**step)
    start = time.perf_counter()
    run = ours.make_step(on)
    shape = step["batch_size"], *workload.data.size, 3
    run(tf.zeros(shape, tf.uint8), tf.zeros(shape[:1], tf.int32))
    compile_s = time.perf_counter() - start
    inputs = {cache: ours.endless_batches(on, cache) for cache in caches}
    rows = []
    for repeat, (cache, batches) in itertools.product(range(ROUNDS), inputs.items()):
        arm = f"{name_of(step)}, cache {cache}"
        labels = {"kind": "sweep", "arm": arm, "repeat": repeat, **step, "cache": cache, "compile_s": compile_s}
        rows.append({**labels, **_turn(run, batches)})
    return rows


def run_sweep(workload: Workload, batch_sizes: Sequence[int], *, has_gpu: bool) -> tuple[list[Row], dict[str, str]]:
    """The rows of all steps and caches, and why steps failed, by name."""
    caches = CACHES if workload.data.cache == "auto" else (workload.data.cache,)
    rows: list[Row] = []
    failures = {}
    for step in steps_to_try(workload.train, batch_sizes, has_gpu=has_gpu):
        logger.info("Sweep: %s", name_of(step))
        try:
            rows += in_process(measure_step, step, workload, caches)
        except Exception as e:  # one setting that this machine cannot run must not take the others with it
            failures[name_of(step)] = describe_failure(e)
            logger.warning("%s failed: %s", name_of(step), failures[name_of(step)])
    return rows, failures


def best(rows: Sequence[Row], *, batch_size: int) -> Row | None:
    """A row of the fastest arm; of those within 5% of it, one with `batch_size`, then the earlier cache of memory, disk, none."""
    rates = {arm: median(rows, arm, "images_per_s") or 0.0 for arm in arms_of(rows)}
    near = [row for row in rows if rates[row["arm"]] >= TIE * max(rates.values())]

    def rank(row: Row) -> tuple[bool, int, float]:
        return row["batch_size"] != batch_size, CACHES.index(row["cache"]), -rates[row["arm"]]

    return min(near, key=rank, default=None)


def flagfile(results: Results, winner: Row) -> str:
    """The flagfile of the winner, with the figures that chose it as comments."""
    rows = [row for row in results["rows"] if row["kind"] == "sweep"]
    rates = {arm: median(rows, arm, "images_per_s") or 0.0 for arm in arms_of(rows)}
    machine, (height, width) = results["machine"], results["data"]["image_size"]
    versions = machine["versions"]
    lines = [
        f"# The best settings that bin/bench --sweep found on {results['written'][:10]}.",
        f"# {machine_in_words(machine)}; TensorFlow {versions['tensorflow']}, Keras {versions['keras']}.",
        f"# Images of {height} x {width}. Use: bin/train --flagfile=THIS_FILE",
        "# A batch size changes what is learned, not only how fast: check the accuracy if it is not the recipe's 128.",
        "# Training, images a second, steady-state epochs:",
        *(f"#   {rates[arm]:8,.0f}  {arm}" for arm in sorted(rates, key=lambda arm: -rates[arm])),
        *(f"--{name}={winner[name]}" for name in ("precision", "jit_compile", "batch_size", "cache")),
    ]
    return "\n".join(lines) + "\n"
