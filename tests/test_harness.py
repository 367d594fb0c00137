import pytest
from small_results import small_results

from benchmarks.harness import Claim, Ratio, doubt, median, portable, read_results, run_in_turn, take_ratio, values
from hh_fast.errors import DataError
from hh_fast.io.files import write_json

CLAIM = Claim("speed", "a", "b", "img_s")


def rows_of(**figures):
    return [
        {"arm": arm, "repeat": i, "img_s": value} for arm, found in figures.items() for i, value in enumerate(found)
    ]


def test_arms_run_in_turn_and_none_is_always_first():
    ran = []
    arms = {name: lambda repeat, name=name: ran.append(name) or {"x": repeat} for name in "abc"}
    rows, failures = run_in_turn(arms, repeats=3, kind="k")
    assert "".join(ran) == "abcbcacab"
    assert failures == {}
    assert rows[:4] == [*({"kind": "k", "arm": "a", "repeat": i, "x": i} for i in range(3)), {**rows[3], "arm": "b"}]


def test_an_arm_that_fails_is_named_with_its_reason_and_the_others_go_on(caplog):
    calls = []

    def fail(repeat):
        calls.append(repeat)
        raise ImportError("no SciPy\nhere")

    rows, failures = run_in_turn({"bad": fail, "good": lambda _: {"img_s": 2.0}}, repeats=2)
    assert failures == {"bad": "ImportError: no SciPy here"}
    assert calls == [0]
    assert values(rows, "good", "img_s") == [2.0, 2.0]
    assert "bad failed: ImportError: no SciPy here" in caplog.messages


def test_an_interrupt_is_no_failure_of_an_arm():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_turn({"a": interrupt}, repeats=1)


def test_progress_is_told_before_each_run(caplog):
    run_in_turn({"a": lambda _: {}, "b": lambda _: {}}, repeats=1)
    assert caplog.messages == ["Repeat 1 of 1: a", "Repeat 1 of 1: b"]


def test_ratios_are_taken_pair_by_pair():
    # The medians' ratio would be 2.0; no pair of the same repeat has it.
    rows = rows_of(a=[90, 40, 30], b=[10, 20, 30])
    assert take_ratio(rows, CLAIM) == Ratio(2.0, 1.0, 9.0, 3)
    assert median(rows, "a", "img_s") == 40


@pytest.mark.parametrize(
    ("above", "below", "found"),
    [([4, None], [2, 1], (2.0, 1)), ([4, 3], [0, 1], (3.0, 1)), ([], [1], None), ([None], [None], None)],
)
def test_a_ratio_skips_repeats_that_lack_a_figure(above, below, found):
    ratio = take_ratio(rows_of(a=above, b=below), CLAIM)
    assert (ratio and (ratio.median, ratio.num_pairs)) == found


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
    claim = CLAIM._replace(bound=bound)
    ratio = take_ratio(rows_of(a=above, b=[1.0] * len(above)), claim)
    assert doubt(claim, ratio) == warning


def test_results_come_back_from_json(tmp_path):
    write_json(tmp_path / "a.json", small_results())
    assert read_results(tmp_path / "a.json") == {
        **small_results(),
        "written": read_results(tmp_path / "a.json")["written"],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", ": Expecting property name enclosed in double quotes: line 1 column 2 (char 1); measure again"),
        ("[]", " of this bin/bench, which writes format 3; measure again"),
        ('{"format": 2}', " of this bin/bench, which writes format 3; measure again"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path} is no results.json")
    assert str(caught.value).endswith(reason)


def test_a_command_is_told_without_places():
    given = ["--full", "--train_dir=/home/me/flowers", "--cache_dir=/tmp/x", "--output_dir=y", "--overwrite"]
    assert portable(given) == ["--full", "--train_dir=flowers"]
