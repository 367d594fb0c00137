"""What no input path of this machine can beat: bare decoding, and a plain copy of the decoded bytes."""

import concurrent.futures
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

MIN_S = 0.5
# Decoding is measured on at most this many files, whose bytes are read beforehand.
MAX_FILES = 1024


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_bound(paths: Sequence[str]) -> dict[str, float]:
    """Images a second of `tf.io.decode_image` alone, on every core: no reading, resizing, order or batch."""
    encoded = tf.constant([Path(path).read_bytes() for path in paths[:MAX_FILES]])
    dataset = tf.data.Dataset.from_tensor_slices(encoded).map(
        lambda data: tf.io.decode_image(data, channels=3, expand_animations=False)[0, 0, 0],
        num_parallel_calls=num_cores(),
        deterministic=False,
    )
    # One number of each image is all that leaves the map, and 32 at a time, so that Python costs nothing.
    dataset = dataset.batch(32)
    start = time.perf_counter()
    num_images = sum(int(pixels.shape[0]) for pixels in dataset)
    seconds = time.perf_counter() - start
    return {"first_images": num_images, "first_s": seconds, "first_img_s": num_images / seconds}


def copy_bound(num_images: int, image_size: tuple[int, int], batch_size: int, num_threads: int = 1) -> dict[str, float]:
    """Images a second of copying rows (decoded images, uint8) in a shuffled order to a batch that is there already."""
    rows = np.ones((num_images, image_size[0] * image_size[1] * 3), np.uint8)
    order = np.random.default_rng(0).permutation(num_images)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        batches = [np.ones((batch_size, rows.shape[1]), np.uint8) for _ in range(num_threads)]

        def copy(thread: int) -> int:
            batch, copied = batches[thread], 0
            end = time.perf_counter() + MIN_S
            while time.perf_counter() < end:
                for i, position in enumerate(order):
                    batch[i % batch_size] = rows[position]
                copied += num_images
            return copied

        start = time.perf_counter()
        total = sum(pool.map(copy, range(num_threads)))
        seconds = time.perf_counter() - start
    return {"warm_images": total, "warm_s": seconds, "warm_img_s": total / seconds}
