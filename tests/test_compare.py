import copy
import json

import pytest

from hh_fast.bench import compare, report
from hh_fast.errors import DataError


def entry(name, figures, failure=None):
    length = max((len(values) for values in figures.values()), default=0)
    repeats = [{figure: values[i] for figure, values in figures.items()} for i in range(length)]
    return {"name": name, "repeats": repeats, "failure": failure}


@pytest.fixture
def results():
    return {
        "machine": {"cpu": "A", "num_cores": 2, "gpus": [], "memory_bytes": 8e9, "load_before": 0.1},
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "data": {
            "name": "sample",
            "num_train": 1024,
            "num_validation": 256,
            "fingerprint": "f",
            "image_size": [300, 300],
            "file_cache": "warm",
            "subset": False,
        },
        "plan": {"num_input": 1024, "num_train": 1024, "num_validation": 256},
        "fairness": {"num_images": 1024, "num_exact": 1024, "failed": {}, "remarks": ["A remark."]},
        "flags": {"bench": {"epochs": 2, "repeats": 3, "quick": False}},
        "precision": "mixed_bfloat16",
        "input": [
            entry("ImageDataGenerator", {"first_img_s": [500, 520, 510], "warm_img_s": [600, 610, 605]}),
            entry("hh_fast, memory", {"first_img_s": [1200, 1100, 1150], "warm_img_s": [45000, 44000, 46000]}),
        ],
        "training": [
            entry("ImageDataGenerator and fit, float32", {"wall_s": [40.0, 41.0, 42.0], "warm_epoch_s": [19.0] * 3}),
            entry("hh_fast, mixed_bfloat16", {"wall_s": [10.0, 11.0, 10.5], "warm_epoch_s": [5.0] * 3}),
        ],
        "ratios": [
            {
                "what": "whole training",
                "over": "ImageDataGenerator and fit, float32",
                "under": "hh_fast, mixed_bfloat16",
                "figure": "wall_s",
                "median": 4.0,
                "low": 3.7,
                "high": 4.0,
                "num_values": 3,
                "spread": 0.07,
                "warning": None,
            }
        ],
        "warnings": [],
    }


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
    assert compare.judge(old, new, change, more_is_better=more_is_better) == verdict


def test_what_got_slower_comes_first(results):
    newer = copy.deepcopy(results)
    for repeat in newer["input"][1]["repeats"]:
        repeat["warm_img_s"] /= 2
    newer["versions"]["tensorflow"] = "2.22.0"
    text = compare.compare(results, newer)
    first_row = text.splitlines()[4]
    assert text.startswith("1 of 8 figures got slower.\n")
    assert [cell.strip() for cell in first_row.strip("|").split("|")] == [
        "hh_fast, memory",
        "later, images/s",
        "45,000",
        "22,500",
        "0.50",
        "slower",
    ]
    assert text.endswith("- tensorflow was 2.21.0 and is 2.22.0")


def test_equal_results_say_so(results):
    text = compare.compare(results, copy.deepcopy(results))
    assert text.startswith("None of 8 figures got slower.\n")
    assert "differ" not in text


def test_another_machine_is_named(results):
    newer = copy.deepcopy(results)
    newer["machine"]["cpu"] = "B"
    assert compare.compare(results, newer).endswith("- the processor differs: A, then B")


def test_a_path_that_fails_now_is_told(results):
    newer = copy.deepcopy(results)
    newer["input"][0] = entry("ImageDataGenerator", {}, failure="ImportError: no Pillow")
    assert "- ImageDataGenerator failed and did not before: ImportError: no Pillow" in compare.compare(results, newer)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "it lacks input, training, machine or data"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        compare.read_results(path)
    assert str(caught.value) == f"{path} is no results.json of bin/bench: {reason}"


def test_files_are_compared(results, tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_text(json.dumps(results))
    assert compare.compare_files(*paths).startswith("None of 8")


def test_the_report_has_medians_ranges_and_remarks(results):
    text = report.render(results)
    assert (
        "2 epochs of 1024 images: ImageDataGenerator and fit took 4.00 times as long as hh_fast"
        " (mixed_bfloat16, where the recipe has float32)." in text
    )
    assert "45,000 (44,000 to 46,000)" in text
    assert "- A remark." in text


def test_the_report_tells_what_failed_and_what_is_noise(results):
    results["input"][0] = entry("ImageDataGenerator", {}, failure="ImportError: no Pillow")
    results["warnings"] = ["whole training: 1.1 is within this machine's noise"]
    text = report.render(results)
    assert "- Warning: ImageDataGenerator failed: ImportError: no Pillow" in text
    assert "- Warning: whole training: 1.1 is within this machine's noise" in text


def test_a_single_repeat_has_no_range(results):
    results["input"][0]["repeats"] = results["input"][0]["repeats"][:1]
    assert report.with_spread(results["input"][0], "warm_img_s") == "600"
