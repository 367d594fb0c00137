"""From a store of images to the batches of a run: order, then batch, then prefetch."""

import os

import numpy as np
import tensorflow as tf

from hh_fast.data.decode import decode, path_tensor
from hh_fast.data.load import Split


def order(num_images: int, seed: int, epoch: tf.Tensor | int) -> tf.Tensor:
    """The full permutation, int32 (num_images,), that `seed` and `epoch` fix, whatever came before."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(num_images), seed=tf.stack([seed, tf.cast(epoch, tf.int32)])
    )


def whole_steps(split: Split, batch_size: int) -> int:
    """Whole batches in one pass."""
    return split.num_images // batch_size


def train_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    steps_per_epoch: int | None = None,
) -> tf.data.Dataset:
    """The batches of epochs `first_epoch` to `epochs`, one after the other, from step `first_step` of the first on.

    Each epoch is a full permutation of its own. Its remainder is dropped; `steps_per_epoch` beyond one pass goes on with
    a further permutation. The prefetch reaches over the end of an epoch.

    Returns:
        A finite, shuffled data set of (uint8 (batch_size, height, width, 3) with values 0 to 255, int32 (batch_size,)).
    """
    passes_steps = whole_steps(split, batch_size)
    steps = steps_per_epoch or passes_steps
    passes = -(-steps // passes_steps)

    def index_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = [
            tf.reshape(
                order(split.num_images, seed, epoch * passes + i)[: passes_steps * batch_size],
                (passes_steps, batch_size),
            )
            for i in range(passes)
        ]
        return tf.data.Dataset.from_tensor_slices(tf.concat(rows, 0)[:steps])

    indices = tf.data.Dataset.range(first_epoch, epochs).flat_map(index_batches).skip(first_step)
    return _with_images(indices, split, batch_size, drop_remainder=True)


def eval_batches(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """One ordered pass, the remainder kept, as `train_batches` types it; the last batch may be smaller."""
    return _with_images(
        tf.data.Dataset.range(split.num_images).batch(batch_size), split, batch_size, drop_remainder=False
    )


def _with_images(indices: tf.data.Dataset, split: Split, batch_size: int, *, drop_remainder: bool) -> tf.data.Dataset:
    labels = tf.constant(split.labels.astype(np.int32))
    if split.images is None:
        paths = path_tensor(split.paths)
        batches = (
            indices.unbatch()
            .map(
                lambda i: (decode(tf.io.read_file(paths[i]), split.image_size), labels[i]),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .batch(batch_size, drop_remainder=drop_remainder)
        )
    else:
        images = split.images
        batches = indices.map(
            lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
    return batches.prefetch(tf.data.AUTOTUNE)


def images_at(split: Split, positions: np.ndarray) -> np.ndarray:
    """The images at these positions, uint8 (k, height, width, 3), in their order."""
    if split.images is not None:
        return tf.gather(split.images, positions).numpy()
    return np.stack([decode(tf.io.read_file(os.fsencode(split.paths[i])), split.image_size).numpy() for i in positions])
