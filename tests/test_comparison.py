import dataclasses

import pytest
from small_results import read, small_results

from hh_fast.bench import comparison
from hh_fast.bench.statistics import Outcome


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
    change = sum(new) / len(new) / (sum(old) / len(old))
    assert comparison.judge(old, new, change, more_is_better=more_is_better) == verdict


def test_what_got_slower_comes_first():
    old = small_results()
    own = Outcome("hh_fast, memory", (read(1200, 22_500), read(1100, 22_000), read(1150, 23_000)))
    versions = {**old.machine.versions, "tensorflow": "2.22.0"}
    machine = dataclasses.replace(old.machine, versions=versions)
    text = comparison.compare(old, dataclasses.replace(old, input=(old.input[0], own), machine=machine))
    assert text.startswith("1 of 10 figures got slower.\n")
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
    text = comparison.compare(small_results(), small_results())
    assert text.startswith("None of 10 figures got slower.\n")
    assert "differ" not in text


def test_another_machine_is_named():
    old = small_results()
    newer = dataclasses.replace(old, machine=dataclasses.replace(old.machine, cpu="B"))
    assert comparison.compare(old, newer).endswith("- the processor differs: A CPU, then B")


def test_a_path_that_fails_now_is_told():
    old = small_results()
    failed = Outcome("ImageDataGenerator", failure="ImportError: no Pillow")
    text = comparison.compare(old, dataclasses.replace(old, input=(failed, old.input[1])))
    assert "- ImageDataGenerator failed: ImportError: no Pillow, and did not before" in text
