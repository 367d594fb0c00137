"""The tf.data pipeline from examples to batches: order, batch, prefetch."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation, apply, draw
from hh_fast.data.engine import PARALLEL_BATCHES, PREFETCHED_BATCHES, no_autograph, without_autotune
from hh_fast.data.load import Examples
from hh_fast.data.rows import aligned
from hh_fast.io.cores import num_cores


@dataclasses.dataclass(frozen=True)
class Share:
    """The rows of each global batch for one worker: part `worker` of `num_workers`, as `num_parts` batches.

    The global batch is divided in order, so that each step has the same images with any number of replicas.
    """

    worker: int
    num_workers: int
    num_parts: int = 1

    def rows(self, batch_size: int) -> slice:
        size = batch_size // self.num_workers
        return slice(self.worker * size, (self.worker + 1) * size)

    def part_size(self, batch_size: int) -> int:
        return batch_size // (self.num_workers * self.num_parts)


def order(num_images: int, seed: int, epoch: tf.Tensor | int) -> tf.Tensor:
    """The permutation, int32 (num_images,), of an epoch: a function of `seed` and `epoch` alone."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(num_images), seed=tf.stack([seed, tf.cast(epoch, tf.int32)])
    )


def index_batches(
    num_images: int,
    *,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    steps_per_epoch: int | None = None,
    steps_per_pass: int | None = None,
) -> tf.data.Dataset:
    """The rows of each batch of epochs `first_epoch` to `epochs`, starting at step `first_step` of the first.

    Each epoch is a full permutation of its own; the remainder is dropped. If `steps_per_epoch` exceeds one pass, the epoch
    continues with another permutation.

    Args:
        steps_per_pass: Steps per permutation; default: the number of whole batches.

    Returns:
        A finite data set of pairs: the number of the pass, int64, counted over all epochs, and rows, int32 (batch_size,).
    """
    pass_steps = steps_per_pass or num_images // batch_size
    steps = steps_per_epoch or pass_steps
    passes = -(-steps // pass_steps)

    @no_autograph
    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        numbers = epoch * passes + tf.range(passes, dtype=tf.int64)
        rows = [
            tf.reshape(order(num_images, seed, numbers[i])[: pass_steps * batch_size], (pass_steps, batch_size))
            for i in range(passes)
        ]
        each = tf.repeat(numbers, pass_steps)[:steps], tf.concat(rows, 0)[:steps]
        return tf.data.Dataset.from_tensor_slices(each)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(of_epoch).skip(first_step)


def train_batches(
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    share: Share | None = None,
    augmentation: Augmentation | None = None,
    **plan: Any,
) -> tf.data.Dataset:
    """The batches of `index_batches(len(examples), batch_size=batch_size, seed=seed, **plan)`, with labels.

    Prefetching continues across the end of an epoch.

    Args:
        share: Fetch only this part of each batch, as `share.num_parts` batches of `share.part_size` images.
        augmentation: Applied to each image, drawn by `seed`, the number of the pass and `examples.images.indices`.

    Returns:
        A finite, shuffled data set of the model's input, (batch_size, *shape) (pixels are uint8 (height, width, 3), values 0 to
        255), and labels, int32 (batch_size,).
    """
    batches = index_batches(len(examples), batch_size=batch_size, seed=seed, **plan)
    if share is None:
        return with_rows(batches, examples, augmentation, seed)
    size = share.part_size(batch_size)

    @no_autograph
    def own_parts(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.fill((share.num_parts,), number), tf.reshape(rows[share.rows(batch_size)], (share.num_parts, size))

    return with_rows(batches.map(own_parts).unbatch(), examples, augmentation, seed)


def eval_batches(examples: Examples, *, batch_size: int) -> tf.data.Dataset:
    """One ordered pass with elements as in `train_batches`; the remainder is kept, so the last batch may be smaller."""
    return with_rows(tf.data.Dataset.range(len(examples)).batch(batch_size).map(_unaugmented), examples)


def batches_at(examples: Examples, rows: np.ndarray) -> tf.data.Dataset:
    """One pass over the batches in `rows`, int (num_batches, size), with elements as in `train_batches`."""
    return with_rows(tf.data.Dataset.from_tensor_slices(rows).map(_unaugmented), examples)


@no_autograph
def _unaugmented(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(0, tf.int64), rows


def augment(
    augmentation: Augmentation, seed: int, block: np.ndarray, places: np.ndarray, indices: np.ndarray, epoch: int
) -> np.ndarray:
    """Augments the images at `places`, int (k,), of `block`, uint8 (any, height, width, 3); returns uint8 (k, height, width, 3)."""
    drawn = draw(augmentation, block.shape[1:3], seed=seed, epoch=int(epoch), indices=indices)
    out = aligned((len(places), *block.shape[1:]))
    images = [block[place] for place in places]
    return apply(images, drawn, fill_mode=augmentation.fill_mode, cval=augmentation.cval, out=out)


def with_rows(
    plan: tf.data.Dataset,
    examples: Examples,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    *,
    element: Callable[[tf.Tensor, tf.Tensor], Any] = lambda rows, labels: (rows, labels),
) -> tf.data.Dataset:
    """`element(rows, labels)` for each element of `plan`, which are pairs of the pass's number and rows of `examples`, int (k,)."""
    front = examples.front
    rows, labels, indices = examples.rows, tf.constant(examples.labels), tf.constant(examples.images.indices)
    # TensorFlow never frees the function, so its data must be arguments, which are passed without a copy.
    change = functools.partial(augment, augmentation or Augmentation(), seed)

    @no_autograph
    def batch(number: tf.Tensor, wanted: tf.Tensor) -> Any:
        if augmentation:
            block, places = rows.locate(wanted)
            arguments = [block, places, tf.gather(indices, wanted), number]
            fed = tf.numpy_function(change, arguments, tf.uint8, stateful=False)
        else:
            fed = rows.gather(wanted)
        if front is not None:
            fed = tf.numpy_function(front, [fed], tf.float32, stateful=False)
        return element(tf.ensure_shape(fed, (*wanted.shape, *examples.input_spec.shape)), tf.gather(labels, wanted))

    num_batches = max(PARALLEL_BATCHES, num_cores()) if augmentation or front else PARALLEL_BATCHES
    batches = plan.map(batch, num_parallel_calls=num_batches, deterministic=True)
    return without_autotune(batches.prefetch(PREFETCHED_BATCHES))


def images_at(examples: Examples, positions: np.ndarray) -> np.ndarray:
    """The pixels at `positions`, int (k,), uint8 (k, height, width, channels)."""
    rows = examples.rows if examples.pixels is None else examples.pixels
    return rows.gather(tf.constant(positions)).numpy()
