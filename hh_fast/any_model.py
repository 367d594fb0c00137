"""Any Keras image classifier: read from a file without running its code, and rebuilt under another dtype policy."""

import hashlib
import itertools
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from hh_fast.errors import DataError, require
from hh_fast.unknown import has_unknown

FLOAT_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64")
# Pixels are always scaled in float32; an input has a dtype, not a policy.
ALWAYS_FLOAT32 = ("InputLayer", "Rescaling", "Normalization")
# Valid layer names in a TensorFlow graph, and in a SavedModel.
SCOPE_NAME = re.compile(r"^[A-Za-z0-9_./>-]*$")
ROOT_SCOPE_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_./>-]*$")


def _is_keras_file(path: Path) -> bool:
    if not zipfile.is_zipfile(path):  # a folder, say
        return False
    with zipfile.ZipFile(path) as archive:  # a .tflite with metadata is one too
        return {"config.json", "model.weights.h5"} <= set(archive.namelist())


def load_model(path: Path) -> keras.Model:
    """Loads the model of a `.keras` file, from images (batch, height, width, 3) to scores.

    Keras' safe mode is on, so a file that contains code (a Lambda layer) is refused.

    Raises:
        DataError: such a file, a damaged one, or a model that is not an image classifier.
        UsageError: as `require_classifier`.
    """
    if not path.exists():
        raise DataError(f"no model {path}: check the path")
    if not _is_keras_file(path):
        raise DataError(f"{path} is not a .keras file, or it is truncated: give the Keras model, or copy it again")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, ImportError, zipfile.BadZipFile) as e:
        # Keras' message has the reason after the whole config of the layer.
        reason = str(e).rpartition("Exception encountered:")[2].partition("Full object config")[0]
        reason = " ".join(reason.split())[:300].rstrip(".")
        if "lambda" in reason.lower():
            reason = "it has a Lambda layer, whose code is not run"
        raise DataError(
            f"Keras cannot load {path}: {reason}; rebuild it from Keras' own layers, or copy it again"
        ) from e
    require_classifier(model, str(path))
    return model


def digest(model: keras.Model, *, seeds: bool = True) -> str:
    """The SHA-256, in hex, of a model's config and weights.

    Excludes the numbers in Keras' automatic names, which depend on how many layers the process created earlier. Random seeds in
    the config count only if `seeds`.
    """
    config = re.sub(r'_\d+(?=")', "", json.dumps(model.get_config(), sort_keys=True, default=str))
    if not seeds:
        config = re.sub(r'"seed": \d+', '"seed": null', config)
    sha256 = hashlib.sha256(config.encode())
    for weights in model.get_weights():
        sha256.update(weights.tobytes())
    return sha256.hexdigest()


def require_keras_defaults() -> None:
    """Raises `UsageError` if Keras is set to another float type or image layout than that of TFLite files."""
    for setting, found, needed in (
        ("floatx", keras.config.floatx(), "float32"),
        ("image_data_format", keras.config.image_data_format(), "channels_last"),
    ):
        require(
            found == needed, f"`keras.config.{setting}()` must be {needed} when the model is created and used", found
        )


def require_classifier(model: keras.Model, name: str) -> None:
    """Checks that `model` maps RGB images of one size to scores, with layers that can be saved.

    Raises:
        DataError: it does not.
        UsageError: as `require_keras_defaults`.
    """
    require_keras_defaults()
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise DataError(
            f"{name} was created without keras.Input, so its image size is unknown: create it with keras.Input, by"
            " keras.Sequential or keras.Model"
        )
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
    if isinstance(getattr(model, "output", None), dict):
        raise DataError(f"{name} returns a dict: give keras.Model(model.inputs, model.outputs[0])")
    if any(isinstance(layer, keras.layers.Lambda) for layer in model._flatten_layers()):
        raise DataError(
            f"{name} has a Lambda layer, which cannot be loaded from a saved model: use a Keras layer instead"
        )


def image_size_of(model: keras.Model) -> tuple[int, int]:
    """(height, width) in pixels."""
    height, width = model.inputs[0].shape[1:3]
    return height, width


def output_layer(model: keras.Model) -> keras.Layer:
    """The output layer, also in nested models."""
    layer = model.outputs[0]._keras_history.operation
    return output_layer(layer) if isinstance(layer, keras.Model) else layer


def head_of(model: keras.Model) -> str | None:
    """`sigmoid` (one output), `softmax`, or None if the outputs are not class probabilities."""
    layer = output_layer(model)
    if has_unknown(model):
        return "softmax"  # its scores also add up to 1
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax) or activation is keras.activations.softmax:
        return "softmax"
    return "sigmoid" if activation is keras.activations.sigmoid and model.outputs[0].shape[1] == 1 else None


