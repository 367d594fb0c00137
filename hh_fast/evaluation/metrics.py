"""Probabilities and confidence intervals, in NumPy."""

import math

import numpy as np


def class_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Probabilities of all classes, float32 (n, num_classes), from a model's output (n, num_classes) or (n, 1) = p(class 1)."""
    scores = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
    return np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def wilson_interval(share: float, number: float) -> tuple[float, float]:
    """The 95% score interval (Wilson 1927) of the fraction `share` of `number` images."""
    z = 1.959964
    center = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number**2))
    return center - half, center + half
