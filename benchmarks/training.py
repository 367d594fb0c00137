"""The training race in full: every arm, in turn, over several seeds, beside the bounds of its steps.

    .venv/bin/python benchmarks/training.py                       # every arm, 3 seeds of 5 epochs: about 30 minutes on 2 cores
    .venv/bin/python benchmarks/training.py --recipe --epochs=15  # ImageDataGenerator and hh_fast, as the notebook has it: 20 minutes

Every training has a process of its own; those of one seed start from the same weights.
"""

import dataclasses
import sys

import benchlib
from published import RESULTS

from hh_fast.bench import fairness, own_loop
from hh_fast.bench.isolate import in_process
from hh_fast.bench.results import with_steady_epochs
from hh_fast.bench.statistics import Outcome
from hh_fast.bench.training_race import (
    GENERATOR,
    OWN,
    Arm,
    all_arms,
    bound_variants,
    training_claims,
    training_variants,
)
from hh_fast.config import TrainConfig


def joined(parts: list[tuple[Outcome, ...]]) -> list[Outcome]:
    """The repeats of all seeds under each name."""
    named: dict[str, Outcome] = {}
    for outcome in (outcome for part in parts for outcome in part):
        before = named.get(outcome.name, Outcome(outcome.name))
        failure = before.failure or outcome.failure
        named[outcome.name] = Outcome(outcome.name, (*before.repeats, *outcome.repeats), failure)
    return list(named.values())


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "training")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--validation_batch_size", type=int, default=TrainConfig.validation_batch_size)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", action="store_true", help="only ImageDataGenerator and hh_fast, to recipe.json")
    arguments = parser.parse_args()
    sizes = {"batch_size": arguments.batch_size, "validation_batch_size": arguments.validation_batch_size}
    train = TrainConfig(epochs=arguments.epochs, **sizes)
    precision = str(in_process(own_loop.chosen_precision, train, use_gpu=True))
    arms = all_arms(precision)
    if arguments.recipe:
        arms = list(dict.fromkeys([Arm(GENERATOR), Arm(OWN), Arm(OWN, precision)]))
        if arguments.output == parser.get_default("output"):
            arguments.output = RESULTS / "recipe.json"
    trained, bounds = [], []
    for seed in range(arguments.seeds):
        config = benchlib.data_config(arguments, seed=seed, cache="memory")
        with benchlib.whole_workload(config, train) as (workload, data):
            if seed == 0:
                benchlib.show(in_process(fairness.check_augmentation, workload))
            variants = [*training_variants(arms, workload), *bound_variants(arms, workload)]
            first = seed % len(variants)
            benchlib.show(f"seed {seed}")
            found = {one.name: one for one in benchlib.in_turn(variants[first:] + variants[:first], 1)}
            ordered = [found[variant.name] for variant in variants]
            trained.append(tuple(ordered[: len(arms)]))
            bounds.append(tuple(ordered[len(arms) :]))
    benchlib.write(
        arguments.output,
        [with_steady_epochs(outcome) for outcome in joined(trained)],
        bounds=joined(bounds),
        claims=training_claims(arms, precision),
        data=dataclasses.replace(data, num_train=data.num_train // train.batch_size * train.batch_size),
        precision=precision,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        **sizes,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
