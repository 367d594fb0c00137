"""Any Keras image classifier: read from a file without running its code, and rebuilt under another dtype policy."""

import hashlib
import itertools
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from hh_fast.errors import DataError

FLOAT_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64")
# Pixels are scaled in float32, whatever follows; an input has a dtype, not a policy.
ALWAYS_FLOAT32 = ("InputLayer", "Rescaling", "Normalization")


def load_model(path: Path) -> keras.Model:
    """The model of a `.keras` file, rebuilt in float32: images (batch, height, width, 3) to scores.

    Keras' safe mode stays on, so a file that brings code of its own (a Lambda layer) is refused, not run.

    Raises:
        DataError: such a file, a damaged one, or a model that is no image classifier.
    """
    try:
        model = with_policy(keras.models.load_model(path, compile=False, safe_mode=True), "float32")
    except (ValueError, TypeError, KeyError, AttributeError, OSError, ImportError, zipfile.BadZipFile) as e:
        # Keras puts the reason behind the whole config of the layer.
        reason = str(e).rpartition("Exception encountered:")[2].partition("Full object config")[0]
        reason = " ".join(reason.split())[:300].rstrip(".")
        if "lambda" in reason.lower():
            reason = "it has a Lambda layer, which is code, and a model file's code is not run"
        raise DataError(
            f"Keras cannot load {path}: {reason}; rebuild it from Keras' own layers, or copy it again"
        ) from e
    require_classifier(model, str(path))
    return model


def copy_model(model: keras.Model) -> keras.Model:
    """As `load_model`, of a model in memory, which stays as it is."""
    name = f"the model {model.name}"
    if any(isinstance(layer, keras.layers.Lambda) for layer in model._flatten_layers()):
        raise DataError(f"{name} has a Lambda layer, which no saved model loads again: use a layer of Keras instead")
    try:
        copy = with_policy(model, "float32")
    except (AttributeError, NotImplementedError, TypeError, ValueError) as e:
        raise DataError(
            f"{name} cannot be rebuilt from its config ({' '.join(str(e).split())[:200]}): make it of keras.Input by"
            " keras.Sequential or keras.Model, of Keras' layers or registered ones"
        ) from e
    require_classifier(copy, name)
    return copy


def digest(model: keras.Model) -> str:
    """The SHA-256 of a model's config and weights, as hex.

    Without the numbers in Keras' own names, which count what the process made before.
    """
    config = re.sub(r'_\d+(?=")', "", json.dumps(model.get_config(), sort_keys=True, default=str))
    sha256 = hashlib.sha256(config.encode())
    for weights in model.get_weights():
        sha256.update(weights.tobytes())
    return sha256.hexdigest()


def require_classifier(model: keras.Model, name: str) -> None:
    """Raises `DataError` where `model` does not map RGB images of one size to scores."""
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
            f"{name} does not map RGB images (batch, height, width, 3) to scores (batch, classes):"
            f" it maps {[i.shape for i in inputs]} to {[o.shape for o in outputs]}; give an image classifier"
        )


def image_size_of(model: keras.Model) -> tuple[int, int]:
    """(height, width) in pixels."""
    height, width = model.inputs[0].shape[1:3]
    return height, width


def output_layer(model: keras.Model) -> keras.Layer:
    """The layer that gives the outputs, also of a model nested in models."""
    layer = model.outputs[0]._keras_history.operation
    return output_layer(layer) if isinstance(layer, keras.Model) else layer


def head_of(model: keras.Model) -> str | None:
    """`sigmoid` (one output), `softmax`, or None for outputs that are no probabilities of classes."""
    layer = output_layer(model)
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax) or activation is keras.activations.softmax:
        return "softmax"
    return "sigmoid" if activation is keras.activations.sigmoid and model.outputs[0].shape[1] == 1 else None


def _rewritten(config: Any, policy: str, last: str, seeds: Iterator[int] | None) -> Any:
    """A Keras config, however deep, with `policy` for its layers, and numbers for seeds that it leaves open."""
    if isinstance(config, (list, tuple)):
        return type(config)(_rewritten(item, policy, last, seeds) for item in config)
    if not isinstance(config, dict) or config.get("class_name") == "__keras_tensor__":
        return config
    changed = {name: _rewritten(value, policy, last, seeds) for name, value in config.items()}
    if seeds is not None and "seed" in changed and changed["seed"] is None:
        changed["seed"] = next(seeds)
    inner = changed.get("config")
    if "class_name" in changed and isinstance(inner, dict):
        dtype = inner.get("dtype")
        if isinstance(dtype, dict):  # serialized
            dtype = dtype.get("config", {}).get("name")
        exact = changed["class_name"] in ALWAYS_FLOAT32 or inner.get("name") == last
        if dtype in FLOAT_POLICIES:
            changed["config"] = {**inner, "dtype": "float32" if exact else policy}
    return changed


def with_policy(
    model: keras.Model, policy: str, *, seed: int | None = None, reset_weights: bool = False
) -> keras.Model:
    """A copy of any functional or sequential model, models nested in it too, that computes under a Keras dtype policy.

    Its last layer, and layers that scale pixels, are in float32 under each.

    Args:
        model: The model; it stays as it is.
        policy: float32, mixed_bfloat16 or mixed_float16.
        seed: What dropout and initializers draw from where they have no seed of their own. Default: chance.
        reset_weights: Draw fresh weights instead of copying the model's.
    """
    seeds = None if seed is None else itertools.count(1000 * seed)
    whole = {"class_name": type(model).__name__, "config": model.get_config()}
    copy = type(model).from_config(_rewritten(whole, policy, output_layer(model).name, seeds)["config"])
    if not reset_weights:
        copy.set_weights(model.get_weights())
    return copy
