import dataclasses
import time

import numpy as np
import pytest

from hh_fast.bench import bounds, own_loop, training_race
from hh_fast.bench.training_race import GENERATOR, OWN, OWN_DATA, STOCK, Arm, train_arm
from hh_fast.bench.workload import Workload
from hh_fast.config import DataConfig, TrainConfig

pytestmark = pytest.mark.slow


@pytest.fixture
def make_workload(make_images, tmp_path):
    def make(classes=("horses", "humans"), **train):
        counts = dict.fromkeys(classes, 4)
        folder = make_images("train", counts, size=(94, 94))
        held_out = make_images("validation", dict.fromkeys(classes, 2), size=(94, 94), seed=1)
        config = DataConfig(image_size=(94, 94), cache="memory", cache_dir=str(tmp_path / "cache"))
        values = {"epochs": 2, "batch_size": 4, "validation_batch_size": 3, **train}
        return Workload(config, TrainConfig(**values), len(classes)).on(folder, held_out)

    return make


def test_all_arms_train_on_every_image_from_the_same_weights(make_workload):
    workload = make_workload(optimizer="sgd", learning_rate=1e-9)
    methods = GENERATOR, STOCK, OWN_DATA, OWN
    generator, stock, own_data, own = (train_arm(Arm(method), workload) for method in methods)
    assert generator.images == stock.images == own_data.images == own.images == (8, 8)
    # With a learning rate of nothing the weights stay, so each epoch's loss is that of the initial ones on all images.
    np.testing.assert_allclose(generator.loss, own.loss, rtol=1e-4)
    np.testing.assert_allclose(stock.loss, own.loss, rtol=1e-4)
    np.testing.assert_allclose(own_data.loss, own.loss, rtol=1e-4)
    assert generator.val_accuracy == stock.val_accuracy == own.val_accuracy


@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN])
def test_figures_fit_together(make_workload, method):
    figures = train_arm(Arm(method), make_workload())
    assert len(figures.epoch_s) == len(figures.training_s) == len(figures.val_accuracy) == 2
    assert sum(figures.epoch_s) < figures.wall_s
    assert figures.first_epoch_s + figures.epoch_s[1] <= figures.wall_s
    assert figures.training_s[1] < figures.epoch_s[1]
    assert (figures.input_waits is None) == (method != OWN)
    assert figures.last_val_accuracy == figures.val_accuracy[-1]


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras' own import
@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN_DATA, OWN])
def test_augmented_arms_see_other_images(make_workload, method):
    workload = make_workload(optimizer="sgd", learning_rate=1e-9)
    plain, augmented = (train_arm(Arm(method, augment=augment), workload) for augment in (False, True))
    assert augmented.images == plain.images
    assert augmented.loss[0] != pytest.approx(plain.loss[0], rel=1e-5)
    assert augmented.val_accuracy == plain.val_accuracy  # validation is not augmented


@pytest.mark.parametrize("method", [GENERATOR, STOCK, OWN])
def test_three_classes_train_with_a_softmax(make_workload, method):
    workload = make_workload(("a", "b", "c"), epochs=1)
    assert workload.head == "softmax"
    assert train_arm(Arm(method, "mixed_bfloat16"), workload).images == (12,)


def test_names_are_all_different_and_what_is_raced_is_a_part():
    every = training_race.all_arms("mixed_bfloat16")
    raced, quick = (training_race.raced_arms("mixed_bfloat16", quick=quick) for quick in (False, True))
    assert len({arm.name for arm in every}) == len(every)
    assert (len(raced), len(quick)) == (5, 3)
    assert set(quick) < set(raced) < set(every)
    assert len(training_race.raced_arms("float32", quick=False)) == 3
    augmented = training_race.raced_arms("mixed_bfloat16", quick=True, augmented=True)
    assert [arm.method for arm in augmented if arm.augment] == [GENERATOR, STOCK, OWN]
    assert set(quick) < set(augmented) < set(every)


def test_what_is_claimed_is_measured(make_workload):
    arms, workload = training_race.raced_arms("mixed_bfloat16", quick=False), make_workload()
    variants = training_race.training_variants(arms, workload) + training_race.bound_variants(arms, workload)
    names = [variant.name for variant in variants]
    assert len(set(names)) == len(names) == 5 + 4 + 2
    claimed = training_race.training_claims(arms, "mixed_bfloat16")
    assert {name for claim in claimed for name in (claim.above, claim.below)} <= set(names)
    assert len(set(claimed)) == len(claimed) == 2 * 4 + 2 * 5
    every = training_race.training_claims(training_race.all_arms("mixed_bfloat16"), "mixed_bfloat16")
    assert len(set(every)) == len(every) == 2 * 8 + 1 + 2 * 7


@pytest.mark.parametrize("make", [bounds.own_step, bounds.stock_step])
def test_a_resident_batch_is_counted_by_its_images(make_workload, make):
    figures = bounds.resident_bound(make, make_workload(precision="float32"), min_s=0.05)
    assert figures.steady.num_images == 4
    assert figures.first_step_s > 0


def test_a_resident_batch_is_told_by_its_fastest_step(make_workload):
    pauses = iter((0.0, 0.0, 0.2, 0.2, 0.01, 0.2, 0.2))
    workload = make_workload(precision="float32")
    figures = bounds.resident_bound(lambda _: lambda: time.sleep(next(pauses)), workload, min_s=0.05)
    assert 0.01 <= figures.steady.seconds < 0.1
    assert next(pauses, None) is None


def test_the_steps_arithmetic_is_counted_from_the_model(make_workload):
    workload = make_workload()
    full_size = dataclasses.replace(workload, data=dataclasses.replace(workload.data, image_size=(300, 300)))
    forward = [
        2 * side * side * filters * 9 * channels
        for side, channels, filters in ((298, 3, 16), (147, 16, 32), (71, 32, 64), (33, 64, 64), (14, 64, 64))
    ] + [2 * 3136 * 512, 2 * 512]
    # The first layer's input needs no gradient.
    assert bounds.flops_per_image(full_size.model("float32")) == 3 * sum(forward) - forward[0]


def test_the_matrix_product_bounds_the_step_by_its_arithmetic(make_workload):
    workload = make_workload(precision="float32")
    found = bounds.matrix_bound(workload, side=64)
    images_per_s = found.flops_per_s / bounds.flops_per_image(workload.model("float32"))
    assert found.steady_images_per_s == pytest.approx(images_per_s)


def test_the_chosen_precision_is_one_that_the_arms_take():
    assert own_loop.chosen_precision(TrainConfig()) in bounds.DTYPES
