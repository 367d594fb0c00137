"""How fast image files become the first pass over a data set: Keras' loader, TensorFlow's decoder by itself, and hh_fast.

    .venv/bin/python -m benchmarks.studies.first_pass --photos=FOLDER

Takes about 3 minutes on 2 cores, and a minute more where the sample is not drawn yet. FOLDER has JPEG photos in class folders; they
are copied again and again to 1,600 files, and scaled up to 40 of 12 megapixels. The built-in sample's PNGs are the third set. An arm
is a process of its own, timed from the call that lists the files to the last batch, with the files in the page cache and a cache
folder of its own.
"""

import itertools
import tempfile
import time
from pathlib import Path

import tensorflow as tf

from benchmarks.harness import Row, finish_study, isolated, run_in_turn, study
from benchmarks.race.bounds import untuned
from benchmarks.studies.photos import LARGE, put
from hh_fast.config import DataConfig
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches
from hh_fast.data.sources import find_source
from hh_fast.io.cores import num_cores

BATCH = 32


def _timed(batches: tf.data.Dataset, start: float) -> Row:
    num_images = sum(len(batch[0]) for batch in batches)
    return {"first_images_per_s": num_images / (time.perf_counter() - start)}


def by_keras(folder: Path, size: tuple[int, int]) -> Row:
    start = time.perf_counter()
    return _timed(
        tf.keras.utils.image_dataset_from_directory(
            folder, image_size=size, batch_size=BATCH, shuffle=False, verbose=False
        ),
        start,
    )


def by_tensorflow(folder: Path, size: tuple[int, int]) -> Row:
    """Its accurate JPEG, as hh_fast's, and nothing besides: no order, no cache."""

    def decode(path: tf.Tensor) -> tuple[tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")  # reads PNG too
        return (tf.cast(tf.round(tf.image.resize(image, size)), tf.uint8),)

    start = time.perf_counter()
    paths = sorted(str(path) for path in folder.glob("*/*"))
    decoded = tf.data.Dataset.from_tensor_slices(paths).map(decode, num_parallel_calls=num_cores())
    return _timed(untuned(decoded.batch(BATCH).prefetch(1)), start)


def by_hh_fast(folder: Path, size: tuple[int, int]) -> Row:
    with tempfile.TemporaryDirectory() as cache_dir:
        config = DataConfig(
            train_dir=str(folder), image_size=size, validation_split=0, cache="memory", cache_dir=cache_dir
        )
        start = time.perf_counter()
        return _timed(eval_batches(load_data(config).train, batch_size=BATCH), start)


KERAS = "Keras' loader"
ARMS = {KERAS: by_keras, "TensorFlow's decoder alone": by_tensorflow, "hh_fast": by_hh_fast}


def main() -> None:
    parser = study("first_pass", __doc__ or "", repeats=5)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--num_photos", type=int, default=1600)
    parser.add_argument("--num_large", type=int, default=40)
    arguments = parser.parse_args()
    photos = [path for path in sorted(arguments.photos.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    rows: list[Row] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hh_fast-first_pass-") as scratch:
        small, large = Path(scratch, "small"), Path(scratch, "large")
        for i, photo in enumerate(itertools.islice(itertools.cycle(photos), arguments.num_photos)):
            put(photo, i, small)
        spread = photos[:: max(1, len(photos) // arguments.num_large)]
        for i, photo in enumerate(spread[: arguments.num_large]):
            put(photo, i, large, LARGE)
        sets = {
            "photos, to 224 x 224": (small, (224, 224)),
            "12 megapixels, to 300 x 300": (large, (300, 300)),
            "the sample's PNGs, 300 x 300": (Path(find_source(DataConfig()).train_dir), (300, 300)),
        }
        for name, (folder, size) in sets.items():
            for path in folder.glob("*/*"):
                path.read_bytes()  # into the page cache
            arms = {arm: isolated(function, folder, size) for arm, function in ARMS.items()}
            found, failed = run_in_turn(arms, repeats=arguments.repeats, set=name)
            keras = {row["repeat"]: row["first_images_per_s"] for row in found if row["arm"] == KERAS}
            for row in found:
                if row["repeat"] in keras:
                    row["of_keras"] = row["first_images_per_s"] / keras[row["repeat"]]
            rows, failures = rows + found, failures | failed
    finish_study("first_pass", arguments, rows, failures)


if __name__ == "__main__":
    main()
