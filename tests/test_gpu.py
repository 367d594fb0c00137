import gpu
import numpy as np
import pytest
from published import GpuStep

from hh_fast.bench.workload import Workload
from hh_fast.config import DataConfig, TrainConfig


@pytest.fixture
def workload(make_images, tmp_path):
    folder = make_images("train", {"horses": 4, "humans": 4}, size=(94, 94))
    config = DataConfig(image_size=(94, 94), cache_dir=str(tmp_path / "cache"))
    return Workload(config, TrainConfig(batch_size=4), 2).on(folder, None)


@pytest.mark.slow
def test_a_setting_is_measured_on_a_resident_batch_and_on_real_input(workload):
    wanted = GpuStep("float32", False, 4)
    found = gpu.measure_step(wanted, workload)
    assert (found.precision, found.jit_compile, found.batch_size, found.failure) == ("float32", False, 4, None)
    assert found.share == found.images_per_s / found.resident_images_per_s > 0
    assert 0 < found.input_wait < 1


def test_batches_are_copied_to_the_device_as_they_are():
    images, labels = np.full((2, 3, 3, 3), 7, np.uint8), np.array([0, 1], np.int32)
    [(copied, copied_labels)] = gpu.on_device(iter([(images, labels)]))
    np.testing.assert_array_equal(copied, images)
    np.testing.assert_array_equal(copied_labels, labels)


@pytest.mark.parametrize(
    # most images a batch, the size that fails, the sizes that are tried from 2 on
    ("most", "failing", "sizes"),
    [(1024, 64, [4, 8]), (4, 64, [4]), (1024, 4, [4]), (2, 64, [])],
)
def test_batches_grow_until_one_fails_or_there_are_no_more_images(workload, monkeypatch, most, failing, sizes):
    def tried(wanted, _):
        failure = "OOM" if wanted.batch_size >= failing else None
        return GpuStep(wanted.precision, wanted.jit_compile, wanted.batch_size, failure=failure)

    monkeypatch.setattr(gpu, "tried", tried)
    found = list(gpu.larger_batches(GpuStep("float32", True, 2), workload, most))
    assert [one.batch_size for one in found] == sizes
    assert all(one.jit_compile for one in found)


def test_a_setting_that_fails_says_why(workload, monkeypatch):
    def fails(*_, **__):
        raise MemoryError("no\nroom")

    monkeypatch.setattr(gpu, "in_process", fails)
    assert gpu.tried(GpuStep("float32", False, 4), workload).failure == "MemoryError: no room"
