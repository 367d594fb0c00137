"""From encoded images to the pixels that the model sees, on all cores: in training, in the SavedModel, and in the checks."""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import tensorflow as tf

from hh_fast.data.engine import PREFETCHED_BATCHES, no_autograph, without_autotune
from hh_fast.data.image_form import ImageForm
from hh_fast.data.pixels import mode_or_fault, read_image
from hh_fast.io.cores import num_cores

BATCH = 8  # as fast as 32, in a quarter of the memory
CHANGED = "it did not decode at first and did so later: was it being written?"
NO_LIMIT = sys.maxsize  # of pixels: the headers were scanned before


def decode(encoded: tf.Tensor, form: ImageForm) -> tf.Tensor:
    """Decodes one PNG or, but for RGBA, JPEG to uint8 `form.shape`, values 0 to 255.

    For RGB alpha is dropped and grey repeated. JPEG is decoded accurately, as browsers, phones and Pillow do (Keras takes the
    fast transform, up to 20 levels off).

    Raises:
        tf.errors.InvalidArgumentError: the bytes do not decode.
    """
    start = tf.strings.substr(encoded, 0, 3)
    is_png = tf.equal(start, b"\x89PN")
    is_read = is_png if form.channels == 4 else tf.logical_or(is_png, tf.equal(start, b"\xff\xd8\xff"))
    with tf.control_dependencies([tf.debugging.Assert(is_read, ["only PNG and JPEG are decoded here"])]):
        if form.channels == 4:
            image = tf.io.decode_png(encoded, channels=4)
        else:  # the operator for JPEG reads PNG too
            image = tf.io.decode_jpeg(encoded, channels=form.channels, dct_method="INTEGER_ACCURATE")
    return _resize(image, form)


def _resize(image: tf.Tensor, form: ImageForm) -> tf.Tensor:
    """uint8 (any, any, channels) as `keras.utils.image_dataset_from_directory` resizes it, rounded to the nearest integer.

    Bilinear or nearest, an image that already has the size is not touched, where Keras resizes it to itself in float32.
    """
    image.set_shape((None, None, form.channels))
    if form.aspect == "crop":
        image = _central_window(image, form.image_size)
    height, width = form.image_size

    def to_size() -> tf.Tensor:
        if form.aspect == "pad":
            return tf.image.resize_with_pad(image, height, width, method=form.interpolation)
        return tf.image.resize(image, form.image_size, method=form.interpolation)

    def resized() -> tf.Tensor:
        return tf.saturate_cast(tf.round(to_size()), tf.uint8)

    has_size = tf.reduce_all(tf.equal(tf.shape(image)[:2], form.image_size))
    keeps = form.interpolation in ("bilinear", "nearest")
    return tf.ensure_shape(tf.cond(has_size, lambda: image, resized) if keeps else resized(), form.shape)


def _central_window(image: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """The largest part in the middle with the aspect ratio of `image_size`, with Keras' rounding."""
    height, width = tf.unstack(tf.shape(image)[:2])
    across = tf.cast(tf.cast(height * image_size[1], tf.float32) / image_size[0], tf.int32)
    down = tf.cast(tf.cast(width * image_size[0], tf.float32) / image_size[1], tf.int32)
    across, down = (tf.clip_by_value(side, 1, most) for side, most in ((across, width), (down, height)))
    top, left = (height - down) // 2, (width - across) // 2
    return image[top : top + down, left : left + across]


def path_tensor(paths: Sequence[str]) -> tf.Tensor:
    """Paths as a string tensor (n,); names that are not UTF-8 keep their bytes."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def file_loader(paths: Sequence[str], by_pillow: Collection[str], form: ImageForm) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function, for data sets to map, from a position in `paths` to that file's pixels, uint8 `form.shape`.

    Files whose path is in `by_pillow` are decoded by Pillow, so by this process, the others by TensorFlow.
    """
    files = path_tensor(paths)
    asks_pillow = tf.constant([path in by_pillow for path in paths], tf.bool)

    def read(path: bytes) -> np.ndarray:
        return read_image(os.fsdecode(path), None, max_image_pixels=NO_LIMIT, channels=form.channels)

    def by_tensorflow(i: tf.Tensor) -> tf.Tensor:
        return decode(tf.io.read_file(files[i]), form)

    def by_either(i: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            asks_pillow[i],
            lambda: _resize(tf.numpy_function(read, [files[i]], tf.uint8, stateful=False), form),
            lambda: by_tensorflow(i),
        )

    return by_either if any(path in by_pillow for path in paths) else by_tensorflow


def decoded_batches(
    paths: Sequence[str], form: ImageForm, by_pillow: Collection[str] = ()
) -> Iterator[tuple["np.ndarray", "np.ndarray"]]:
    """Decodes files on all cores, in order, and leaves out the ones that do not decode.

    Yields:
        Positions in `paths`, int64 (k,), and images uint8 (k, *form.shape), k up to `BATCH`.
    """
    if not paths:
        return
    load = file_loader(paths, by_pillow, form)

    # The element's number travels with it, so what ignore_errors() drops can be told from what it keeps.
    @no_autograph
    def numbered(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i, load(i)

    dataset = (
        tf.data.Dataset.range(len(paths))
        .map(numbered, num_parallel_calls=num_cores())
        .ignore_errors()
        .batch(BATCH)
        .prefetch(PREFETCHED_BATCHES)
    )
    yield from without_autotune(dataset).as_numpy_iterator()


def first_undecodable(paths: Sequence[str], form: ImageForm, by_pillow: Collection[str] = ()) -> str | None:
    """`PATH: REASON` of the first file that does not decode now, or None where all do."""
    decoded = {int(i) for numbers, _ in decoded_batches(paths, form, by_pillow) for i in numbers}
    lost = next((path for i, path in enumerate(paths) if i not in decoded), None)
    return None if lost is None else f"{lost}: {mode_or_fault(lost, max_image_pixels=NO_LIMIT)[1] or CHANGED}"
