"""From a store of images to the batches of a run: order, then batch, then prefetch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.data.augmenter import Augmenter
from hh_fast.data.decode import file_loader
from hh_fast.data.engine import PARALLEL_BATCHES, PREFETCHED_BATCHES, no_autograph, without_autotune
from hh_fast.data.load import Split
from hh_fast.io.cores import num_cores


@dataclasses.dataclass(frozen=True)
class Share:
    """The rows of each global batch that one worker fetches: part `worker` of `num_workers`, in `num_parts` batches.

    The global batch is cut in order, so which replica gets which images never changes what a step sees.
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
    """The full permutation, int32 (num_images,), that `seed` and `epoch` fix, whatever came before."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(num_images), seed=tf.stack([seed, tf.cast(epoch, tf.int32)])
    )


def index_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    steps_per_epoch: int | None = None,
    steps_per_pass: int | None = None,
) -> tf.data.Dataset:
    """Which images make the batches of epochs `first_epoch` to `epochs`, from step `first_step` of the first on.

    Each epoch is a full permutation of its own. Its remainder is dropped; `steps_per_epoch` beyond one pass goes on with
    a further permutation.

    Args:
        steps_per_pass: Steps before the next permutation; default: as many whole batches as `split` has.

    Returns:
        A finite data set of pairs: the pass's number, int64, counted over all epochs, and positions in `split`, int32
        (batch_size,).
    """
    pass_steps = steps_per_pass or split.num_images // batch_size
    steps = steps_per_epoch or pass_steps
    passes = -(-steps // pass_steps)

    @no_autograph
    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        numbers = epoch * passes + tf.range(passes, dtype=tf.int64)
        rows = [
            tf.reshape(order(split.num_images, seed, numbers[i])[: pass_steps * batch_size], (pass_steps, batch_size))
            for i in range(passes)
        ]
        each = tf.repeat(numbers, pass_steps)[:steps], tf.concat(rows, 0)[:steps]
        return tf.data.Dataset.from_tensor_slices(each)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(of_epoch).skip(first_step)


def make_augmenter(split: Split, augmentation: Augmentation | None, seed: int) -> Augmenter | None:
    indices = np.arange(split.num_images) if split.indices is None else split.indices
    return Augmenter(augmentation, seed=seed, indices=indices) if augmentation else None


def train_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    share: Share | None = None,
    augmentation: Augmentation | None = None,
    **plan: Any,
) -> tf.data.Dataset:
    """The images of `index_batches(split, batch_size=batch_size, seed=seed, **plan)`, with their labels.

    The prefetch reaches over the end of an epoch.

    Args:
        share: Fetch only this part of each batch, as `share.num_parts` batches of `share.part_size` images.
        augmentation: What is done to each image, by `seed`, the number of the pass and `split.indices`.

    Returns:
        A finite, shuffled data set of (uint8 (batch_size, height, width, 3) with values 0 to 255, int32 (batch_size,)).
    """
    batches = index_batches(split, batch_size=batch_size, seed=seed, **plan)
    augmenter = make_augmenter(split, augmentation, seed)
    if share is None:
        return with_images(batches, split, batch_size, augmenter)
    size = share.part_size(batch_size)

    @no_autograph
    def own_parts(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.fill((share.num_parts,), number), tf.reshape(rows[share.rows(batch_size)], (share.num_parts, size))

    return with_images(batches.map(own_parts).unbatch(), split, size, augmenter)


def eval_batches(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """One ordered pass, the remainder kept, as `train_batches` types it; the last batch may be smaller."""
    rows = tf.data.Dataset.range(split.num_images).batch(batch_size)
    return with_images(rows.map(_unaugmented), split, batch_size, drop_remainder=False)


def batches_at(split: Split, rows: np.ndarray) -> tf.data.Dataset:
    """One ordered pass over the batches of `rows`, int (num_batches, size), typed as `train_batches` does."""
    return with_images(tf.data.Dataset.from_tensor_slices(rows).map(_unaugmented), split, rows.shape[1])


@no_autograph
def _unaugmented(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(0, tf.int64), rows


def with_images(
    plan: tf.data.Dataset,
    split: Split,
    batch_size: int,
    augmenter: Augmenter | None = None,
    *,
    drop_remainder: bool = True,
    element: Callable[[tf.Tensor, tf.Tensor], Any] = lambda images, labels: (images, labels),
) -> tf.data.Dataset:
    """`element(images, labels)` of each of `plan`, pairs of a pass's number and rows of `split`, int (k,), k up to `batch_size`."""
    store, labels = split.images, tf.constant(split.labels)
    if store is not None:

        @no_autograph
        def gather(number: tf.Tensor, rows: tf.Tensor) -> Any:
            images = augmenter.of_store(store, number, rows) if augmenter else tf.gather(store, rows)
            return element(images, tf.gather(labels, rows))

        num_batches = max(PARALLEL_BATCHES, num_cores()) if augmenter else PARALLEL_BATCHES
        batches = plan.map(gather, num_parallel_calls=num_batches, deterministic=True)
        return without_autotune(batches.prefetch(PREFETCHED_BATCHES))

    image_at = file_loader(split.paths, split.by_pillow, split.form)

    @no_autograph
    def singles(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.fill(tf.shape(rows), number), rows

    @no_autograph
    def load(number: tf.Tensor, row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return image_at(row), number, row

    @no_autograph
    def of_batch(images: tf.Tensor, numbers: tf.Tensor, rows: tf.Tensor) -> Any:
        images = augmenter.of_batch(images, numbers[0], rows) if augmenter else images
        return element(images, tf.gather(labels, rows))

    loaded = plan.map(singles).unbatch().map(load, num_parallel_calls=num_cores(), deterministic=True)
    batches = loaded.batch(batch_size, drop_remainder=drop_remainder)
    batches = batches.map(of_batch, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
    return without_autotune(batches.prefetch(PREFETCHED_BATCHES))


def images_at(split: Split, positions: np.ndarray) -> np.ndarray:
    """The images at these positions, uint8 (k, height, width, 3), in their order."""
    if split.images is not None:
        return tf.gather(split.images, positions).numpy()
    batch = batches_at(split, np.asarray(positions)[None])
    return next(batch.as_numpy_iterator())[0]
