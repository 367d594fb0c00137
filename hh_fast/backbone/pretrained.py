"""The pretrained networks by name, with their weights."""

import hashlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from hh_fast.backbone.efficientnet_lite import efficientnet_lite0, read_weights
from hh_fast.backbone.weights import IMAGE_SIZE, WEIGHTS, find_weights
from hh_fast.config import BACKBONES
from hh_fast.errors import DataError, require

MIN_SIDE = 32


def _application(function: Callable[..., keras.Model], *, scaling: bool = False) -> Callable[..., keras.Model]:
    """An untrained network of keras.applications, from values 0 to 255 to pooled features. `scaling`: it needs scaled pixels."""

    def make(image_size: tuple[int, int]) -> keras.Model:
        image = keras.Input((*image_size, 3), name="image")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(image) if scaling else image
        model = function(input_tensor=x, input_shape=(*image_size, 3), include_top=False, weights=None, pooling="avg")
        return keras.Model(image, model.output, name=model.name)

    return make


applications = keras.applications
NETWORKS: dict[str, Callable[[tuple[int, int]], keras.Model]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "mobilenet_v2": _application(applications.MobileNetV2, scaling=True),
    "mobilenet_v3_small": _application(applications.MobileNetV3Small),
    "mobilenet_v3_large": _application(applications.MobileNetV3Large),
    "efficientnet_v2_b0": _application(applications.EfficientNetV2B0),
}


def build(name: str, weights: Path | None = None, image_size: tuple[int, int] = IMAGE_SIZE) -> keras.Model:
    """A pretrained network without its classifier, in stock Keras layers, all of them frozen.

    Args:
        name: One of `hh_fast.config.BACKBONES`.
        weights: Its weights file. Default: the installed one, or one that is downloaded once to ~/.keras/models.
        image_size: (height, width) in pixels, each at least 32.

    Returns:
        A model of images (batch, height, width, 3), uint8 or float with values 0 to 255, to pooled features (batch, d) float32,
        with pixel scaling as a layer.

    Raises:
        UsageError: an unknown name, or an image size that is too small.
        DataError: weights that are missing, cannot be downloaded, are damaged, or belong to another network.
    """
    require(name in NETWORKS, f"`backbone` must be one of {', '.join(BACKBONES)}", name)
    require(min(image_size) >= MIN_SIDE, f"`image_size` must be at least {MIN_SIDE} either way for {name}", image_size)
    path = weights or find_weights(name)
    model = NETWORKS[name](image_size)
    try:
        if name == "efficientnet_lite0":
            content = path.read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if found != WEIGHTS[name].digest:
                raise ValueError(f"its SHA-256 is {found} and must be {WEIGHTS[name].digest}")
            read_weights(model, content)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of layers that the file says nothing of
                model.load_weights(path)
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError, UserWarning) as e:
        reason = " ".join(str(e).split())[:300].rstrip(".")
        raise DataError(
            f"cannot read {path} as weights of {name}: {reason}; download it again from {WEIGHTS[name].source}"
        ) from e
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = (
                0.0  # it drops whole blocks of EfficientNetV2 in training, which is only noise in a frozen network
            )
    model.trainable = False
    return model
