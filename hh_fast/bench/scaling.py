"""On paper: what a step costs on many replicas, from what was measured on few.

A step is the replica's own computing, and the sum of all gradients over the network. A ring sends each replica's share
2 (R - 1) / R times the model (Patarasu and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002), which no method
undercuts, in 2 (R - 1) messages one after the other; a tree sends as much in 2 log2(R). The one that is faster counts.
"""

import dataclasses
import math


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


@dataclasses.dataclass(frozen=True)
class Step:
    """A step on paper. `efficiency`: images a second over what as many replicas would do without talking."""

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


def step_on_paper(
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


def table(
    replica: Replica, network: Network, *, num_images: int, batches: tuple[int, ...], replicas: tuple[int, ...]
) -> str:
    """Markdown: a row for each global batch and number of replicas.

    Args:
        num_images: Images of the training set, for the steps an epoch.
        batches: Global batches.
        replicas: Numbers of replicas.
    """
    lines = [
        "| global batch | replicas | images a replica | computing | exchange | images/s | efficiency | steps an epoch |"
        " rate SGD, RMSprop |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for batch_size in batches:
        steps = num_images // batch_size
        for num_replicas in replicas:
            step = step_on_paper(replica, network, num_replicas, batch_size)
            if step is None:
                lines.append(f"| {batch_size:,} | {num_replicas} | under 1 | - | - | - | - | {steps} | - |")
                continue
            lines.append(
                f"| {batch_size:,} | {num_replicas} | {batch_size // num_replicas} | {1000 * step.compute_s:,.1f} ms |"
                f" {1000 * step.exchange_s:,.1f} ms | {step.images_per_second:,.0f} | {100 * step.efficiency:.0f}% |"
                f" {steps or 'none: more than the data set'} | {step.sgd_rate:.2g}, {step.rmsprop_rate:.2g} |"
            )
    return "\n".join(lines)
