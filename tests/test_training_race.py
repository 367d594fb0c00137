import dataclasses
import time

import numpy as np
import pytest

from benchmarks.race import bounds, ours, training
from benchmarks.race.config import DEFAULT, FULL, QUICK
from benchmarks.race.names import GENERATOR, OWN, OWN_DATA, STOCK, training_claims
from benchmarks.race.training import Arm, train_arm
from benchmarks.race.workload import Workload
from hh_fast.config import DataConfig, TrainConfig

pytestmark = pytest.mark.slow


@pytest.fixture
def make_workload(make_images, tmp_path):
    def make(classes=("horses", "humans"), **train):
        counts = dict.fromkeys(classes, 4)
        folder = make_images("train", counts, size=(94, 94))
        held_out = make_images("validation", dict.fromkeys(classes, 2), size=(94, 94), seed=1)
        config = DataConfig(
            train_dir=str(folder),
            validation_dir=str(held_out),
            image_size=(94, 94),
            cache="memory",
            cache_dir=str(tmp_path / "cache"),
        )
        values = {"epochs": 2, "batch_size": 4, "validation_batch_size": 3, **train}
        return Workload(config, TrainConfig(**values), len(classes))

    return make


def test_all_arms_train_on_every_image_from_the_same_weights(make_workload):
    workload = make_workload(optimizer="sgd", learning_rate=1e-9)
    methods = GENERATOR, STOCK, OWN_DATA, OWN
    generator, stock, own_data, own = (train_arm(Arm(method), workload) for method in methods)
    assert generator["images"] == stock["images"] == own_data["images"] == own["images"] == [8, 8]
    # With a learning rate of nothing the weights stay, so each epoch's loss is that of the initial ones on all images.
    np.testing.assert_allclose(generator["loss"], own["loss"], rtol=1e-4)
    np.testing.assert_allclose(stock["loss"], own["loss"], rtol=1e-4)
    np.testing.assert_allclose(own_data["loss"], own["loss"], rtol=1e-4)
    assert generator["val_accuracy"] == stock["val_accuracy"] == own["val_accuracy"]


@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN])
def test_figures_fit_together(make_workload, method):
    row = train_arm(Arm(method), make_workload())
    assert len(row["epoch_s"]) == len(row["training_s"]) == len(row["val_accuracy"]) == 2
    assert sum(row["epoch_s"]) < row["wall_s"]
    assert row["first_epoch_s"] + row["epoch_s"][1] <= row["wall_s"]
    assert row["training_s"][1] < row["epoch_s"][1]
    assert ("input_waits" in row) == (method == OWN)


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras' own import
@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN_DATA, OWN])
def test_augmented_arms_see_other_images(make_workload, method):
    workload = make_workload(optimizer="sgd", learning_rate=1e-9)
    plain, augmented = (train_arm(Arm(method, augment=augment), workload) for augment in (False, True))
    assert augmented["images"] == plain["images"]
    assert augmented["loss"][0] != pytest.approx(plain["loss"][0], rel=1e-5)
    assert augmented["val_accuracy"] == plain["val_accuracy"]  # validation is not augmented


@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN])
def test_three_classes_train_with_a_softmax(make_workload, method):
    workload = make_workload(("a", "b", "c"), epochs=1)
    assert workload.head == "softmax"
    assert train_arm(Arm(method, "mixed_bfloat16"), workload)["images"] == [12]


def test_names_are_all_different_and_what_is_raced_is_a_part():
    every = training.all_arms("mixed_bfloat16", augmented=True)
    raced, quick = (training.all_arms("mixed_bfloat16", plan.level) for plan in (DEFAULT, QUICK))
    assert len({arm.name for arm in every}) == len(every) == 10
    assert (len(raced), len(quick)) == (5, 3)
    assert set(quick) < set(raced) < set(every)
    assert len(training.all_arms("float32", DEFAULT.level)) == 3
    augmented = training.all_arms("mixed_bfloat16", QUICK.level, augmented=True)
    assert [arm.method for arm in augmented if arm.augment] == [GENERATOR, STOCK, OWN]
    assert set(quick) < set(augmented) < set(every)


def test_what_is_claimed_is_measured(make_workload):
    arms, workload = training.all_arms("mixed_bfloat16", augmented=True), make_workload()
    measured = training.training_arms(arms, workload) | training.bound_arms(arms, workload)
    assert len(measured) == 10 + 4 + 2
    claimed = training_claims("mixed_bfloat16")
    assert len(set(claimed)) == len(claimed)
    assert {name for claim in claimed for name in (claim.above, claim.below)} <= set(measured)
    assert set(training.bound_arms(arms, workload, DEFAULT.level)) < set(
        training.bound_arms(arms, workload, FULL.level)
    )


def test_each_repeat_has_a_seed_of_its_own(make_workload, monkeypatch):
    monkeypatch.setattr(training, "in_process", lambda _, arm, workload: {"seed": workload.data.seed})
    measure = training.training_arms([Arm(OWN)], make_workload())[Arm(OWN).name]
    assert [measure(repeat)["seed"] for repeat in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("make", [bounds.own_step, bounds.stock_step])
def test_a_resident_batch_is_stepped_through(make_workload, make):
    assert bounds.resident_bound(make, make_workload(precision="float32"), min_s=0.05)["steady_images_per_s"] > 0


def test_a_resident_batch_is_told_by_its_fastest_step(make_workload):
    pauses = iter((0.0, 0.0, 0.2, 0.2, 0.01, 0.2, 0.2))
    workload = make_workload(precision="float32")
    row = bounds.resident_bound(lambda _: lambda: time.sleep(next(pauses)), workload, min_s=0.05)
    assert 4 / 0.1 < row["steady_images_per_s"] <= 4 / 0.01
    assert next(pauses, None) is None


def test_the_steps_arithmetic_is_counted_from_the_model(make_workload):
    workload = make_workload()
    full_size = dataclasses.replace(workload, data=dataclasses.replace(workload.data, image_size=(300, 300)))
    forward = [
        2 * side * side * filters * 9 * channels
        for side, channels, filters in ((298, 3, 16), (147, 16, 32), (71, 32, 64), (33, 64, 64), (14, 64, 64))
    ] + [2 * 3136 * 512, 2 * 512]
    # The first layer's input needs no gradient.
    assert bounds.flops_per_image(ours.build(full_size)) == 3 * sum(forward) - forward[0]


def test_the_matrix_product_bounds_the_step_by_its_arithmetic(make_workload):
    workload = make_workload(precision="float32")
    found = bounds.matrix_bound(workload, side=64)
    images_per_s = found["flops_per_s"] / bounds.flops_per_image(ours.build(workload))
    assert found["steady_images_per_s"] == pytest.approx(images_per_s)


def test_the_chosen_precision_is_one_that_the_arms_take():
    assert ours.chosen_precision(TrainConfig()) in bounds.DTYPES
