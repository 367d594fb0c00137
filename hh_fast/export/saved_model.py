"""From the trained model to a graph with one score a class, and to a SavedModel that serves pixels and encoded images."""

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
    """The same function with one score a class: images float32 (batch, height, width, 3) to scores (batch, num_classes).

    A sigmoid head's p becomes [1 - p, p] without a further operation: 1 - sigmoid(z) is sigmoid(-z), so the last layer
    gets a second unit with the opposite weights. (Subtracting instead would give an int8 file scores of a range that
    calibration guesses; a sigmoid's range is known.)

    Raises:
        DataError: the last layer gives no probabilities.
    """
    head = head_of(model)
    if head is None:
        raise DataError(
            f"the last layer of {source} is neither one sigmoid unit nor a softmax, so its outputs are no probabilities of"
            " classes: add such a layer, or export a run of bin/train"
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
    """The model for images with values 0 to 255, where it was trained on values 0 to `input_max`."""
    if input_max == 255:
        return model
    image = keras.Input((*image_size_of(model), 3), name=IMAGE)
    return keras.Model(image, model(keras.layers.Rescaling(input_max / 255, dtype="float32")(image)))


def decode(encoded: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """One PNG or JPEG, decoded and resized by TensorFlow's own operators: uint8 (height, width, 3), values 0 to 255.

    The pixels of `data/pixels.py`, but for the orientation, which TensorFlow does not know of, and for CMYK.

    Raises:
        tf.errors.InvalidArgumentError: the bytes do not decode.
    """
    start = tf.strings.substr(encoded, 0, 3)
    is_read = tf.logical_or(tf.equal(start, b"\x89PN"), tf.equal(start, b"\xff\xd8\xff"))
    with tf.control_dependencies([tf.debugging.Assert(is_read, ["only PNG and JPEG are decoded here"])]):
        # The operator for JPEG reads PNG too. Accurately, as browsers, phones and Pillow do; its default is up to 20 levels off.
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.saturate_cast(tf.round(tf.image.resize(image, image_size)), tf.uint8)


def save(model: keras.Model, class_names: Sequence[str], directory: Path) -> None:
    """Writes the SavedModel that users get: signatures `serving_default` (pixels) and `serving_bytes` (encoded images).

    Each gives `scores` and, in the same order, `classes`, both (batch, num_classes). `tf.saved_model.load` needs no Keras.
    """

    pixels_spec = tf.TensorSpec((None, *image_size_of(model), 3), tf.float32, name=IMAGE)

    @tf.function(autograph=False, input_signature=[pixels_spec])
    def serve_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = model(image, training=False)
        names = tf.broadcast_to(tf.constant([list(class_names)]), tf.shape(scores))
        return {SCORES: scores, CLASSES: names}

    # TensorFlow Serving takes base64 for inputs whose names end with _bytes.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(lambda file: decode(file, image_size_of(model)), image_bytes, fn_output_signature=tf.uint8)
        return serve_pixels(tf.cast(pixels, tf.float32))

    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    signatures = {PIXELS_SIGNATURE: serve_pixels, BYTES_SIGNATURE: serve_bytes}
    try:
        tf.saved_model.save(module, str(directory), signatures=signatures)
    except tf.errors.OpError as e:  # what TensorFlow makes of a write that failed, a full disk say
        number = next((code for code in WRITE_ERRORS if os.strerror(code) in e.message), errno.EIO)
        raise OSError(number, os.strerror(number), str(directory)) from e
