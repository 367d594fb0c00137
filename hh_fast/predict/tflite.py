"""A `.tflite` file as a `Classifier`, run by LiteRT. Loads no TensorFlow."""

import concurrent.futures
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.io.cores import num_cores
from hh_fast.io.quiet import native_stderr_logged
from hh_fast.predict.classifier import Classifier, name_classes
from hh_fast.predict.tflite_metadata import Metadata, read_metadata


@dataclasses.dataclass(frozen=True)
class Quantization:
    """real = (stored - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """The shape and number format of an input or output; `shape` begins with None if the batch size is free."""

    shape: tuple[int | None, ...]
    dtype: str
    quantization: Quantization | None

    def stored(self, real: np.ndarray) -> np.ndarray:
        if self.quantization is None:
            return real.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        values = np.rint(real / self.quantization.scale) + self.quantization.zero_point
        return np.clip(values, limits.min, limits.max).astype(self.dtype)

    def real(self, stored: np.ndarray) -> np.ndarray:
        real = np.asarray(stored, np.float32)
        if self.quantization is None:
            return real
        return ((real - self.quantization.zero_point) * self.quantization.scale).astype(np.float32)


def _tensor(details: dict[str, Any]) -> Tensor:
    """A `Tensor` from LiteRT's tensor details."""
    scale, zero_point = details["quantization"]
    batch, *rest = map(int, details["shape"])
    free_batch = len(details["shape_signature"]) and details["shape_signature"][0] == -1
    return Tensor(
        shape=(None if free_batch else batch, *rest),
        dtype=np.dtype(details["dtype"]).name,
        quantization=Quantization(float(scale), int(zero_point)) if (scale, zero_point) != (0, 0) else None,
    )


def new_interpreter(path: Path, num_threads: int) -> Any:
    """A LiteRT interpreter for the file, with allocated tensors.

    Raises:
        DataError: the file is truncated, is not a model, or needs operators that are not built into LiteRT.
    """
    try:
        with native_stderr_logged():
            interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as e:
        raise DataError(f"LiteRT cannot run {path}: {' '.join(str(e).split())}; export or copy it again") from e
    return interpreter


def input_and_output(interpreter: Any, path: Path) -> tuple[Tensor, Tensor]:
    """The input (image) and output (scores) of an image classifier.

    Raises:
        DataError: the tensors are not one image and one row of scores.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = [tuple(map(int, details["shape"])) for details in (*inputs, *outputs)]
    if len(inputs) == len(outputs) == 1:
        image, scores = shapes
        if len(image) == 4 and image[0] == 1 and image[3] == 3 and len(scores) >= 2:
            return _tensor(inputs[0]), _tensor(outputs[0])
    raise DataError(
        f"{path} does not map one RGB image (1, height, width, 3) to one row of scores: its tensors are"
        f" {'; '.join(map(str, shapes))}"
    )


class _Runner:
    """Scores images one by one, or as one batch if the file allows it, with a single-threaded interpreter."""

    def __init__(self, path: Path, metadata: Metadata):
        self.interpreter = new_interpreter(path, num_threads=1)
        self.image, self.scores = input_and_output(self.interpreter, path)
        self.image_details = self.interpreter.get_input_details()[0]
        self.scores_details = self.interpreter.get_output_details()[0]
        self.mean = np.array(metadata.mean, np.float32) if metadata.mean else None
        self.std = np.array(metadata.std or (1,), np.float32)

    def _stored(self, images: np.ndarray) -> np.ndarray:
        if self.image.dtype == "uint8" and (self.mean is None or self.image.quantization is None):
            return images
        mean, std = (0, 1) if self.mean is None else (self.mean, self.std)
        return self.image.stored((images.astype(np.float32) - mean) / std)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        free_batch = self.image.shape[0] is None
        step = len(images) if free_batch else 1
        parts = []
        for start in range(0, len(images), step):
            batch = self._stored(images[start : start + step])
            if free_batch:
                self.interpreter.resize_tensor_input(self.image_details["index"], batch.shape)
                self.interpreter.allocate_tensors()
            self.interpreter.set_tensor(self.image_details["index"], batch)
            self.interpreter.invoke()
            parts.append(self.interpreter.get_tensor(self.scores_details["index"]))
        return class_probabilities(self.scores.real(np.concatenate(parts)))


def open_tflite(path: Path, *, num_threads: int | None = None) -> Classifier:
    """The file as a classifier that distributes a batch's images over `num_threads` (default: all) cores.

    The input is (pixel - mean) / std by the file's metadata, quantized if the input is. Without metadata it is the pixels, 0 to
    255; a uint8 input is always the raw pixels, whatever its scale.

    Raises:
        DataError: as `new_interpreter`, `input_and_output` and `read_metadata`.
    """
    metadata = read_metadata(path)
    cores = num_threads or num_cores()
    runners = [_Runner(path, metadata)]
    first = runners[0]
    pool = concurrent.futures.ThreadPoolExecutor(cores)

    def score(images: np.ndarray) -> np.ndarray:
        parts = np.array_split(images, min(cores, len(images)))
        while len(runners) < len(parts):
            runners.append(_Runner(path, metadata))
        return np.concatenate(list(pool.map(lambda runner, part: runner(part), runners, parts)))

    _, height, width, _ = map(int, first.image_details["shape"])
    names = name_classes(path, math.prod(map(int, first.scores_details["shape"][1:])), metadata.labels)
    return Classifier(str(path), names, (height, width), score)
