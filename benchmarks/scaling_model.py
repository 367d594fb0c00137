"""An analytical model: what a step costs on many replicas, from what was measured on few.

A step is the replica's own computing, and the sum of all gradients over the network. A ring sends each replica's share
2 (R - 1) / R times the model (Patarasu and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002), which no method
undercuts, in 2 (R - 1) messages one after the other; a tree sends as much in 2 log2(R). The one that is faster counts.
"""

import dataclasses
import itertools
import math
import statistics
from typing import Any

from hh_fast.evaluation.tables import markdown_table

BATCHES, REPLICAS = (128, 1024, 8192, 65536), (1, 8, 64, 512)
RECIPE_IMAGES = 1027


@dataclasses.dataclass(frozen=True)
class Replica:
    """What one replica was measured to do: seconds an image, and seconds a step that any strategy adds to them."""

    seconds_per_image: float
    seconds_per_step: float
    model_bytes: int


@dataclasses.dataclass(frozen=True)
class Network:
    """Between replicas: bytes a second in one direction, and seconds until a message arrives."""

    bytes_per_second: float
    latency_s: float


ETHERNET, RDMA = Network(1.25e9, 50e-6), Network(12.5e9, 5e-6)
# The replica as measured, and one a hundred times as fast, where the exchange begins to show.
SCENARIOS = (
    (1, "10 Gbit/s and 50 microseconds", ETHERNET),
    (100, "10 Gbit/s and 50 microseconds", ETHERNET),
    (100, "100 Gbit/s and 5 microseconds", RDMA),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A modelled step. `efficiency`: images a second over what as many replicas would do without talking."""

    num_replicas: int
    batch_size: int
    compute_s: float
    exchange_s: float
    images_per_second: float
    efficiency: float
    sgd_rate: float
    rmsprop_rate: float


def exchanged_bytes(model_bytes: int, num_replicas: int) -> float:
    """Bytes that each replica sends a step, at least: 2 (R - 1) / R models of float32 gradients."""
    return 2 * (num_replicas - 1) / num_replicas * model_bytes


def exchange_seconds(model_bytes: int, num_replicas: int, network: Network) -> float:
    """The faster of ring and tree."""
    if num_replicas == 1:
        return 0.0
    sending = exchanged_bytes(model_bytes, num_replicas) / network.bytes_per_second
    messages = min(2 * (num_replicas - 1), 2 * math.ceil(math.log2(num_replicas)))
    return sending + messages * network.latency_s


def scaled_rates(rate: float, batch_size: int, reference_batch_size: int) -> tuple[float, float]:
    """The learning rates that keep a run's course when the batch grows: SGD's, RMSprop's and Adam's.

    SGD's grows with the batch, after a warm-up (Goyal et al. 2017, arXiv 1706.02677); RMSprop's and Adam's with its square
    root (Malladi et al. 2022, arXiv 2205.10287).
    """
    factor = batch_size / reference_batch_size
    return rate * factor, rate * math.sqrt(factor)


def modelled_step(
    replica: Replica,
    network: Network,
    num_replicas: int,
    batch_size: int,
    *,
    rate: float = 0.001,
    reference_batch_size: int = 128,
) -> Step | None:
    """The step of `num_replicas` on a global batch; None where a replica would get no whole image.

    Args:
        batch_size: Images of all replicas together.
        rate: Learning rate that is right at `reference_batch_size`.
    """
    if batch_size % num_replicas:
        return None
    compute = replica.seconds_per_image * batch_size / num_replicas
    exchange = exchange_seconds(replica.model_bytes, num_replicas, network)
    overhead = replica.seconds_per_step if num_replicas > 1 else 0.0
    seconds = compute + exchange + overhead
    sgd, rmsprop = scaled_rates(rate, batch_size, reference_batch_size)
    return Step(
        num_replicas, batch_size, compute, exchange + overhead, batch_size / seconds, compute / seconds, sgd, rmsprop
    )


def model_table(replica: Replica, network: Network, *, num_images: int, most_a_replica: int = 128) -> str:
    """Markdown: the step at BATCHES on REPLICAS, as far as no replica gets more than `most_a_replica` images.

    Args:
        num_images: Images of the training set, for the steps an epoch.
    """
    header = ["global batch", "replicas", "images each", "computing, ms", "exchange, ms", "images/s", "efficiency"]
    header += ["steps an epoch", "SGD's rate", "RMSprop's rate"]
    rows = []
    for batch_size, num_replicas in itertools.product(BATCHES, REPLICAS):
        if batch_size > most_a_replica * num_replicas:
            continue
        start = [f"{batch_size:,}", str(num_replicas)]
        steps = str(num_images // batch_size or "none: more than all images")
        step = modelled_step(replica, network, num_replicas, batch_size)
        if step is None:
            rows.append([*start, "under 1", *["-"] * 4, steps, "-", "-"])
            continue
        figures = [f"{1000 * step.compute_s:,.1f}", f"{1000 * step.exchange_s:,.1f}", f"{step.images_per_second:,.0f}"]
        figures.append(f"{100 * step.efficiency:.0f}%")
        rates = [f"{step.sgd_rate:.2g}", f"{step.rmsprop_rate:.2g}"]
        rows.append([*start, str(batch_size // num_replicas), *figures, steps, *rates])
    return markdown_table(header, rows)


def measured_table(summary: dict[str, Any]) -> str:
    """Markdown of what `benchmarks/distributed.py` measured."""
    rows = []
    for kind in ("single", "mirrored", "multi_worker"):
        pairs = summary["step_over_single"][kind]
        over = f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        rows.append([kind, f"{summary['step_ms'][kind]:,.0f} ms", over])
    sent, bound = summary["bytes_a_step_two_workers"], summary["bytes_a_step_lower_bound"]
    return "\n\n".join(
        [
            markdown_table(["two replicas, equal total work", "a step", "over one process"], rows),
            f"Two workers sent {sent:,.0f} bytes a step, {sent / bound:.3f} times the lower bound of {bound:,.0f}: each must send"
            f" the model's gradients, {summary['model_bytes']:,.0f} bytes, once.",
        ]
    )


def report(results: dict[str, Any]) -> str:
    """Markdown of a `results/distributed.json`: what was measured, and many replicas modelled."""
    summary, batch_size = results["summary"], results["settings"]["batch_size"]
    seconds = summary["step_ms"]["single"] / 1000
    overhead = max(summary["step_ms"]["multi_worker"] / 1000 - seconds, 0.0)
    parts = [measured_table(summary)]
    for faster, name, network in SCENARIOS:
        replica = Replica(seconds / batch_size / faster, overhead / faster, summary["model_bytes"])
        who = "Replicas as measured" if faster == 1 else f"Replicas {faster} times as fast"
        parts += [f"{who}, {name}, modelled:", model_table(replica, network, num_images=RECIPE_IMAGES)]
    return "\n\n".join(parts)
