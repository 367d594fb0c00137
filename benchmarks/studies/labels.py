"""Wrong labels: how many of those that were put into a folder of photos are among the first that bin/explore lists.

    .venv/bin/python -m benchmarks.studies.labels --photos=FOLDER

Takes half a minute on 2 cores. FOLDER holds class folders (the published figures are of 320 photos of tf_flowers, some of whose own labels are
wrong). For each repeat other photos, drawn at random, get the label of another class, drawn too.
"""

from pathlib import Path

import numpy as np

from benchmarks.harness import Row, finish_study, study
from benchmarks.studies.photos import read_photos
from hh_fast.backbone.features import features
from hh_fast.backbone.pretrained import build
from hh_fast.data.explore.labels import find_suspects


def measure(of_photos: np.ndarray, labels: np.ndarray, num_changed: int, seed: int) -> Row:
    rng = np.random.default_rng(seed)
    changed = rng.choice(len(labels), num_changed, replace=False)
    num_classes = int(labels.max()) + 1
    given = labels.copy()
    given[changed] = (labels[changed] + rng.integers(1, num_classes, num_changed)) % num_classes
    names = [str(i) for i in range(max(len(labels), num_classes))]
    suspects = find_suspects(of_photos, given, np.arange(len(labels)), names, names)  # each photo a group of its own
    order = [int(suspect.path) for suspect in suspects]
    return {
        "arm": f"{num_changed} of {len(labels)} labels changed",
        "repeat": seed,
        "among_first_16": int(np.isin(order[:16], changed).sum()),
        "among_first_32": int(np.isin(order[:32], changed).sum()),
    }


def main() -> None:
    parser = study("labels", __doc__ or "", repeats=8)
    parser.add_argument("--photos", type=Path, required=True, help="folder of class folders of photos")
    parser.add_argument("--num_changed", type=int, default=16)
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    of_photos = features(build("efficientnet_lite0"), photos.pixels)
    rows = [measure(of_photos, photos.labels, arguments.num_changed, seed) for seed in range(arguments.repeats)]
    finish_study("labels", arguments, rows)


if __name__ == "__main__":
    main()
