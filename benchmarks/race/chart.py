"""The chart: how long a steady-state epoch and a whole training take, and how fast images come in. hh_fast is red, the rest grey."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.harness import Results, Row, arms_of, machine_in_words, median, values
from benchmarks.race.names import AGAIN, OWN_WHOLE, READ_CACHED, READ_GENERATOR, READ_OWN, READ_STOCK, STOCK_WHOLE
from benchmarks.race.report import fair_sentence, of_kind

OWN_COLOR, OTHER_COLOR, RANGE_COLOR = "#d1495b", "#8d99ae", "#2b2d42"
HEADING_CHARACTERS = 75  # of a line as wide as the figure
INPUT_LABELS = {
    READ_GENERATOR: "ImageDataGenerator",
    READ_STOCK: "image_dataset_\nfrom_directory",
    READ_CACHED: "… .cache(),\nfloat32",
    "hh_fast, disk": "hh_fast\nfrom disk",
    READ_OWN: "hh_fast\nfrom memory",
}


class Panel(NamedTuple):
    """Bars of one figure: its arms with their labels, and how the median is written."""

    title: str
    rows: Sequence[Row]
    labels: Mapping[str, str]
    figure: str
    form: str


def _draw_bars(axes: Axes, panel: Panel) -> None:
    """One bar an arm, from the top, with the range of its repeats and its median in words."""
    _, rows, labels, figure, form = panel
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


def _panels(results: Results) -> list[Panel]:
    images = f"{results['data']['num_train']:,} images"
    trained, whole = of_kind(results, "training"), of_kind(results, "backbone")
    if whole:
        plain = {arm: arm.replace(", ", ",\n", 1) for arm in (STOCK_WHOLE, OWN_WHOLE, AGAIN)}
        augmented = {f"{arm}, augmented": plain[arm] for arm in (STOCK_WHOLE, OWN_WHOLE)}
        title = f"From the command to the classifier, {results['epochs']} epochs of {images}: seconds"
        return [
            Panel(title, whole, plain, "wall_s", "{:,.1f} s"),
            Panel("An augmented epoch: seconds", whole, augmented, "steady_epoch_s", "{:,.1f} s"),
        ]
    arms = {arm: arm.replace(", ", "\n", 1) for arm in arms_of(trained)}
    read = of_kind(results, "input")
    return [
        Panel(f"A steady-state epoch of {images}: seconds", trained, arms, "steady_epoch_s", "{:,.1f} s"),
        Panel(
            "Input alone, after the first epoch: images a second", read, INPUT_LABELS, "steady_images_per_s", "{:,.0f}"
        ),
    ]


def draw(results: Results, png: Path, svg: Path) -> None:
    """Writes the chart of `results` as PNG and SVG."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = _panels(results)
    ratios = [max(2, len(panel.labels)) for panel in panels]
    for axes, panel in zip(figure.subplots(2, 1, height_ratios=ratios), panels, strict=True):
        _draw_bars(axes, panel)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(panel.title, loc="left", fontsize=11)
    heading = textwrap.fill(fair_sentence(results).rstrip(".") or "Results of bin/bench", HEADING_CHARACTERS)
    figure.suptitle(heading, fontsize=13, fontweight="bold", x=0.01, ha="left")
    about = f"{machine_in_words(results['machine'])}; bars: medians, lines: lowest to highest"
    figure.supxlabel(about, fontsize=8, x=0.01, ha="left")
    figure.savefig(png, format="png", dpi=130)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hh_fast"}):  # text that can be read and copied
        figure.savefig(svg, format="svg", metadata={"Date": None})
