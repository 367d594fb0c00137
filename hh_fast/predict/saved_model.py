"""A SavedModel folder as a `Classifier`.

A SavedModel is a program: its graph runs with the user's rights and can access files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.predict.classifier import Classifier, name_classes

PIXELS_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "serving_bytes"


def _load(path: Path) -> Any:
    try:
        return tf.saved_model.load(str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, tf.errors.OpError) as e:
        raise DataError(
            f"TensorFlow cannot load {path}: {' '.join(str(e).split())[:300]}; export or copy it again"
        ) from e


def _scores_of(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    return outputs["scores"] if "scores" in outputs else next(iter(outputs.values()))


def _pixels_input(signature: Any, path: Path) -> tuple[str, tf.TensorSpec]:
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) == 1 and ("scores" in outputs or len(outputs) == 1):
        name, spec = next(iter(inputs.items()))
        if spec.shape.rank == 4 and spec.shape[3] == 3 and None not in spec.shape[1:3]:
            return name, spec
    raise DataError(
        f"{path}: its signature {PIXELS_SIGNATURE} does not map images (batch, height, width, 3) to `scores`:"
        f" it maps {inputs} to {outputs}"
    )


def open_saved_model(path: Path) -> Classifier:
    """The signature `serving_default` of a SavedModel as a classifier; `score_bytes` is its `serving_bytes`, if it has one.

    Raises:
        DataError: it cannot be loaded, or is not an image classifier.
    """
    loaded = _load(path)
    signatures = loaded.signatures
    if PIXELS_SIGNATURE not in signatures:
        raise DataError(
            f"{path} has no signature {PIXELS_SIGNATURE}, only {', '.join(signatures) or 'none'}: export it again"
        )
    pixels = signatures[PIXELS_SIGNATURE]
    name, spec = _pixels_input(pixels, path)

    def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return pixels(**{name: tf.cast(images, spec.dtype)})

    def score(images: np.ndarray) -> np.ndarray:
        return class_probabilities(_scores_of(run(tf.constant(images))).numpy())

    score_bytes: Callable[[Sequence[bytes]], np.ndarray] | None = None
    if BYTES_SIGNATURE in signatures:
        encoded = signatures[BYTES_SIGNATURE]
        encoded_name = next(iter(encoded.structured_input_signature[1]))

        def score_bytes(files: Sequence[bytes]) -> np.ndarray:
            return class_probabilities(_scores_of(encoded(**{encoded_name: tf.constant(list(files))})).numpy())

    image_size = (spec.shape[1], spec.shape[2])
    probe = run(tf.zeros((1, *image_size, 3), tf.uint8))
    names = [text.decode("utf-8") for text in probe["classes"].numpy()[0]] if "classes" in probe else []
    class_names = name_classes(path, _scores_of(probe).shape[-1], names)
    return Classifier(str(path), class_names, image_size, score, score_bytes)
