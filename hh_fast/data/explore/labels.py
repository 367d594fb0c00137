"""Which photos may be in the wrong folder, and which resemble no other of theirs, by features of a pretrained network. No TensorFlow."""

import numpy as np

RIDGE = 1.0
# Of the softmax that makes chances of the head's outputs: the one that suits the labels best is taken.
SHARPNESS = (2.0, 4.0, 8.0, 16.0, 32.0)
BLOCK = 1024  # images that are compared with all others at once


def class_chances(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, float64 (n, num_classes), each photo's by a head that was fitted on all others.

    `features` are float (n, d), `labels` ints (n,) of which each class has one. The head is linear, by ridge regression on the
    labels: what leaving a photo out changes follows from one solution, without folds (Allen's PRESS).
    """
    n, one_hot = len(features), np.eye(labels.max() + 1)[labels]
    x = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    x = x - x.mean(axis=0)
    x = np.hstack([x * (np.sqrt(n) / max(np.linalg.norm(x), 1e-6)), np.ones((n, 1), x.dtype)])
    if n <= x.shape[1]:
        residual = np.linalg.inv(x @ x.T + RIDGE * np.eye(n))
        outputs = one_hot - residual @ one_hot / np.diag(residual)[:, None]
    else:
        solved = x @ np.linalg.inv(x.T @ x + RIDGE * np.eye(x.shape[1]))
        weight = (solved * x).sum(axis=1, keepdims=True)  # of a photo's own label in its output
        outputs = (solved @ (x.T @ one_hot) - weight * one_hot) / (1 - weight)

    def chances(sharpness: float) -> np.ndarray:
        powers = np.exp(sharpness * (outputs - outputs.max(axis=1, keepdims=True)))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return max(map(chances, SHARPNESS), key=lambda found: np.log(found[np.arange(n), labels] + 1e-12).sum())


def nearest_of_class(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The largest cosine similarity of each photo's features, (n, d), to those of another of its class, (n,); -1 without one."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    nearest = np.full(len(unit), -1.0)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for start in range(0, len(rows), BLOCK):
            similar = unit[rows[start : start + BLOCK]] @ unit[rows].T
            similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -1
            nearest[rows[start : start + BLOCK]] = similar.max(axis=1)
    return nearest
