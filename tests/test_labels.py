"""Photos in the wrong folder come first, and photos unlike all others; each is judged by a head that never saw it."""

import os
from pathlib import Path

import numpy as np
import pytest

from hh_fast.config import DataConfig
from hh_fast.data.explore import labels as module
from hh_fast.data.explore.labels import (
    Suspect,
    class_probabilities,
    find_suspects,
    find_unlike,
    nearest_of_class,
    to_look_at,
)
from hh_fast.data.features import backbone_features
from hh_fast.data.images import list_images
from hh_fast.data.reading import read_images

NAMES = ("a", "b", "c", "d", "e")


def overlapping_classes(count: int, num_features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive features of three overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return np.abs(rng.normal(size=(3, num_features))[labels] + rng.normal(size=(count, num_features))), labels


def suspects_of(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> list[Suspect]:
    groups = np.arange(len(labels)) if groups is None else groups
    return find_suspects(features, labels, groups, list(map(str, range(len(labels)))), NAMES)


@pytest.mark.parametrize(("count", "num_features"), [(40, 100), (200, 20)])
def test_no_photo_is_judged_by_its_own_label_or_a_copys(count: int, num_features: int) -> None:
    """As a ridge regression that is fitted anew without each group, in turn."""
    features, labels = overlapping_classes(count, num_features, seed=0)
    groups = np.arange(count)
    groups[[5, 9]] = 2
    found = class_probabilities(features, labels, groups)
    np.testing.assert_allclose(found.sum(axis=1), 1)

    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    x = x - x.mean(axis=0)
    x = np.hstack([x * np.sqrt(count) / np.linalg.norm(x), np.ones((count, 1))])
    one_hot = np.eye(3)[labels]
    outputs = np.empty((count, 3))
    for i in range(count):
        rest = np.flatnonzero(groups != groups[i])
        left = x[rest].T @ x[rest] + module.RIDGE * np.eye(x.shape[1])
        outputs[i] = x[i] @ np.linalg.solve(left, x[rest].T @ one_hot[rest])
    log = np.log(found)
    differences, expected = (values - values[:, :1] for values in (log, outputs))
    sharpness = differences[0, 1] / expected[0, 1]
    assert any(sharpness == pytest.approx(candidate) for candidate in module.SHARPNESS)
    np.testing.assert_allclose(differences, sharpness * expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_changed_labels_come_first(seed: int) -> None:
    features, labels = overlapping_classes(300, 50, seed)
    changed = np.random.default_rng(seed).choice(300, 15, replace=False)
    right, labels[changed] = labels.copy(), (labels[changed] + 1) % 3
    suspects = suspects_of(features, labels)
    first = {int(one.path): one for one in suspects[:20]}
    found = [i for i in changed if i in first]
    assert len(found) >= 13
    assert all(first[i].class_name == NAMES[labels[i]] for i in found)
    assert sum(first[i].looks_like == NAMES[right[i]] for i in found) >= 12
    probabilities = [one.probability for one in suspects]
    assert probabilities == sorted(probabilities)
    assert all(one.looks_like_probability > one.probability for one in suspects)
    assert len(to_look_at(suspects)) < len(suspects) < 45


@pytest.mark.parametrize(
    ("labels", "num_different"),
    [([], 0), ([0], 1), ([0, 0, 0], 3), ([0, 1], 2), ([0, 0, 0, 1], 4), ([0, 0, 1, 1, 4, 4], 1)],
    ids=["none", "one", "one class", "two photos", "a class of one photo", "all the same, and empty classes"],
)
def test_few_photos_say_nothing(labels: list[int], num_different: int) -> None:
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(size=(max(num_different, 1), 30))).astype(np.float32)
    rows = np.arange(len(labels)) % max(num_different, 1)
    assert to_look_at(suspects_of(features[rows], np.asarray(labels, np.int64))) == []
    assert find_unlike(features[rows], np.asarray(labels, np.int64), list(map(str, labels)), NAMES) == []


def test_a_class_of_nothing_but_copies_is_not_judged() -> None:
    features, labels = overlapping_classes(60, 50, seed=1)
    features[:4], labels[:4] = np.abs(np.random.default_rng(2).normal(size=50)), 3
    groups = np.arange(60)
    groups[:4] = 0
    assert not {"0", "1", "2", "3"} & {one.path for one in suspects_of(features, labels, groups)}


def test_the_nearest_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    features = np.array([[1, 0, 0], [0, 1, 0], [2, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 3]], float)
    found = nearest_of_class(features, np.array([0, 1, 0, 0, 0, 2]))
    np.testing.assert_allclose(found, [1, -1, 1, 0.5**0.5, 0.5**0.5, -1])


def test_photos_far_from_their_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    features = np.abs(np.eye(2, 50)[labels] * 8 + rng.normal(size=(80, 50)))
    features[[10, 33]] = rng.normal(size=(2, 50))
    found = find_unlike(features, labels, list(map(str, range(80))), NAMES)
    assert {one.path for one in found} == {"10", "33"}
    assert found[0].similarity <= found[1].similarity < 0.5
    assert [one.class_name for one in found] == [NAMES[int(one.path) % 2] for one in found]


@pytest.mark.slow
@pytest.mark.skipif("HH_FAST_PHOTOS" not in os.environ, reason="needs a folder of class folders of photos")
@pytest.mark.parametrize("seed", range(3))
def test_changed_labels_of_photos_come_first(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the photos' labels a twentieth is changed; three in four of them are among the first tenth."""
    cache = tmp_path_factory.getbasetemp() / "photos"
    images, _ = list_images(Path(os.environ["HH_FAST_PHOTOS"]))
    images = read_images(images, max_image_pixels=10**8, index=cache / "index.json", decodes=True)
    config = DataConfig(image_size=(224, 224), cache_dir=str(cache))
    features, _ = backbone_features([images], "efficientnet_lite0", None, config)
    rng = np.random.default_rng(seed)
    changed = rng.choice(len(images), len(images) // 20, replace=False)
    labels, num_classes = images.labels.astype(np.int64), len(images.class_names)
    labels[changed] = (labels[changed] + rng.integers(1, num_classes, len(changed))) % num_classes
    suspects = find_suspects(features, labels, np.arange(len(labels)), images.paths, images.class_names)
    first = {one.path for one in suspects[: len(images) // 10]}
    assert sum(images.paths[i] in first for i in changed) >= 0.75 * len(changed)
