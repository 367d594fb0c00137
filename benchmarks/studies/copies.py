"""Copies that are not byte-identical: how many are found, what else is taken for one, and what looking for them costs.

    .venv/bin/python -m benchmarks.studies.copies --photos=FOLDER

Takes about 5 minutes on 2 cores. FOLDER holds photos of different things, in class folders (the published figures are of 420 photos of
tf_flowers). Of each photo, and of each picture of the sample and of some that were drawn from another seed, one copy of a kind
is planted; the kinds of `NEW` were left alone while the thresholds were chosen. The cost is of `--num_photos` files, the photos
over and over, of which each shows another part of its photo to the finder; once as they are, and once scaled up to 12 megapixels.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import Row, finish_study, study
from benchmarks.studies.photos import LARGE, put
from hh_fast.config import DataConfig
from hh_fast.data.copies import find_copies, thumbnail
from hh_fast.data.images import list_images
from hh_fast.data.pixels import read_pixels
from hh_fast.data.reading import in_threads, read_file
from hh_fast.data.sources import find_source
from hh_fast.sample.dataset import draw_sample

Change = Callable[[np.ndarray], np.ndarray]
LIMIT = 10**9


def _jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def _scaled(pixels: np.ndarray, factor: float, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=interpolation)


def _cropped(pixels: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def _times(pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


KINDS: dict[str, Change] = {
    "half size": lambda x: _scaled(x, 0.5),
    "JPEG quality 50": lambda x: _jpeg(x, 50),
    "brightness + 20%": lambda x: _times(x, 1.2),
    "cropped by 4% at two sides": lambda x: _cropped(x, 0.04, 0, 0.04, 0),
    "cropped by 4% at all sides": lambda x: _cropped(x, 0.04, 0.04, 0.04, 0.04),
}
NEW: dict[str, Change] = {
    "a third of the size, without antialiasing": lambda x: _scaled(x, 1 / 3, cv2.INTER_LINEAR),
    "cropped by 3% at the left and 4% at the bottom": lambda x: _cropped(x, 0, 0.04, 0.03, 0),
    "gamma 0.8": lambda x: (255 * (x / 255) ** 0.8).astype(np.uint8),
    "brighter by 15%, cropped by 3%, half size, JPEG quality 60": lambda x: _jpeg(
        _scaled(_cropped(_times(x, 1.15), 0.03, 0.03, 0.03, 0.03), 0.5), 60
    ),
}


def look_for_copies(name: str, paths: Sequence[str]) -> list[Row]:
    """A row for the pictures as they are, and one for each kind of copy: the share of copies that were found, the pictures that
    were taken for a copy of another one beside them, and the largest group of the former."""
    pixels = [image.copy() for image in in_threads(functools.partial(read_pixels, form=None), paths)]
    thumbnails, n = np.stack([thumbnail(image) for image in pixels]), len(pixels)
    alone = find_copies(thumbnails)
    about = {"repeat": 0, "set": f"{name}, {n:,} pictures"}
    largest = int(np.bincount(alone, minlength=n).max())
    rows: list[Row] = [
        {"arm": "as they are", **about, "others": int((alone != np.arange(n)).sum()), "largest_group": largest}
    ]
    for kind, change in {**KINDS, **NEW}.items():
        copies = np.stack([thumbnail(np.ascontiguousarray(change(image))) for image in pixels])
        leaders = find_copies(np.concatenate([thumbnails, copies]))
        found = float((leaders[:n] == leaders[n:]).mean())
        joined = (leaders != np.arange(2 * n)) & (leaders % n != np.arange(2 * n) % n)
        aside = " (kept aside)" if kind in NEW else ""
        rows.append({"arm": f"{kind}{aside}", **about, "found": found, "others": int(joined.sum())})
    return rows


def parts_of(pixels: list[np.ndarray], count: int) -> np.ndarray:
    """Thumbnails of `count` windows of the pictures, each drawn anew: a half to nine tenths of either side, some mirrored."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        image = pixels[i % len(pixels)]
        left = rng.uniform(0.1, 0.5, 2)
        start = rng.uniform(0, left)
        window = _cropped(image, start[0], left[0] - start[0], start[1], left[1] - start[1])
        found.append(thumbnail(np.ascontiguousarray(window[:, ::-1] if rng.random() < 0.5 else window)))
    return np.stack(found)


def time_them(what: str, paths: Sequence[str], num_read: int, thumbnails: np.ndarray, repeat: int) -> Row:
    """Seconds to read and decode as many photos as there are `thumbnails`, to make theirs, and to find the copies among these.

    The first two are taken on `num_read` files, `paths` over and over, and multiplied.
    """
    files, times = [paths[i % len(paths)] for i in range(num_read)], len(thumbnails) / num_read
    begun = time.perf_counter()
    in_threads(functools.partial(read_file, max_image_pixels=LIMIT, decodes=True), files)
    reading_s = times * (time.perf_counter() - begun)
    pixels = [read_pixels(path, None).copy() for path in paths]
    begun = time.perf_counter()
    in_threads(thumbnail, [pixels[i % len(pixels)] for i in range(num_read)])
    making_s = times * (time.perf_counter() - begun)
    begun = time.perf_counter()
    find_copies(thumbnails)
    finding_s = time.perf_counter() - begun
    return {
        "arm": f"{len(thumbnails):,} {what}",
        "repeat": repeat,
        "set": "what it costs",
        "reading_s": reading_s,
        "thumbnails_s": making_s,
        "finding_s": finding_s,
        "share_of_reading": (making_s + finding_s) / reading_s,
    }


def main() -> None:
    parser = study("copies", __doc__ or "", repeats=3)
    parser.add_argument("--photos", required=True, help="folder of class folders of photos")
    parser.add_argument("--num_photos", type=int, default=10_000, help="files that the cost is of")
    parser.add_argument("--num_large", type=int, default=40, help="photos scaled up to 12 megapixels that are read")
    parser.add_argument("--num_drawn", type=int, default=600, help="pictures of another seed than the sample's")
    arguments = parser.parse_args()
    photos = list_images(arguments.photos)[0].paths
    rows = look_for_copies("photos", photos)
    source = find_source(DataConfig())
    folders = [folder for folder in (source.train_dir, source.validation_dir) if folder is not None]
    rows += look_for_copies("the sample", [path for folder in folders for path in list_images(folder)[0].paths])
    with tempfile.TemporaryDirectory(prefix="hh_fast-") as folder:
        draw_sample(Path(folder), num_train=arguments.num_drawn, num_validation=2, seed=20)
        rows += look_for_copies("another seed's", list_images(Path(folder) / "train")[0].paths)
    parts = parts_of([read_pixels(path, None).copy() for path in photos], arguments.num_photos)
    with tempfile.TemporaryDirectory(prefix="hh_fast-") as folder:
        for number, path in enumerate(photos[:: max(1, len(photos) // arguments.num_large)]):
            put(Path(path), number, Path(folder), LARGE)
        large = list_images(folder)[0].paths
        for repeat in range(arguments.repeats):
            rows.append(time_them("photos as they are", photos, len(parts), parts, repeat))
            rows.append(time_them("photos of 12 megapixels", large, len(large), parts, repeat))
    finish_study("copies", arguments, rows)


if __name__ == "__main__":
    main()
