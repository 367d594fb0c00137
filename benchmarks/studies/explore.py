"""What looking at labels costs bin/explore, and the README's picture of what it finds.

    .venv/bin/python -m benchmarks.studies.explore --photos=FOLDER
    .venv/bin/python -m benchmarks.studies.explore --picture=examples/wrong_folder.png

Takes about 4 minutes on 2 cores. FOLDER holds photos in class folders: bin/explore is timed without a backbone, with one whose features
are not there yet, and with one whose are. The second draws what is found in the sample once some of its pictures are in the wrong folder.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, command_words, finish_study, run_in_turn, study
from hh_fast.config import DataConfig
from hh_fast.data.images import list_images
from hh_fast.data.sources import find_source

BACKBONE = "efficientnet_lite0"
NUM_SHOWN = 150  # of each class of the sample
SWAPPED = (7, 21, 50, 88, 117)


def explore(train_dir: Path, cache_dir: Path, *words: str) -> str:
    """Runs bin/explore, and returns what it prints."""
    flags = [f"--train_dir={train_dir}", f"--cache_dir={cache_dir}", f"--grid={cache_dir}/grid.png", *words]
    return subprocess.run(command_words("explore", *flags), check=True, stdout=subprocess.PIPE, text=True).stdout


def time_explore(photos: Path, cache_dir: Path, *words: str) -> Row:
    begun = time.perf_counter()
    explore(photos, cache_dir, f"--findings_dir={cache_dir}/findings", *words)
    return {"seconds": time.perf_counter() - begun}


def draw_picture(path: Path) -> None:
    """The pictures of the sample that look like the other class, once each class has some of the other."""
    sample = find_source(DataConfig()).train_dir
    images, _ = list_images(sample)
    with tempfile.TemporaryDirectory(prefix="hh_fast-") as folder:
        pictures = Path(folder, "pictures")
        for label in range(len(images.class_names)):
            for number, row in enumerate(np.flatnonzero(images.labels == label)[:NUM_SHOWN]):
                to = images.class_names[1 - label if number in SWAPPED[label::2] else label]
                (pictures / to).mkdir(parents=True, exist_ok=True)
                shutil.copy(images.paths[row], pictures / to)
        findings = Path(folder, "findings")
        print(explore(pictures, Path(folder), f"--backbone={BACKBONE}", f"--findings_dir={findings}"))
        shutil.copy(findings / "wrong_folder.png", path)


def main() -> None:
    parser = study("explore", __doc__ or "", repeats=3)
    parser.add_argument("--photos", help="folder of class folders of photos")
    parser.add_argument("--picture", type=Path, help="instead: draw the README's picture to this file")
    arguments = parser.parse_args()
    if arguments.picture:
        draw_picture(arguments.picture)
        return
    if not arguments.photos:
        parser.error("--photos must name a folder of class folders of photos")
    photos = Path(arguments.photos).resolve()
    with tempfile.TemporaryDirectory(prefix="hh_fast-") as folder:
        cache_dir = Path(folder)
        backbone = f"--backbone={BACKBONE}"
        arms = {
            "without a backbone": lambda _: time_explore(photos, cache_dir / "cached"),
            "features not there yet": lambda repeat: time_explore(photos, cache_dir / f"cold{repeat}", backbone),
            "features on disk": lambda _: time_explore(photos, cache_dir / "cached", backbone),
        }
        time_explore(photos, cache_dir / "cached", backbone)  # which leaves its features there
        rows, failures = run_in_turn(arms, repeats=arguments.repeats)
    finish_study("explore", arguments, rows, failures)


if __name__ == "__main__":
    main()
