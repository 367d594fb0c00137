"""Copies of pictures that are not byte-identical are found, and pictures of one layout are not taken for copies."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from small_data import pictures

from hh_fast.data import copies
from hh_fast.data.copies import find_copies, thumbnail


def _jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)


KINDS = {
    "half size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "JPEG quality 50": _jpeg,
    "brighter": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "cropped at two sides": lambda image: image[10:, 13:],
    "cropped at all sides": lambda image: image[10:-10, 13:-13],
}


def _leaders(images: list[np.ndarray], features: np.ndarray | None = None) -> list[int]:
    return find_copies(np.stack([thumbnail(image) for image in images]), features).tolist()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_copies_are_found(kind: Callable[[np.ndarray], np.ndarray]) -> None:
    images = pictures(30, seed=1)
    assert _leaders([*images, *map(kind, images)]) == [*range(30), *range(30)]


def test_pictures_of_one_layout_are_not_copies() -> None:
    """A meadow under the sky each time, and something else before it: 8 x 8 colours tell them apart no more."""
    images = []
    for thing in pictures(40, seed=2):
        image = np.full((240, 320, 3), (230, 180, 140), np.uint8)
        image[120:] = (60, 160, 70)
        image[80:180, 100:220] = cv2.resize(thing, (120, 100))
        images.append(image)
    thumbnails = np.stack([thumbnail(image) for image in images])
    small = copies._unit(copies._halved(copies._halved(thumbnails)))
    assert len(copies._correlated(small, copies.SIEVED)) == 40 * 39 / 2
    assert find_copies(thumbnails).tolist() == list(range(40))


def test_a_group_is_no_chain() -> None:
    """Windows that move along a panorama: each resembles the next, the first none of the last."""
    panorama = cv2.resize(pictures(1, seed=3)[0], (960, 240))
    leaders = _leaders([panorama[:, left : left + 320] for left in range(0, 640, 8)])
    joined = [(i, leader) for i, leader in enumerate(leaders) if i != leader]
    assert len(joined) > 30
    assert max(abs(i - leader) for i, leader in joined) <= 10
    assert all(leaders[leader] == leader for _, leader in joined)


def test_empty_pictures_are_no_copies_of_each_other() -> None:
    assert _leaders([np.full((50, 50, 3), value, np.uint8) for value in (0, 128, 255)]) == [0, 1, 2]
    assert find_copies(np.empty((0, copies.SIDE, copies.SIDE, 3), np.uint8)).tolist() == []


def test_features_add_the_same_scene() -> None:
    images = pictures(4, seed=4)
    features = np.eye(4, dtype=np.float32)
    features[3] = features[1] + 0.3 * features[2]
    assert _leaders(images) == [0, 1, 2, 3]
    assert _leaders(images, features) == [0, 1, 2, 1]
