"""Augmentation in tf.data, on the host: so every device, worker, shard and resume gets the same pixels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation, apply, draw

# TensorFlow copies arrays that begin elsewhere.
ALIGNMENT = 64


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    block = np.empty(size + ALIGNMENT, np.uint8)
    return block[-block.ctypes.data % ALIGNMENT :][:size].reshape(shape)


class Augmenter:
    """Changes images by (`seed`, epoch, index), `indices` int (n,) being each image's position in the full listing."""

    def __init__(self, augmentation: Augmentation, *, seed: int, indices: np.ndarray) -> None:
        self._augmentation = augmentation
        self._seed = seed
        self._indices = indices

    def apply(self, images: Sequence[np.ndarray], epoch: int, rows: np.ndarray) -> np.ndarray:
        """`images` of `rows`, uint8 (height, width, channels) each, changed: uint8 (k, height, width, channels)."""
        a = self._augmentation
        parameters = draw(a, images[0].shape[:2], seed=self._seed, epoch=int(epoch), indices=self._indices[rows])
        out = _empty((len(images), *images[0].shape))
        return apply(images, parameters, fill_mode=a.fill_mode, cval=a.cval, out=out)

    def of_batch(self, images: tf.Tensor, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The same of tensors: `images` uint8 (k, height, width, channels), `rows` int (k,)."""
        changed = tf.numpy_function(self.apply, [images, epoch, rows], tf.uint8, stateful=False)
        return tf.ensure_shape(changed, images.shape)

    def of_store(self, store: tf.Tensor, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The same of rows of `store`, read where they lie."""
        array = np.from_dlpack(store)
        changed = tf.numpy_function(
            lambda epoch, rows: self.apply([array[row] for row in rows], epoch, rows),
            [epoch, rows],
            tf.uint8,
            stateful=False,
        )
        return tf.ensure_shape(changed, (*rows.shape, *store.shape[1:]))
