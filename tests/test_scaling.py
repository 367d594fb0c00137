"""The arithmetic of many replicas, by hand."""

import pytest

from hh_fast.bench.scaling import (
    Network,
    Replica,
    exchange_seconds,
    exchanged_bytes,
    scaled_rates,
    step_on_paper,
    table,
)

REPLICA = Replica(seconds_per_image=0.001, seconds_per_step=0.002, model_bytes=8_000_000)
NETWORK = Network(bytes_per_second=1e9, latency_s=1e-5)


@pytest.mark.parametrize(("num_replicas", "models"), [(1, 0), (2, 1), (4, 1.5), (8, 1.75)])
def test_what_each_replica_sends(num_replicas: int, models: float) -> None:
    assert exchanged_bytes(8_000_000, num_replicas) == models * 8_000_000


def test_the_exchange_takes_bandwidth_and_messages() -> None:
    assert exchange_seconds(8_000_000, 1, NETWORK) == 0
    assert exchange_seconds(8_000_000, 2, NETWORK) == pytest.approx(0.008 + 2e-5)
    assert exchange_seconds(8_000_000, 8, NETWORK) == pytest.approx(0.014 + 6e-5)  # the tree's 6 messages, not 14


def test_a_step() -> None:
    step = step_on_paper(REPLICA, NETWORK, 4, 512)
    assert step is not None
    assert step.compute_s == pytest.approx(0.128)
    assert step.exchange_s == pytest.approx(0.012 + 4e-5 + 0.002)
    assert step.images_per_second == pytest.approx(512 / 0.14204)
    assert step.efficiency == pytest.approx(0.128 / 0.14204)
    assert (step.sgd_rate, step.rmsprop_rate) == (0.004, 0.002)


def test_one_replica_talks_to_nobody() -> None:
    step = step_on_paper(REPLICA, NETWORK, 1, 128)
    assert step is not None
    assert (step.exchange_s, step.efficiency, step.sgd_rate) == (0, 1, 0.001)


def test_no_replica_gets_part_of_an_image() -> None:
    assert step_on_paper(REPLICA, NETWORK, 512, 128) is None


def test_rates() -> None:
    assert scaled_rates(0.001, 1152, 128) == pytest.approx((0.009, 0.003))


def test_the_table_names_what_cannot_be() -> None:
    text = table(REPLICA, NETWORK, num_images=1027, batches=(128, 2048), replicas=(1, 512)).splitlines()
    assert text[2] == "| 128 | 1 | 128 | 128.0 ms | 0.0 ms | 1,000 | 100% | 8 | 0.001, 0.001 |"
    assert text[3] == "| 128 | 512 | under 1 | - | - | - | - | 8 | - |"
    assert text[4].endswith("| none: more than the data set | 0.016, 0.004 |")
    assert len(text) == 6
