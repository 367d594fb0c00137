"""The outputs of a frozen network for many images."""

from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

BATCH_SIZE = 16  # the fastest for networks made for phones, whose layers' outputs then stay in a core's cache


def features(front: keras.Model, images: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """What `front` makes of each image.

    Args:
        front: A model of images (batch, height, width, 3), values 0 to 255, to one output, of any shape.
        images: uint8 or float (num_images, height, width, 3), or an iterator of batches of any size of them.

    Returns:
        float32 (num_images, ...), the rows in the images' order.
    """
    return np.concatenate([np.empty((0, *front.output_shape[1:]), np.float32), *batches_of_features(front, images)])


def batches_of_features(front: keras.Model, images: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same, in batches of up to 16 rows."""
    signature = [tf.TensorSpec((None, *front.input_shape[1:]), tf.float32)]  # traced once
    call = tf.function(lambda x: front(x, training=False), signature)
    for batch in [images] if isinstance(images, np.ndarray) else images:
        for start in range(0, len(batch), BATCH_SIZE):
            yield call(tf.constant(batch[start : start + BATCH_SIZE], tf.float32)).numpy()
