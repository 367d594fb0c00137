import dataclasses

from PIL import Image
from small_results import small_results

from hh_fast.bench import chart
from hh_fast.bench.statistics import Outcome


def test_the_chart_is_a_picture_twice_and_says_the_speedup(tmp_path):
    chart.draw(small_results(), tmp_path / "a.png", tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1170, 910)
    assert "Training: a speedup of 4.0 over ImageDataGenerator + fit" in (tmp_path / "a.svg").read_text()


def test_it_does_not_claim_a_speedup_where_there_is_none(tmp_path):
    results = small_results()
    slower = dataclasses.replace(results.ratios[0], median=0.8)
    chart.draw(dataclasses.replace(results, ratios=(slower,)), tmp_path / "a.png", tmp_path / "a.svg")
    assert "Results of bin/bench" in (tmp_path / "a.svg").read_text()


def test_it_draws_even_where_all_failed(tmp_path):
    failed = (Outcome("gone", failure="no"),)
    chart.draw(small_results(input=failed, training=failed, ratios=()), tmp_path / "a.png", tmp_path / "a.svg")
    assert (tmp_path / "a.png").stat().st_size > 1000
