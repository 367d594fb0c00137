"""A `.tflite` file as a `Classifier`, run by LiteRT. Loads no TensorFlow."""

import concurrent.futures
import dataclasses
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

NO_SCALE = (0.0, 0)


@dataclasses.dataclass(frozen=True)
class TensorForm:
    """How numbers stand in a tensor: `dtype`, and for integers real = (stored - zero_point) * scale."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: Any
    scale: float
    zero_point: int
    has_dynamic_batch: bool

    @property
    def is_quantized(self) -> bool:
        return (self.scale, self.zero_point) != NO_SCALE

    def store(self, real: np.ndarray) -> np.ndarray:
        if not self.is_quantized:
            return real.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(real / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)

    def real(self, stored: np.ndarray) -> np.ndarray:
        if not self.is_quantized:
            return np.asarray(stored, np.float32)
        return ((stored.astype(np.float32) - self.zero_point) * self.scale).astype(np.float32)


def tensor_form(details: dict[str, Any]) -> TensorForm:
    """From what LiteRT says of a tensor."""
    scale, zero_point = details["quantization"]
    signature = details["shape_signature"]
    return TensorForm(
        name=details["name"],
        index=details["index"],
        shape=tuple(int(side) for side in details["shape"]),
        dtype=details["dtype"],
        scale=float(scale),
        zero_point=int(zero_point),
        has_dynamic_batch=bool(len(signature) and signature[0] == -1),
    )


def new_interpreter(path: Path, num_threads: int) -> Any:
    """A LiteRT interpreter of the file, its tensors allocated.

    Raises:
        DataError: the file is cut off, is no model, or needs operators that LiteRT does not have built in.
    """
    try:
        with native_stderr_logged():
            interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as e:
        raise DataError(f"LiteRT cannot run {path}: {' '.join(str(e).split())}; export or copy it again") from e
    return interpreter


def forms(interpreter: Any, path: Path) -> tuple[TensorForm, TensorForm]:
    """The (input, output) of an image classifier.

    Raises:
        DataError: more or other tensors than one image and one row of scores.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) == 1 and len(outputs) == 1:
        image, scores = tensor_form(inputs[0]), tensor_form(outputs[0])
        if len(image.shape) == 4 and image.shape[0] == 1 and image.shape[3] == 3 and len(scores.shape) >= 2:
            return image, scores
    shapes = "; ".join(str(tuple(map(int, details["shape"]))) for details in (*inputs, *outputs))
    raise DataError(
        f"{path} does not map one RGB image (1, height, width, 3) to one row of scores: its tensors are {shapes}"
    )


class _Runner:
    """Scores images one by one, or as one batch where the file allows it, on one interpreter of one thread."""

    def __init__(self, path: Path, metadata: Metadata):
        self.interpreter = new_interpreter(path, num_threads=1)
        self.image, self.scores = forms(self.interpreter, path)
        self.mean = np.array(metadata.mean, np.float32) if metadata.mean else None
        self.std = np.array(metadata.std or (1,), np.float32)

    def _stored(self, images: np.ndarray) -> np.ndarray:
        if self.image.dtype == np.uint8 and (self.mean is None or not self.image.is_quantized):
            return images
        mean, std = (0, 1) if self.mean is None else (self.mean, self.std)
        return self.image.store((images.astype(np.float32) - mean) / std)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        step = len(images) if self.image.has_dynamic_batch else 1
        parts = []
        for start in range(0, len(images), step):
            batch = self._stored(images[start : start + step])
            if self.image.has_dynamic_batch:
                self.interpreter.resize_tensor_input(self.image.index, batch.shape)
                self.interpreter.allocate_tensors()
            self.interpreter.set_tensor(self.image.index, batch)
            self.interpreter.invoke()
            parts.append(self.interpreter.get_tensor(self.scores.index))
        return class_probabilities(self.scores.real(np.concatenate(parts)))


def open_tflite(path: Path, *, num_threads: int | None = None) -> Classifier:
    """The file as a classifier that shares a batch's images among `num_threads` (default: all) cores.

    The input gets (pixel - mean) / std by the file's own metadata, quantized where the input is. Without metadata it
    gets the pixels, 0 to 255; a uint8 input gets them as they are, whatever its scale.

    Raises:
        DataError: as `new_interpreter`, `forms` and `read_metadata` say.
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

    num_outputs = int(np.prod(first.scores.shape[1:]))
    names = name_classes(path, num_outputs, metadata.labels)
    return Classifier(str(path), "tflite", names, (first.image.shape[1], first.image.shape[2]), score)
