"""What stands between typing a command and the second training step, stage by stage.

    .venv/bin/python -m benchmarks.studies.start

Takes about a minute on 2 cores. The stages run one after the other in a process of their own, on files in the page cache; the
import, with the devices looked for, in a Python of its own. Beside them, what bare decoding of the same files takes.
"""

import itertools
import sys
import time

import tensorflow as tf

from benchmarks.harness import Row, finish_study, study
from benchmarks.process import in_process, time_command
from benchmarks.race import ours
from benchmarks.race.bounds import decode_bound, resident_batch
from benchmarks.race.workload import Workload, linked
from hh_fast.config import DataConfig, TrainConfig

IMPORT = """\
import time; start = time.perf_counter()
from hh_fast.io.quiet import import_tensorflow; import_tensorflow(); import keras; print(time.perf_counter() - start)"""
STAGES = (
    "import of TensorFlow, devices looked for",
    "listing the files",
    "reading, hashing and decoding them into the cache",
    "building and tracing the step",
    "the first step",
    "for comparison: bare decoding of the files, every core",
)


def stage_seconds(workload: Workload) -> list[float]:
    """Seconds of each stage after the import; called in a measuring process."""
    marks = [time.perf_counter(), *(time.perf_counter() for _ in ours.input_stages(workload))]
    step = ours.make_step(workload)
    marks.append(time.perf_counter())
    images, labels = map(tf.constant, resident_batch(workload))
    step(images, labels)
    marks.append(time.perf_counter())
    return [end - begin for begin, end in itertools.pairwise(marks)]


def measure(workload: Workload) -> list[Row]:
    """One row a stage."""
    num_images = len(workload.files)
    seconds = [
        float(time_command([sys.executable, "-c", IMPORT])[1]),
        *in_process(stage_seconds, workload),
        num_images / in_process(decode_bound, workload.files)["first_images_per_s"],
    ]
    return [{"arm": stage, "s": taken} for stage, taken in zip(STAGES, seconds, strict=True)]


def main() -> None:
    arguments = study("start", __doc__ or "", repeats=5).parse_args()
    with linked(DataConfig(), TrainConfig()) as (workload, data):
        rows = [{**row, "repeat": i} for i in range(arguments.repeats) for row in measure(workload)]
    finish_study("start", arguments, rows, data=data)


if __name__ == "__main__":
    main()
