"""Computes the outputs of a frozen network for many images, with the fastest engine on this machine.

On a CPU that is LiteRT with one interpreter per core (benchmarks/results/backbone.json compares it with TensorFlow), and an image's
features are bit-identical whatever the batch. On a GPU it is TensorFlow.
"""

import concurrent.futures
import contextlib
import hashlib
import logging
import math
import queue
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from hh_fast.any_model import digest
from hh_fast.config import default_cache_dir
from hh_fast.io.cores import num_cores
from hh_fast.io.files import atomic_path
from hh_fast.io.quiet import native_stderr_logged

logger = logging.getLogger(__name__)

GPU_BATCH = 64

Engine: TypeAlias = Callable[[np.ndarray], np.ndarray]


def _traced(model: keras.Model, batch_size: int | None) -> Any:
    signature = [tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32)]
    return tf.function(lambda x: model(x, training=False), signature, autograph=False).get_concrete_function()


def _by_tensorflow(model: keras.Model) -> Engine:
    call = _traced(model, None)

    def run(images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), GPU_BATCH)
        return np.concatenate([call(tf.constant(images[i : i + GPU_BATCH], tf.float32)).numpy() for i in starts])

    return run


def _converted(model: keras.Model, path: Path) -> bytes:
    """The model as a `.tflite` file, which takes seconds to convert; it is cached at `path`, preceded by its SHA-256."""
    with contextlib.suppress(OSError):  # absent, most often
        kept = path.read_bytes()
        if hashlib.sha256(kept[32:]).digest() == kept[:32]:
            return kept[32:]
    with native_stderr_logged(), warnings.catch_warnings():
        # The converter itself uses tf.lite.Interpreter, and warns that it is deprecated.
        warnings.simplefilter("ignore", UserWarning)
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([_traced(model, 1)]).convert()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError as e:
        logger.warning("The next run converts the network again, since this cannot be kept: %s", e)
    return content


def _by_litert(model: keras.Model, content: bytes) -> Engine:
    shape = model.output_shape[1:]
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with native_stderr_logged():
        for _ in range(num_cores()):
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
            idle.put(interpreter)
    pool = concurrent.futures.ThreadPoolExecutor(num_cores(), thread_name_prefix="features")
    (image,), (features,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        out = np.empty((len(images), *shape), np.float32)

        def one(row: int) -> None:
            interpreter = idle.get()
            interpreter.set_tensor(image["index"], images[row : row + 1].astype(np.float32))
            interpreter.invoke()
            out[row] = interpreter.get_tensor(features["index"])[0]
            idle.put(interpreter)

        list(pool.map(one, range(len(images))))
        return out

    return run


class Front:
    """A frozen network, ready to compute: images (n, height, width, 3), values 0 to 255, to float32 (n, *shape).

    `sha256` is of the network and its weights, and `key` names all that decides the outputs: the engine too.
    """

    def __init__(self, model: keras.Model, cache_root: Path | None = None) -> None:
        self.shape = tuple(model.output_shape[1:])
        self.sha256 = digest(model, seeds=False)
        self.engine = f"TensorFlow {tf.__version__}"
        content = None
        if not tf.config.get_visible_devices("GPU"):
            name = hashlib.sha256(f"{self.sha256} {tf.__version__}".encode()).hexdigest()[:32]
            try:
                content = _converted(model, (cache_root or Path(default_cache_dir())) / "fronts" / name)
                self.engine = f"LiteRT {version('ai-edge-litert')}"
            except Exception as e:  # the converter raises many types, one of them private
                logger.info(
                    "TensorFlow computes the frozen layers, since LiteRT cannot: %s", " ".join(str(e).split())[:200]
                )
        self._run = _by_litert(model, content) if content else _by_tensorflow(model)
        self.key = f"{self.sha256} {self.engine}"

    @property
    def num_bytes(self) -> int:
        """Bytes of the features of an image."""
        return 4 * math.prod(self.shape)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._run(images)


def features(front: keras.Model, images: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """The features of each image.

    Args:
        front: A model of images (batch, height, width, 3), values 0 to 255, to one output, of any shape.
        images: uint8 or float (num_images, height, width, 3), or an iterator of batches of any size.

    Returns:
        float32 (num_images, ...), in the order of the images.
    """
    run = Front(front)
    batches = [images] if isinstance(images, np.ndarray) else images
    return np.concatenate([np.empty((0, *run.shape), np.float32), *map(run, batches)])
