"""Where two artifacts disagree, the worst first: as text, as JSON and as a picture."""

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hh_fast.errors import DataError
from hh_fast.io.files import atomic_path
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.files import Found
from hh_fast.predict.stream import read_batches

NUM_SHOWN = 16
COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class Difference:
    """One image on which two artifacts were asked; `largest` is the largest difference of a score."""

    path: str
    scores: np.ndarray
    other_scores: np.ndarray

    @property
    def differs(self) -> bool:
        return bool(self.scores.argmax() != self.other_scores.argmax())

    @property
    def largest(self) -> float:
        return float(np.abs(self.scores - self.other_scores).max())


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two artifacts compare on `num_images` images.

    `worst` has the images whose class differs first, then those whose scores do, 16 at most. `faults` names the files
    that could not be read.
    """

    one: Classifier
    other: Classifier
    num_images: int
    num_agreeing: int
    largest: float
    mean: float
    worst: list[Difference]
    faults: list[str]

    def to_json(self) -> dict[str, Any]:
        names = self.one.class_names
        return {
            "models": [self.one.path, self.other.path],
            "num_images": self.num_images,
            "num_unreadable": len(self.faults),
            "agreement": self.num_agreeing / self.num_images,
            "largest_difference": self.largest,
            "mean_difference": self.mean,
            "worst": [
                {
                    "path": item.path,
                    "classes": [names[item.scores.argmax()], names[item.other_scores.argmax()]],
                    "scores": [item.scores.tolist(), item.other_scores.tolist()],
                }
                for item in self.worst
            ],
        }

    def to_text(self) -> str:
        lines = [
            f"{self.one.path} and {self.other.path} name the same class on {self.num_agreeing} of {self.num_images}"
            f" images ({self.num_agreeing / self.num_images:.4f}); scores differ by {self.largest:.6f} at most and"
            f" {self.mean:.6f} on average. The largest differences:"
        ]
        lines += [
            f"{item.path}: {said(item.scores, self.one)} | {said(item.other_scores, self.other)}" for item in self.worst
        ]
        return "\n".join(lines)


def said(scores: np.ndarray, classifier: Classifier) -> str:
    return f"{classifier.class_names[int(scores.argmax())]} {scores.max():.3f}"


def compare(
    one: Classifier, other: Classifier, found: Iterable[Found], read: Callable[[str], np.ndarray], *, batch_size: int
) -> Comparison:
    """Asks both about each file, the same pixels for both. Memory does not grow with the number of files.

    Raises:
        DataError: they differ in classes or image size, or no file can be read.
    """
    for name in ("class_names", "image_size"):
        mine, others = getattr(one, name), getattr(other, name)
        if mine != others:
            raise DataError(
                f"{one.path} and {other.path} differ in {name}, {mine} and {others}: compare models of one kind"
            )
    total = agreeing = 0
    summed = largest = 0.0
    faults: list[str] = []
    # Of the least key first, so that the worst stay; the count keeps the heap from comparing arrays.
    heap: list[tuple[bool, float, int, Difference]] = []
    count = itertools.count()
    for batch in read_batches(found, read, batch_size):
        faults += [pixels for _, pixels in batch if isinstance(pixels, str)]
        good = [(item.path, pixels) for item, pixels in batch if not isinstance(pixels, str)]
        if not good:
            continue
        images = np.stack([pixels for _, pixels in good])
        for (path, _), scores, others in zip(good, one.score(images), other.score(images), strict=True):
            item = Difference(path, scores, others)
            total, agreeing = total + 1, agreeing + (not item.differs)
            summed, largest = summed + item.largest, max(largest, item.largest)
            entry = (item.differs, item.largest, -next(count), item)
            (heapq.heappush if len(heap) < NUM_SHOWN else heapq.heappushpop)(heap, entry)
    if not total:
        raise DataError(f"no image to compare on: {faults[0] if faults else 'no file matches'}")
    worst = [item for *_, item in sorted(heap, reverse=True)]
    return Comparison(one, other, total, agreeing, largest, summed / total, worst, faults)


def _short(classifier: Classifier) -> str:
    return "/".join(Path(classifier.path).parts[-2:])


def draw(comparison: Comparison, read: Callable[[str], np.ndarray], path: Path) -> None:
    """The images of `comparison.worst` as a PNG, each with what the two say of it; a class that differs in red.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    items = comparison.worst
    columns = min(COLUMNS, len(items))
    rows = -(-len(items) // columns)
    figure = Figure(figsize=(2.8 * max(columns, 2), 3.3 * rows + 0.7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"Upper: {_short(comparison.one)}   Lower: {_short(comparison.other)}\n"
        f"same class on {comparison.num_agreeing} of {comparison.num_images} images",
        fontsize=10,
    )
    for place in range(rows * columns):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_axis_off()
        if place < len(items):
            item = items[place]
            axes.imshow(read(item.path))
            lines = (
                Path(item.path).name[-30:],
                said(item.scores, comparison.one),
                said(item.other_scores, comparison.other),
            )
            axes.set_title("\n".join(lines), fontsize=9, color="firebrick" if item.differs else "black")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
