import pytest
from small_results import MACHINE, ROWS, reading, small_results

from benchmarks.race.compare import compare, judge


@pytest.mark.parametrize(
    ("old", "new", "more_is_better", "verdict"),
    [
        ([100, 102], [101, 103], True, "same"),  # under 3%
        ([100, 102], [80, 82], True, "slower"),
        ([100, 102], [80, 82], False, "faster"),
        ([100, 102], [120, 122], True, "faster"),
        ([100, 130], [120, 140], True, "noise"),  # the ranges overlap
        ([100], [120], True, "noise"),  # one value has no range
    ],
)
def test_verdicts(old, new, more_is_better, verdict):
    assert judge(old, new, more_is_better=more_is_better)[1] == verdict


def test_what_got_slower_comes_first():
    slower = reading("hh_fast, memory", (1200, 22_500), (1100, 22_000), (1150, 23_000))
    rows = [row for row in ROWS if row["arm"] != "hh_fast, memory"] + slower
    versions = {**MACHINE["versions"], "tensorflow": "2.22.0"}
    text = compare(small_results(), small_results(rows, machine={**MACHINE, "versions": versions}))
    assert text.startswith("1 of 14 figures got slower.\n")
    assert [cell.strip() for cell in text.splitlines()[4].strip("|").split("|")] == [
        "hh_fast, memory",
        "steady, images/s",
        "45,000",
        "22,500",
        "0.50",
        "slower",
    ]
    assert text.endswith("- tensorflow was 2.21.0 and is 2.22.0")


def test_equal_results_say_so():
    text = compare(small_results(), small_results())
    assert text.startswith("None of 14 figures got slower.\n")
    assert "differ" not in text


def test_another_machine_is_named():
    text = compare(small_results(), small_results(machine={**MACHINE, "cpu": "B"}))
    assert text.endswith("- the processor differs: A CPU, then B")


def test_an_arm_that_fails_now_is_told():
    text = compare(small_results(), small_results(failures={"ImageDataGenerator": "ImportError: no Pillow"}))
    assert "- ImageDataGenerator failed: ImportError: no Pillow, and did not before" in text
