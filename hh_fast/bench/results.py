"""What a bench measured, as dataclasses that go to and from results.json. No TensorFlow."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from hh_fast.bench.statistics import Outcome, Rate, Ratio
from hh_fast.config import BenchConfig, DataConfig, TrainConfig
from hh_fast.errors import DataError
from hh_fast.io.typed_json import from_json

FORMAT = 2
# An epoch that took so many times as long as the shortest of its kind was stalled.
STALLED = 1.5


@dataclasses.dataclass(frozen=True)
class Machine:
    """Processor, cores that the bench may use, memory, system, how busy it was before, and the versions of what takes part."""

    cpu: str
    cpu_flags: tuple[str, ...]
    num_cores: int
    memory_bytes: int
    gpus: tuple[str, ...]
    system: str
    load_before: float | None
    versions: dict[str, str | None]

    @property
    def in_words(self) -> str:
        return f"{self.cpu}, {self.num_cores} cores, {', '.join(self.gpus) or 'no GPU'}"


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The data set, and how many of its images there are; `fingerprint` is the SHA-256 of their contents."""

    name: str
    fingerprint: str
    num_train: int
    num_validation: int
    image_size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class InputFigures:
    """One repeat of input alone: `first` epoch with all that is done once, and `steady` ones after it; a bound has one only.

    The peaks are how far this process' own pages and its mapped files rose. `cold_share`: of the files, dropped from the page cache.
    """

    first: Rate | None = None
    steady: Rate | None = None
    first_batch_s: float | None = None
    peak_bytes: int | None = None
    peak_mapped_bytes: int | None = None
    cold_share: float | None = None

    @property
    def first_images_per_s(self) -> float | None:
        return self.first.images_per_s if self.first else None

    @property
    def steady_images_per_s(self) -> float | None:
        return self.steady.images_per_s if self.steady else None


@dataclasses.dataclass(frozen=True)
class StepFigures:
    """One repeat of a training step's bound: images that it stepped through, or could at the machine's `flops_per_s`."""

    steady: Rate
    first_step_s: float | None = None
    flops_per_s: float | None = None

    @property
    def steady_images_per_s(self) -> float:
        return self.steady.images_per_s


@dataclasses.dataclass(frozen=True)
class TrainingFigures:
    """One repeat of a training: `wall_s` from listing the images to the last validation; the rest by epoch.

    `training_s` is an epoch without its validation. `input_waits` is None for `fit`, which does not tell. The last four are of
    the steady-state epochs: those after the first that were not stalled (`with_steady_epochs`).
    """

    wall_s: float
    first_epoch_s: float
    epoch_s: tuple[float, ...]
    training_s: tuple[float, ...]
    images: tuple[int, ...]
    loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    peak_bytes: int
    input_waits: tuple[float, ...] | None = None
    seed: int = 0
    num_stalled: int = 0
    steady_epoch_s: float | None = None
    steady_images_per_s: float | None = None
    input_wait: float | None = None

    @property
    def last_val_accuracy(self) -> float | None:
        return self.val_accuracy[-1] if self.val_accuracy else None


def with_steady_epochs(outcome: Outcome[TrainingFigures]) -> Outcome[TrainingFigures]:
    """Tells stalled epochs apart: those that took over `STALLED` times the shortest one after a first, of all repeats."""

    def after_first(repeat: TrainingFigures) -> range:
        return range(min(1, len(repeat.epoch_s) - 1), len(repeat.epoch_s))

    shortest = min((repeat.epoch_s[i] for repeat in outcome.repeats for i in after_first(repeat)), default=0.0)

    def marked(repeat: TrainingFigures) -> TrainingFigures:
        steady = [i for i in after_first(repeat) if repeat.epoch_s[i] <= STALLED * shortest]
        stalled = len(after_first(repeat)) - len(steady)
        if not steady:
            return dataclasses.replace(repeat, num_stalled=stalled)
        return dataclasses.replace(
            repeat,
            num_stalled=stalled,
            steady_epoch_s=statistics.median(repeat.epoch_s[i] for i in steady),
            steady_images_per_s=sum(repeat.images[i] for i in steady) / sum(repeat.training_s[i] for i in steady),
            input_wait=statistics.mean(repeat.input_waits[i] for i in steady) if repeat.input_waits else None,
        )

    return dataclasses.replace(outcome, repeats=tuple(map(marked, outcome.repeats)))


@dataclasses.dataclass(frozen=True)
class SweepEntry:
    """A compiled step on one cache's input: `turns` by images a second and `waits` for input, or why it failed."""

    precision: str
    jit_compile: bool
    batch_size: int
    cache: str = ""
    compile_s: float = 0.0
    turns: tuple[Rate, ...] = ()
    waits: tuple[float, ...] = ()
    failure: str | None = None

    @property
    def name(self) -> str:
        return f"{self.precision}, {'XLA' if self.jit_compile else 'no XLA'}, batch {self.batch_size}"

    @property
    def images_per_s(self) -> float:
        return statistics.median(turn.images_per_s for turn in self.turns)

    @property
    def input_wait(self) -> float:
        return statistics.median(self.waits)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Images of each race, and the seconds that it is expected to take."""

    num_input: int
    num_train: int
    num_validation: int
    input_s: float = 1.0
    training_s: float = 1.0


@dataclasses.dataclass(frozen=True)
class Fairness:
    """What the check of equal pixels found: why paths cannot take part, by name, and sentences for reports."""

    num_images: int
    num_exact: int
    failed: dict[str, str]
    remarks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """All that results.json holds. `precision` is what the machine, or a flag, chose."""

    format: int
    started: str
    seconds: float
    machine: Machine
    bench: BenchConfig
    data: DataConfig
    train: TrainConfig
    images: DataSummary
    plan: Plan
    fairness: Fairness
    precision: str
    input: tuple[Outcome[InputFigures], ...]
    training: tuple[Outcome[TrainingFigures], ...]
    step_bounds: tuple[Outcome[StepFigures], ...]
    ratios: tuple[Ratio, ...]
    sweep: tuple[SweepEntry, ...] = ()

    @property
    def failures(self) -> list[str]:
        outcomes: list[Outcome[Any]] = [*self.input, *self.training, *self.step_bounds]
        return [f"{outcome.name} failed: {outcome.failure}" for outcome in outcomes if outcome.failure]


def read_results(path: Path) -> Results:
    """A results.json.

    Raises:
        DataError: it is none. OSError: it cannot be read.
    """
    try:
        return from_json(Results, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as e:
        raise DataError(f"{path} is no results.json of this bin/bench: {e}") from e
