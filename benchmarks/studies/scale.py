"""Many images: input's images a second and peak memory for 1,000, 10,000 and 100,000 images, with each cache.

    .venv/bin/python -m benchmarks.studies.scale

Takes about 10 minutes on 2 cores. The images are hard links to those of the sample, read as 100 x 100, so that a disk of a
few GB and this machine's memory hold 100,000 of them; the decoder still decodes 300 x 300. Every measurement has a process
of its own, whose peak counts.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, finish_study, isolated, run_in_turn, study
from benchmarks.race.inputs import input_paths, measure_input
from benchmarks.race.workload import linked
from hh_fast.config import DataConfig, TrainConfig

CACHES = ("memory", "disk", "none")
BATCH_SIZE = 100


def link_copies(files: Sequence[str], num_images: int, folder: Path) -> Path:
    """`num_images` hard links to `files`, in a mixed order and over and over, in class folders of their names."""
    order = np.random.default_rng(0).permutation(len(files))
    for i in range(num_images):
        source = Path(files[order[i % len(order)]])
        (folder / source.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(source.resolve(), folder / source.parent.name / f"{i:07d}{source.suffix}")
    return folder


def main() -> None:
    parser = study("scale", __doc__ or "", repeats=1)
    parser.add_argument("--counts", default="1000,10000,100000", help="numbers of images, with commas")
    arguments = parser.parse_args()
    paths = {path.name: path for path in input_paths()}
    rows: list[Row] = []
    failures: dict[str, str] = {}
    train = TrainConfig(batch_size=BATCH_SIZE)
    with linked(DataConfig(image_size=(100, 100)), train) as (workload, data):
        for count in map(int, arguments.counts.split(",")):
            folder = link_copies(
                workload.files, count // BATCH_SIZE * BATCH_SIZE, workload.train_dir.parent / str(count)
            )
            on = dataclasses.replace(workload, data=dataclasses.replace(workload.data, train_dir=str(folder)))
            for cache in CACHES:
                arms = {f"hh_fast, {cache}, {count:,} images": isolated(measure_input, paths[f"hh_fast, {cache}"], on)}
                labels = {"cache": cache, "num_images": count, "decoded_bytes": count * 100 * 100 * 3}
                found, failed = run_in_turn(arms, repeats=arguments.repeats, **labels)
                rows, failures = rows + found, failures | failed
    finish_study("scale", arguments, rows, failures, data=data)


if __name__ == "__main__":
    main()
