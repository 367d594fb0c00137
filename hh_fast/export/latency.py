"""The latency of `.tflite` files."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from hh_fast.io.cores import num_cores
from hh_fast.predict.tflite import new_interpreter

WARM_UPS = 2
MAX_RUNS = 50
MIN_RUNS = 5
# Enough for a stable median of the fast files; slow ones such as int16x8 get MIN_RUNS.
SECONDS_PER_FILE = 0.2


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds for one image in the interpreter, without decoding and resizing, over `num_runs` runs."""

    num_threads: int
    median_ms: float
    p95_ms: float
    num_runs: int


def measure_latency(paths: Mapping[str, Path]) -> dict[str, list[Latency]]:
    """The latency of each file by name, on one thread and on all cores; timed in turn, so that noise affects all alike."""
    invoke: dict[tuple[str, int], Callable[[], None]] = {}
    for name, path in paths.items():
        for num_threads in sorted({1, num_cores()}):
            interpreter = new_interpreter(path, num_threads)
            image = interpreter.get_input_details()[0]
            interpreter.set_tensor(image["index"], np.zeros(image["shape"], image["dtype"]))
            for _ in range(WARM_UPS):
                interpreter.invoke()
            invoke[name, num_threads] = interpreter.invoke

    def wants_more(taken: list[float]) -> bool:
        return len(taken) < MIN_RUNS or (len(taken) < MAX_RUNS and sum(taken) < SECONDS_PER_FILE)

    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in invoke}
    # In random order each time, as the idle threads of one file spin for a while and slow down the next.
    order = random.Random(0)
    while waiting := [case for case, taken in seconds.items() if wants_more(taken)]:
        for case in order.sample(waiting, len(waiting)):
            start = time.perf_counter()
            invoke[case]()
            seconds[case].append(time.perf_counter() - start)
    found: dict[str, list[Latency]] = {name: [] for name in paths}
    for (name, num_threads), taken in seconds.items():
        median, p95 = (round(float(ms), 3) for ms in np.percentile(np.array(taken) * 1e3, [50, 95]))
        found[name].append(Latency(num_threads, median, p95, len(taken)))
    return found
