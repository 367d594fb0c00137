"""Many images: input's images a second and peak memory for 1,000, 10,000 and 100,000 images, with each cache.

    .venv/bin/python benchmarks/scale.py

Takes about 10 minutes on 2 cores. The images are hard links to those of the sample, read as 100 x 100, so that a disk of a
few GB and this machine's memory hold 100,000 of them; the decoder still decodes 300 x 300. Every measurement has a process
of its own, whose peak counts.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import benchlib
import numpy as np
from published import RESULTS, ScaleFigures

from hh_fast.bench.input_race import input_paths, measure_input
from hh_fast.bench.isolate import in_process
from hh_fast.bench.statistics import Outcome, describe_failure
from hh_fast.bench.workload import Workload, summarize
from hh_fast.config import TrainConfig
from hh_fast.data.image_form import ImageForm
from hh_fast.data.load import Data, load_data
from hh_fast.io.files import scratch_dir

CACHES = ("memory", "disk", "none")


def link_copies(data: Data, num_images: int, folder: Path) -> Path:
    """`num_images` hard links to the training images, in a mixed order and over and over, in their class folders."""
    order = np.random.default_rng(0).permutation(data.train.num_images)
    for class_name in data.class_names:
        (folder / class_name).mkdir(parents=True)
    for i in range(num_images):
        position = order[i % len(order)]
        source = Path(data.train.paths[position]).resolve()
        class_name = data.class_names[data.train.labels[position]]
        os.link(source, folder / class_name / f"{i:07d}{source.suffix}")
    return folder


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "scale")
    parser.set_defaults(image_size=100)
    parser.add_argument("--counts", default="1000,10000,100000", help="numbers of images, with commas")
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--plot", type=Path, default=RESULTS / "scale.png")
    arguments = parser.parse_args()
    config = benchlib.data_config(arguments)
    data = load_data(benchlib.data_config(arguments, cache="none"))
    paths = {path.name: path for path in input_paths()}
    found: dict[str, list[ScaleFigures]] = {f"hh_fast, {cache}": [] for cache in CACHES}
    train = TrainConfig(batch_size=arguments.batch_size)
    for count in map(int, arguments.counts.split(",")):
        num_images = count // arguments.batch_size * arguments.batch_size
        with scratch_dir(config.cache_root / "bench") as folder:
            linked = link_copies(data, num_images, folder / "images")
            workload = Workload(config, train, len(data.class_names)).on(linked, None)
            store_bytes = num_images * ImageForm(config.image_size).num_bytes
            for name, figures in found.items():
                benchlib.show(f"{num_images} images: {name}")
                try:
                    measured = in_process(measure_input, paths[name], workload)
                    figures.append(ScaleFigures(num_images, store_bytes, measured))
                except Exception as e:  # a number that this machine cannot hold
                    figures.append(ScaleFigures(num_images, store_bytes, failure=describe_failure(e)))
    outcomes = [Outcome(name, tuple(figures)) for name, figures in found.items()]
    settings = {"image_size": arguments.image_size, "batch_size": arguments.batch_size}
    benchlib.write(arguments.output, outcomes, data=summarize(data), **settings)
    plot(outcomes, arguments.plot)
    return 0


def plot(outcomes: Sequence[Outcome[ScaleFigures]], path: Path) -> None:
    """Images a second and peak memory over the number of images, one line a cache."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    shown = [
        ("first_images_per_s", 1.0, "First epoch, images a second"),
        ("steady_images_per_s", 1.0, "Steady-state epochs, images a second"),
        ("peak_bytes", 1e6, "Peak memory, MB"),
    ]
    for axes, (key, unit, title) in zip(panels, shown, strict=True):
        # The line of the disk cache is wide, for the one without a cache lies upon it where memory is shown.
        styles = (("#d1495b", 1.5), ("#edae49", 5.0), ("#30638e", 1.5))
        for outcome, (color, width) in zip(outcomes, styles, strict=True):
            points = [(one.num_images, getattr(one.input, key) / unit) for one in outcome.repeats if one.input]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    marker="o",
                    markersize=5 + width,
                    linewidth=width,
                    zorder=2 + 1 / width,
                    color=color,
                    label=outcome.name.replace("hh_fast, ", "cache="),
                )
        axes.set_xscale("log")
        if key == "steady_images_per_s":  # decoding each epoch and copying are two orders of magnitude apart
            axes.set_yscale("log")
            axes.set_ylim(bottom=100)
        else:
            axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("images", fontsize=9)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
