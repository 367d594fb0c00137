import pytest

from hh_fast.bench.plan import Plan, Rates, Shape, input_seconds, make_plan, training_seconds

RATES = Rates(generator=500, decode=1000, step=100)
SHAPE = Shape(
    repeats=2,
    epochs=3,
    num_generator_inputs=1,
    num_decoding_inputs=2,
    num_generator_trainings=1,
    num_hh_fast_trainings=1,
    num_resident=1,
)


def make(budget_s, **changes):
    return make_plan(
        **{
            "num_train": 1030,
            "num_validation": 256,
            "batch_size": 128,
            "budget_s": budget_s,
            "rates": RATES,
            "shape": SHAPE,
            **changes,
        }
    )


def test_seconds_add_up():
    # Two repeats of: 5 starts of 0.6 s, two epochs of 100 images through one generator and two decoders, 2 warm windows.
    assert input_seconds(100, RATES, SHAPE) == pytest.approx(2 * (3.0 + 2 + 200 / 500 + 200 * 2 / 1000))
    # Two repeats of: generator 3.1 + 3 x (110 / 100 + 130 / 500), hh_fast 3.1 + 3 x 110 / 100 + 100 / 1000, resident 4.
    assert training_seconds(100, 30, RATES, SHAPE) == pytest.approx(2 * (3.1 + 4.08 + 3.1 + 3.4 + 4))


def test_without_a_limit_all_whole_batches_are_taken():
    plan = make(0)
    assert (plan.num_input, plan.num_train, plan.num_validation) == (1024, 1024, 256)


def test_what_is_planned_fits_the_time_and_one_batch_more_would_not():
    plan = make(100)
    assert 128 < plan.num_train < 1024
    assert plan.input_s <= 40
    assert plan.input_s + plan.training_s <= 100
    more = training_seconds(plan.num_train + 128, plan.num_validation + 32, RATES, SHAPE)
    assert plan.input_s + more > 100


def test_the_validation_images_keep_their_share():
    plan = make(100)
    assert plan.num_validation == pytest.approx(plan.num_train / 4, abs=1)


def test_one_batch_is_the_least():
    plan = make(1)
    assert isinstance(plan, Plan)
    assert (plan.num_input, plan.num_train) == (128, 128)


def test_without_validation_images_none_are_planned():
    assert make(0, num_validation=0).num_validation == 0
