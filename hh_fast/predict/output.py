"""The output of bin/predict: one line per image, and a summary."""

import csv
import io
import json
from collections.abc import Callable, Sequence

import numpy as np

from hh_fast.config import UNKNOWN
from hh_fast.evaluation.confusion import Confusion
from hh_fast.predict.stream import Prediction


def _best(prediction: Prediction, class_names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` classes with their scores, best first; empty for an unreadable file."""
    if prediction.scores is None:
        return []
    return [(class_names[i], round(float(prediction.scores[i]), 6)) for i in prediction.ranked()[:top]]


def text_line(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    """`path: humans 0.983`, with further classes separated by commas."""
    best = _best(prediction, class_names, top)
    return f"{prediction.path}: {', '.join(f'{name} {score:.3f}' for name, score in best)}"


def _label(prediction: Prediction, class_names: Sequence[str]) -> str | None:
    return None if prediction.label is None else class_names[prediction.label]


def json_line(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    """A JSON object with the same keys for every file; null for missing values."""
    best = _best(prediction, class_names, top)
    name, score = best[0] if best else (None, None)
    return json.dumps(
        {
            "path": prediction.path,
            "label": _label(prediction, class_names),
            "class": name,
            "score": score,
            "top": [{"class": name, "score": score} for name, score in best],
            "error": prediction.fault,
        }
    )


def _csv(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def csv_header(top: int) -> str:
    further = [name for i in range(2, top + 1) for name in (f"class_{i}", f"score_{i}")]
    return _csv(["path", "label", "class", "score", *further, "error"])


def csv_line(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    """A CSV row with the same cells for every file; empty for missing values. `top`: at most the number of classes."""
    cells = [cell for name, score in _best(prediction, class_names, top) for cell in (name, f"{score:.6f}")]
    cells += [""] * (2 * top - len(cells))
    return _csv([prediction.path, _label(prediction, class_names), *cells, prediction.fault])


Line = Callable[[Prediction, Sequence[str], int], str]


class Summary:
    """Counts predictions for the summary."""

    def __init__(self, class_names: Sequence[str]):
        self.class_names = class_names
        self.num_images = 0
        self.num_unreadable = 0
        self._labels: list[int] = []
        self._predicted: list[int] = []
        self._predicted_known: list[int] = []
        self._num_unknown = 0
        self._has_unknown = class_names[-1] == UNKNOWN

    def add(self, prediction: Prediction) -> None:
        self.num_images += 1
        if prediction.scores is None:
            self.num_unreadable += 1
            return
        ranked = [int(i) for i in prediction.ranked()]
        self._num_unknown += self._has_unknown and ranked[0] == len(self.class_names) - 1
        if prediction.label is not None:
            self._labels.append(prediction.label)
            self._predicted.append(ranked[0])
            self._predicted_known.append(next(i for i in ranked if self.class_names[i] != UNKNOWN))

    def to_text(self) -> str:
        """The number of `unknown` images, if that is a class; accuracy and confusion matrix, if the true classes are known."""
        lines = []
        if self._has_unknown:
            lines.append(f"{UNKNOWN}: {self._num_unknown} of {self.num_images - self.num_unreadable} images")
        if self._labels:
            labels = np.asarray(self._labels)
            confusion = Confusion(labels, np.asarray(self._predicted), self.class_names)
            accuracy = f"accuracy {confusion.accuracy:.4f} ({confusion.num_right} of {confusion.num_images})"
            if self._has_unknown:
                accuracy += f"; {(labels == self._predicted_known).mean():.4f} without the answer {UNKNOWN}"
            lines += [accuracy, confusion.to_markdown()]
        return "\n".join(lines)
