"""What the automatic split holds out, and what of it is found again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from small_data import read_table

from hh_fast.config import DataConfig
from hh_fast.data.images import Images
from hh_fast.data.split import find_again, hold_out, hold_out_share, resembling
from hh_fast.errors import DataError


def test_the_images_held_out_follow_the_seed() -> None:
    labels = np.repeat([0, 1], 50)
    first, again, other = (hold_out(labels, range(100), 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert np.bincount(labels[first]).tolist() == [10, 10]


def test_a_share_that_rounds_to_nothing_still_holds_one_out() -> None:
    kept, held = hold_out(np.repeat([0, 1], 3), range(6), 0.01, 0)
    assert (len(kept), len(held)) == (4, 2)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("labels", "contents"),
    [
        ([0] * 20 + [1] * 20, [i % 13 for i in range(20)] + [100 + i // 2 for i in range(20)]),
        ([0] * 10 + [1] * 10, [*range(10), 0, 1, 2, *range(13, 20)]),  # three images are in both classes
        ([0] * 6 + [1] * 6, ["a"] * 5 + ["b"] + ["c"] * 3 + ["d"] * 3),  # groups larger than the share
    ],
    ids=["copies", "copies in two classes", "mostly copies"],
)
def test_copies_stay_on_one_side(labels: Sequence[int], contents: Sequence[object], seed: int) -> None:
    kept, held = hold_out(np.asarray(labels), contents, 0.2, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert not {contents[i] for i in kept} & {contents[i] for i in held}
    for side in (kept, held):
        assert {labels[i] for i in side} == {0, 1}


def test_each_recorded_image_is_found_as_often_as_it_was_recorded() -> None:
    assert find_again(["a", "b", "c", "b", "b"], ["b", "c", "b", "gone"]).tolist() == [1, 2, 3]
    assert find_again(["a"], ["gone"]).tolist() == []


def test_a_class_whose_images_are_all_copies_of_another_classes_is_named() -> None:
    """Copies stay on one side, whatever their class: so all of the second class follow those of the first."""
    labels = np.repeat([0, 1], [20, 2])
    contents = [str(i) for i in range(20)] + ["3", "7"]
    images = Images(Path("a"), ("x", "y"), tuple(contents), labels, np.arange(22))
    said = {
        "no image in a/y is left to train on, for they are copies of images of other classes, and copies stay on one side of"
        " the split: add images, or remove the copies",
        "no image in a/y is left to validate on, for they are copies of images of other classes, and copies stay on one side of"
        " the split: add images, or remove the copies",
    }

    def attempt(seed: int) -> str | None:
        try:
            kept, held = hold_out_share(images, DataConfig(train_dir="a", seed=seed))
        except DataError as e:
            return str(e)
        assert {0, 1} == set(labels[kept]) == set(labels[held])
        return None

    assert {attempt(seed) for seed in range(100)} - {None} == said


def test_features_add_the_same_scene(tmp_path: Path, make_images: Callable[..., Path]) -> None:
    """Pictures of noise have nothing in common; what a network makes of two of them does, and no more than their own copies."""
    images = read_table(make_images("train", {"cats": 6, "dogs": 4}))
    config = DataConfig(cache_dir=str(tmp_path / "cache"))
    features = np.random.default_rng(0).normal(size=(10, 30)).astype(np.float32)
    features[7] = features[2] * 3 + 0.1
    assert resembling([images], {}, config).tolist() == list(range(10))
    assert resembling([images], {}, config, (features, "one")).tolist() == [0, 1, 2, 3, 4, 5, 6, 2, 8, 9]
    # What is kept is told apart by what made the features.
    features[8] = features[1]
    assert resembling([images], {}, config, (features, "one")).tolist() == [0, 1, 2, 3, 4, 5, 6, 2, 8, 9]
    assert resembling([images], {}, config, (features, "two")).tolist() == [0, 1, 2, 3, 4, 5, 6, 2, 1, 9]
    assert resembling([images], {}, config).tolist() == list(range(10))
