"""A stream of image files through a classifier: read on all cores, scored in batches, a few batches in memory."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.files import Found
from hh_fast.predict.pixels import read_image

BATCHES_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One image file: scores, float32 (num_classes,), or why there are none."""

    path: str
    label: int | None
    scores: np.ndarray | None
    fault: str | None

    def ranked(self) -> list[int]:
        """Class numbers, best first; of equal scores the lower number."""
        return [] if self.scores is None else np.argsort(-self.scores, kind="stable").tolist()


def image_reader(
    image_size: tuple[int, int], *, with_tensorflow: bool, max_image_pixels: int
) -> Callable[[str], np.ndarray]:
    """A function from a path to pixels, uint8 (height, width, 3).

    It decodes as training does, by TensorFlow, or by Pillow where no TensorFlow is loaded. It raises `DataError` or `OSError` for a file that cannot be used.
    """
    if not with_tensorflow:
        return lambda path: read_image(path, image_size, max_image_pixels=max_image_pixels)
    import tensorflow as tf

    from hh_fast.data.decode import decode
    from hh_fast.data.scan import scan_file

    def read(path: str) -> np.ndarray:
        fault = scan_file(path, max_image_pixels=max_image_pixels).fault
        if fault is not None:
            raise DataError(f"{path}: {fault}")
        try:
            return decode(tf.constant(Path(path).read_bytes()), image_size).numpy()
        except tf.errors.OpError as e:
            reason = " ".join(e.message.split()).partition("}} ")[2].partition(" [Op:")[0]
            raise DataError(f"{path}: it does not decode: {reason or e.message}") from e

    return read


def batches(found: Iterable[Found], batch_size: int) -> Iterator[list[Found]]:
    stream = iter(found)
    while batch := list(itertools.islice(stream, batch_size)):
        yield batch


def _try(read: Callable[[str], np.ndarray], path: str) -> np.ndarray | str:
    try:
        return read(path)
    except DataError as e:
        return str(e)
    except OSError as e:
        return f"{path}: {e.strerror or e}"


def read_batches(
    found: Iterable[Found], read: Callable[[str], np.ndarray], batch_size: int
) -> Iterator[list[tuple[Found, np.ndarray | str]]]:
    """The files in batches, in order, each with its pixels or why there are none; two batches are read ahead."""
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        waiting: list[tuple[list[Found], list[concurrent.futures.Future[np.ndarray | str]]]] = []
        try:
            for batch in batches(found, batch_size):
                waiting.append((batch, [pool.submit(_try, read, item.path) for item in batch]))
                if len(waiting) > BATCHES_AHEAD:
                    first, pixels = waiting.pop(0)
                    yield [(item, future.result()) for item, future in zip(first, pixels, strict=True)]
            for first, pixels in waiting:
                yield [(item, future.result()) for item, future in zip(first, pixels, strict=True)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def predict(
    classifier: Classifier, found: Iterable[Found], read: Callable[[str], np.ndarray], *, batch_size: int
) -> Iterator[Prediction]:
    """A `Prediction` for each file, in order."""
    for batch in read_batches(found, read, batch_size):
        images = [pixels for _, pixels in batch if not isinstance(pixels, str)]
        scores = iter(classifier.score(np.stack(images)) if images else ())
        for item, pixels in batch:
            if isinstance(pixels, str):
                yield Prediction(item.path, item.label, None, pixels)
            else:
                yield Prediction(item.path, item.label, next(scores), None)


def predict_bytes(classifier: Classifier, found: Iterable[Found], *, max_image_pixels: int) -> Iterator[Prediction]:
    """As `predict`, through the artifact's own decoder, one file at a time, so that one bad file spoils no other.

    Raises:
        DataError: the artifact takes no encoded images.
    """
    if classifier.score_bytes is None:
        raise DataError(f"{classifier.path} takes no encoded images: leave out --signature=bytes")
    from tensorflow.errors import OpError

    from hh_fast.data.scan import scan_file

    for item in found:
        fault = scan_file(item.path, max_image_pixels=max_image_pixels).fault
        try:
            scores = None if fault else classifier.score_bytes([Path(item.path).read_bytes()])[0]
        except OpError:
            scores, fault = None, "it does not decode"
        yield Prediction(item.path, item.label, scores, f"{item.path}: {fault}" if fault else None)
