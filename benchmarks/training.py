"""The whole recipe, 15 epochs, by ImageDataGenerator and fit and by hh_fast, in turn, over several seeds.

    .venv/bin/python benchmarks/training.py

Takes about 25 minutes on 2 cores. Every run has a process of its own; the three of one seed start from the same weights.
"""

import dataclasses
import functools
import sys

import benchlib

from hh_fast.bench import baseline, whole
from hh_fast.bench.isolate import in_process
from hh_fast.bench.measure import Outcome, Variant, run_in_turn
from hh_fast.bench.race import GENERATOR_TRAINING, RESIDENT_RECIPE, Call, resident_name
from hh_fast.bench.run import chosen_precision
from hh_fast.bench.setting import Setting
from hh_fast.config import BenchConfig, TrainConfig


def make_calls(setting: Setting, chosen: str) -> list[Call]:
    """The generator's training, ours in float32 and in the machine's precision, and each one's resident batch."""
    recipe = setting.job("float32")
    jobs = {precision: setting.job(precision) for precision in ("float32", chosen)}
    calls = [Call(GENERATOR_TRAINING, whole.train_generator, (recipe, baseline.Feeding()))]
    calls += [Call(f"hh_fast, {precision}", whole.train_hh_fast, (job,)) for precision, job in jobs.items()]
    calls.append(Call(RESIDENT_RECIPE, whole.resident_recipe, (recipe,)))
    calls += [Call(resident_name(precision), whole.resident_hh_fast, (job,)) for precision, job in jobs.items()]
    return [dataclasses.replace(call, use_gpu=True) for call in calls]


def tell(seed: int, name: str, _: float) -> None:
    benchlib.show(f"seed {seed}: {name}")


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "training")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size)
    chosen = in_process(chosen_precision, train, use_gpu=True)
    outcomes: dict[str, Outcome] = {}
    for seed in range(arguments.seeds):
        config = benchlib.data_config(arguments, seed=seed, cache="memory")
        with benchlib.whole_data(config, train, BenchConfig(epochs=arguments.epochs)) as (setting, data):
            calls = make_calls(setting, chosen)
            variants = [Variant(call.name, call.run) for call in calls]
            first = seed % len(calls)
            rotated = variants[first:] + variants[:first]
            progress = functools.partial(tell, seed)
            found = run_in_turn(rotated, repeats=1, on_progress=progress)
            for name in (call.name for call in calls):
                outcome = outcomes.setdefault(name, Outcome(name))
                outcome.repeats += [{"seed": seed, **repeat} for repeat in found[name].repeats]
                outcome.failure = outcome.failure or found[name].failure
            described = benchlib.describe(data)
    asked = [
        ("fit in float32", GENERATOR_TRAINING, "hh_fast, float32", "wall_s"),
        ("fit", GENERATOR_TRAINING, f"hh_fast, {chosen}", "wall_s"),
        ("later epoch, not held up, in float32", GENERATOR_TRAINING, "hh_fast, float32", "steady_epoch_s"),
        ("later epoch, not held up", GENERATOR_TRAINING, f"hh_fast, {chosen}", "steady_epoch_s"),
        ("share of the synthetic bound, float32", "hh_fast, float32", resident_name("float32"), "warm_img_s"),
        ("share of the synthetic bound", f"hh_fast, {chosen}", resident_name(chosen), "warm_img_s"),
        ("share of the synthetic bound, generator", GENERATOR_TRAINING, RESIDENT_RECIPE, "warm_img_s"),
    ]
    ratios = benchlib.ratios(outcomes, asked)
    benchlib.write(arguments.output, outcomes, data=described, train=train.to_json(), precision=chosen, ratios=ratios)
    return 0


if __name__ == "__main__":
    sys.exit(main())
