"""One GPU in one command: the arms, the step in each precision with and without XLA, and the largest batch.

    .venv/bin/python benchmarks/gpu.py

Meant to end within 10 minutes on one GPU; not run on one yet, only with tiny settings on a CPU, where it also runs and its
figures mean nothing. Each setting of the step has a process of its own and is measured on a resident batch, then on real
input, whose copy to the device counts as waiting for input.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import benchlib
import tensorflow as tf
from published import GpuStep

from hh_fast.bench import own_loop
from hh_fast.bench.bounds import resident_batch
from hh_fast.bench.isolate import in_process
from hh_fast.bench.results import with_steady_epochs
from hh_fast.bench.statistics import describe_failure
from hh_fast.bench.sweep import batches_of, turn
from hh_fast.bench.training_race import OWN, Arm, all_arms, bound_variants, training_claims, training_variants
from hh_fast.bench.workload import Workload
from hh_fast.config import TrainConfig

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def on_device(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches copied to the first GPU, or to the CPU where there is none; each is there when it is handed out."""
    device = "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"
    for images, labels in batches:
        with tf.device(device):
            copied = tf.identity(images), tf.identity(labels)
        copied[0][0, 0, 0, 0].numpy()  # waits for the copy
        yield copied


def measure_step(wanted: GpuStep, workload: Workload) -> GpuStep:
    """`wanted` with its figures; called in a measuring process."""
    jit_compile = "true" if wanted.jit_compile else "false"
    on = workload.changed(precision=wanted.precision, jit_compile=jit_compile, batch_size=wanted.batch_size)
    step = own_loop.make_step(on)
    resident = next(on_device(iter([resident_batch(on)])))
    step(*resident)
    bound, _ = turn(step, itertools.repeat(resident))
    measured, wait = turn(step, on_device(batches_of(on, "memory")))
    return dataclasses.replace(
        wanted, images_per_s=measured.images_per_s, resident_images_per_s=bound.images_per_s, input_wait=wait
    )


def tried(wanted: GpuStep, workload: Workload) -> GpuStep:
    """`wanted` with its figures, or why it failed."""
    benchlib.show(f"{wanted.precision}, {'XLA' if wanted.jit_compile else 'no XLA'}, batch {wanted.batch_size}")
    try:
        measured: GpuStep = in_process(measure_step, wanted, workload, use_gpu=True)
    except Exception as e:  # a precision that the GPU lacks, or a batch that its memory does
        return dataclasses.replace(wanted, failure=describe_failure(e))
    return measured


def larger_batches(first: GpuStep, workload: Workload, most: int) -> Iterator[GpuStep]:
    """Twice the batch size until one fails, up to `most` and to the number of images."""
    size = 2 * first.batch_size
    while size <= min(most, len(workload.files)):
        yield (found := tried(GpuStep(first.precision, first.jit_compile, size), workload))
        if found.failure:
            return
        size *= 2


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "gpu")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--max_batch_size", type=int, default=1024)
    arguments = parser.parse_args()
    train = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size)
    precision = str(in_process(own_loop.chosen_precision, train, use_gpu=True))
    with benchlib.whole_workload(benchlib.data_config(arguments, cache="memory"), train) as (workload, data):
        kinds = itertools.product(PRECISIONS, (False, True))
        steps = [tried(GpuStep(*kind, arguments.batch_size), workload) for kind in kinds]
        sound = [step for step in steps if step.images_per_s is not None]
        if sound:
            fastest = max(sound, key=lambda step: step.images_per_s or 0.0)
            steps += larger_batches(fastest, workload, arguments.max_batch_size)
        arms = all_arms(precision)
        bounded = [Arm(OWN, precision)]
        variants = [*training_variants(arms, workload), *bound_variants(bounded, workload)]
        outcomes = benchlib.in_turn(variants, 1)
    benchlib.write(
        arguments.output,
        [with_steady_epochs(outcome) for outcome in outcomes[: len(arms)]],
        bounds=outcomes[len(arms) :],
        steps=steps,
        claims=training_claims(arms, precision),
        data=data,
        precision=precision,
        epochs=arguments.epochs,
        seeds=1,
        batch_size=arguments.batch_size,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
