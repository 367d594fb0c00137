import re

import numpy as np
import pytest
from PIL import Image
from small_results import GENERATOR, OWN, ROWS, small_results, swept, training

from benchmarks.race import chart, report

FAIR = "Speedup of a steady-state epoch of the CNN: 4.0 over ImageDataGenerator as commonly run and 1.2 over stock tf.data at equal precision"


def test_the_report_leads_with_the_fair_speedups_and_has_medians_ranges_and_remarks():
    text = report.render(small_results())
    assert text.startswith(f"# bin/bench\n\n{FAIR}.\n")
    assert "45,000 (44,000 to 46,000)" in text
    assert "| bound: matrix product, float32 |      256 |     200 |" in text
    assert "- A remark." in text
    assert "stalled" not in text


def test_the_report_tells_what_failed_and_what_is_noise():
    noisy = training(OWN, (10.0, (6, 5)), (40.0, (6, 5)), (60.0, (6, 5)))
    rows = [row for row in ROWS if row["arm"] != OWN] + noisy
    text = report.render(small_results(rows, {"hh_fast, disk": "ImportError: no Pillow"}))
    assert "- Warning: hh_fast, disk failed: ImportError: no Pillow" in text
    assert f"- Warning: speedup, training time ({GENERATOR} to {OWN}): 1.02 is within this machine's noise" in text


@pytest.mark.parametrize(
    # seconds of each epoch by repeat, the steady ones' median by repeat, stalled ones by repeat
    ("epochs", "steady", "stalled"),
    [
        ([(12.0, 20.4, 10.0, 10.6, 20.5, 20.4, 10.2)], [10.2], [3]),  # the first one counts for the first epoch
        ([(3.0, 4.0, 5.0)], [4.5], [0]),
        ([(3.0,)], [3.0], [0]),
        ([(3.0, 4.0), (3.0, 9.0)], [4.0, None], [0, 1]),  # the shortest of all repeats tells
    ],
)
def test_steady_state_epochs_are_those_that_were_not_stalled(epochs, steady, stalled):
    rows = training("a", *((100.0, seconds) for seconds in epochs))
    assert [row.get("steady_epoch_s") for row in rows] == steady
    assert [row["num_stalled"] for row in rows] == stalled


def test_steady_images_a_second_are_without_stalls_and_validation():
    [row] = training("a", (100.0, (12.0, 10.0, 30.0, 10.0)))
    assert row["steady_images_per_s"] == pytest.approx(200 / 18.0)


def test_stalled_epochs_are_told_in_one_sentence():
    stalled = training(GENERATOR, (100.0, (12.0, 10.0, 21.0, 10.0)), (100.0, (12.0, 10.0, 10.0, 10.0)))
    own = training(OWN, (10.0, (3.0, 2.0, 4.0)))
    begin = "Epochs after the first that stalled, taking over 1.5 times as long as the shortest: "
    tuned = "since tf.data's autotuner delays an iterator's shutdown, 1 of 6 of ImageDataGenerator + fit, float32"
    untuned = "by the machine, for no autotuner runs there, 1 of 2 of hh_fast, mixed_bfloat16"
    end = ". Training times include them, steady-state figures do not."
    assert report.stall_sentence([*stalled, *training(OWN, (10.0, (3.0, 2.0)))]) == f"{begin}{tuned}{end}"
    assert report.stall_sentence([*stalled, *own]) == f"{begin}{tuned}; and {untuned}{end}"


def test_without_a_speedup_the_headline_says_so():
    assert "\nNo speedup can be told: see what failed.\n" in report.render(small_results(ROWS[:6]))


def test_the_sweep_lists_the_fastest_first():
    text = report.sweep_table(small_results([swept(100), swept(200, batch_size=256)]))
    assert text.index("batch 256") < text.index("batch 128")


def test_the_chart_is_a_picture_twice_and_is_titled_with_the_fair_speedups(tmp_path):
    chart.draw(small_results(), tmp_path / "a.png", tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1170, 910)
        at_the_right = np.asarray(picture.convert("L"))[:120, -5:]
    assert at_the_right.min() == 255, "the heading is wider than the picture"
    lines = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "a.svg").read_text())
    assert FAIR in " ".join(lines)


def test_the_chart_claims_no_speedup_where_there_is_none(tmp_path):
    chart.draw(small_results(ROWS[:6]), tmp_path / "a.png", tmp_path / "a.svg")
    assert "Results of bin/bench" in (tmp_path / "a.svg").read_text()
