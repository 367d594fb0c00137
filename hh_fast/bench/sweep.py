"""Precision x XLA x batch size x cache on this machine: each measured on real input, the best written as a flagfile.

One process for each compiled step, which all caches then share: compiling is most of a sweep's time.
"""

import dataclasses
import itertools
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from hh_fast.bench.isolate import in_process
from hh_fast.bench.measure import describe_failure
from hh_fast.bench.progress import Progress
from hh_fast.bench.whole import Job, make_trainer
from hh_fast.bench.window import Batch
from hh_fast.config import TrainConfig
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import train_batches
from hh_fast.io.files import write_text
from hh_fast.training.step import Trainer

logger = logging.getLogger(__name__)

CACHES = ("memory", "disk", "none")
# Each cache has so many turns, each of at least so long and so many steps.
ROUNDS = 3
MIN_S = 0.7
MIN_STEPS = 2
# Settings this close to the fastest count as equally fast; then the recipe's batch size and the simpler cache win.
TIE = 0.95


@dataclasses.dataclass(frozen=True)
class Step:
    """One compiled training step."""

    precision: str
    jit_compile: bool
    batch_size: int

    @property
    def name(self) -> str:
        return f"{self.precision}, {'XLA' if self.jit_compile else 'no XLA'}, batch {self.batch_size}"


def steps_to_try(train: TrainConfig, batch_sizes: Sequence[int], *, has_gpu: bool) -> list[Step]:
    """All combinations, without those that a flag excludes; float16 only where there is a GPU for it."""
    precisions = ["mixed_bfloat16", "float32"] + (["mixed_float16"] if has_gpu else [])
    if train.precision != "auto":
        precisions = [train.precision]
    compilers = [False, True] if train.jit_compile == "auto" else [train.jit_compile == "true"]
    sizes = sorted(set(batch_sizes))
    return [Step(*choice) for choice in itertools.product(precisions, compilers, sizes)]


def _rate(trainer: Trainer, batches: Iterator[Batch]) -> dict[str, float]:
    """Images a second, and the share of time waited for input, of a few steps on real input."""
    num_images, num_steps, wait_s = 0, 0, 0.0
    start = now = time.perf_counter()
    while num_steps < MIN_STEPS or now - start < MIN_S:
        images, labels = next(batches)
        wait_s += time.perf_counter() - now
        trainer.train_step(images, labels)
        num_images += int(images.shape[0])
        num_steps += 1
        now = time.perf_counter()
    seconds = now - start
    return {"images": num_images, "seconds": seconds, "img_s": num_images / seconds, "input_wait": wait_s / seconds}


def _batches(job: Job, cache: str) -> Iterator[Batch]:
    split = load_data(dataclasses.replace(job.data, cache=cache)).train
    epochs = 1 << 20  # more than are run
    return iter(train_batches(split, batch_size=job.train.batch_size, seed=job.data.seed, epochs=epochs))


def measure_step(job: Job, caches: Sequence[str]) -> dict[str, Any]:
    """Seconds to compile (building the graph and the first step), then each cache's rates, in turn with the others'.

    Called in a measuring process.
    """
    start = time.perf_counter()
    trainer, _ = make_trainer(job)
    zeros = tf.zeros((job.train.batch_size, *job.data.image_size, 3), tf.uint8)
    trainer.train_step(zeros, tf.zeros((job.train.batch_size,), tf.int32))
    compile_s = time.perf_counter() - start
    rates: dict[str, list[dict[str, float]]] = {cache: [] for cache in caches}
    inputs = {cache: _batches(job, cache) for cache in caches}
    for _ in range(ROUNDS):
        for cache, batches in inputs.items():
            rates[cache].append(_rate(trainer, batches))
    return {"compile_s": compile_s, "caches": rates}


def _job(job: Job, step: Step) -> Job:
    jit_compile = "true" if step.jit_compile else "false"
    train = dataclasses.replace(
        job.train, precision=step.precision, jit_compile=jit_compile, batch_size=step.batch_size
    )
    return dataclasses.replace(job, train=train)


def run_sweep(job: Job, batch_sizes: Sequence[int], *, has_gpu: bool, progress: Progress) -> list[dict[str, Any]]:
    """One entry for each step and cache, as JSON; a step that fails has one entry with its reason."""
    caches = CACHES if job.data.cache == "auto" else (job.data.cache,)
    steps = steps_to_try(job.train, batch_sizes, has_gpu=has_gpu)
    progress.plan(float(len(steps)))
    entries = []
    for step in steps:
        progress.begin(f"sweep: {step.name}", 1.0)
        base = {"name": step.name, **dataclasses.asdict(step), "failure": None}
        try:
            found = in_process(measure_step, _job(job, step), caches, use_gpu=True)
        except Exception as e:  # one setting that this machine cannot run must not take the others with it
            entries.append({**base, "failure": describe_failure(e)})
            logger.warning("%s failed: %s", step.name, entries[-1]["failure"])
            continue
        for cache, repeats in found["caches"].items():
            medians = {key: statistics.median(rate[key] for rate in repeats) for key in ("img_s", "input_wait")}
            entries.append({**base, "cache": cache, "compile_s": found["compile_s"], **medians, "repeats": repeats})
    return entries


def best(entries: Sequence[dict[str, Any]], *, batch_size: int) -> dict[str, Any] | None:
    """The fastest; of those within 5% of it, one with `batch_size`, then the earlier cache of memory, disk, none."""
    measured = [entry for entry in entries if not entry["failure"]]
    if not measured:
        return None
    fastest = max(entry["img_s"] for entry in measured)
    near = [entry for entry in measured if entry["img_s"] >= TIE * fastest]
    return min(
        near, key=lambda entry: (entry["batch_size"] != batch_size, CACHES.index(entry["cache"]), -entry["img_s"])
    )


def flagfile(results: dict[str, Any], winner: dict[str, Any]) -> str:
    """The flagfile of the winner, with the figures that chose it as comments."""
    machine, versions = results["machine"], results["versions"]
    devices = ", ".join(machine["gpus"]) or "no GPU"
    ranked = sorted((entry for entry in results["sweep"] if not entry["failure"]), key=lambda entry: -entry["img_s"])
    figures = [f"#   {entry['img_s']:8,.0f}  {entry['name']}, cache {entry['cache']}" for entry in ranked]
    return "\n".join(
        [
            f"# The best settings that bin/bench --sweep found on {results['started'][:10]}.",
            f"# {machine['cpu']}, {machine['num_cores']} cores, {devices};"
            f" TensorFlow {versions['tensorflow']}, Keras {versions['keras']}.",
            f"# Images of {' x '.join(map(str, results['data']['image_size']))}. Use: bin/train --flagfile=THIS_FILE",
            "# A batch size changes what is learned, not only how fast: check the accuracy if it is not the recipe's 128.",
            "# Training, images a second, warm epochs:",
            *figures,
            f"--precision={winner['precision']}",
            f"--jit_compile={'true' if winner['jit_compile'] else 'false'}",
            f"--batch_size={winner['batch_size']}",
            f"--cache={winner['cache']}",
            "",
        ]
    )


def write_flagfile(results: dict[str, Any], path: Path) -> str:
    """Writes the winner's flagfile and returns what to tell about it."""
    winner = best(results["sweep"], batch_size=results["flags"]["train"]["batch_size"])
    if winner is None:
        return f"Nothing was written to {path}: every setting failed."
    write_text(path, flagfile(results, winner))
    return f"Best settings ({winner['name']}, cache {winner['cache']}): {path}"
