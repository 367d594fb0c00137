"""A checkpoint is written atomically, and a damaged one gives way to the one before it."""

import itertools
import logging
from pathlib import Path

import keras
import numpy as np
import pytest

from hh_fast.errors import DataError
from hh_fast.training.checkpoint import Progress, best_epoch, restore, save


def variables(value: float) -> list[keras.Variable]:
    """Unnamed, so that Keras numbers them on from call to call."""
    return [keras.Variable(np.full((3, 2), value, np.float32)), keras.Variable(np.int64(value), dtype="int64")]


def named(**values: float) -> list[keras.Variable]:
    return [keras.Variable(np.float32(value), name=name) for name, value in values.items()]


def progress(epoch: int, step: int) -> Progress:
    return Progress(epoch, step, [{"epoch": i + 1, "loss": 0.1 * i} for i in range(epoch)])


@pytest.mark.parametrize(
    ("accuracies", "losses", "num_images", "best"),
    [
        ((), (), 100, 0),
        ((0.5, 0.7, 0.6), (1, 2, 3), 10**6, 2),  # accuracies that differ for sure
        ((0.5, 0.7, 0.6), (1, 2, 3), 10, 1),  # all within the interval of 7 of 10
        ((0.5, 0.7, 0.7, 0.7), (0, 2, 1, 1), 10**6, 3),  # equal ones, and equal losses: the first
        ((0.38, 0.3, 0.37), (1.61, 1.5, 1.1), 100, 3),  # a model at chance, and a later one that is surer
        ((0.5, 0.47, 0.6, 0.55), (1.0, 0.5, 2.0, 1.5), 50, 2),  # 0.47 is within that of 0.6, 0.46 to 0.72
        ((0.5, 0.45, 0.7, 0.6), (1.0, 0.5, 2.0, 1.5), 50, 4),  # 0.45 is not within that of 0.7
    ],
)
@pytest.mark.parametrize("prefix", ["", "val_"])
def test_the_best_epoch_has_the_lowest_loss_of_the_accuracies_that_cannot_be_told_apart(
    accuracies: tuple[float, ...], losses: tuple[float, ...], num_images: int, best: int, prefix: str
) -> None:
    trained = {"accuracy": 0.0, "loss": 0.0}
    rows = [trained | {f"{prefix}accuracy": a, f"{prefix}loss": b} for a, b in zip(accuracies, losses, strict=True)]
    assert best_epoch(rows, num_images) == best


def test_the_best_epoch_never_goes_back_to_one_whose_weights_are_gone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = [{"accuracy": a, "loss": b} for a, b in rng.random((12, 2))]
        kept = [best_epoch(rows[:n], 40) for n in range(1, 13)]
        assert all(now in (before, n) for n, (before, now) in enumerate(itertools.pairwise(kept), start=2))


def test_weighted_classes_are_judged_by_the_balanced_accuracy() -> None:
    figures = [(0.9, 0.5, 0.3), (0.8, 0.8, 0.5)]
    rows = [{"val_accuracy": a, "val_balanced_accuracy": b, "val_loss": c} for a, b, c in figures]
    assert best_epoch(rows, 500) == 2


def test_there_and_back(tmp_path: Path) -> None:
    save(tmp_path, variables(7), progress(2, 5))
    fresh = variables(0)
    assert restore(tmp_path, fresh) == progress(2, 5)
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
    with pytest.raises(DataError, match="no checkpoint in .* can be read: start over with --overwrite"):
        restore(tmp_path, variables(0))


def test_each_array_goes_to_the_variable_of_its_name(tmp_path: Path) -> None:
    save(tmp_path, named(kernel=1, bias=2), progress(0, 1))
    bias, kernel = named(bias=0, kernel=0)
    assert restore(tmp_path, [bias, kernel]) is not None
    assert (float(kernel.numpy()), float(bias.numpy())) == (1, 2)


def test_the_names_of_a_model_do_not_depend_on_what_was_made_before(tmp_path: Path) -> None:
    def made() -> list[keras.Variable]:
        layers = [keras.layers.Dense(2), keras.layers.Dense(2), keras.layers.RandomFlip(seed=1)]
        model = keras.Sequential([keras.Input((2,)), *layers])
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        return [*model.variables, *optimizer.variables]

    first, second = made(), made()
    assert [variable.path for variable in first] != [variable.path for variable in second]
    save(tmp_path, first, progress(0, 1))
    assert restore(tmp_path, second) is not None
    for mine, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (named(kernel=0, scale=0), "bias is () in it and missing in the model"),
        (named(kernel=0), "bias is () in it and missing in the model"),
        (named(kernel=0, bias=0, scale=0), "scale is missing in it and () in the model"),
        ([keras.Variable(np.zeros(9, np.float32), name="kernel")], "kernel is () in it and (9,) in the model"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, other: list[keras.Variable], difference: str) -> None:
    path = save(tmp_path, named(kernel=1, bias=2), progress(0, 1))
    with pytest.raises(DataError) as caught:
        restore(tmp_path, other)
    message = f"the checkpoint {path} belongs to another model: {difference}. Use another --run_dir, or --overwrite"
    assert str(caught.value) == message
