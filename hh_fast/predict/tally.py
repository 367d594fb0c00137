"""What is known at the end of a stream of predictions: accuracy and the confusion matrix, in constant memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hh_fast.predict.stream import Prediction


class Tally:
    """Counts predictions. `confusion[i, j]` is the number of images of class i that were given class j."""

    def __init__(self, class_names: Sequence[str]):
        self.class_names = tuple(class_names)
        self.confusion = np.zeros((len(self.class_names),) * 2, np.int64)
        self.num_images = 0
        self.num_faults = 0

    def add(self, prediction: Prediction) -> None:
        self.num_images += 1
        if prediction.scores is None:
            self.num_faults += 1
        elif prediction.label is not None:
            self.confusion[prediction.label, prediction.ranked()[0]] += 1

    @property
    def num_labelled(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / self.num_labelled)

    def to_json(self) -> dict[str, Any]:
        summary: dict[str, Any] = {"num_images": self.num_images, "num_unreadable": self.num_faults}
        if self.num_labelled:
            summary |= {
                "accuracy": self.accuracy,
                "class_names": list(self.class_names),
                "confusion_matrix": self.confusion.tolist(),
            }
        return summary

    def to_text(self) -> str:
        """Accuracy and the confusion matrix in a few lines."""
        right = int(np.trace(self.confusion))
        width = max(len(name) for name in (*self.class_names, f"{self.confusion.max()}")) + 2
        first = max(len(name) for name in (*self.class_names, "is")) + 2
        lines = [f"accuracy {self.accuracy:.4f} ({right} of {self.num_labelled})"]
        lines.append("is".ljust(first) + "".join(name.rjust(width) for name in self.class_names) + "  (named)")
        lines += [
            name.ljust(first) + "".join(str(count).rjust(width) for count in row)
            for name, row in zip(self.class_names, self.confusion.tolist(), strict=True)
        ]
        return "\n".join(lines)
