"""How long the shutdown of an iterator keeps its program waiting: with tf.data's autotuner, and without.

    .venv/bin/python -m benchmarks.studies.autotuner

Takes about 3 minutes. The tuner's thread naps, twice as long each time, from 10 ms up to a minute, and is not always woken when
its iterator goes: the program then waits for the end of the nap.
"""

import gc
import itertools
import logging
import time

import tensorflow as tf

from benchmarks.harness import Row, finish_study, study
from benchmarks.process import in_process
from benchmarks.race.bounds import untuned

LIVES_S = (0.35, 1.5, 5.5)


def shutdown_rows(tuned: bool, life_s: float, repeats: int) -> list[Row]:
    """A row for each of `repeats` iterators, which took so many seconds to end after `life_s` seconds of use."""
    size = tf.data.AUTOTUNE if tuned else 2
    dataset = tf.data.Dataset.range(1 << 60).map(lambda i: i + 1, num_parallel_calls=size).prefetch(size)
    dataset = dataset if tuned else untuned(dataset)
    arm = f"{'tf.data' if tuned else 'no'} autotuner, in use for {life_s:g} s"
    rows = []
    for repeat in range(repeats):
        gc.collect()
        gc.freeze()  # so that the collection below, which ends the iterator, looks at what is made here only
        iterator = iter(dataset)
        end = time.perf_counter() + life_s
        while time.perf_counter() < end:
            next(iterator)
        stopped = time.perf_counter()
        del iterator
        gc.collect()
        rows.append({"arm": arm, "repeat": repeat, "waited_s": time.perf_counter() - stopped})
    return rows


def main() -> None:
    arguments = study("autotuner", __doc__ or "", repeats=10).parse_args()
    rows: list[Row] = []
    for tuned, life_s in itertools.product((True, False), LIVES_S):
        logging.getLogger("hh_fast").info("%s, %g s", "tuned" if tuned else "not tuned", life_s)
        rows += in_process(shutdown_rows, tuned, life_s, arguments.repeats)
    finish_study("autotuner", arguments, rows)


if __name__ == "__main__":
    main()
