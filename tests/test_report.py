import dataclasses

import pytest
from small_results import GENERATOR, OWN, small_results, swept, trained, training

from hh_fast.bench import report
from hh_fast.bench.statistics import Outcome


def test_the_report_has_medians_ranges_and_remarks():
    text = report.render(small_results())
    assert (
        "2 epochs of 1,024 images: the speed of hh_fast, mixed_bfloat16 is 4.00 times that of"
        " ImageDataGenerator + fit, float32." in text
    )
    assert "45,000 (44,000 to 46,000)" in text
    assert "| bound: matrix product, float32 |      256 |     200 |" in text
    assert "- A remark." in text
    assert "stalled" not in text


def test_the_report_tells_what_failed_and_what_is_noise():
    results = small_results()
    noisy = dataclasses.replace(results.ratios[0], warning="speedup: 1.1 is within this machine's noise")
    failed = Outcome("ImageDataGenerator", failure="ImportError: no Pillow")
    text = report.render(dataclasses.replace(results, input=(failed, results.input[1]), ratios=(noisy,)))
    assert "- Warning: ImageDataGenerator failed: ImportError: no Pillow" in text
    assert "- Warning: speedup: 1.1 is within this machine's noise" in text


def test_stalled_epochs_are_told_in_one_sentence():
    stalled = training(GENERATOR, trained(100.0, (12.0, 10.0, 21.0, 10.0)), trained(100.0, (12.0, 10.0, 10.0, 10.0)))
    own = training(OWN, trained(10.0, (3.0, 2.0, 4.0)))
    begin = "Epochs after the first that stalled, taking over 1.5 times as long as the shortest: "
    tuned = "since tf.data's autotuner delays an iterator's shutdown, 1 of 6 of ImageDataGenerator + fit, float32"
    untuned = "by the machine, for no autotuner runs there, 1 of 2 of hh_fast, mixed_bfloat16"
    end = ". The training times hold them, the steady-state columns do not."
    assert report.stall_sentence([stalled, training(OWN, trained(10.0, (3.0, 2.0)))]) == f"{begin}{tuned}{end}"
    assert report.stall_sentence([stalled, own]) == f"{begin}{tuned}; and {untuned}{end}"


def test_a_single_repeat_has_no_range():
    outcome = small_results().input[0]
    single = dataclasses.replace(outcome, repeats=outcome.repeats[:1])
    assert report.with_spread(single, "steady_images_per_s") == "600"


def test_without_a_speedup_the_headline_says_so():
    assert report.headline(small_results(ratios=())) == "No speedup can be told: see what failed."


@pytest.mark.parametrize("failure", [None, "ResourceExhaustedError: OOM"])
def test_the_sweep_lists_what_was_measured_and_what_failed(failure):
    text = report.sweep_table([swept(100), swept(200, batch_size=256, failure=failure)])
    assert ("- Warning: float32, no XLA, batch 256 failed: ResourceExhaustedError: OOM" in text) == bool(failure)
    assert text.index("batch 256") < text.index("batch 128") or failure
