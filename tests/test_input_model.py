import pytest
from input_model import Costs, Feed, feed

COSTS = Costs(decode_s=0.001, copy_s=0.00002, image_bytes=270_000)


def test_cores_are_rate_times_seconds_rounded_up():
    assert feed(10_500, COSTS) == Feed(10_500, decoding_cores=11, copying_cores=1, bytes_per_s=2.835e9)


def test_a_rounding_error_takes_no_further_core():
    assert 100 * 1.1 > 110  # in floating point
    assert feed(100, Costs(decode_s=1.1, copy_s=1.1, image_bytes=1)) == Feed(100, 110, 110, 100)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"^`images_per_s` must be above 0. Received: 0$"):
        feed(0, COSTS)
    with pytest.raises(ValueError, match=r"^`costs` must all be above 0. Received: Costs\(decode_s=0, "):
        Costs(decode_s=0, copy_s=1, image_bytes=1)
