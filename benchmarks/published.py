"""What the benchmarks leave in results/, as dataclasses that go to and from JSON. No TensorFlow."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Generic, TypeVar

from hh_fast.bench.results import DataSummary, InputFigures, Machine, StepFigures
from hh_fast.bench.statistics import Outcome, Ratio
from hh_fast.io.typed_json import from_json

RESULTS = Path(__file__).resolve().parent / "results"
F = TypeVar("F")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class GpuStep:
    """A training step's settings on a GPU, and what came of them, or why it failed; `share`: of the synthetic bound.

    `input_wait` holds the copy of each batch to the device.
    """

    precision: str
    jit_compile: bool
    batch_size: int
    images_per_s: float | None = None
    resident_images_per_s: float | None = None
    input_wait: float | None = None
    failure: str | None = None

    @property
    def share(self) -> float | None:
        if self.images_per_s is None or not self.resident_images_per_s:
            return None
        return self.images_per_s / self.resident_images_per_s


@dataclasses.dataclass(frozen=True)
class Published(Generic[F]):
    """A benchmark's results: the command that made them, the machine, its settings, and every raw repeat."""

    command: str
    written: str
    machine: Machine
    settings: dict[str, int | str]
    outcomes: tuple[Outcome[F], ...]
    bounds: tuple[Outcome[StepFigures], ...] = ()
    steps: tuple[GpuStep, ...] = ()
    data: DataSummary | None = None
    ratios: tuple[Ratio, ...] = ()


@dataclasses.dataclass(frozen=True)
class IteratorFigures:
    """Seconds that each iterator took to shut down, after `life_s` seconds of use."""

    life_s: float
    waited_s: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ScaleFigures:
    """Input of so many images, `store_bytes` decoded, or why this machine cannot hold them."""

    num_images: int
    store_bytes: int
    input: InputFigures | None = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class PageFigures:
    """The page in Chromium, beside LiteRT on the desktop on one thread; medians of the milliseconds of a frame."""

    loaded_bytes: int
    start_ms: float
    pixels_ms: float
    model_ms: float
    desktop_model_ms: float


@dataclasses.dataclass(frozen=True)
class StartFigures:
    """Seconds of the stages before the second training step; of bare decoding of the same files, and of fresh memory alone."""

    bare_decoding_s: float
    touching_s: float
    import_s: float
    listing_s: float
    hashing_s: float
    decoding_s: float
    tracing_s: float
    first_step_s: float


def read(name: str, kind: Any, folder: Path = RESULTS) -> Any:
    """The results of a benchmark as `kind`, or None where it was not run yet.

    Raises:
        ValueError: the file holds something else.
    """
    path = folder / f"{name}.json"
    return from_json(kind, json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
