"""The trained model with one score per class, and its SavedModel, which takes pixels or encoded images."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from hh_fast.any_model import head_of, image_size_of
from hh_fast.errors import DataError
from hh_fast.predict.saved_model import BYTES_SIGNATURE, PIXELS_SIGNATURE

WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
IMAGE, IMAGE_BYTES, SCORES, CLASSES = "image", "image_bytes", "scores", "classes"


def score_per_class_model(model: keras.Model, source: str) -> keras.Model:
    """The model with one score per class: images float32 (batch, height, width, 3) to scores (batch, num_classes).

    A sigmoid's p becomes [1 - p, p] without another operation: 1 - sigmoid(z) = sigmoid(-z), so the last layer gets a second
    unit with negated weights. (A subtraction would get its int8 range from calibration; a sigmoid's range is known.)

    Raises:
        DataError: the outputs are not probabilities.
    """
    head = head_of(model)
    if head is None:
        raise DataError(
            f"the last layer of {source} is neither one sigmoid unit nor a softmax, so its outputs are not class probabilities:"
            " add such a layer, or export a run of bin/train"
        )
    if head == "softmax":
        return model
    p = model.outputs[0]
    last, node, _ = p._keras_history
    if type(last) is not keras.layers.Dense or last.quantization_mode is not None:
        other = keras.layers.Rescaling(-1.0, offset=1.0, dtype="float32")(p)
        return keras.Model(model.inputs[0], keras.layers.Concatenate(name=SCORES, dtype="float32")([other, p]))
    both = keras.layers.Dense(2, activation="sigmoid", use_bias=last.use_bias, name=SCORES, dtype="float32")
    copy = keras.Model(model.inputs[0], both(last._inbound_nodes[node].input_tensors[0]))
    kernel_and_bias = [last.kernel, last.bias] if last.use_bias else [last.kernel]
    both.set_weights([keras.ops.concatenate([-weights, weights], axis=-1) for weights in kernel_and_bias])
    return copy


def of_pixels(model: keras.Model, input_max: float) -> keras.Model:
    """The model for values 0 to 255, if it was trained on values 0 to `input_max`."""
    if input_max == 255:
        return model
    image = keras.Input((*image_size_of(model), 3), name=IMAGE)
    return keras.Model(image, model(keras.layers.Rescaling(input_max / 255, dtype="float32")(image)))


def decode(encoded: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Decodes and resizes a PNG or JPEG with TensorFlow operators, to uint8 (height, width, 3), values 0 to 255.

    The same pixels as `data/pixels.py`, except for EXIF orientation and CMYK, which TensorFlow does not support.

    Raises:
        tf.errors.InvalidArgumentError: the bytes fail to decode.
    """
    start = tf.strings.substr(encoded, 0, 3)
    is_read = tf.logical_or(tf.equal(start, b"\x89PN"), tf.equal(start, b"\xff\xd8\xff"))
    with tf.control_dependencies([tf.debugging.Assert(is_read, ["only PNG and JPEG are decoded here"])]):
        # decode_jpeg also reads PNG. INTEGER_ACCURATE as in browsers, phones and Pillow; the default is up to 20 levels off.
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.saturate_cast(tf.round(tf.image.resize(image, image_size)), tf.uint8)


def save(model: keras.Model, class_names: Sequence[str], directory: Path) -> None:
    """Writes a SavedModel with the signatures `serving_default` (pixels) and `serving_bytes` (encoded images).

    Each returns `scores` and `classes`, in the same order, both (batch, num_classes). `tf.saved_model.load` needs no Keras.
    """

    pixels_spec = tf.TensorSpec((None, *image_size_of(model), 3), tf.float32, name=IMAGE)

    @tf.function(autograph=False, input_signature=[pixels_spec])
    def serve_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = model(image, training=False)
        names = tf.broadcast_to(tf.constant([list(class_names)]), tf.shape(scores))
        return {SCORES: scores, CLASSES: names}

    # TensorFlow Serving accepts base64 for inputs with names ending in _bytes.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(lambda file: decode(file, image_size_of(model)), image_bytes, fn_output_signature=tf.uint8)
        return serve_pixels(tf.cast(pixels, tf.float32))

    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    signatures = {PIXELS_SIGNATURE: serve_pixels, BYTES_SIGNATURE: serve_bytes}
    try:
        tf.saved_model.save(module, str(directory), signatures=signatures)
    except tf.errors.OpError as e:  # a failed write, such as on a full disk
        number = next((code for code in WRITE_ERRORS if os.strerror(code) in e.message), errno.EIO)
        raise OSError(number, os.strerror(number), str(directory)) from e
