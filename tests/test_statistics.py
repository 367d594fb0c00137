import dataclasses

import pytest

from hh_fast.bench.statistics import Claim, Outcome, Rate, Variant, ratios, run_in_turn


@dataclasses.dataclass(frozen=True)
class Figures:
    img_s: float | None


CLAIM = Claim("speed", "a", "b", "img_s")


def outcome(name, values):
    return Outcome(name, tuple(map(Figures, values)))


def test_variants_run_in_turn_and_none_is_always_first():
    ran = []
    variants = [Variant(name, lambda name=name: ran.append(name) or Figures(1.0)) for name in "abc"]
    outcomes = run_in_turn(variants, repeats=3, on_progress=str)
    assert "".join(ran) == "abcbcacab"
    assert outcomes[0] == Outcome("a", (Figures(1.0),) * 3)


def test_a_variant_that_fails_is_named_with_its_reason_and_the_others_go_on(caplog):
    calls = []

    def fail():
        calls.append(1)
        raise ImportError("no SciPy\nhere")

    outcomes = run_in_turn([Variant("bad", fail), Variant("good", lambda: Figures(2.0))], repeats=2, on_progress=str)
    assert outcomes[0].failure == "ImportError: no SciPy here"
    assert calls == [1]
    assert outcomes[1].values("img_s") == [2.0, 2.0]
    assert caplog.messages == ["bad failed: ImportError: no SciPy here"]


def test_an_interrupt_is_no_failure_of_a_variant():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_turn([Variant("a", interrupt)], repeats=1, on_progress=str)


def test_progress_is_told_before_each_run():
    told = []
    variants = [Variant("a", object), Variant("b", object)]
    run_in_turn(variants, repeats=1, on_progress=told.append)
    assert told == ["a", "b"]


def test_ratios_are_taken_pair_by_pair():
    # The medians' ratio would be 2.0; no pair of the same repeat has it.
    [ratio] = ratios([outcome("a", [90, 40, 30]), outcome("b", [10, 20, 30])], [CLAIM])
    assert (ratio.median, ratio.low, ratio.high, ratio.num_pairs) == (2.0, 1.0, 9.0, 3)


@pytest.mark.parametrize(
    ("above", "below", "found"),
    [([4, None], [2, 1], [2.0]), ([4, 3], [0, 1], [3.0]), ([], [1], []), ([None], [None], [])],
)
def test_a_ratio_skips_repeats_that_lack_a_figure(above, below, found):
    assert [ratio.median for ratio in ratios([outcome("a", above), outcome("b", below)], [CLAIM])] == found


def test_what_was_not_measured_has_no_ratio():
    assert ratios([outcome("a", [1])], [CLAIM]) == ()


@pytest.mark.parametrize(
    ("above", "bound", "warning"),
    [
        (
            [1.1, 0.9, 1.3],
            False,
            "speed (a to b): 1.10 is within this machine's noise (pairs from 0.90 to 1.30); stop other work and raise --repeats",
        ),
        ([4.0, 3.5, 4.4], False, None),
        ([4.0], False, None),  # a single pair has no scatter
        ([0.9, 0.8, 1.0], True, None),
        (
            [1.2, 1.1, 1.3],
            True,
            "speed (a to b): 1.20 of a bound: the machine was too noisy; stop other work and raise --repeats",
        ),
    ],
)
def test_what_noise_forbids_to_claim_is_said(above, bound, warning):
    claim = dataclasses.replace(CLAIM, bound=bound)
    [ratio] = ratios([outcome("a", above), outcome("b", [1.0] * len(above))], [claim])
    assert ratio.warning == warning


def test_a_rate_is_images_by_seconds():
    assert Rate(100, 0.5).images_per_s == 200