def is_float32(model: keras.Model) -> bool:
    """Whether all layers compute in float32, also those with quantized weights."""
    return all(layer.compute_dtype == "float32" for layer in model._flatten_layers() if layer.weights)


def rounding(model: keras.Model) -> float:
    """The tolerance for scores that are computed in float32 instead of the model's own precision."""
    steps = {"bfloat16": 2**-7, "float16": 2**-10}
    return 16 * max(steps.get(layer.compute_dtype, 0.0) for layer in model._flatten_layers())


def can_save(model: keras.Model) -> bool:
    """Whether the layer names are valid in a SavedModel."""
    return all(ROOT_SCOPE_NAME.match(layer.name) for layer in model._flatten_layers())


def can_trace(model: keras.Model) -> bool:
    """Whether the layer names are valid in the graph of a `tf.function`; eager execution takes any."""
    return all(SCOPE_NAME.match(layer.name) for layer in model._flatten_layers())


def with_policy(
    model: keras.Model,
    policy: str,
    *,
    seed: int | None = None,
    reset_weights: bool = False,
    rename: bool = False,
) -> keras.Model:
    """A copy of a functional or sequential model, including nested models, under a Keras dtype policy.

    Its last layer and layers that scale pixels are always in float32.

    Args:
        model: The model; it is not changed.
        policy: float32, mixed_bfloat16 or mixed_float16.
        seed: Seed of dropout and initializers that have none. Default: random.
        reset_weights: Initialise the weights instead of copying them; the state of `adapt` (Normalization's mean and variance) is
            kept.
        rename: Rename layers whose names are invalid in a SavedModel.

    Raises:
        DataError: the model cannot be rebuilt from its config.
    """
    names = {layer.name for layer in model._flatten_layers()}
    new_names = {name: f"layer_{name.encode().hex()}" for name in names if rename and not ROOT_SCOPE_NAME.match(name)}
    last, seeds = output_layer(model).name, itertools.count(1000 * (seed or 0))

    def rewritten(config: Any) -> Any:
        """The same for a part of the config, recursively."""
        if isinstance(config, (list, tuple)):
            # [layer's name, node, tensor]
            named = len(config) == 3 and isinstance(config[0], str) and type(config[1]) is type(config[2]) is int
            return type(config)([new_names.get(config[0], config[0]), *config[1:]] if named else map(rewritten, config))
        if not isinstance(config, dict):
            return config
        changed = {name: rewritten(value) for name, value in config.items()}
        if seed is not None and "seed" in changed and changed["seed"] is None:
            changed["seed"] = next(seeds)
        inner = changed.get("config")
        if "class_name" in changed and isinstance(inner, dict) and changed["class_name"] != "__keras_tensor__":
            dtype = inner.get("dtype")
            if isinstance(dtype, dict):  # serialized
                dtype = dtype.get("config", {}).get("name")
            if dtype in FLOAT_POLICIES:
                exact = changed["class_name"] in ALWAYS_FLOAT32 or inner.get("name") == last
                inner["dtype"] = "float32" if exact else policy
            for place in (inner, changed):
                if place.get("name") in new_names:
                    place["name"] = new_names[place["name"]]
        return changed

    try:
        whole = {"class_name": type(model).__name__, "config": model.get_config()}
        copy = type(model).from_config(rewritten(whole)["config"])
        copy_state(model, copy, only_adapted=reset_weights)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as e:
        raise DataError(
            f"the model {model.name} cannot be rebuilt from its config ({' '.join(str(e).split())[:200]}): create it with"
            " keras.Sequential or keras.Model, from Keras' layers or registered ones"
        ) from e
    return copy


def copy_state(model: keras.Model, copy: keras.Model, *, only_adapted: bool = False) -> None:
    """Copies the weights and state of `model` to `copy`, a model with the same layers; with `only_adapted`, the state of `adapt`.

    Uses Keras' own saving, since a layer may restore more than its weights.
    """
    if not only_adapted:
        with tempfile.TemporaryDirectory(prefix="hh_fast-") as folder:
            path = Path(folder) / "state.weights.h5"
            model.save_weights(path)
            copy.load_weights(path)
        return
    for layer, fresh in zip(model._flatten_layers(), copy._flatten_layers(), strict=True):
        if hasattr(layer, "adapt"):
            state: dict[str, Any] = {}
            layer.save_own_variables(state)
            fresh.load_own_variables(state)
