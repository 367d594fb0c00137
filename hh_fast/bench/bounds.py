"""What no input path of this machine can beat: bare decoding, and a plain copy of the decoded bytes."""

import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hh_fast.data.decode import path_tensor
from hh_fast.data.engine import as_written
from hh_fast.io.cores import num_cores

MIN_S = 0.5


def decode_bound(paths: Sequence[str]) -> dict[str, float]:
    """Images a second of reading files and decoding them on every core, and nothing else: no order, resizing or batch.

    The bytes are read inside: a constant of them in the data set's graph was measured to cost more than the reading.
    """
    dataset = tf.data.Dataset.from_tensor_slices(path_tensor(paths)).map(
        lambda path: tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)[0, 0, 0],
        num_parallel_calls=num_cores(),
        deterministic=False,
    )
    # One number of each image is all that leaves the map, and 32 at a time, so that Python costs nothing.
    dataset = dataset.batch(32)
    start = time.perf_counter()
    num_images = sum(int(pixels.shape[0]) for pixels in as_written(dataset))
    seconds = time.perf_counter() - start
    return {"first_images": num_images, "first_s": seconds, "first_img_s": num_images / seconds}


def copy_bound(num_images: int, image_size: tuple[int, int], batch_size: int) -> dict[str, float]:
    """Images a second that one core copies, as uint8 and in a shuffled order, into a batch that is there already."""
    rows = np.ones((num_images, image_size[0] * image_size[1] * 3), np.uint8)
    batch = np.ones((batch_size, rows.shape[1]), np.uint8)
    order = np.random.default_rng(0).permutation(num_images).tolist()
    copied = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < MIN_S:
        for i, position in enumerate(order):
            batch[i % batch_size] = rows[position]
        copied += num_images
    return {"warm_images": copied, "warm_s": seconds, "warm_img_s": copied / seconds}
