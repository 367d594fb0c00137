"""Classifies a stream of image files: reads them on all cores, scores them in batches, keeps a few batches in memory."""

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hh_fast.data.folders import read_bytes
from hh_fast.data.headers import read_header
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.files import ImageFile

BATCHES_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The scores of an image file, float32 (num_classes,), or its `fault`."""

    path: str
    label: int | None
    scores: np.ndarray | None
    fault: str | None

    def ranked(self) -> list[int]:
        """Class numbers, best first; for equal scores, lower numbers first."""
        return [] if self.scores is None else np.argsort(-self.scores, kind="stable").tolist()


def _try(read: Callable[[str], np.ndarray], item: ImageFile) -> np.ndarray | str:
    try:
        return item.fault or read(item.path)
    except DataError as e:
        return str(e)
    except OSError as e:
        return f"{item.path}: {e.strerror or e}"


def predict(
    classifier: Classifier, files: Iterable[ImageFile], read: Callable[[str], np.ndarray], *, batch_size: int
) -> Iterator[Prediction]:
    """A `Prediction` for each file, in order; files are read two batches ahead.

    `read` maps a path to pixels, uint8 (height, width, 3), or raises `DataError` or `OSError`.
    """
    stream = iter(files)
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:

        def submit() -> list[tuple[ImageFile, concurrent.futures.Future[np.ndarray | str]]]:
            return [(item, pool.submit(_try, read, item)) for item in itertools.islice(stream, batch_size)]

        batches = iter(submit, [])
        try:
            waiting = collections.deque(itertools.islice(batches, BATCHES_AHEAD))
            while waiting:
                waiting.extend(itertools.islice(batches, 1))
                batch = [(item, future.result()) for item, future in waiting.popleft()]
                images = [pixels for _, pixels in batch if not isinstance(pixels, str)]
                scores = iter(classifier.score(np.stack(images)) if images else ())
                for item, pixels in batch:
                    fault = pixels if isinstance(pixels, str) else None
                    yield Prediction(item.path, item.label, None if fault else next(scores), fault)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def predict_bytes(classifier: Classifier, files: Iterable[ImageFile], *, max_image_pixels: int) -> Iterator[Prediction]:
    """Like `predict`, but with the model's own decoder, one file at a time, so that a bad file does not affect others.

    Raises:
        DataError: the model takes no encoded images.
    """
    score_bytes = classifier.score_bytes
    if score_bytes is None:
        raise DataError(f"{classifier.path} takes no encoded images: leave out --signature=bytes")
    from tensorflow.errors import OpError

    def score(path: str) -> np.ndarray:
        data = read_bytes(path)
        header = read_header(data, max_image_pixels=max_image_pixels)
        if header.fault is not None:
            raise DataError(f"{path}: {header.fault}")
        if not header.is_upright_and_plain:
            raise DataError(
                f"{path}: a SavedModel does not decode this kind of image as image viewers do: leave out --signature=bytes"
            )
        try:
            return score_bytes([data])[0]
        except OpError as e:
            raise DataError(f"{path}: fails to decode") from e

    return predict(dataclasses.replace(classifier, score=np.asarray), files, score, batch_size=1)
