"""One report of accuracy and confusion, of bounded size however many classes there are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hh_fast.evaluation.confusion import Confusion, balanced_size
from hh_fast.evaluation.metrics import wilson_interval
from hh_fast.evaluation.plots import draw_confusion


def confusion(*pairs: tuple[int, int], names: str = "abc") -> Confusion:
    labels, predicted = np.asarray(pairs).T
    return Confusion(labels, predicted, list(names))


SMALL = confusion((0, 0), (0, 0), (0, 1), (1, 1), (2, 1), (2, 2))


def many(num_classes: int, *, seed: int = 0) -> Confusion:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), 3)
    return Confusion(labels, rng.permutation(labels), [f"class number {i}" for i in range(num_classes)])


def test_the_figures() -> None:
    assert (SMALL.num_images, SMALL.num_right, SMALL.accuracy) == (6, 4, 4 / 6)
    assert SMALL.balanced_accuracy == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert SMALL.matrix(np.arange(3)).tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert SMALL.pairs().tolist() == [[0, 0, 2], [0, 1, 1], [1, 1, 1], [2, 1, 1], [2, 2, 1]]
    assert balanced_size(np.asarray([5, 5, 0])) == pytest.approx(10)
    assert balanced_size(np.asarray([1, 99])) == pytest.approx(3.96)


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),  # by scipy.stats.binomtest(right, number).proportion_ci(method="wilson")
    [(70, 73, 0.8860, 0.9859), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_of_an_accuracy(right: int, number: int, low: float, high: float) -> None:
    assert wilson_interval(right / number, number) == pytest.approx((low, high), abs=1e-4)


def test_few_classes_are_a_matrix_and_many_the_pairs_that_are_confused_most() -> None:
    assert SMALL.to_markdown().splitlines()[2] == "| a                |   2 |   1 |   0 |"
    text = many(1000).to_markdown()
    assert len(text.splitlines()) == 22
    assert len(text) < 3000
    assert text.splitlines()[0].split() == ["|", "true", "|", "predicted", "|", "images", "|", "of", "|"]
    names = [f"c{i}" for i in range(40)]
    few = Confusion(np.asarray([7, 7, 7, 8]), np.asarray([9, 9, 7, 8]), names)
    assert few.to_markdown().splitlines()[2].split() == ["|", "c7", "|", "c9", "|", "2", "|", "3", "|"]
    assert {7, 9} < set(few.classes_shown().tolist())


def test_the_picture_has_a_fixed_size_beyond_thirty_classes(tmp_path: Path) -> None:
    sizes = []
    for count in (31, 1000):
        draw_confusion(many(count), tmp_path / "confusion.png", title="Validation")
        with Image.open(tmp_path / "confusion.png") as picture:
            sizes.append(picture.size)
    assert len(set(sizes)) == 1
    assert max(sizes[0]) < 2000


def test_a_class_that_is_never_predicted_and_a_model_at_chance_are_remarked_on() -> None:
    assert SMALL.remarks()[0].startswith(
        "An accuracy of 0.667 is hardly better than guessing: always predicting the largest"
    )
    collapsed = confusion(*[(i % 3, 0) for i in range(60)])
    never, chance = collapsed.remarks()
    assert never == "2 of 3 classes are never predicted: b, c"
    assert "always predicting the largest class, a, gives 0.333" in chance
    assert confusion(*[(i % 3, i % 3) for i in range(60)]).remarks() == []


def test_a_majority_that_is_always_named_is_chance_however_high_the_accuracy() -> None:
    majority = confusion(*[(int(i < 10), 0) for i in range(100)], names="ab")
    assert majority.accuracy == 0.9
    assert "hardly better than guessing" in majority.remarks()[-1]
    useful = confusion(*[(int(i < 10), int(i < 8)) for i in range(100)], names="ab")
    assert useful.remarks() == []
