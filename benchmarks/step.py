"""One training step: Keras' own, hh_fast's order of operations, and the convolutions' own time, in turn.

    .venv/bin/python benchmarks/step.py

Takes about 3 minutes on 2 cores. Same function, same weights, one resident batch; of each, the fastest time. "The convolutions
alone" runs each convolution of the step by itself (forward, and the gradients of kernel and input) and adds these up; "matrix
product" is the step's arithmetic at the speed that the machine's own matrix product reaches.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import benchlib
import tensorflow as tf

from hh_fast.bench.bounds import DTYPES, matrix_bound, own_step, resident_bound, stock_step
from hh_fast.bench.isolate import isolated
from hh_fast.bench.results import StepFigures
from hh_fast.bench.statistics import Claim, Rate
from hh_fast.bench.workload import Workload
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.model import FILTERS

MIN_S = 2.0
REPEATS_OF_OP = 5


def convolutions(workload: Workload) -> StepFigures:
    """What the sum of the step's convolutions, each by itself, would allow."""
    (height, width), channels = workload.data.image_size, 3
    total = 0.0
    for i, filters in enumerate(FILTERS, 1):
        found = _block(workload, i, (height, width), channels, filters)
        if i == 1:
            del found["input"]  # nothing is learned of the images
        total += sum(found.values())
        height, width, channels = (height - 2) // 2, (width - 2) // 2, filters
    return StepFigures(Rate(workload.train.batch_size, total))


def _block(workload: Workload, i: int, size: tuple[int, int], channels: int, filters: int) -> dict[str, float]:
    """Seconds of the i-th convolution, of its gradient by the kernel, and of that by its input."""
    dtype, batch = DTYPES[workload.train.precision], workload.train.batch_size
    images = tf.cast(tf.random.stateless_uniform((batch, *size, channels), (i, 0)), dtype)
    kernel = tf.cast(tf.random.stateless_normal((3, 3, channels, filters), (i, 1)), dtype)
    gradient = tf.cast(tf.random.stateless_normal((batch, size[0] - 2, size[1] - 2, filters), (i, 2)), dtype)
    how: dict[str, Any] = {"out_backprop": gradient, "strides": [1, 1, 1, 1], "padding": "VALID"}
    ops: dict[str, Callable[[], Any]] = {
        "forward": lambda: tf.nn.conv2d(images, kernel, 1, "VALID"),
        "kernel": lambda: tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, **how),
        "input": lambda: tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, **how),
    }
    return {name: _fastest_seconds(op) for name, op in ops.items()}


def _fastest_seconds(op: Callable[[], Any]) -> float:
    compiled = tf.function(op)
    compiled()
    times = []
    for _ in range(REPEATS_OF_OP):
        start = time.perf_counter()
        compiled()[0, 0, 0, 0].numpy()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    arguments = parser.parse_args()
    config = DataConfig(image_size=(arguments.image_size, arguments.image_size))
    variants, claims = [], []
    for precision in ("float32", "mixed_bfloat16"):
        train = TrainConfig(batch_size=arguments.batch_size, precision=precision, jit_compile="false")
        workload = Workload(config, train, 2)
        stock, own, alone, product = (
            f"{name}, {precision}"
            for name in ("Keras' own step", "hh_fast", "the convolutions alone", "bound: matrix product")
        )
        variants += [
            isolated(stock, resident_bound, stock_step, workload, MIN_S, use_gpu=True),
            isolated(own, resident_bound, own_step, workload, MIN_S, use_gpu=True),
            isolated(alone, convolutions, workload, use_gpu=True),
            isolated(product, matrix_bound, workload, use_gpu=True),
        ]
        claims.append(Claim("speedup of the step", own, stock, "steady_images_per_s"))
        claims.append(Claim("share of the convolutions", own, alone, "steady_images_per_s", bound=True))
        claims += [
            Claim("share of the matrix product", name, product, "steady_images_per_s", bound=True)
            for name in (stock, own)
        ]
    outcomes = benchlib.in_turn(variants, arguments.repeats)
    settings = {"batch_size": arguments.batch_size, "image_size": arguments.image_size}
    benchlib.write(arguments.output, outcomes, claims=claims, **settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
