"""A loaded Keras model as a `Classifier`."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hh_fast.any_model import can_trace
from hh_fast.config import UNKNOWN
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.predict.classifier import Classifier, name_classes
from hh_fast.unknown import has_unknown

logger = logging.getLogger(__name__)


def _scales_pixels(layers: Sequence[keras.Layer]) -> bool:
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(isinstance(layer, scaling) or _scales_pixels(getattr(layer, "layers", ())) for layer in layers)


def classifier(
    model: keras.Model, path: Path, class_names: Sequence[str] = (), *, input_max: float = 255
) -> Classifier:
    """The model as a classifier; its input is pixels as float32, 0 to `input_max`.

    Raises:
        DataError: the number of class names (without `unknown`) differs from that of the model's classes.
    """
    if not _scales_pixels(model.layers):
        logger.warning("%s has no layer that scales pixels: its input is unscaled, 0 to 255", path)
    height, width = model.inputs[0].shape[1:3]

    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32) * (input_max / 255), training=False)

    if can_trace(model):
        forward = tf.function(
            forward, autograph=False, input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)]
        )

    def score(images: np.ndarray) -> np.ndarray:
        return class_probabilities(forward(tf.constant(images)).numpy())

    further = (UNKNOWN,) if has_unknown(model) else ()
    names = (*name_classes(path, model.outputs[0].shape[1] - len(further), class_names), *further)
    return Classifier(str(path), names, (height, width), score)
