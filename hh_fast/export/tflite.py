"""Converts a Keras model to `.tflite` variants with built-in operators; for int8 see quantization.py."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.any_model import image_size_of
from hh_fast.errors import CheckError
from hh_fast.io.quiet import native_stderr_logged

CALIBRATED = ("int8", "int16x8")
NO_IMAGES = np.empty(0, np.uint8)


def _set_up(converter: Any, variant: str, images: np.ndarray) -> None:
    converter.optimizations = [] if variant == "float32" else [tf.lite.Optimize.DEFAULT]
    converter.target_spec = tf.lite.TargetSpec()
    converter.representative_dataset = None
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int16x8":

        def representative_dataset() -> Iterator[list[np.ndarray]]:
            for image in images:
                yield [image[np.newaxis].astype(np.float32)]

        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]


def open_converter(model: keras.Model, *, dynamic_batch: bool = False) -> Any:
    """The converter for `convert`, for one image at a time or batches of any size."""
    spec = tf.TensorSpec((None if dynamic_batch else 1, *image_size_of(model), 3), tf.float32, name="image")
    score = tf.function(lambda image: model(image, training=False), autograph=False, input_signature=[spec])
    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([score.get_concrete_function()], module)
    # Going through a SavedModel would take twice as long.
    converter.experimental_lower_to_saved_model = False
    return converter


def convert(converter: Any, variant: str, calibration_images: np.ndarray = NO_IMAGES) -> bytes:
    """The model as a `.tflite` file with built-in operators only (no Flex).

    Args:
        converter: From `open_converter`; can be reused.
        variant: float32; float16 (weights); dynamic (int8 weights); int16x8 (int16 activations, int8 weights, float in
            and out).
        calibration_images: uint8 (n, height, width, 3), values 0 to 255, decoded as in training; int16x8 needs them.

    Raises:
        CheckError: the model has an operation without a built-in operator in this variant.
    """
    try:
        with native_stderr_logged(), warnings.catch_warnings():
            # The converter itself uses tf.lite.Interpreter, and warns that it is deprecated.
            warnings.simplefilter("ignore", UserWarning)
            _set_up(converter, variant, calibration_images)
            content: bytes = converter.convert()
            return content
    except (ValueError, RuntimeError, tf.errors.OpError) as e:
        raise CheckError(f"TensorFlow cannot convert the model to {variant}: {' '.join(str(e).split())[:300]}") from e
    except Exception as e:
        if type(e).__name__ == "ConverterError":  # its class is private
            raise CheckError(
                f"the model cannot be converted to {variant} with built-in operators: {' '.join(str(e).split())[:300]}"
            ) from e
        raise
