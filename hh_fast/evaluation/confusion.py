"""The confusion matrix, accuracy and its uncertainty: one report for training, export and predict."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from hh_fast.evaluation.metrics import wilson_interval
from hh_fast.evaluation.tables import markdown_table
from hh_fast.io.text import listed

# With more classes than MAX_WHOLE only the MAX_CONFUSED ones with the most errors are shown.
MAX_WHOLE, MAX_CONFUSED = 30, 20


@dataclasses.dataclass(frozen=True)
class Confusion:
    """True and predicted classes, `labels` and `predicted`, ints (n,), n >= 1, as positions in `class_names`."""

    labels: np.ndarray
    predicted: np.ndarray
    class_names: Sequence[str]

    @property
    def num_images(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def num_right(self) -> int:
        return int((self.labels == self.predicted).sum())

    @property
    def accuracy(self) -> float:
        return self.num_right / self.num_images

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Images of each class, int64 (num_classes,)."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @functools.cached_property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images."""
        right = np.bincount(self.labels[self.labels == self.predicted], minlength=len(self.class_names))
        return float((right[self.counts > 0] / self.counts[self.counts > 0]).mean())

    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy."""
        return wilson_interval(self.accuracy, self.num_images)

    def classes_shown(self) -> np.ndarray:
        """Positions of all classes; of many, those with the most errors as true or predicted class."""
        if len(self.class_names) <= MAX_WHOLE:
            return np.arange(len(self.class_names))
        wrong = self.labels != self.predicted
        errors = sum(np.bincount(of[wrong], minlength=len(self.class_names)) for of in (self.labels, self.predicted))
        return np.sort(np.argsort(-np.asarray(errors), kind="stable")[:MAX_CONFUSED])

    def matrix(self, classes: np.ndarray) -> np.ndarray:
        """Counts, int64 (len(classes), len(classes)): rows are the true classes, columns the predicted ones."""
        place = np.full(len(self.class_names), -1)
        place[classes] = np.arange(len(classes))
        rows, columns = place[self.labels], place[self.predicted]
        among = (rows >= 0) & (columns >= 0)
        cells = np.bincount(rows[among] * len(classes) + columns[among], minlength=len(classes) ** 2)
        return cells.reshape(len(classes), len(classes))

    def pairs(self) -> np.ndarray:
        """(true class, predicted class, number of images) of each pair that occurs, int64 (n, 3), most frequent first."""
        found, counts = np.unique(np.stack([self.labels, self.predicted], axis=1), axis=0, return_counts=True)
        return np.column_stack([found, counts])[np.argsort(-counts, kind="stable")]

    def to_markdown(self) -> str:
        """The matrix, with a row for each class that has images; for many classes, the most frequently confused pairs."""
        names = self.class_names
        if len(names) <= MAX_WHOLE:
            counts = self.matrix(self.classes_shown())
            rows = [[names[i], *map(str, counts[i])] for i in np.flatnonzero(self.counts).tolist()]
            return markdown_table(["true \\ predicted", *names], rows)
        confused = [pair for pair in self.pairs().tolist() if pair[0] != pair[1]][:MAX_CONFUSED]
        rows = [[names[true], names[guess], str(n), str(self.counts[true])] for true, guess, n in confused]
        return markdown_table(["true", "predicted", "images", "of"], rows)

    def remarks(self) -> list[str]:
        """Reasons, as sentences, why the accuracy means less than it seems to."""
        found = []
        present = self.counts > 0
        never = np.flatnonzero(present & (np.bincount(self.predicted, minlength=len(self.class_names)) == 0)).tolist()
        if never:
            found.append(
                f"{len(never)} of {len(self.class_names)} classes are never predicted: {listed([self.class_names[i] for i in never])}"
            )
        if wilson_interval(self.balanced_accuracy, balanced_size(self.counts))[0] <= 1 / present.sum():
            largest = int(self.counts.argmax())
            found.append(
                f"An accuracy of {self.accuracy:.3f} is hardly better than guessing: always predicting the largest class,"
                f" {self.class_names[largest]}, gives {self.counts[largest] / self.num_images:.3f}. Train longer, on more images,"
                " or from a pretrained model"
            )
        return found


def balanced_size(counts: np.ndarray) -> float:
    """The number of images whose accuracy is as uncertain as the balanced accuracy of classes with these `counts`."""
    present = counts[counts > 0]
    return float(len(present) ** 2 / (1 / present).sum())
