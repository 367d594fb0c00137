"""A `.keras` file as a `Classifier`, in float32 whatever policy it was trained under."""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.model import in_float32
from hh_fast.predict.classifier import Classifier, name_classes

logger = logging.getLogger(__name__)


def load(path: Path) -> keras.Model:
    """The model of a `.keras` file, rebuilt in float32: images (batch, height, width, 3) to scores.

    Keras' safe mode stays on, so a file that brings code of its own (a Lambda layer) is refused, not run.

    Raises:
        DataError: such a file, a damaged one, or a model that is no image classifier.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        model = in_float32(model)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, ImportError, zipfile.BadZipFile) as e:
        # Keras puts the reason behind the whole config of the layer.
        reason = str(e).rpartition("Exception encountered:")[2].partition("Full object config")[0]
        reason = " ".join(reason.split())[:300].rstrip(".")
        if "lambda" in reason.lower():
            reason = "it has a Lambda layer, which is code, and a model file's code is not run"
        raise DataError(
            f"Keras cannot load {path}: {reason}; rebuild it from Keras' own layers, or copy it again"
        ) from e
    inputs, outputs = model.inputs, model.outputs
    fits = (
        len(inputs) == len(outputs) == 1
        and len(inputs[0].shape) == 4
        and None not in inputs[0].shape[1:]
        and inputs[0].shape[3] == 3
        and len(outputs[0].shape) == 2
        and outputs[0].shape[1] is not None
    )
    if not fits:
        raise DataError(
            f"{path} does not map RGB images (batch, height, width, 3) to scores (batch, classes):"
            f" it maps {[i.shape for i in inputs]} to {[o.shape for o in outputs]}; give an image classifier"
        )
    return model


def _scales_pixels(layers: Sequence[keras.Layer]) -> bool:
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(isinstance(layer, scaling) or _scales_pixels(getattr(layer, "layers", ())) for layer in layers)


def classifier(model: keras.Model, path: Path, class_names: Sequence[str] = ()) -> Classifier:
    """The loaded model as a classifier; it is fed the pixels as they are, 0 to 255, as float32.

    Raises:
        DataError: as many class names as the model has no scores for.
    """
    if not _scales_pixels(model.layers):
        logger.warning("%s has no layer that scales pixels: it is given values 0 to 255 as they are", path)
    height, width = model.inputs[0].shape[1:3]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    def score(images: np.ndarray) -> np.ndarray:
        return class_probabilities(forward(tf.constant(images)).numpy())

    return Classifier(str(path), name_classes(path, model.outputs[0].shape[1], class_names), (height, width), score)
