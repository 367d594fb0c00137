import dataclasses
import time

import numpy as np
import pytest

from hh_fast.bench import bounds, inputs, race, window


@pytest.fixture
def paths(make_images, tmp_path):
    folder = make_images("train", {"horses": 6, "humans": 2})
    return inputs.input_paths(folder, image_size=(24, 24), batch_size=4, seed=0, kept_dir=tmp_path / "kept")


def without_processes(paths):
    """Forking this process, which runs TensorFlow, is what measuring processes are for."""
    return [path for path in paths if "processes" not in path.name]


def test_every_path_yields_every_image_in_each_epoch(paths):
    for path in without_processes(paths):
        epochs = path.open()
        for first, num in ((0, 1), (1, 2)):
            labels = np.concatenate([np.asarray(labels).reshape(-1) for _, labels in epochs(first, num)])
            assert len(labels) == 8 * num, path.name
            # Keras' iterator draws its order in whichever thread comes first, without a lock: with threads, now and then
            # two draw one each, and some image comes twice in place of another.
            if "threads" not in path.name:
                assert sorted(labels.astype(int).tolist()) == [0] * 6 * num + [1] * 2 * num, path.name


def test_every_path_says_what_it_yields(paths):
    for path in without_processes(paths):
        images, _ = next(iter(path.ordered()))
        values = np.asarray(images)
        dtype, _, largest = path.yields.partition(", 0 to ")
        assert values.dtype == dtype, path.name
        assert values.max() * path.to_uint8_scale == pytest.approx(254, abs=2), path.name
        assert values.max() <= float(largest)


def test_figures_count_images_from_the_batches(paths):
    figures = inputs.measure_input(paths[0], num_images=8)
    assert figures["first_images"] == 8
    assert figures["first_img_s"] == pytest.approx(8 / figures["first_s"])
    assert 0 < figures["first_batch_s"] <= figures["first_s"]
    assert figures["warm_images"] % 8 == 0
    assert figures["warm_img_s"] == pytest.approx(figures["warm_images"] / figures["warm_s"])


def test_a_warm_window_is_as_long_as_it_says_whatever_its_start_costs(monkeypatch):
    asked = []

    def epochs(first, num):
        asked.append((first, num))
        time.sleep(0.05)
        for _ in range(num):
            time.sleep(0.004)
            yield np.zeros((1, 2, 2, 3)), None

    monkeypatch.setattr(inputs, "MIN_WARM_S", 0.2)
    warm = inputs._warm(epochs)
    assert warm.total_s >= 0.2
    assert warm.num_images == asked[-1][1] > 20
    assert [first for first, _ in asked] == [1 + sum(num for _, num in asked[:i]) for i in range(len(asked))]
    monkeypatch.setattr(inputs, "MAX_WARM_EPOCHS", 8)
    assert inputs._warm(epochs).num_images == 8


def test_a_path_that_yields_other_images_is_refused(paths):
    with pytest.raises(ValueError, match=r"^it yields 8 of the 9 images that the others yield$"):
        inputs.measure_input(paths[0], num_images=9)


def test_work_before_the_window_is_not_timed(paths):
    figures = inputs.measure_input(paths[0], num_images=8, before=lambda: time.sleep(0.5))
    assert figures["first_s"] < 0.5


def test_the_window_ends_with_the_last_batch():
    def batches():
        yield np.zeros((2, 1)), None
        yield np.zeros((3, 1)), None
        time.sleep(0.2)

    found = window.count(batches(), time.perf_counter())
    assert found.num_images == 5
    assert found.total_s < 0.1


def test_a_second_run_finds_the_disk_cache_and_a_first_leaves_none(paths, tmp_path):
    by_name = {path.name: path for path in paths}
    before = set(tmp_path.iterdir())
    by_name["hh_fast, disk"].open()
    assert set(tmp_path.iterdir()) == before
    second = by_name["hh_fast, disk, second run"]
    second.open()
    [images] = second.kept_dir.rglob("images.u8")
    written = images.stat().st_mtime_ns
    second.open()
    assert images.stat().st_mtime_ns == written


def test_bounds_count_what_they_did(paths):
    files = sorted(str(path) for path in paths[0].directory.rglob("*.png"))
    decoded = bounds.decode_bound(files)
    assert decoded["first_images"] == 8
    assert decoded["first_img_s"] == pytest.approx(8 / decoded["first_s"])
    copied = bounds.copy_bound(8, (24, 24), 4)
    assert copied["warm_images"] % 8 == 0
    assert copied["warm_img_s"] == pytest.approx(copied["warm_images"] / copied["warm_s"])


def test_names_are_all_different(paths):
    assert len({path.name for path in paths}) == len(paths) == 10
    assert dataclasses.replace(paths[0], seed=1).name == paths[0].name


def test_cold_files_are_counted_after_dropping_them(paths):
    files = sorted(str(path) for path in paths[0].directory.rglob("*.png"))
    assert race.measure_path(paths[0], 8, ())["cold_share"] is None
    assert 0 <= race.measure_path(paths[0], 8, files)["cold_share"] <= 1
