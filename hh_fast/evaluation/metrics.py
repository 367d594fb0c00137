"""Figures about scores and true classes, in NumPy."""

import dataclasses
import math

import numpy as np


def class_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Probabilities of every class, float32 (n, num_classes), from a head's output (n, num_classes) or (n, 1) = p(class 1)."""
    scores = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
    return np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def wilson_interval(share: float, number: float) -> tuple[float, float]:
    """The 95% interval of a share of `number` images that are right (Wilson 1927, the score interval)."""
    z = 1.959964
    center = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number**2))
    return center - half, center + half


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How scores compare with a reference's on the same `num_images` images.

    `agreement` is the share of images given the same class, 0 to 1; differences are of single scores.
    """

    num_images: int
    agreement: float
    largest_difference: float
    mean_difference: float


def compare_scores(scores: np.ndarray, reference: np.ndarray) -> Agreement:
    """Of two arrays float (n, num_classes) with n above 0."""
    difference = np.abs(scores - reference)
    same = scores.argmax(axis=1) == reference.argmax(axis=1)
    return Agreement(len(scores), float(same.mean()), float(difference.max()), float(difference.mean()))


def largest_disagreements(scores: np.ndarray, reference: np.ndarray, count: int) -> np.ndarray:
    """Positions, int64 (min(count, n),): images given another class first, then by their largest difference of a score."""
    largest = np.nan_to_num(np.abs(scores - reference).max(axis=1), nan=np.inf)
    return np.lexsort((-largest, scores.argmax(axis=1) == reference.argmax(axis=1)))[:count]
