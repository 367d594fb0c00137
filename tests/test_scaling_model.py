"""The arithmetic of many replicas, by hand."""

import pytest
from scaling_model import (
    Network,
    Replica,
    exchange_seconds,
    exchanged_bytes,
    model_table,
    modelled_step,
    report,
    scaled_rates,
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
    step = modelled_step(REPLICA, NETWORK, 4, 512)
    assert step is not None
    assert step.compute_s == pytest.approx(0.128)
    assert step.exchange_s == pytest.approx(0.012 + 4e-5 + 0.002)
    assert step.images_per_second == pytest.approx(512 / 0.14204)
    assert step.efficiency == pytest.approx(0.128 / 0.14204)
    assert (step.sgd_rate, step.rmsprop_rate) == (0.004, 0.002)


def test_one_replica_talks_to_nobody() -> None:
    step = modelled_step(REPLICA, NETWORK, 1, 128)
    assert step is not None
    assert (step.exchange_s, step.efficiency, step.sgd_rate) == (0, 1, 0.001)


def test_no_replica_gets_part_of_an_image() -> None:
    assert modelled_step(REPLICA, NETWORK, 512, 128) is None


def test_rates() -> None:
    assert scaled_rates(0.001, 1152, 128) == pytest.approx((0.009, 0.003))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_table_leaves_out_crowded_replicas_and_names_what_cannot_be() -> None:
    rows = {tuple(row[:2]): row[2:] for row in cells(model_table(REPLICA, NETWORK, num_images=1027))[2:]}
    assert list(rows) == [
        ("128", "1"),
        ("128", "8"),
        ("128", "64"),
        ("128", "512"),
        ("1,024", "8"),
        ("1,024", "64"),
        ("1,024", "512"),
        ("8,192", "64"),
        ("8,192", "512"),
        ("65,536", "512"),
    ]
    assert rows["128", "1"] == ["128", "128.0", "0.0", "1,000", "100%", "8", "0.001", "0.001"]
    assert rows["128", "512"] == ["under 1", "-", "-", "-", "-", "8", "-", "-"]
    assert rows["8,192", "64"][5:] == ["none: more than all images", "0.064", "0.008"]


def test_the_report_says_what_was_sent_over_what_must_be() -> None:
    summary = {
        "step_ms": {"single": 1280.0, "mirrored": 1300.0, "multi_worker": 1480.0},
        "step_over_single": {"single": [1.0, 1.0], "mirrored": [1.01, 1.03], "multi_worker": [1.1, 1.16, 1.2]},
        "model_bytes": 8_000_000,
        "bytes_a_step_two_workers": 16_160_000,
        "bytes_a_step_lower_bound": 16_000_000,
    }
    text = report({"summary": summary, "settings": {"batch_size": 128}})
    assert "Two workers sent 16,160,000 bytes a step, 1.010 times the lower bound of 16,000,000" in text
    assert ["multi_worker", "1,480 ms", "1.16 (1.10 to 1.20)"] in cells(text)
    assert ["128", "8", "16", "160.0", "211.5", "345", "43%", "8", "0.001", "0.001"] in cells(text)
