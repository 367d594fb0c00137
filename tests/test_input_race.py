import dataclasses
import sys
import time

import numpy as np
import pytest

from hh_fast.bench import benchmark, bounds, input_race
from hh_fast.bench.statistics import Rate
from hh_fast.bench.workload import Workload
from hh_fast.config import DataConfig, TrainConfig

# Forking this process, which runs TensorFlow, is what measuring processes are for.
PATHS = [path for path in input_race.input_paths() if not path.name.endswith("processes")]
NAMED = {path.name: path for path in PATHS}
GENERATOR = NAMED[input_race.GENERATOR]


@pytest.fixture
def workload(make_images, tmp_path):
    folder = make_images("train", {"horses": 6, "humans": 2})
    config = DataConfig(image_size=(24, 24), cache_dir=str(tmp_path / "cache"))
    return Workload(config, TrainConfig(batch_size=4), 2).on(folder, None)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_path_yields_every_image_in_each_epoch(workload, path):
    epochs = path.open(workload)
    for first, num in ((0, 1), (1, 2)):
        labels = np.concatenate([np.asarray(labels).reshape(-1) for _, labels in epochs(first, num)])
        assert len(labels) == 8 * num
        # Keras' iterator draws its order in whichever thread comes first, without a lock: with threads, now and then
        # two draw one each, and some image comes twice in place of another.
        if "threads" not in path.name:
            assert sorted(labels.astype(int).tolist()) == [0] * 6 * num + [1] * 2 * num


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_path_says_how_its_values_become_levels(workload, path):
    images, _ = next(iter(path.open(workload, shuffle=False)(0, 1)))
    values = np.asarray(images)
    assert values.dtype == ("uint8" if path.name.startswith("hh_fast") else "float32")
    assert values.max() * path.to_uint8_scale == pytest.approx(254, abs=2)
    assert values.max() <= 255 / path.to_uint8_scale


def test_figures_count_images_from_the_batches(workload):
    figures = input_race.measure_input(GENERATOR, workload)
    assert figures.first.num_images == 8
    assert 0 < figures.first_batch_s <= figures.first.seconds
    assert figures.steady.num_images % 8 == 0
    assert figures.cold_share is None


def test_a_steady_window_is_as_long_as_it_says_whatever_its_start_costs(monkeypatch):
    asked = []

    def epochs(first, num):
        asked.append((first, num))
        time.sleep(0.05)
        for _ in range(num):
            time.sleep(0.004)
            yield np.zeros((1, 2, 2, 3)), None

    monkeypatch.setattr(input_race, "MIN_STEADY_S", 0.2)
    steady = input_race._steady(epochs)
    assert steady.seconds >= 0.2
    assert steady.num_images == asked[-1][1] > 8
    assert [first for first, _ in asked] == [1 + sum(num for _, num in asked[:i]) for i in range(len(asked))]
    monkeypatch.setattr(input_race, "MAX_STEADY_EPOCHS", 8)
    assert input_race._steady(epochs).num_images == 8


def test_a_path_that_yields_other_images_is_refused(workload):
    def half(workload):
        return lambda first, num: [(np.zeros((4, 24, 24, 3)), None)]

    path = dataclasses.replace(GENERATOR, open=half)
    with pytest.raises(ValueError, match=r"^it yields 4 of the 8 images that the others yield$"):
        input_race.measure_input(path, workload)


def test_the_window_ends_with_the_last_batch():
    def batches():
        yield np.zeros((2, 1)), None
        yield np.zeros((3, 1)), None
        time.sleep(0.2)

    found, first_batch_s = input_race.count(batches(), time.perf_counter())
    assert found.num_images == 5
    assert first_batch_s <= found.seconds < 0.1


def test_a_second_run_finds_the_disk_cache_and_a_first_leaves_none(workload):
    around = workload.train_dir.parent
    before = set(around.iterdir())
    NAMED["hh_fast, disk"].open(workload)
    assert set(around.iterdir()) == before
    second = NAMED["hh_fast, disk, second run"]
    second.open(workload)
    [images] = around.joinpath("kept").rglob("images.u8")
    written = images.stat().st_mtime_ns
    second.open(workload)
    assert images.stat().st_mtime_ns == written


def test_bounds_count_what_they_did(workload):
    decoded = bounds.decode_bound(workload.files)
    assert isinstance(decoded.first, Rate)
    assert (decoded.first.num_images, decoded.steady) == (8, None)
    copied = bounds.copy_bound(workload)
    assert copied.steady.num_images % 8 == 0
    assert copied.steady.seconds >= bounds.MIN_COPY_S


def test_names_are_all_different_and_quick_is_a_part():
    names = [path.name for path in input_race.input_paths()]
    assert len(set(names)) == len(names) == 10
    raced, quick = (
        {path.name for path in input_race.input_paths(level)} for level in (input_race.RACED, input_race.QUICK)
    )
    assert (len(raced), len(quick)) == (8, 3)
    assert quick < raced < set(names)
    # An arm whose reader yields other images is left out: so each reader is among what is checked.
    assert set(benchmark.READERS.values()) < quick


def test_the_race_has_its_paths_and_bounds(workload):
    variants = input_race.input_variants(PATHS, workload, cold=False)
    assert [variant.name for variant in variants[-2:]] == [input_race.DECODE_BOUND, input_race.COPY_BOUND]
    claimed = {name for claim in input_race.CLAIMS for name in (claim.above, claim.below)}
    assert claimed <= {variant.name for variant in variants}


def test_cold_files_are_counted_after_dropping_them(workload):
    assert 0 <= input_race.measure_input(GENERATOR, workload, cold=True).cold_share <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="the page cache is asked in Linux' way")
def test_a_file_just_written_is_cached_and_can_be_dropped(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1" * 100_000)
    try:
        assert input_race._is_cached(str(path))
    except OSError:
        pytest.skip("this file system cannot tell what is cached")
    assert input_race.drop_from_page_cache([str(path)]) == 1.0
    assert not input_race._is_cached(str(path))
    path.read_bytes()
    assert input_race._is_cached(str(path))


def test_nothing_is_called_cold_where_the_system_cannot_tell(monkeypatch, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    assert input_race.drop_from_page_cache([str(path)]) == 0.0
