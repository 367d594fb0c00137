"""Where two models disagree."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import CLASS_NAMES, fake_classifier

from hh_fast.errors import DataError
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.disagreement import compare, draw
from hh_fast.predict.files import Found


def test_compare_shows_the_worst_first(tmp_path: Path) -> None:
    one = fake_classifier()

    def other_score(images: np.ndarray) -> np.ndarray:
        moved = images.astype(int)
        moved[:, 0, 0, 0] -= moved[:, 0, 0, 1]
        return one.score(np.clip(moved, 0, 255))

    other = Classifier("folder/other", CLASS_NAMES, (2, 2), other_score)
    # first channel: p of one; second: by how much the other says less
    pixels = {"same": (200, 0), "far": (250, 100), "flips": (130, 10), "near": (200, 5)}

    def read(path: str) -> np.ndarray:
        if path not in pixels:
            raise DataError(f"{path}: not an image")
        image = np.zeros((2, 2, 3), np.uint8)
        image[0, 0, :2] = pixels[path]
        return image

    comparison = compare(one, other, [Found(path) for path in (*pixels, "bad")], read, batch_size=3)
    assert [item.path for item in comparison.worst] == ["flips", "far", "near", "same"]
    assert (comparison.num_images, comparison.agreement) == (4, 0.75)
    assert comparison.largest_difference == pytest.approx(100 / 255)
    assert comparison.unreadable == ["bad: not an image"]
    assert comparison.lines()[:2] == [
        "fake and folder/other name the same class on 3 of 4 images (0.7500); scores differ by 0.392157 at most and"
        " 0.112745 on average. The largest differences:",
        "flips: humans 0.510 | horses 0.529",
    ]
    assert comparison.worst[0].classes == ("humans", "horses")
    draw(comparison, read, tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as picture:
        assert (picture.format, picture.width > 500) == ("PNG", True)


def test_the_largest_difference_counts_where_it_is_not_shown() -> None:
    """Twenty images whose class differs by a hair fill the list; one that differs by far keeps its class."""
    one = fake_classifier()

    def other_score(images: np.ndarray) -> np.ndarray:
        p = np.where(images[:, 0, 0, 0] == 128, 0.49, 1.0)
        return np.stack([1 - p, p], axis=1).astype(np.float32)

    other = Classifier("other", CLASS_NAMES, (2, 2), other_score)
    found = [Found("128")] * 20 + [Found("153")]
    comparison = compare(one, other, found, lambda path: np.full((2, 2, 3), int(path), np.uint8), batch_size=8)
    assert {item.path for item in comparison.worst} == {"128"}
    assert comparison.largest_difference == pytest.approx(0.4)


def test_compare_keeps_only_the_worst(tmp_path: Path) -> None:
    one, other = fake_classifier(), fake_classifier()
    found = [Found(str(i)) for i in range(100)]
    comparison = compare(one, other, found, lambda path: np.full((2, 2, 3), int(path), np.uint8), batch_size=8)
    assert len(comparison.worst) == 16


def test_models_of_different_kinds_cannot_be_compared() -> None:
    one = fake_classifier()
    other = Classifier("other", CLASS_NAMES, (4, 4), one.score)
    with pytest.raises(DataError) as caught:
        compare(one, other, [], lambda path: np.zeros((2, 2, 3), np.uint8), batch_size=8)
    assert str(caught.value) == ("fake and other differ in image_size, (2, 2) and (4, 4): compare models of one kind")
    with pytest.raises(DataError, match="^no image to compare on: no file matches$"):
        compare(one, one, [], lambda path: np.zeros((2, 2, 3), np.uint8), batch_size=8)
