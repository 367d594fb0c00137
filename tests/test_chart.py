import pytest
from PIL import Image

from hh_fast.bench import chart


def entry(name, figure, values):
    return {"name": name, "repeats": [{figure: value} for value in values], "failure": None}


@pytest.fixture
def results():
    return {
        "machine": {"cpu": "A CPU", "num_cores": 2, "gpus": []},
        "plan": {"num_train": 1024},
        "flags": {"bench": {"epochs": 2}},
        "input": [
            entry("ImageDataGenerator", "warm_img_s", [600, 620]),
            entry("hh_fast, memory", "warm_img_s", [45000, 46000]),
            entry("bound: memory copy, one core", "warm_img_s", [70000]),
        ],
        "training": [
            entry("ImageDataGenerator and fit, float32", "wall_s", [40, 41]),
            entry("hh_fast, mixed_bfloat16", "wall_s", [10, 11]),
            {"name": "gone", "repeats": [], "failure": "no"},
        ],
        "ratios": [{"what": "whole training", "median": 3.9}],
    }


def test_the_chart_is_a_picture_twice_and_says_the_ratio(results, tmp_path):
    chart.draw(results, tmp_path / "a.png", tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1170, 832)
    assert "hh_fast trains 3.9 times faster on this machine" in (tmp_path / "a.svg").read_text()


def test_it_does_not_claim_faster_where_it_is_slower(results, tmp_path):
    results["ratios"][0]["median"] = 0.8
    chart.draw(results, tmp_path / "a.png", tmp_path / "a.svg")
    assert "Results of bin/bench" in (tmp_path / "a.svg").read_text()


def test_it_draws_even_where_all_failed(results, tmp_path):
    for name in ("input", "training"):
        results[name] = [{"name": "gone", "repeats": [], "failure": "no"}]
    results["ratios"] = []
    chart.draw(results, tmp_path / "a.png", tmp_path / "a.svg")
    assert (tmp_path / "a.png").stat().st_size > 1000
