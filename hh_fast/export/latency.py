"""How long `.tflite` files take for one image, timed in turn."""

import dataclasses
import random
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hh_fast.io.cores import num_cores
from hh_fast.predict.tflite import new_interpreter

WARM_UPS = 2
MAX_RUNS = 50
MIN_RUNS = 5
# A file as slow as int16x8 gets MIN_RUNS, one that takes 10 ms gets MAX_RUNS.
SECONDS_A_FILE = 0.5


@dataclasses.dataclass(frozen=True)
class Latency:
    """One image through the interpreter, decoding and resizing not counted; milliseconds over `num_runs` runs."""

    num_threads: int
    median_ms: float
    p95_ms: float
    num_runs: int


class _Timed:
    def __init__(self, path: Path, num_threads: int):
        self.num_threads = num_threads
        self.interpreter = new_interpreter(path, num_threads)
        image = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(image["index"], np.zeros(image["shape"], image["dtype"]))
        for _ in range(WARM_UPS):
            self.interpreter.invoke()
        self.seconds: list[float] = []

    def wants_more(self) -> bool:
        runs = len(self.seconds)
        return runs < MIN_RUNS or (runs < MAX_RUNS and sum(self.seconds) < SECONDS_A_FILE)

    def run(self) -> None:
        start = time.perf_counter()
        self.interpreter.invoke()
        self.seconds.append(time.perf_counter() - start)

    def result(self) -> Latency:
        median, p95 = np.percentile(np.array(self.seconds) * 1e3, [50, 95])
        return Latency(self.num_threads, round(float(median), 3), round(float(p95), 3), len(self.seconds))


def measure_latency(paths: Mapping[str, Path]) -> dict[str, list[Latency]]:
    """Latency of each file by name, on one thread and on all cores; the files take turns, so that noise hits all alike."""
    threads = sorted({1, num_cores()})
    timed = {name: [_Timed(path, count) for count in threads] for name, path in paths.items()}
    everything = [one for group in timed.values() for one in group]
    # In an order drawn anew each time: the idle threads of one file spin for a while at the cost of the next.
    order = random.Random(0)
    while waiting := [one for one in everything if one.wants_more()]:
        for one in order.sample(waiting, len(waiting)):
            one.run()
    return {name: [one.result() for one in group] for name, group in timed.items()}
