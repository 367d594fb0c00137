"""What no arm of this machine can exceed: of input, bare decoding and a copy; of a step, a resident batch and a matrix product."""

import math
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from benchmarks.harness import Row
from benchmarks.race import ours, rivals
from benchmarks.race.workload import Workload
from hh_fast.io.cores import num_cores

MIN_COPY_S = 0.5
# A resident batch is stepped through for at least so long, after its warm-up.
MIN_RESIDENT_S = 1.0
MIN_RESIDENT_STEPS = 5
# Large enough that its speed is the processor's, not the memory's.
MATRIX_SIDE = 4096
MIN_PRODUCTS = 3
DTYPES = {"float32": tf.float32, "mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data set without tf.data's autotuner, whose thread can stall the end of a measurement."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def decode_bound(paths: Sequence[str]) -> Row:
    """Reading files and decoding them by TensorFlow on every core, and nothing else: no order, resizing or batch.

    The bytes are read inside: a constant of them in the data set's graph was measured to cost more than the reading.
    """
    dataset = tf.data.Dataset.from_tensor_slices(list(paths)).map(
        lambda path: tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)[0, 0, 0],
        num_parallel_calls=num_cores(),
        deterministic=False,
    )
    # One number of each image is all that leaves the map, and 32 at a time, so that Python costs nothing.
    dataset = dataset.batch(32)
    start = time.perf_counter()
    num_images = sum(int(pixels.shape[0]) for pixels in untuned(dataset))
    return {"first_images_per_s": num_images / (time.perf_counter() - start)}


def copy_bound(workload: Workload) -> Row:
    """What one core copies, as uint8 and in a shuffled order, into a batch that is there already."""
    num_images, batch_size = len(workload.files), workload.train.batch_size
    rows = np.ones((num_images, math.prod(workload.data.size) * 3), np.uint8)
    batch = np.ones((batch_size, rows.shape[1]), np.uint8)
    order = np.random.default_rng(0).permutation(num_images).tolist()
    copied = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < MIN_COPY_S:
        for i, position in enumerate(order):
            batch[i % batch_size] = rows[position]
        copied += num_images
    return {"steady_images_per_s": copied / seconds}


def resident_batch(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Random images, uint8 (batch, height, width, 3), and their labels, int32 (batch,)."""
    random = np.random.default_rng(workload.data.seed)
    images = random.integers(0, 256, (workload.train.batch_size, *workload.data.size, 3), np.uint8)
    return images, (np.arange(workload.train.batch_size) % workload.num_classes).astype(np.int32)


def own_step(workload: Workload) -> Callable[[], None]:
    """hh_fast's step on a resident batch."""
    images, labels = map(tf.constant, resident_batch(workload))
    step = ours.make_step(workload)
    return lambda: step(images, labels)


def stock_step(workload: Workload) -> Callable[[], None]:
    """Keras' own compiled train step, the one that `fit` runs, on a resident float32 batch."""
    images, labels = resident_batch(workload)
    dtype = workload.train.precision
    model = ours.build(workload, dtype)
    optimizer, learning_rate = workload.train.optimizer, workload.train.learning_rate
    rivals.compile_classifier(model, optimizer, learning_rate, dtype=dtype)
    model.make_train_function()
    batches = iter(untuned(tf.data.Dataset.from_tensors((images.astype(np.float32), labels)).repeat()))

    def step() -> None:
        float(model.train_function(batches)["loss"])

    return step


def resident_bound(
    make: Callable[[Workload], Callable[[], None]], workload: Workload, min_s: float = MIN_RESIDENT_S
) -> Row:
    """The synthetic bound: a step on one batch that is there already, again and again; the fastest of the steps.

    Not their mean or median: of a process' first dozen steps several may touch memory anew, and take twice as long.
    """
    step = make(workload)
    step()
    step()
    seconds: list[float] = []
    while sum(seconds) < min_s or len(seconds) < MIN_RESIDENT_STEPS:
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"steady_images_per_s": workload.train.batch_size / min(seconds)}


def flops_per_image(model: keras.Sequential) -> int:
    """Multiplications and additions of a step's convolutions and dense layers for one image: forward, and both gradients.

    The first layer takes no gradient by its input. What else a step does (pooling, ReLU, update) is left out.
    """
    total, passes = 0, 2
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            positions = math.prod(layer.output.shape[1:-1])
            total += passes * 2 * positions * math.prod(layer.kernel.shape)
            passes = 3
    return total


def matrix_bound(workload: Workload, side: int = MATRIX_SIDE) -> Row:
    """The step's arithmetic at the speed of this machine's own matrix product in the precision's dtype."""
    shape = (side, side)
    left, right = (tf.cast(tf.random.stateless_normal(shape, (0, i)), DTYPES[workload.train.precision]) for i in (0, 1))
    product = tf.function(tf.matmul)
    product(left, right)
    fastest = math.inf
    for _ in range(MIN_PRODUCTS):
        start = time.perf_counter()
        product(left, right)[0, 0].numpy()  # waits for the device
        fastest = min(fastest, time.perf_counter() - start)
    flops_per_s = 2 * side**3 / fastest
    return {"steady_images_per_s": flops_per_s / flops_per_image(ours.build(workload)), "flops_per_s": flops_per_s}
