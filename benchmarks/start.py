"""What stands between typing a command and the second training step, stage by stage.

    .venv/bin/python benchmarks/start.py

Takes about a minute on 2 cores. The stages run one after the other in a process of their own, on files in the page cache; the
import, with the devices looked for, in a Python of its own. Beside them, what bare decoding of the same files takes, and what
it takes to touch as much fresh memory as the cache is.
"""

import itertools
import mmap
import subprocess
import sys
import time

import benchlib
import numpy as np
import tensorflow as tf
from published import StartFigures

from hh_fast.bench import own_loop
from hh_fast.bench.bounds import decode_bound, resident_batch
from hh_fast.bench.isolate import in_process, isolated
from hh_fast.bench.workload import Workload
from hh_fast.config import TrainConfig
from hh_fast.data.image_form import ImageForm
from hh_fast.data.scan import list_images, scan
from hh_fast.data.store import fill_memory

IMPORT = """\
import time; start = time.perf_counter()
from hh_fast.io.quiet import import_tensorflow; import_tensorflow(); import keras; print(time.perf_counter() - start)"""


def import_seconds() -> float:
    return float(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout)


def touch_seconds(num_bytes: int) -> float:
    """One byte in each page of fresh memory: what the system takes to hand it out; called in a measuring process."""
    start = time.perf_counter()
    with mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        np.frombuffer(block, np.uint8)[:: mmap.PAGESIZE] = 1
        return time.perf_counter() - start


def stages(workload: Workload) -> StartFigures:
    """Seconds of each stage after the import; called in a measuring process."""
    marks = [time.perf_counter()]
    paths, _, _ = list_images(workload.train_dir)
    marks.append(time.perf_counter())
    files = scan(paths, max_image_pixels=workload.data.max_image_pixels)
    marks.append(time.perf_counter())
    fill_memory(files, ImageForm(workload.data.image_size))
    marks.append(time.perf_counter())
    step = own_loop.make_step(workload)
    marks.append(time.perf_counter())
    images, labels = map(tf.constant, resident_batch(workload))
    step(images, labels)
    marks.append(time.perf_counter())
    seconds = [end - begin for begin, end in itertools.pairwise(marks)]
    bare = in_process(decode_bound, workload.files).first.seconds
    touching = in_process(touch_seconds, len(files) * ImageForm(workload.data.image_size).num_bytes)
    return StartFigures(bare, touching, import_seconds(), *seconds)


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "start")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    arguments = parser.parse_args()
    train = TrainConfig(batch_size=arguments.batch_size)
    with benchlib.whole_workload(benchlib.data_config(arguments), train) as (workload, data):
        outcomes = benchlib.in_turn([isolated("hh_fast", stages, workload, use_gpu=True)], arguments.repeats)
        num_images = len(workload.files)
    benchlib.write(arguments.output, outcomes, data=data, num_images=num_images, batch_size=arguments.batch_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
