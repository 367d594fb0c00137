"""How long the shutdown of an iterator keeps its program waiting: with tf.data's autotuner, and without.

    .venv/bin/python benchmarks/autotuner.py

Takes about 3 minutes. The tuner's thread naps, twice as long each time, from 10 ms up to a minute, and is not always woken when
its iterator goes: the program then waits for the end of the nap.
"""

import gc
import itertools
import sys
import time

import benchlib
import tensorflow as tf
from published import IteratorFigures

from hh_fast.bench.isolate import in_process
from hh_fast.bench.statistics import Outcome
from hh_fast.data.engine import without_autotune

LIVES_S = (0.35, 1.5, 5.5)
NAMES = {True: "tf.data's autotuner", False: "no autotuner"}


def shutdown_seconds(tuned: bool, life_s: float, repeats: int) -> IteratorFigures:
    """Seconds that each of `repeats` iterators took to end, after `life_s` seconds of use."""
    size = tf.data.AUTOTUNE if tuned else 2
    dataset = tf.data.Dataset.range(1 << 60).map(lambda i: i + 1, num_parallel_calls=size).prefetch(size)
    dataset = dataset if tuned else without_autotune(dataset)
    waited = []
    for _ in range(repeats):
        gc.collect()
        gc.freeze()  # so that the collection below, which ends the iterator, looks at what is made here only
        iterator = iter(dataset)
        end = time.perf_counter() + life_s
        while time.perf_counter() < end:
            next(iterator)
        stopped = time.perf_counter()
        del iterator
        gc.collect()
        waited.append(time.perf_counter() - stopped)
    return IteratorFigures(life_s, tuple(waited))


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "autotuner")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    found: dict[str, list[IteratorFigures]] = {name: [] for name in NAMES.values()}
    for life_s, tuned in itertools.product(LIVES_S, NAMES):
        name = NAMES[tuned]
        benchlib.show(f"{name}, {life_s} s")
        found[name].append(in_process(shutdown_seconds, tuned, life_s, arguments.repeats))
    outcomes = [Outcome(name, tuple(figures)) for name, figures in found.items()]
    benchlib.write(arguments.output, outcomes, repeats=arguments.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
