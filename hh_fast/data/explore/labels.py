"""Which photos may be in the wrong folder, and which resemble no other of theirs, by a pretrained network's features. No TensorFlow."""

import dataclasses
from collections.abc import Sequence

import numpy as np

RIDGE = 1.0
# Of the softmax that makes probabilities of the head's outputs: the one that suits the labels best is taken.
SHARPNESS = (2.0, 4.0, 8.0, 16.0, 32.0)
IMPROBABLE = 0.1  # photos whose own class has less are to be looked at
BLOCK = 1024  # images that are compared with all others at once
# What counts as far from its class: so many standard deviations (by the median) below what is usual, and no less than this.
FAR, LEAST_DEVIATION = 3.0, 0.01
FEWEST, MOST_UNLIKE = 10, 12  # photos


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A photo that looks more like another class than its own, with the probabilities of both."""

    path: str
    class_name: str
    probability: float
    looks_like: str
    looks_like_probability: float


@dataclasses.dataclass(frozen=True)
class Unlike:
    """A photo far from every other of its class; `similarity`, a cosine, is that to the nearest."""

    path: str
    class_name: str
    similarity: float


def class_probabilities(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, float64 (n, num_classes), each photo's by a head that saw nothing of its group.

    `features` are float (n, d), `labels` and `groups` ints (n,); a group is a photo and its copies. The head is linear, by
    ridge regression on the labels: what leaving a group out changes follows from one solution, without folds (Allen's PRESS).
    """
    n, one_hot = len(features), np.eye(labels.max() + 1)[labels]
    x = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    x = x - x.mean(axis=0)
    x = np.hstack([x * (np.sqrt(n) / max(np.linalg.norm(x), 1e-6)), np.ones((n, 1), x.dtype)])
    is_wide = n <= x.shape[1]
    if is_wide:
        inverse = np.linalg.inv(x @ x.T + RIDGE * np.eye(n))
        residuals = inverse @ one_hot
    else:
        solved = (x @ np.linalg.inv(x.T @ x + RIDGE * np.eye(x.shape[1]))).astype(x.dtype)
        residuals = one_hot - solved @ (x.T @ one_hot)
    outputs = one_hot.copy()
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        block = inverse[np.ix_(rows, rows)] if is_wide else np.eye(len(rows)) - solved[rows] @ x[rows].T
        outputs[rows] -= np.linalg.solve(block, residuals[rows])

    def probabilities(sharpness: float) -> np.ndarray:
        powers = np.exp(sharpness * (outputs - outputs.max(axis=1, keepdims=True)))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return max(map(probabilities, SHARPNESS), key=lambda found: np.log(found[np.arange(n), labels] + 1e-12).sum())


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


def find_suspects(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, paths: Sequence[str], class_names: Sequence[str]
) -> list[Suspect]:
    """The photos that look more like another class than their own, the least probable first.

    Those of which a class has nothing but copies are left out: a head that saw none of them does not know the class.
    """
    if len(features) == 0:
        return []
    probabilities = class_probabilities(features, labels, groups)
    likeliest, own = probabilities.argmax(axis=1), probabilities[np.arange(len(labels)), labels]
    alone = [label for label in np.unique(labels) if len(np.unique(groups[labels == label])) < 2]
    wrong = np.flatnonzero((probabilities.max(axis=1) > own + 1e-6) & ~np.isin(labels, alone))
    return [
        Suspect(
            paths[i], class_names[labels[i]], float(own[i]), class_names[likeliest[i]], float(probabilities[i].max())
        )
        for i in wrong[np.argsort(own[wrong], kind="stable")]
    ]


def to_look_at(suspects: Sequence[Suspect]) -> Sequence[Suspect]:
    return [suspect for suspect in suspects if suspect.probability < IMPROBABLE]


def find_unlike(
    features: np.ndarray, labels: np.ndarray, paths: Sequence[str], class_names: Sequence[str]
) -> list[Unlike]:
    """Up to `MOST_UNLIKE` photos that are far from every other of their class, the farthest first; none of under `FEWEST`."""
    nearest = nearest_of_class(features, labels)
    rows = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if len(rows) < FEWEST:
        return []
    usual = np.median(nearest[rows])
    deviation = max(1.4826 * np.median(np.abs(nearest[rows] - usual)), LEAST_DEVIATION)
    far = rows[nearest[rows] < usual - FAR * deviation]
    return [
        Unlike(paths[i], class_names[labels[i]], float(nearest[i]))
        for i in far[np.argsort(nearest[far], kind="stable")][:MOST_UNLIKE]
    ]
