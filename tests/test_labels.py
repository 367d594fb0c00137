"""Photos in the wrong folder come first, and photos unlike all others; each is judged by a head that never saw it."""

import numpy as np
import pytest

from hh_fast.data.explore import labels as module
from hh_fast.data.explore.labels import class_chances, nearest_of_class


def _features(count: int, num_features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive features of three overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return np.abs(rng.normal(size=(3, num_features))[labels] + rng.normal(size=(count, num_features))), labels


@pytest.mark.parametrize(("count", "num_features"), [(40, 100), (200, 20)])
def test_no_photo_is_judged_by_its_own_label(count: int, num_features: int) -> None:
    """As a ridge regression that is fitted anew without each photo, in turn."""
    features, labels = _features(count, num_features, seed=0)
    found = class_chances(features, labels)
    np.testing.assert_allclose(found.sum(axis=1), 1)

    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    x = x - x.mean(axis=0)
    x = np.hstack([x * np.sqrt(count) / np.linalg.norm(x), np.ones((count, 1))])
    one_hot = np.eye(3)[labels]
    outputs = np.empty((count, 3))
    for i in range(count):
        rest = np.delete(np.arange(count), i)
        left = x[rest].T @ x[rest] + module.RIDGE * np.eye(x.shape[1])
        outputs[i] = x[i] @ np.linalg.solve(left, x[rest].T @ one_hot[rest])
    log = np.log(found)
    differences, expected = (values - values[:, :1] for values in (log, outputs))
    sharpness = differences[0, 1] / expected[0, 1]
    assert any(sharpness == pytest.approx(candidate) for candidate in module.SHARPNESS)
    np.testing.assert_allclose(differences, sharpness * expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_changed_labels_come_first(seed: int) -> None:
    features, labels = _features(300, 50, seed)
    changed = np.random.default_rng(seed).choice(300, 15, replace=False)
    labels[changed] = (labels[changed] + 1) % 3
    chances = class_chances(features, labels)
    order = np.argsort(chances[np.arange(300), labels])
    assert np.isin(order[:20], changed).sum() >= 13
    right = np.setdiff1d(np.arange(300), changed)
    assert (chances[right].argmax(axis=1) == labels[right]).mean() > 0.9


def test_the_nearest_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    features = np.array([[1, 0, 0], [0, 1, 0], [2, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 3]], float)
    found = nearest_of_class(features, np.array([0, 1, 0, 0, 0, 2]))
    np.testing.assert_allclose(found, [1, -1, 1, 0.5**0.5, 0.5**0.5, -1])
