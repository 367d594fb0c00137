"""The chart: how long training takes, and how fast images come in. hh_fast is red, everything else grey."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hh_fast.bench.report import median, values

OWN, OTHER, RANGE = "#d1495b", "#8d99ae", "#2b2d42"
SHORT = {
    "ImageDataGenerator and fit, float32": "ImageDataGenerator\n+ fit",
    "image_dataset_from_directory": "image_dataset_\nfrom_directory",
    "image_dataset_from_directory, cache, prefetch": "… .cache(),\nfloat32",
    "hh_fast, memory": "hh_fast\nfrom memory",
    "hh_fast, disk": "hh_fast\nfrom disk",
}


def _label(name: str) -> str:
    if name in SHORT:
        return SHORT[name]
    return name.replace(" and fit, float32", "\n+ fit").replace(", ", "\n", 1)


def _bars(axes: Axes, entries: list[dict[str, Any]], figure: str, text: str) -> None:
    """One bar an entry, from the top, with the range of its repeats and its value in words."""
    positions = range(len(entries), 0, -1)
    for position, entry in zip(positions, entries, strict=True):
        found = values(entry, figure)
        middle = median(entry, figure) or 0.0
        axes.barh(position, middle, height=0.62, color=OWN if entry["name"].startswith("hh_fast") else OTHER)
        axes.hlines(position, min(found), max(found), color=RANGE, linewidth=1.2)
        axes.annotate(
            text.format(middle),
            (max(found), position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=11,
            fontweight="bold" if entry["name"].startswith("hh_fast") else "normal",
        )
    axes.set_yticks(list(positions), [_label(entry["name"]) for entry in entries], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _shown(entries: list[dict[str, Any]], names: list[str], figure: str) -> list[dict[str, Any]]:
    by_name = {entry["name"]: entry for entry in entries if values(entry, figure)}
    return [by_name[name] for name in names if name in by_name]


def _draw_training(axes: Axes, results: dict[str, Any]) -> None:
    entries = [entry for entry in results["training"] if values(entry, "wall_s")]
    _bars(axes, entries, "wall_s", "{:,.1f} s")
    epochs = results["flags"]["bench"]["epochs"]
    title = f"Training, {epochs} epochs of {results['plan']['num_train']} images: seconds"
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(0, 1.25 * max((max(values(entry, "wall_s")) for entry in entries), default=1.0))


def _draw_input(axes: Axes, results: dict[str, Any]) -> None:
    names = [
        "ImageDataGenerator",
        "image_dataset_from_directory",
        "image_dataset_from_directory, cache, prefetch",
        "hh_fast, disk",
        "hh_fast, memory",
    ]
    entries = _shown(results["input"], names, "warm_img_s")
    _bars(axes, entries, "warm_img_s", "{:,.0f}")
    rates = [rate for entry in entries for rate in values(entry, "warm_img_s")]
    axes.set_xlim(0, 1.25 * max(rates, default=1.0))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title("Input alone, after the first epoch: images a second", loc="left", fontsize=11)


def draw(results: dict[str, Any], png: Path, svg: Path) -> None:
    """Writes the chart of `results` as PNG and SVG."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    num_trainings = sum(bool(values(entry, "wall_s")) for entry in results["training"])
    upper, lower = figure.subplots(2, 1, height_ratios=[max(2, num_trainings), 5])
    _draw_training(upper, results)
    _draw_input(lower, results)
    whole = [entry for entry in results["ratios"] if entry["what"] == "whole training"]
    faster = bool(whole) and whole[0]["median"] > 1
    title = (
        f"hh_fast trains {whole[0]['median']:.1f} times faster on this machine" if faster else "Results of bin/bench"
    )
    figure.suptitle(title, fontsize=16, fontweight="bold", x=0.01, ha="left")
    machine = results["machine"]
    about = f"{machine['cpu']}, {machine['num_cores']} cores, {', '.join(machine['gpus']) or 'no GPU'}"
    figure.supxlabel(f"{about}; bars: medians, lines: lowest to highest", fontsize=8, x=0.01, ha="left")
    figure.savefig(png, format="png", dpi=130)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hh_fast"}):  # text that can be read and copied
        figure.savefig(svg, format="svg", metadata={"Date": None})
