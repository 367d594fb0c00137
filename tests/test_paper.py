import pytest

from hh_fast.bench.paper import Costs, Feed, choose_cache, feed

COSTS = Costs(decode_s=0.001, copy_s=0.00002, image_bytes=270_000)


def test_cores_are_rate_times_seconds_rounded_up():
    assert feed(10_500, COSTS) == Feed(10_500, decoding_cores=11, copying_cores=1, bytes_per_s=2.835e9)


def test_a_rounding_error_takes_no_further_core():
    assert 100 * 1.1 > 110  # in floating point
    assert feed(100, Costs(decode_s=1.1, copy_s=1.1, image_bytes=1)) == Feed(100, 110, 110, 100)


@pytest.mark.parametrize(
    # rate, images, cores, free memory, disk bytes a second, cache
    ("rate", "num_images", "num_cores", "free", "disk", "cache"),
    [
        (1_500, 10**6, 2, 1e9, 1e9, "none"),  # two cores decode 2,000 a second
        (10_000, 1_000, 2, 1e9, 1e9, "memory"),  # 270 MB fit
        (10_000, 10**6, 2, 1e9, 3e9, "disk"),  # 2.7 GB/s from the disk
        (10_000, 10**6, 2, 1e9, 1e9, "nothing does"),  # the disk is too slow
        (200_000, 1_000, 2, 1e9, 1e9, "nothing does"),  # copying alone takes four cores
    ],
)
def test_the_simplest_cache_that_feeds(rate, num_images, num_cores, free, disk, cache):
    found = choose_cache(
        rate, COSTS, num_images=num_images, num_cores=num_cores, free_memory=free, disk_bytes_per_s=disk
    )
    assert found == cache


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"^`images_per_s` must be above 0. Received: 0$"):
        feed(0, COSTS)
    with pytest.raises(ValueError, match=r"^`costs` must all be above 0. Received: Costs\(decode_s=0, "):
        Costs(decode_s=0, copy_s=1, image_bytes=1)
