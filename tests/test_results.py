import json

import pytest
from small_results import small_results, swept, trained, training

from hh_fast.bench.results import Results, read_results
from hh_fast.errors import DataError
from hh_fast.io.typed_json import from_json, to_json


def test_results_come_back_from_json():
    results = small_results(sweep=(swept(100),))
    assert from_json(Results, json.loads(json.dumps(to_json(results)))) == results


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
    outcome = training("a", *(trained(100.0, seconds) for seconds in epochs))
    assert [repeat.steady_epoch_s for repeat in outcome.repeats] == steady
    assert [repeat.num_stalled for repeat in outcome.repeats] == stalled


def test_steady_images_a_second_are_without_stalls_and_validation():
    [repeat] = training("a", trained(100.0, (12.0, 10.0, 30.0, 10.0))).repeats
    assert repeat.steady_images_per_s == pytest.approx(200 / 18.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "`` must be an object. Received: []"),
        ('{"input": 1}', "`Results` lacks bench, data, fairness, format, images, machine, plan, precision, ratios, "),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path} is no results.json of this bin/bench: {reason}")
