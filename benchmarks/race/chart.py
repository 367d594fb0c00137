"""The chart: how long a steady-state epoch and a whole training take, and how fast images come in. hh_fast is red, the rest grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.harness import Results, Row, arms_of, machine_in_words, median, values
from benchmarks.race.names import READ_CACHED, READ_GENERATOR, READ_OWN, READ_STOCK
from benchmarks.race.report import fair_sentence, of_kind

OWN_COLOR, OTHER_COLOR, RANGE_COLOR = "#d1495b", "#8d99ae", "#2b2d42"
INPUT_LABELS = {
    READ_GENERATOR: "ImageDataGenerator",
    READ_STOCK: "image_dataset_\nfrom_directory",
    READ_CACHED: "… .cache(),\nfloat32",
    "hh_fast, disk": "hh_fast\nfrom disk",
    READ_OWN: "hh_fast\nfrom memory",
}


def _bars(axes: Axes, rows: Sequence[Row], labels: Mapping[str, str], figure: str, form: str) -> None:
    """One bar an arm, from the top, with the range of its repeats and its median in words."""
    arms = [arm for arm in labels if values(rows, arm, figure)]
    positions = range(len(arms), 0, -1)
    highest = 1.0
    for position, arm in zip(positions, arms, strict=True):
        found, middle = values(rows, arm, figure), median(rows, arm, figure) or 0.0
        own = arm.startswith("hh_fast")
        highest = max(highest, *found)
        axes.barh(position, middle, height=0.62, color=OWN_COLOR if own else OTHER_COLOR)
        axes.hlines(position, min(found), max(found), color=RANGE_COLOR, linewidth=1.2)
        text, weight = form.format(middle), "bold" if own else "normal"
        place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (max(found), position), fontsize=11, fontweight=weight, **place)
    axes.set_xlim(0, 1.25 * highest)
    axes.set_yticks(list(positions), [labels[arm] for arm in arms], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw(results: Results, png: Path, svg: Path) -> None:
    """Writes the chart of `results` as PNG and SVG."""
    trained = of_kind(results, "training")
    labels = {arm: arm.replace(", ", "\n", 1) for arm in arms_of(trained)}
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, height_ratios=[max(2, len(labels)), 5])
    _bars(upper, trained, labels, "steady_epoch_s", "{:,.1f} s")
    upper.set_title(
        f"A steady-state epoch of {results['data']['num_train']:,} images: seconds", loc="left", fontsize=11
    )
    _bars(lower, of_kind(results, "input"), INPUT_LABELS, "steady_images_per_s", "{:,.0f}")
    lower.xaxis.set_major_formatter("{x:,.0f}")
    lower.set_title("Input alone, after the first epoch: images a second", loc="left", fontsize=11)
    heading = fair_sentence(results).rstrip(".").replace(": ", ":\n", 1).replace("; ", ";\n") or "Results of bin/bench"
    figure.suptitle(heading, fontsize=13, fontweight="bold", x=0.01, ha="left")
    about = f"{machine_in_words(results['machine'])}; bars: medians, lines: lowest to highest"
    figure.supxlabel(about, fontsize=8, x=0.01, ha="left")
    figure.savefig(png, format="png", dpi=130)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hh_fast"}):  # text that can be read and copied
        figure.savefig(svg, format="svg", metadata={"Date": None})
