"""How many images the races may take to end within the time asked for, from a few measured rates."""

import dataclasses
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras

from hh_fast.bench.bounds import decode_bound, own_step, resident_bound
from hh_fast.bench.input_race import InputPath
from hh_fast.bench.results import Plan
from hh_fast.bench.training_race import GENERATOR, Arm
from hh_fast.bench.workload import Workload

# Share of the time for the input race, before the training race takes the rest.
INPUT_SHARE = 0.35
# Seconds of a process' start; of tracing and compiling a training step; of an input path's steady windows; of a step's bound; on 2 cores.
START_S, TRACE_S, STEADY_S, BOUND_S = 0.6, 2.0, 1.0, 3.5
# Part of a training step's arithmetic that validating an image takes.
FORWARD = 1 / 3
# What `ImageDataGenerator` takes to read and augment an image, as a multiple of reading it.
AUGMENTING = 7
NUM_FILES, BATCH, MIN_STEP_S = 64, 16, 0.3


@dataclasses.dataclass(frozen=True)
class Rates:
    """Images a second on this machine: `ImageDataGenerator`, decoding on all cores, and a float32 training step."""

    generator: float
    decode: float
    step: float


class Cost(NamedTuple):
    """Seconds that one run of a variant takes: whatever the number of images, and for each of them."""

    fixed_s: float
    image_s: float = 0.0


INPUT_BOUND, STEP_BOUND = Cost(START_S), Cost(START_S + BOUND_S)


def calibrate(workload: Workload, files: Sequence[str]) -> Rates:
    """Rates of reading some of `files` and of a float32 training step; called in a measuring process."""
    few = files[:: max(1, len(files) // NUM_FILES)][:NUM_FILES]
    start = time.perf_counter()
    for file in few:  # what `ImageDataGenerator` does with each
        keras.utils.img_to_array(keras.utils.load_img(file, target_size=workload.data.image_size)) / 255
    generator = len(few) / (time.perf_counter() - start)
    small = workload.changed(batch_size=BATCH, precision="float32")
    step = resident_bound(own_step, small, min_s=MIN_STEP_S).steady_images_per_s
    return Rates(generator, decode_bound(few).first.images_per_s, step)  # type: ignore[union-attr]


def input_cost(path: InputPath, rates: Rates) -> Cost:
    """A path decodes about twice: once in the first epoch, once in the steady ones."""
    if path.by_pillow:
        return Cost(START_S, 2 / rates.generator)
    return Cost(START_S + STEADY_S, 2 / rates.decode)


def training_cost(arm: Arm, rates: Rates, *, epochs: int, validation_share: float) -> Cost:
    """By training image; each comes with a share of validation images."""
    reading = 1 / rates.decode
    if arm.method == GENERATOR:
        reading = epochs * (AUGMENTING if arm.augment else 1) / rates.generator
    stepping = epochs * (1 + validation_share * FORWARD) / rates.step
    return Cost(START_S + TRACE_S, stepping + reading * (1 + validation_share))


def make_plan(
    *,
    num_train: int,
    num_validation: int,
    batch_size: int,
    budget_s: float,
    repeats: int,
    inputs: Sequence[Cost],
    trainings: Sequence[Cost],
) -> Plan:
    """The most whole batches that fit; at least one, even where that takes longer. `budget_s` 0: all of them."""
    most = num_train // batch_size * batch_size

    def fitted(costs: Sequence[Cost], seconds: float) -> tuple[int, float]:
        """Images of a race, and the seconds that it then takes."""
        fixed_s, image_s = (repeats * sum(part) for part in zip(*costs, strict=True))
        batches = max(1, int((seconds - fixed_s) / (image_s * batch_size)))
        num_images = min(most, batches * batch_size) if budget_s else most
        return num_images, fixed_s + image_s * num_images

    num_input, input_s = fitted(inputs, INPUT_SHARE * budget_s)
    num_trained, training_s = fitted(trainings, budget_s - input_s)
    num_validated = min(num_validation, round(num_validation / most * num_trained + 0.5))
    return Plan(num_input, num_trained, num_validated, input_s, training_s)
