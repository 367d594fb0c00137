import pytest

from hh_fast.bench.measure import (
    Outcome,
    Summary,
    Variant,
    noise_warning,
    ratio,
    run_in_turn,
    steady_epoch_s,
    summarize,
)


def outcome(name, values):
    return Outcome(name, [{"img_s": value} for value in values])


def test_variants_run_in_turn_and_none_is_always_first():
    ran = []
    variants = [Variant(name, lambda name=name: ran.append(name) or {"img_s": 1.0}) for name in "abc"]
    outcomes = run_in_turn(variants, repeats=3)
    assert "".join(ran) == "abcbcacab"
    assert outcomes["a"].repeats == [{"img_s": 1.0}] * 3


def test_a_variant_that_fails_is_named_with_its_reason_and_the_others_go_on(caplog):
    calls = []

    def fail():
        calls.append(1)
        raise ImportError("no SciPy\nhere")

    outcomes = run_in_turn([Variant("bad", fail), Variant("good", lambda: {"img_s": 2.0})], repeats=2)
    assert outcomes["bad"].failure == "ImportError: no SciPy here"
    assert calls == [1]
    assert outcomes["good"].values("img_s") == [2.0, 2.0]
    assert caplog.messages == ["bad failed: ImportError: no SciPy here"]


def test_an_interrupt_is_no_failure_of_a_variant():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_turn([Variant("a", interrupt)], repeats=1)


def test_progress_is_told_before_each_run():
    told = []
    variants = [Variant("a", dict, 2.0), Variant("b", dict, 3.0)]
    run_in_turn(variants, repeats=1, on_progress=lambda *seen: told.append(seen))
    assert told == [("a", 2.0), ("b", 3.0)]


def test_ratios_are_taken_pair_by_pair():
    # The medians' ratio would be 2.0; no pair of the same repeat has it.
    slow = outcome("slow", [10, 20, 30])
    fast = outcome("fast", [90, 40, 30])
    assert ratio(fast, slow, "img_s") == Summary(2.0, 1.0, 9.0, 3)


def test_a_ratio_skips_repeats_that_lack_the_figure():
    assert ratio(Outcome("a", [{"x": 4}, {"x": None}]), Outcome("b", [{"x": 2}, {"x": 1}]), "x") == Summary(2, 2, 2, 1)
    assert ratio(Outcome("a"), outcome("b", [1]), "img_s") is None


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [([3.0], 3.0, 0.0), ([1.0, 2.0, 4.0], 2.0, 1.5), ([0.0, 0.0], 0.0, 0.0)],
)
def test_summary(values, median, spread):
    summary = summarize(values)
    assert (summary.median, summary.spread) == (median, spread)


def test_summary_of_nothing_is_none():
    assert summarize([]) is None


def test_a_difference_within_the_noise_is_warned_of():
    assert noise_warning("hh_fast over generator", Summary(1.1, 0.9, 1.3, 3)) == (
        "hh_fast over generator: 1.10 is within this machine's noise (pairs from 0.90 to 1.30);"
        " stop other work and raise --repeats"
    )


def test_a_clear_difference_is_not_warned_of():
    assert noise_warning("a over b", Summary(4.0, 3.5, 4.4, 3)) is None


def test_a_single_pair_has_no_scatter():
    assert noise_warning("a over b", Summary(4.0, 4.0, 4.0, 1)) is None


def test_steady_epochs_are_those_that_nothing_held_up():
    assert (
        steady_epoch_s([12.0, 20.4, 10.0, 10.6, 20.5, 20.4, 10.2]) == 10.2
    )  # the first one counts for the first epoch
    assert steady_epoch_s([3.0, 4.0, 5.0]) == 4.5
    assert steady_epoch_s([3.0]) == 3.0
