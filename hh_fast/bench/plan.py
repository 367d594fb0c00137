"""How many images the races may take to end within the time asked for, from a few measured rates. Standard library only."""

import dataclasses

# Shares of the time for the input race, which needs the fewer seconds, before the training race takes the rest.
INPUT_SHARE = 0.4
# Seconds of a process' start, and of tracing and compiling a training step, on 2 cores.
START_S = 0.6
TRACE_S = 2.5
# Seconds of the warm windows of a path that does not decode in them.
WARM_S = 1.0
# Seconds that one measurement of a resident batch takes.
RESIDENT_S = 4.0


@dataclasses.dataclass(frozen=True)
class Rates:
    """Images a second on this machine: `ImageDataGenerator`, decoding on all cores, and a float32 training step."""

    generator: float
    decode: float
    step: float


@dataclasses.dataclass(frozen=True)
class Shape:
    """The races' size besides the images: variants by what one of their epochs costs, and how often they run."""

    repeats: int
    epochs: int
    num_generator_inputs: int
    num_decoding_inputs: int
    num_generator_trainings: int
    num_hh_fast_trainings: int
    num_resident: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Images of each race, and the seconds that it is expected to take."""

    num_input: int
    num_train: int
    num_validation: int
    input_s: float
    training_s: float


def input_seconds(num_images: int, rates: Rates, shape: Shape) -> float:
    """Each path: its start, a first epoch and warm ones. Most of the decoding ones decode about twice."""
    starts = START_S * (shape.num_generator_inputs + shape.num_decoding_inputs + 2)
    starts += WARM_S * shape.num_decoding_inputs
    reads = 2 * num_images * (shape.num_generator_inputs / rates.generator + shape.num_decoding_inputs / rates.decode)
    return shape.repeats * (starts + reads)


def training_seconds(num_images: int, num_validation: int, rates: Rates, shape: Shape) -> float:
    """Each training: its start, then epochs of reading, stepping and validating (a third of a step's work)."""
    stepping = shape.epochs * (num_images + num_validation / 3) / rates.step
    reading = shape.epochs * (num_images + num_validation) / rates.generator
    trainings = shape.num_generator_trainings * (START_S + TRACE_S + stepping + reading)
    trainings += shape.num_hh_fast_trainings * (START_S + TRACE_S + stepping + num_images / rates.decode)
    return shape.repeats * (trainings + shape.num_resident * RESIDENT_S)


def make_plan(
    *, num_train: int, num_validation: int, batch_size: int, budget_s: float, rates: Rates, shape: Shape
) -> Plan:
    """The most whole batches that fit; at least one, even where that takes longer. `budget_s` 0: all of them."""
    most = num_train // batch_size

    def validation(batches: int) -> int:
        return min(num_validation, -(-num_validation * batches // most))

    def plan(input_batches: int, train_batches: int) -> Plan:
        images = train_batches * batch_size
        held_out = validation(train_batches)
        return Plan(
            num_input=input_batches * batch_size,
            num_train=images,
            num_validation=held_out,
            input_s=input_seconds(input_batches * batch_size, rates, shape),
            training_s=training_seconds(images, held_out, rates, shape),
        )

    if budget_s == 0:
        return plan(most, most)
    inputs = 1
    while inputs < most and plan(inputs + 1, 1).input_s <= INPUT_SHARE * budget_s:
        inputs += 1
    trainings = 1
    while trainings < most and sum(dataclasses.astuple(plan(inputs, trainings + 1))[3:]) <= budget_s:
        trainings += 1
    return plan(inputs, trainings)
