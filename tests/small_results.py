"""A result of `bin/bench`, for the tests of what reads it."""

from hh_fast.bench.results import (
    FORMAT,
    DataSummary,
    Fairness,
    InputFigures,
    Machine,
    Plan,
    Results,
    StepFigures,
    SweepEntry,
    TrainingFigures,
    with_steady_epochs,
)
from hh_fast.bench.statistics import Claim, Outcome, Rate, ratios
from hh_fast.config import BenchConfig, DataConfig, TrainConfig

GENERATOR, OWN = "ImageDataGenerator + fit, float32", "hh_fast, mixed_bfloat16"


def trained(wall_s, epoch_s, val_accuracy=(0.5, 0.9), images=100, seed=0):
    """Figures of a training whose steps take nine tenths of each epoch."""
    return TrainingFigures(
        wall_s=wall_s,
        first_epoch_s=epoch_s[0] + 1,
        epoch_s=tuple(epoch_s),
        training_s=tuple(0.9 * seconds for seconds in epoch_s),
        images=(images,) * len(epoch_s),
        loss=(0.7,) * len(epoch_s),
        val_accuracy=tuple(val_accuracy),
        peak_bytes=1_000_000,
        seed=seed,
    )


def read(first, steady):
    """Figures of input alone at these images a second."""
    return InputFigures(Rate(first, 1.0), Rate(steady, 1.0), 0.1, 2_000_000, 0)


def machine():
    versions = {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.15.1"}
    return Machine("A CPU", (), 2, 8_000_000_000, (), "Linux", 0.1, versions)


def training(name, *repeats):
    return with_steady_epochs(Outcome(name, repeats))


def small_results(**changes):
    generator = training(GENERATOR, *(trained(wall, (20, 19)) for wall in (40.0, 41.0, 42.0)))
    own = training(OWN, *(trained(wall, (6, 5)) for wall in (10.0, 11.0, 10.5)))
    claims = [Claim("speedup, training time", GENERATOR, OWN, "wall_s")]
    values = {
        "format": FORMAT,
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 100.0,
        "machine": machine(),
        "bench": BenchConfig(repeats=3),
        "data": DataConfig(),
        "train": TrainConfig(batch_size=128),
        "images": DataSummary("sample", "f", 1024, 256, (300, 300)),
        "plan": Plan(1024, 1024, 256),
        "fairness": Fairness(1024, 1024, {}, ("A remark.",)),
        "precision": "mixed_bfloat16",
        "input": (
            Outcome("ImageDataGenerator", (read(500, 600), read(520, 610), read(510, 605))),
            Outcome("hh_fast, memory", (read(1200, 45_000), read(1100, 44_000), read(1150, 46_000))),
        ),
        "training": (generator, own),
        "step_bounds": (Outcome("bound: matrix product, float32", (StepFigures(Rate(128, 0.5), flops_per_s=2e11),)),),
        "ratios": ratios((generator, own), claims),
    }
    return Results(**{**values, **changes})


def swept(images_per_s, *, precision="float32", batch_size=128, cache="memory", failure=None):
    turns = () if failure else (Rate(images_per_s, 1.0),)
    waits = () if failure else (0.01,)
    return SweepEntry(precision, False, batch_size, cache, 1.0, turns, waits, failure)
