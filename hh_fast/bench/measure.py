"""Times variants in turn, and says what their times allow to be claimed. Standard library only.

Variants run A B C, then B C A, then C A B, ...: what the machine does meanwhile hits all of them alike, and none
always runs first. Ratios are taken pair by pair, between two figures of one repeat, and then summed up.
"""

import dataclasses
import gc
import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hh_fast.errors import HHFastError

logger = logging.getLogger(__name__)

HELD_UP = 1.5  # times an epoch that was not

# Figures of one repeat by name, such as {"warm_img_s": 41000.0}; None where a figure could not be taken.
Figures = Mapping[str, Any]


class MeasurementError(RuntimeError):
    """A measurement that ended in an error or in its process' death, described in one line."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way of doing the work: `run` does it once and returns its figures; `expected_s` is for the progress bar."""

    name: str
    run: Callable[[], Figures]
    expected_s: float = 1.0


@dataclasses.dataclass
class Outcome:
    """Every repeat's figures, in order, and why the variant failed, or None."""

    name: str
    repeats: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failure: str | None = None

    def values(self, figure: str) -> list[float]:
        """The figure of each repeat, without the repeats that lack it."""
        return [repeat[figure] for repeat in self.repeats if repeat.get(figure) is not None]

    def median(self, figure: str) -> float | None:
        values = self.values(figure)
        return statistics.median(values) if values else None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Summary:
    """Median and extremes of some values; `spread` is their range as a share of the median."""

    median: float
    low: float
    high: float
    num_values: int

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median if self.median else 0.0

    def to_json(self) -> dict[str, float]:
        return {**dataclasses.asdict(self), "spread": self.spread}


def summarize(values: Sequence[float]) -> Summary | None:
    """None where there is no value."""
    if not values:
        return None
    return Summary(statistics.median(values), min(values), max(values), len(values))


def ratio(numerator: Outcome, denominator: Outcome, figure: str) -> Summary | None:
    """`figure` of one variant over that of another, repeat by repeat; None where no repeat has both."""
    pairs = zip(numerator.repeats, denominator.repeats, strict=False)
    return summarize(
        [above[figure] / below[figure] for above, below in pairs if above.get(figure) is not None and below.get(figure)]
    )


def steady_epoch_s(epoch_s: Sequence[float]) -> float:
    """The median of the epochs after the first, in seconds, without those that took over `HELD_UP` times the shortest.

    `ImageDataGenerator` and `fit` now and then wait for tf.data's autotuner (benchmarks/README.md), for as long again as the
    epoch took.
    """
    later = list(epoch_s[1:]) or list(epoch_s)
    return statistics.median(seconds for seconds in later if seconds <= HELD_UP * min(later))


def noise_warning(what: str, ratios: Summary) -> str | None:
    """A sentence where the pairs scatter too widely for the difference from 1 that their median claims, or None.

    A single pair has no scatter to tell by.
    """
    if ratios.high - ratios.low <= abs(ratios.median - 1):
        return None
    return (
        f"{what}: {ratios.median:.2f} is within this machine's noise"
        f" (pairs from {ratios.low:.2f} to {ratios.high:.2f}); stop other work and raise --repeats"
    )


def describe_failure(error: BaseException) -> str:
    """Type and text of an error, on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    if isinstance(error, (HHFastError, MeasurementError)):  # these describe themselves
        return text
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def run_in_turn(
    variants: Sequence[Variant], *, repeats: int, on_progress: Callable[[str, float], None] | None = None
) -> dict[str, Outcome]:
    """Each variant's outcome by name, after `repeats` rounds.

    A variant that raises is reported as failed and not run again; the others go on. `on_progress(name, expected_s)` is
    called before each run.
    """
    outcomes = {variant.name: Outcome(variant.name) for variant in variants}
    for repeat in range(repeats):
        start = repeat % len(variants) if variants else 0
        for variant in [*variants[start:], *variants[:start]]:
            outcome = outcomes[variant.name]
            if outcome.failure is not None:
                continue
            if on_progress:
                on_progress(variant.name, variant.expected_s)
            gc.collect()  # what the last variant left must not be paid for in this one's time
            try:
                outcome.repeats.append(dict(variant.run()))
            except Exception as e:  # one path that fails must not take the others with it
                outcome.failure = describe_failure(e)
                logger.warning("%s failed: %s", variant.name, outcome.failure)
    return outcomes
