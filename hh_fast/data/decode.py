"""From encoded image bytes to the pixels that the model sees: in training, in the SavedModel, and in the checks."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from hh_fast.data.engine import PREFETCHED_BATCHES, as_written, unconverted
from hh_fast.io.cores import num_cores

BATCH = 32


def decode(encoded: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Decodes one PNG, JPEG, BMP or GIF (first frame) to uint8 (height, width, 3), values 0 to 255.

    The pixels are those of `keras.utils.image_dataset_from_directory`, rounded to the nearest integer: bilinear, without
    antialiasing, alpha dropped, grey repeated. An image that already has the size is not touched, where Keras resizes
    it to itself in float32.

    Raises:
        tf.errors.InvalidArgumentError: the bytes do not decode.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))

    def resized() -> tf.Tensor:
        return tf.cast(tf.round(tf.image.resize(image, image_size)), tf.uint8)

    has_size = tf.reduce_all(tf.equal(tf.shape(image)[:2], image_size))
    return tf.ensure_shape(tf.cond(has_size, lambda: image, resized), (*image_size, 3))


def path_tensor(paths: Sequence[str]) -> tf.Tensor:
    """Paths as a string tensor (n,); names that are not UTF-8 keep their bytes."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def decoded_batches(paths: Sequence[str], image_size: tuple[int, int]) -> Iterator[tuple["np.ndarray", "np.ndarray"]]:
    """Decodes files on all cores, in order, and leaves out the ones that do not decode.

    Yields:
        Positions in `paths`, int64 (k,), and images uint8 (k, height, width, 3), k up to 32.
    """
    if not paths:
        return

    # The element's number travels with it, so what ignore_errors() drops can be told from what it keeps.
    @unconverted
    def load(i: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i, decode(tf.io.read_file(path), image_size)

    dataset = (
        tf.data.Dataset.from_tensor_slices(path_tensor(paths))
        .enumerate()
        .map(load, num_parallel_calls=num_cores())
        .ignore_errors()
        .batch(BATCH)
        .prefetch(PREFETCHED_BATCHES)
    )
    yield from as_written(dataset).as_numpy_iterator()


def why_undecodable(path: str, image_size: tuple[int, int]) -> str:
    """The reason, in one line, that `decode` gives for a file that it refused."""
    try:
        decode(tf.io.read_file(os.fsencode(path)), image_size)
    except tf.errors.OpError as e:
        text = " ".join(e.message.split())
        return text.partition("}} ")[2].partition(" [Op:")[0] or text.partition(" [Op:")[0]
    return "it did not decode at first and did so later: was it being written?"


def first_undecodable(paths: Sequence[str], image_size: tuple[int, int]) -> str | None:
    """`PATH: REASON` of the first file that does not decode now, or None where all do."""
    decoded = {int(i) for numbers, _ in decoded_batches(paths, image_size) for i in numbers}
    lost = next((path for i, path in enumerate(paths) if i not in decoded), None)
    return None if lost is None else f"{lost}: {why_undecodable(lost, image_size)}"
