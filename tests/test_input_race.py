import dataclasses
import time

import numpy as np
import pytest

from benchmarks.race import bounds, inputs
from benchmarks.race.__main__ import READERS
from benchmarks.race.config import DEFAULT, QUICK
from benchmarks.race.names import COPY_BOUND, DECODE_BOUND, INPUT_CLAIMS, READ_GENERATOR
from benchmarks.race.workload import Workload
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.store import ROWS

PATHS = inputs.input_paths()
NAMED = {path.name: path for path in PATHS}
GENERATOR = NAMED[READ_GENERATOR]


@pytest.fixture
def workload(make_images, tmp_path):
    folder = make_images("train", {"horses": 6, "humans": 2})
    config = DataConfig(
        train_dir=str(folder), validation_split=0.0, image_size=(24, 24), cache_dir=str(tmp_path / "cache")
    )
    return Workload(config, TrainConfig(batch_size=4), 2)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_path_yields_every_image_in_each_epoch(workload, path):
    epochs = path.open(workload)
    for first, num in ((0, 1), (1, 2)):
        labels = np.concatenate([np.asarray(labels).reshape(-1) for _, labels in epochs(first, num)])
        assert len(labels) == 8 * num
        assert sorted(labels.astype(int).tolist()) == [0] * 6 * num + [1] * 2 * num


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_path_says_how_its_values_become_levels(workload, path):
    images, _ = next(iter(path.open(workload, shuffle=False)(0, 1)))
    values = np.asarray(images)
    assert values.dtype == ("uint8" if path.name.startswith("hh_fast") else "float32")
    assert values.max() * path.to_uint8_scale == pytest.approx(254, abs=2)
    assert values.max() <= 255 / path.to_uint8_scale


def test_figures_count_images_from_the_batches(workload):
    row = inputs.measure_input(GENERATOR, workload)
    assert 0 < row["first_batch_s"] <= 8 / row["first_images_per_s"]
    assert row["steady_images_per_s"] > 0


def test_a_steady_window_is_as_long_as_it_says_whatever_its_start_costs(monkeypatch):
    asked = []

    def epochs(first, num):
        asked.append((first, num))
        time.sleep(0.05)
        for _ in range(num):
            time.sleep(0.004)
            yield np.zeros((1, 2, 2, 3)), None

    monkeypatch.setattr(inputs, "MIN_STEADY_S", 0.2)
    rate = inputs.steady_images_per_s(epochs)
    assert asked[-1][1] > 8
    assert asked[-1][1] / rate >= 0.2
    assert [first for first, _ in asked] == [1 + sum(num for _, num in asked[:i]) for i in range(len(asked))]
    asked.clear()
    monkeypatch.setattr(inputs, "MAX_STEADY_EPOCHS", 8)
    inputs.steady_images_per_s(epochs)
    assert asked[-1][1] == 8


def test_a_path_that_yields_other_images_is_refused(workload):
    def half(workload):
        return lambda first, num: [(np.zeros((4, 24, 24, 3)), None)]

    path = dataclasses.replace(GENERATOR, open=half)
    with pytest.raises(ValueError, match=r"^it yields 4 of the 8 images that the others yield$"):
        inputs.measure_input(path, workload)


def test_the_window_ends_with_the_last_batch():
    def batches():
        yield np.zeros((2, 1)), None
        yield np.zeros((3, 1)), None
        time.sleep(0.2)

    num_images, seconds, first_batch_s = inputs.consume(batches(), time.perf_counter())
    assert num_images == 5
    assert first_batch_s <= seconds < 0.1


def test_a_second_run_finds_the_disk_cache_and_a_first_leaves_none(workload):
    around = workload.train_dir.parent
    before = set(around.iterdir())
    NAMED["hh_fast, disk"].open(workload)
    assert set(around.iterdir()) == before
    second = NAMED["hh_fast, disk, second run"]
    second.open(workload)
    [images] = around.joinpath("kept").rglob(ROWS)
    written = images.stat().st_mtime_ns
    second.open(workload)
    assert images.stat().st_mtime_ns == written


def test_bounds_of_input_are_rates(workload):
    assert bounds.decode_bound(workload.files)["first_images_per_s"] > 0
    assert bounds.copy_bound(workload)["steady_images_per_s"] > 8


def test_names_are_all_different_and_quick_is_a_part():
    names = [path.name for path in inputs.input_paths()]
    assert len(set(names)) == len(names) == 9
    raced, quick = ({path.name for path in inputs.input_paths(plan.level)} for plan in (DEFAULT, QUICK))
    assert (len(raced), len(quick)) == (8, 3)
    assert quick < raced < set(names)
    # An arm whose reader yields other images is left out: so each reader is among what is checked.
    assert set(READERS.values()) < quick


def test_the_race_has_its_paths_and_bounds(workload):
    arms = inputs.input_arms(PATHS, workload)
    assert list(arms)[-2:] == [DECODE_BOUND, COPY_BOUND]
    claimed = {name for claim in INPUT_CLAIMS for name in (claim.above, claim.below)}
    assert claimed <= set(arms)
