import pytest

from hh_fast.bench.budget import INPUT_BOUND, STEP_BOUND, Rates, input_cost, make_plan, training_cost
from hh_fast.bench.input_race import GENERATOR, OWN, STOCK, input_paths
from hh_fast.bench.training_race import GENERATOR as GENERATOR_ARM
from hh_fast.bench.training_race import Arm

RATES = Rates(generator=500, decode=1000, step=100)
INPUTS = [input_cost(path, RATES) for path in input_paths() if path.name in (GENERATOR, STOCK, OWN)]


def trained(method, **how):
    return training_cost(Arm(method, **how), RATES, epochs=3, validation_share=0.25)


TRAININGS = [trained(GENERATOR_ARM), trained("hh_fast"), STEP_BOUND]


def make(budget_s, **changes):
    sizes = {"num_train": 1030, "num_validation": 256, "batch_size": 128, "repeats": 2}
    costs = {"inputs": [*INPUTS, INPUT_BOUND, INPUT_BOUND], "trainings": TRAININGS}
    return make_plan(**{**sizes, **costs, "budget_s": budget_s, **changes})


def test_seconds_add_up():
    plan = make(0)
    # Two repeats of: 5 starts of 0.6 s, 2 steady windows, two epochs of 1,024 images through one generator and two decoders.
    assert plan.input_s == pytest.approx(2 * (3.0 + 2 + 2 * 1024 * (1 / 500 + 2 / 1000)))
    # Two repeats of: two trainings of 2.6 s and a bound of 4.1, then by image: 3 epochs of two steps and a reading, one decoding.
    stepping, reading = 3 * 2 * (1024 + 256 / 3) / 100, 3 * 1280 / 500 + 1280 / 1000
    assert plan.training_s == pytest.approx(2 * (2 * 2.6 + 4.1 + stepping + reading))


def test_without_a_limit_all_whole_batches_are_taken():
    plan = make(0)
    assert (plan.num_input, plan.num_train, plan.num_validation) == (1024, 1024, 256)


def test_what_is_planned_fits_the_time_and_one_batch_more_would_not():
    plan = make(100)
    assert 128 < plan.num_train < 1024
    assert plan.input_s <= 35
    assert plan.input_s + plan.training_s <= 100
    by_image = (make(0).training_s - plan.training_s) / (1024 - plan.num_train)
    assert plan.input_s + plan.training_s + 128 * by_image > 100


def test_the_validation_images_keep_their_share():
    plan = make(100)
    assert plan.num_validation == pytest.approx(plan.num_train / 4, abs=1)


def test_one_batch_is_the_least():
    plan = make(1)
    assert (plan.num_input, plan.num_train) == (128, 128)


def test_without_validation_images_none_are_planned():
    assert make(0, num_validation=0).num_validation == 0


def test_more_arms_leave_time_for_fewer_images():
    assert make(100, trainings=[*TRAININGS, *[trained("hh_fast")] * 2]).num_train < make(100).num_train


def test_augmenting_by_the_generator_costs_more_than_reading():
    plain, augmented = (trained(GENERATOR_ARM, augment=augment) for augment in (False, True))
    assert augmented.image_s - plain.image_s == pytest.approx(3 * 6 / 500 * 1.25)
