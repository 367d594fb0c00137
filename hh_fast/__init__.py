"""Train an image classifier fast with tf.data, and export TFLite files that phones load.

The public names, each loaded on first use:

  image_dataset_from_directory   Keras' function, but images are decoded once and fully shuffled; for any model's `fit`
  Augmentation                   random changes to training images
  build_model                    the CNN of the "Horses or Humans" recipe
  train                          bin/train as a function
  export_model                   bin/export as a function: checked SavedModel and TFLite files of a run or any model
  load_classifier                opens any trained or exported model; gives class and score

The data flow, by package:

  hh_fast.data      a built-in, folder, zip or TFDS data set -> batches of uint8 images
  hh_fast.model     the CNN of the "Horses or Humans" recipe
  hh_fast.training  batches -> weights, and a run folder that documents them
  hh_fast.export    weights -> SavedModel and TFLite files, each checked against the model
  hh_fast.predict   any of those files -> class and score
  hh_fast.serve     an int8 file -> a page that runs it on a phone

Importing this package loads no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hh_fast.augmentation import Augmentation
    from hh_fast.data.image_dataset import image_dataset_from_directory
    from hh_fast.export.export_model import export_model
    from hh_fast.model import build_model
    from hh_fast.predict.opening import load_classifier
    from hh_fast.training.train import train

__version__ = "0.2.0"
__all__ = [
    "Augmentation",
    "build_model",
    "export_model",
    "image_dataset_from_directory",
    "load_classifier",
    "train",
]

_MODULES = {
    "Augmentation": "hh_fast.augmentation",
    "build_model": "hh_fast.model",
    "export_model": "hh_fast.export.export_model",
    "image_dataset_from_directory": "hh_fast.data.image_dataset",
    "load_classifier": "hh_fast.predict.opening",
    "train": "hh_fast.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hh_fast' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
