"""How fast image files become the first pass over a data set: Keras' loader, TensorFlow's decoder by itself, and hh_fast.

    .venv/bin/python -m benchmarks.studies.first_pass --photos=FOLDER

Takes about 3 minutes on 2 cores, and a minute more where the sample is not drawn yet. FOLDER has JPEG photos in class folders; they
are copied again and again to 1,600 files, and scaled up to 40 of 12 megapixels. The built-in sample's PNGs are the third set. An arm
is a process of its own, timed from the call that lists the files to the last batch, with the files in the page cache.
"""

import itertools
import shutil
import tempfile
import time
from pathlib import Path

import tensorflow as tf
from PIL import Image

from benchmarks.harness import Row, finish_study, isolated, run_in_turn, study
from benchmarks.race.bounds import untuned
from hh_fast.config import DataConfig
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches
from hh_fast.data.sources import find_source
from hh_fast.io.cores import num_cores

BATCH = 32
NUM_PHOTOS, NUM_LARGE, LARGE = 1600, 40, (4000, 3000)


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
    config = DataConfig(train_dir=str(folder), image_size=size, validation_split=0, cache="memory")
    start = time.perf_counter()
    return _timed(eval_batches(load_data(config).train, batch_size=BATCH), start)


ARMS = {"Keras' loader": by_keras, "TensorFlow's decoder alone": by_tensorflow, "hh_fast": by_hh_fast}


def copy_again(photos: list[Path], folder: Path) -> Path:
    for i, photo in enumerate(itertools.islice(itertools.cycle(photos), NUM_PHOTOS)):
        place = folder / photo.parent.name / f"{i:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, place)
    return folder


def scale_up(photos: list[Path], folder: Path) -> Path:
    for i, photo in enumerate(photos[:: max(1, len(photos) // NUM_LARGE)][:NUM_LARGE]):
        place = folder / photo.parent.name / f"{i:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(photo).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(place, quality=90)
    return folder


def main() -> None:
    parser = study("first_pass", __doc__ or "", repeats=5)
    parser.add_argument("--photos", type=Path, required=True)
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*/*.jpg")) or sorted(arguments.photos.glob("*/*/*.jpg"))
    with tempfile.TemporaryDirectory(prefix="first_pass-") as scratch:
        for name in ("small", "large"):
            Path(scratch, name).mkdir()
        sets = {
            "photos": (copy_again(photos, Path(scratch, "small")), (224, 224)),
            "12 megapixels": (scale_up(photos, Path(scratch, "large")), (300, 300)),
            "sample": (find_source(DataConfig()).train_dir, (300, 300)),
        }
        rows: list[Row] = []
        failures: dict[str, str] = {}
        for name, (folder, size) in sets.items():
            arms = {f"{arm}, {name}": isolated(function, folder, size) for arm, function in ARMS.items()}
            for path in folder.glob("*/*"):
                path.read_bytes()  # into the page cache
            found, failed = run_in_turn(arms, repeats=arguments.repeats, set=name)
            keras = {row["repeat"]: row["first_images_per_s"] for row in found if row["arm"] == next(iter(arms))}
            rows += [
                {**row, "of_keras": row["first_images_per_s"] / keras[row["repeat"]]}
                for row in found
                if row["repeat"] in keras
            ]
            failures |= failed
    finish_study("first_pass", arguments, rows, failures)


if __name__ == "__main__":
    main()
