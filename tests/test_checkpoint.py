"""A checkpoint is whole or absent, and a damaged one gives way to the one before it."""

import logging
from pathlib import Path

import keras
import numpy as np
import pytest

from hh_fast.errors import DataError
from hh_fast.training.checkpoint import Progress, restore, save


def variables(value: float) -> list[keras.Variable]:
    return [keras.Variable(np.full((3, 2), value, np.float32)), keras.Variable(np.int64(value), dtype="int64")]


def progress(epoch: int, step: int) -> Progress:
    rows = [{"epoch": i + 1, "loss": 0.1 * i} for i in range(epoch)]
    return Progress(epoch, step, rows, (0.5, -0.1), 1, np.full((4, 1), 0.25, np.float32))


def test_there_and_back(tmp_path: Path) -> None:
    save(tmp_path, variables(7), progress(2, 5))
    fresh = variables(0)
    found = restore(tmp_path, fresh)
    assert found is not None
    expected = progress(2, 5)
    assert (found.epoch, found.step, found.history, found.best, found.best_epoch) == (
        2, 5, expected.history, (0.5, -0.1), 1,
    )  # fmt: skip
    np.testing.assert_array_equal(found.best_probabilities, expected.best_probabilities)
    np.testing.assert_array_equal(fresh[0].numpy(), np.full((3, 2), 7, np.float32))
    assert int(fresh[1].numpy()) == 7


def test_nothing_to_restore(tmp_path: Path) -> None:
    assert restore(tmp_path, variables(0)) is None


def test_the_newest_is_used_and_one_before_it_is_kept(tmp_path: Path) -> None:
    for epoch, step in [(0, 9), (0, 10), (1, 0), (1, 2)]:
        save(tmp_path, variables(epoch * 100 + step), progress(epoch, step))
    fresh = variables(0)
    found = restore(tmp_path, fresh)
    assert found is not None
    assert (found.epoch, found.step, int(fresh[1].numpy())) == (1, 2, 102)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, variables(1), progress(0, 1))
    newest = save(tmp_path, variables(2), progress(0, 2))
    data = bytearray(newest.read_bytes())
    if damage == "flip":
        data[data.index(np.full(6, 2, np.float32).tobytes())] ^= 1
    newest.write_bytes({"flip": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    fresh = variables(0)
    with caplog.at_level(logging.WARNING):
        found = restore(tmp_path, fresh)
    assert found is not None
    assert (found.step, int(fresh[1].numpy()), float(fresh[0].numpy()[0, 0])) == (1, 1, 1.0)
    assert f"The checkpoint {newest} is damaged" in caplog.text


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, variables(1), progress(0, 1)).write_bytes(b"x")
    with pytest.raises(DataError, match="no checkpoint in .* can be read: start anew with --overwrite"):
        restore(tmp_path, variables(0))


def test_another_model_is_refused(tmp_path: Path) -> None:
    save(tmp_path, variables(1), progress(0, 1))
    with pytest.raises(DataError, match="is of another model: use another --run_dir, or --overwrite"):
        restore(tmp_path, [keras.Variable(np.zeros((9,), np.float32)), variables(0)[1]])
