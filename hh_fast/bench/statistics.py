"""Times variants in turn, and says what their times allow to be claimed. Standard library only.

Variants run A B C, then B C A, then C A B, ...: what the machine does meanwhile hits all of them alike, and none
always runs first. Ratios are taken pair by pair, between two figures of one repeat, and then summed up.
"""

import dataclasses
import gc
import logging
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from hh_fast.errors import HHFastError

logger = logging.getLogger(__name__)

# A share of a bound above this was taken on a machine too noisy to tell.
MAX_BOUND_SHARE = 1.05
F = TypeVar("F")


class MeasurementError(RuntimeError):
    """A measurement that ended in an error or in its process' death, described in one line."""


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images counted from the batches themselves, and the seconds that they took."""

    num_images: int
    seconds: float

    @property
    def images_per_s(self) -> float:
        return self.num_images / self.seconds


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way of doing the work: `run` does it once and returns its figures."""

    name: str
    run: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[F]):
    """Every repeat's figures, in order, and why the variant failed, or None."""

    name: str
    repeats: tuple[F, ...] = ()
    failure: str | None = None

    def values(self, figure: str) -> list[float]:
        """The figure of each repeat, without the repeats that lack it."""
        return [value for repeat in self.repeats if (value := getattr(repeat, figure)) is not None]

    def median(self, figure: str) -> float | None:
        values = self.values(figure)
        return statistics.median(values) if values else None


@dataclasses.dataclass(frozen=True)
class Ratio:
    """`figure` of the variant `above` over that of `below`: median and extremes of the pairs, and what forbids to claim it."""

    what: str
    above: str
    below: str
    figure: str
    median: float
    low: float
    high: float
    num_pairs: int
    warning: str | None = None


@dataclasses.dataclass(frozen=True)
class Claim:
    """A ratio that is to be taken, if both variants were measured. `bound`: a share of what no variant can exceed."""

    what: str
    above: str
    below: str
    figure: str
    bound: bool = False


def ratios(outcomes: Sequence[Outcome[Any]], claims: Sequence[Claim]) -> tuple[Ratio, ...]:
    """The ratios that the outcomes allow, in the order of the claims."""
    named = {outcome.name: outcome for outcome in outcomes}
    found = []
    for claim in claims:
        if claim.above not in named or claim.below not in named:
            continue
        repeats = zip(named[claim.above].repeats, named[claim.below].repeats, strict=False)
        pairs = [(getattr(above, claim.figure), getattr(below, claim.figure)) for above, below in repeats]
        values = [above / below for above, below in pairs if above is not None and below]
        if values:
            ends = statistics.median(values), min(values), max(values)
            ratio = Ratio(claim.what, claim.above, claim.below, claim.figure, *ends, len(values))
            found.append(dataclasses.replace(ratio, warning=_warning(ratio, bound=claim.bound)))
    return tuple(found)


def _warning(ratio: Ratio, *, bound: bool) -> str | None:
    """Why the ratio must not be claimed, or None. A single pair has no scatter to tell by."""
    what, remedy = f"{ratio.what} ({ratio.above} to {ratio.below})", "stop other work and raise --repeats"
    if bound:
        if ratio.median <= MAX_BOUND_SHARE:
            return None
        return f"{what}: {ratio.median:.2f} of a bound: the machine was too noisy; {remedy}"
    if ratio.high - ratio.low <= abs(ratio.median - 1):
        return None
    return (
        f"{what}: {ratio.median:.2f} is within this machine's noise"
        f" (pairs from {ratio.low:.2f} to {ratio.high:.2f}); {remedy}"
    )


def describe_failure(error: BaseException) -> str:
    """Type and text of an error, on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    if isinstance(error, (HHFastError, MeasurementError)):  # these describe themselves
        return text
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def run_in_turn(
    variants: Sequence[Variant], *, repeats: int, on_progress: Callable[[str], None]
) -> tuple[Outcome[Any], ...]:
    """Each variant's outcome, after `repeats` rounds.

    A variant that raises is reported as failed and not run again; the others go on. `on_progress(name)` is called before
    each run.
    """
    figures: dict[str, list[Any]] = {variant.name: [] for variant in variants}
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        start = repeat % len(variants)
        for variant in [*variants[start:], *variants[:start]]:
            if variant.name in failures:
                continue
            on_progress(variant.name)
            gc.collect()  # what the last variant left must not be paid for in this one's time
            try:
                figures[variant.name].append(variant.run())
            except Exception as e:  # one path that fails must not take the others with it
                failures[variant.name] = describe_failure(e)
                logger.warning("%s failed: %s", variant.name, failures[variant.name])
    return tuple(Outcome(name, tuple(found), failures.get(name)) for name, found in figures.items())
