"""Quick rates that decide how many images the races use. They are not published."""

import dataclasses
import time
from collections.abc import Sequence

import keras

from hh_fast.bench import bounds, whole
from hh_fast.bench.plan import Rates

NUM_FILES = 64
BATCH = 32
MIN_STEP_S = 0.3


def _pillow_rate(files: Sequence[str], image_size: tuple[int, int]) -> float:
    """Images a second of what `ImageDataGenerator` does with each file."""
    start = time.perf_counter()
    for file in files:
        keras.utils.img_to_array(keras.utils.load_img(file, target_size=image_size)) / 255
    return len(files) / (time.perf_counter() - start)


def calibrate(job: whole.Job, files: Sequence[str]) -> Rates:
    """Rates of reading some of `files` and of a float32 training step; called in a measuring process."""
    few = files[:: max(1, len(files) // NUM_FILES)][:NUM_FILES]
    small = dataclasses.replace(job, train=dataclasses.replace(job.train, batch_size=BATCH))
    return Rates(
        generator=_pillow_rate(few, job.data.image_size),
        decode=bounds.decode_bound(few)["first_img_s"],
        step=whole.resident_hh_fast(small, min_s=MIN_STEP_S)["warm_img_s"],
    )
