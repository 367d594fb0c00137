"""The chart: how long training takes, and how fast images come in. hh_fast is red, everything else grey."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hh_fast.bench.results import Results
from hh_fast.bench.statistics import Outcome

OWN, OTHER, RANGE = "#d1495b", "#8d99ae", "#2b2d42"
INPUTS = {
    "ImageDataGenerator": "ImageDataGenerator",
    "image_dataset_from_directory": "image_dataset_\nfrom_directory",
    "image_dataset_from_directory, cache, prefetch": "… .cache(),\nfloat32",
    "hh_fast, disk": "hh_fast\nfrom disk",
    "hh_fast, memory": "hh_fast\nfrom memory",
}


def _bars(axes: Axes, outcomes: Sequence[Outcome[Any]], labels: Sequence[str], figure: str, text: str) -> None:
    """One bar an outcome, from the top, with the range of its repeats and its value in words."""
    positions = range(len(outcomes), 0, -1)
    highest = 1.0
    for position, outcome in zip(positions, outcomes, strict=True):
        found = outcome.values(figure)
        middle = outcome.median(figure) or 0.0
        own = outcome.name.startswith("hh_fast")
        highest = max(highest, *found)
        axes.barh(position, middle, height=0.62, color=OWN if own else OTHER)
        axes.hlines(position, min(found), max(found), color=RANGE, linewidth=1.2)
        axes.annotate(
            text.format(middle),
            (max(found), position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=11,
            fontweight="bold" if own else "normal",
        )
    axes.set_xlim(0, 1.25 * highest)
    axes.set_yticks(list(positions), labels, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw(results: Results, png: Path, svg: Path) -> None:
    """Writes the chart of `results` as PNG and SVG."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    trained = [outcome for outcome in results.training if outcome.values("wall_s")]
    named = {outcome.name: outcome for outcome in results.input if outcome.values("steady_images_per_s")}
    inputs = [named[name] for name in INPUTS if name in named]
    upper, lower = figure.subplots(2, 1, height_ratios=[max(2, len(trained)), 5])
    labels = [outcome.name.replace(", ", "\n", 1) for outcome in trained]
    _bars(upper, trained, labels, "wall_s", "{:,.1f} s")
    title = f"Training, {results.bench.epochs} epochs of {results.plan.num_train} images: seconds"
    upper.set_title(title, loc="left", fontsize=11)
    _bars(lower, inputs, [INPUTS[outcome.name] for outcome in inputs], "steady_images_per_s", "{:,.0f}")
    lower.xaxis.set_major_formatter("{x:,.0f}")
    lower.set_title("Input alone, after the first epoch: images a second", loc="left", fontsize=11)
    found = [ratio for ratio in results.ratios if ratio.figure == "wall_s" and ratio.median > 1][:1]
    about = f"{results.machine.in_words}; bars: medians, lines: lowest to highest"
    told = [f"Training: a speedup of {ratio.median:.1f} over {ratio.above.partition(',')[0]}" for ratio in found]
    heading = told[0] if told else "Results of bin/bench"
    figure.suptitle(heading, fontsize=16, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(about, fontsize=8, x=0.01, ha="left")
    figure.savefig(png, format="png", dpi=130)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hh_fast"}):  # text that can be read and copied
        figure.savefig(svg, format="svg", metadata={"Date": None})
