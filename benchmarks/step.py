"""One training step: stock Keras layers, hh_fast's order of operations, and the convolutions' own time, in turn.

    .venv/bin/python benchmarks/step.py

Takes about 3 minutes on 2 cores. Same function, same weights, one resident batch. "The convolutions alone" runs each
convolution of the step by itself (forward, and the gradients of kernel and input) and adds their medians up.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import benchlib

from hh_fast.bench.measure import Variant, run_in_turn
from hh_fast.bench.race import Call
from hh_fast.bench.whole import Job, resident_hh_fast
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.model import FILTERS

MIN_S = 2.0
REPEATS_OF_OP = 5


def stock(job: Job) -> dict[str, Any]:
    """The same model under Keras' own compile and train step: Conv2D with ReLU, then MaxPooling2D."""
    import keras
    import numpy as np
    import tensorflow as tf

    from hh_fast.training.step import make_optimizer

    random = np.random.default_rng(job.data.seed)
    images = tf.constant(random.integers(0, 256, (job.train.batch_size, *job.data.image_size, 3), np.uint8))
    labels = tf.constant(np.arange(job.train.batch_size) % 2)
    model = job.model(job.train.precision)
    model.compile(
        loss="binary_crossentropy",
        optimizer=make_optimizer(job.train, job.train.precision),
        metrics=[keras.metrics.BinaryAccuracy()],
        jit_compile=False,
    )
    model.make_train_function()
    train = model.train_function
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())

    def step() -> None:
        float(train(batches)["loss"])

    return _rate(step, job.train.batch_size)


def _rate(step: Callable[[], None], batch_size: int) -> dict[str, Any]:
    step()
    step()
    num_steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < MIN_S or num_steps < 3:
        step()
        num_steps += 1
    seconds = time.perf_counter() - start
    return {"images": num_steps * batch_size, "training_s": seconds, "warm_img_s": num_steps * batch_size / seconds}


def convolutions(job: Job) -> dict[str, Any]:
    """Seconds of each convolution of a step by itself, and the images a second that their sum would allow."""
    (height, width), channels = job.data.image_size, 3
    seconds: dict[str, float] = {}
    for i, filters in enumerate(FILTERS, 1):
        found = _block(job, i, (height, width), channels, filters)
        if i == 1:
            del found["input"]  # nothing is learned of the images
        seconds |= {f"conv{i} {name}": value for name, value in found.items()}
        height, width, channels = (height - 2) // 2, (width - 2) // 2, filters
    total = sum(seconds.values())
    return {"op_s": seconds, "total_s": total, "warm_img_s": job.train.batch_size / total}


def _block(job: Job, i: int, size: tuple[int, int], channels: int, filters: int) -> dict[str, float]:
    """Seconds of the i-th convolution, of its gradient by the kernel, and of that by its input."""
    import tensorflow as tf

    dtype = tf.bfloat16 if job.train.precision == "mixed_bfloat16" else tf.float32
    batch = job.train.batch_size
    images = tf.cast(tf.random.stateless_uniform((batch, *size, channels), (i, 0)), dtype)
    kernel = tf.cast(tf.random.stateless_normal((3, 3, channels, filters), (i, 1)), dtype)
    gradient = tf.cast(tf.random.stateless_normal((batch, size[0] - 2, size[1] - 2, filters), (i, 2)), dtype)
    how: dict[str, Any] = {"out_backprop": gradient, "strides": [1, 1, 1, 1], "padding": "VALID"}

    def forward() -> Any:
        return tf.nn.conv2d(images, kernel, 1, "VALID")

    def by_kernel() -> Any:
        return tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, **how)

    def by_input() -> Any:
        return tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, **how)

    return {
        "forward": _median_seconds(forward),
        "kernel": _median_seconds(by_kernel),
        "input": _median_seconds(by_input),
    }


def _median_seconds(op: Callable[[], Any]) -> float:
    import tensorflow as tf

    compiled = tf.function(op)
    compiled()
    times = []
    for _ in range(REPEATS_OF_OP):
        start = time.perf_counter()
        compiled()[0, 0, 0, 0].numpy()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    arguments = parser.parse_args()
    size = arguments.image_size, arguments.image_size
    functions: dict[str, Callable[[Job], dict[str, Any]]] = {
        "stock Keras layers": stock,
        "hh_fast": resident_hh_fast,
        "the convolutions alone": convolutions,
    }
    calls, asked = [], []
    for precision in ("float32", "mixed_bfloat16"):
        train = TrainConfig(batch_size=arguments.batch_size, precision=precision, jit_compile="false")
        job = Job(DataConfig(image_size=size), train, 2)
        calls += [Call(f"{name}, {precision}", function, (job,), use_gpu=True) for name, function in functions.items()]
        own = f"hh_fast, {precision}"
        asked.append((f"step, {precision}", own, f"stock Keras layers, {precision}", "warm_img_s"))
        asked.append((f"share of convolutions, {precision}", own, f"the convolutions alone, {precision}", "warm_img_s"))
    variants = [Variant(call.name, call.run) for call in calls]
    outcomes = run_in_turn(variants, repeats=arguments.repeats, on_progress=lambda name, _: benchlib.show(name))
    benchlib.write(
        arguments.output,
        outcomes,
        batch_size=arguments.batch_size,
        image_size=list(size),
        ratios=benchlib.ratios(outcomes, asked),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
