"""How many images the races may take to end within the time asked for, from a few measured rates."""

import dataclasses
import time
from collections.abc import Sequence

import keras

from hh_fast.bench.bounds import decode_bound, own_step, resident_bound
from hh_fast.bench.results import Plan
from hh_fast.bench.workload import Workload

# Share of the time for the input race, before the training race takes the rest.
INPUT_SHARE = 0.35
# Seconds of a process' start; of tracing and compiling a training step; of an input path's steady windows; of a step's bound; on 2 cores.
START_S, TRACE_S, STEADY_S, BOUND_S = 0.6, 2.0, 1.0, 3.5
# Part of a training step's arithmetic that validating an image takes.
FORWARD = 1 / 3
# What `ImageDataGenerator` takes to read and augment an image, as a multiple of reading it.
AUGMENTING = 7
NUM_FILES, BATCH, MIN_STEP_S = 64, 32, 0.3


@dataclasses.dataclass(frozen=True)
class Rates:
    """Images a second on this machine: `ImageDataGenerator`, decoding on all cores, and a float32 training step."""

    generator: float
    decode: float
    step: float


@dataclasses.dataclass(frozen=True)
class Races:
    """How often, how many epochs, and how many variants of each kind: those by `ImageDataGenerator` cost more."""

    repeats: int
    epochs: int
    generator_inputs: int
    other_inputs: int
    generator_arms: int
    other_arms: int
    step_bounds: int
    augmented_generator_arms: int = 0


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


def _input_cost(rates: Rates, races: Races) -> tuple[float, float]:
    """(seconds whatever the number of images, seconds an image) of the input race; a path decodes about twice."""
    paths = races.generator_inputs + races.other_inputs
    fixed = START_S * (paths + 2) + STEADY_S * races.other_inputs
    return races.repeats * fixed, 2 * races.repeats * (
        races.generator_inputs / rates.generator + races.other_inputs / rates.decode
    )


def _training_cost(rates: Rates, races: Races, validation_share: float) -> tuple[float, float]:
    """The same of the training race and its bounds, by training image; each comes with a share of validation images."""
    arms = races.generator_arms + races.other_arms
    fixed = arms * (START_S + TRACE_S) + races.step_bounds * (START_S + BOUND_S)
    stepping = races.epochs * arms * (1 + validation_share * FORWARD) / rates.step
    reading = races.epochs * (races.generator_arms + AUGMENTING * races.augmented_generator_arms) / rates.generator
    reading += races.other_arms / rates.decode
    return races.repeats * fixed, races.repeats * (stepping + reading * (1 + validation_share))


def make_plan(
    *, num_train: int, num_validation: int, batch_size: int, budget_s: float, rates: Rates, races: Races
) -> Plan:
    """The most whole batches that fit; at least one, even where that takes longer. `budget_s` 0: all of them."""
    most = num_train // batch_size
    share = num_validation / (most * batch_size)

    def batches(cost: tuple[float, float], seconds: float) -> int:
        fixed, image_s = cost
        return min(most, max(1, int((seconds - fixed) / (image_s * batch_size)))) if budget_s else most

    input_cost, training_cost = _input_cost(rates, races), _training_cost(rates, races, share)
    num_input = batches(input_cost, INPUT_SHARE * budget_s) * batch_size
    input_s = input_cost[0] + input_cost[1] * num_input
    num_trained = batches(training_cost, budget_s - input_s) * batch_size
    training_s = training_cost[0] + training_cost[1] * num_trained
    return Plan(num_input, num_trained, min(num_validation, round(share * num_trained + 0.5)), input_s, training_s)
