"""Results as tables that read well on a terminal and as Markdown. Standard library only."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from hh_fast.evaluation.tables import markdown_table

Row = dict[str, Any]


def values(entry: Row, figure: str) -> list[float]:
    """A figure of an entry's repeats, without those that lack it."""
    return [repeat[figure] for repeat in entry["repeats"] if repeat.get(figure) is not None]


def median(entry: Row, figure: str) -> float | None:
    found = values(entry, figure)
    return statistics.median(found) if found else None


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def with_spread(entry: Row, figure: str, digits: int = 0) -> str:
    """`median (low to high)`, or the value alone where there is one repeat."""
    found = values(entry, figure)
    if not found:
        return "-"
    middle = number(statistics.median(found), digits)
    return middle if len(found) == 1 else f"{middle} ({number(min(found), digits)} to {number(max(found), digits)})"


def megabytes(value: float | None) -> str:
    return number(None if value is None else value / 1e6)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _rows(entries: Sequence[Row], cells: Callable[[Row], list[str]]) -> list[list[str]]:
    """One row for each entry that did not fail; the failed ones are told below the table."""
    return [[entry["name"], *cells(entry)] for entry in entries if entry["repeats"]]


def failures(entries: Sequence[Row]) -> list[str]:
    return [f"{entry['name']} failed: {entry['failure']}" for entry in entries if entry["failure"]]


def input_table(results: Row) -> str:
    def cells(entry: Row) -> list[str]:
        return [
            entry.get("yields") or "-",
            with_spread(entry, "first_img_s"),
            with_spread(entry, "warm_img_s"),
            number(median(entry, "first_batch_s"), 2),
            megabytes(median(entry, "peak_bytes")),
        ]

    header = ["input alone", "yields", "first epoch, images/s", "later, images/s", "first batch, s", "peak memory, MB"]
    return markdown_table(header, _rows(results["input"], cells))


def training_table(results: Row) -> str:
    def cells(entry: Row) -> list[str]:
        return [
            with_spread(entry, "wall_s", 1),
            number(median(entry, "first_epoch_s"), 1),
            number(median(entry, "warm_epoch_s"), 1),
            with_spread(entry, "warm_img_s"),
            percent(median(entry, "input_wait")),
            percent(median(entry, "last_val_accuracy")),
            megabytes(median(entry, "peak_bytes")),
        ]

    header = [
        "whole training",
        "wall, s",
        "to the first epoch's end, s",
        "a later epoch, s",
        "training, images/s",
        "input wait",
        "validation accuracy",
        "peak memory, MB",
    ]
    return markdown_table(header, _rows(results["training"], cells))


def ratio_table(results: Row) -> str:
    rows = []
    for entry in results["ratios"]:
        pairs = "-" if entry["num_values"] == 1 else f"{entry['low']:.2f} to {entry['high']:.2f}"
        rows.append([entry["what"], f"{entry['median']:.2f}", pairs, entry["over"], entry["under"]])
    return markdown_table(["ratio", "median", "pairs", "of", "to"], rows)


def sweep_table(entries: Sequence[dict[str, Any]]) -> str:
    """All settings, the fastest first, and what failed."""
    measured = sorted((entry for entry in entries if not entry["failure"]), key=lambda entry: -entry["img_s"])
    rows = [
        [
            entry["name"],
            entry["cache"],
            number(entry["img_s"]),
            percent(entry["input_wait"]),
            number(entry["compile_s"], 1),
        ]
        for entry in measured
    ]
    text = markdown_table(["sweep", "cache", "training, images/s", "input wait", "compile, s"], rows)
    return "\n\n".join([text, *(f"- Warning: {line}" for line in failures(entries))])


def headline(results: Row) -> str:
    """What the whole bench comes to, in one sentence."""
    found = {entry["what"]: entry for entry in results["ratios"]}
    whole = found.get("whole training")
    if whole is None:
        return "No ratio of whole trainings: see what failed."
    epochs = results["flags"]["bench"]["epochs"]
    return (
        f"{epochs} epochs of {results['plan']['num_train']} images: ImageDataGenerator and fit took"
        f" {whole['median']:.2f} times as long as hh_fast ({results['precision']}, where the recipe has float32)."
    )


def notes(results: Row) -> list[str]:
    """How it was measured, as sentences."""
    data, plan, machine = results["data"], results["plan"], results["machine"]
    repeats = results["flags"]["bench"]["repeats"] or (1 if results["flags"]["bench"]["quick"] else 3)
    height, width = data["image_size"]
    checked = results["fairness"]
    part = " (a part of them, to end in the time asked for; --budget_s=0 takes all)" if data["subset"] else ""
    return [
        f"Machine: {machine['cpu']}, {machine['num_cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB,"
        f" {', '.join(machine['gpus']) or 'no GPU'}; load before: {number(machine['load_before'], 1)}.",
        f"Images: {data['name']}, {data['num_train']} to train and {data['num_validation']} to validate on, as"
        f" {height} x {width}; used: {plan['num_input']} for input alone, {plan['num_train']} and"
        f" {plan['num_validation']} for whole trainings{part}.",
        f"{repeats} {'repeat' if repeats == 1 else 'repeats'}, variants in turn, each in a process of its own with TensorFlow imported and its thread"
        " pools started (the warm-up, not timed). Median (lowest to highest).",
        f"First epoch: from the folder, with all that a path does once. {data['file_cache'].capitalize()}.",
        f"Checked before: the paths yield equal labels and pixels for {checked['num_images']} files"
        f" ({checked['num_exact']} of them not resized and lossless: equal to the bit).",
        "Peak memory: rise of this process' own pages; mapped files and worker processes are not in it.",
        "Input wait: share of the step's time; fit does not tell it, see its share of the bound.",
        *checked["remarks"],
    ]


def render(results: Row) -> str:
    """The whole report as Markdown."""
    parts = [
        "# bin/bench",
        headline(results),
        input_table(results),
        training_table(results),
        ratio_table(results),
    ]
    if results.get("sweep"):
        parts.append(sweep_table(results["sweep"]))
    missing = [f"{name} is not installed, so it was not measured" for name in results.get("missing_peers", [])]
    told = [*results["warnings"], *missing, *failures(results["input"]), *failures(results["training"])]
    if told:
        parts.append("\n".join(f"- Warning: {line}" for line in told))
    parts.append("\n".join(f"- {line}" for line in notes(results)))
    return "\n\n".join(parts) + "\n"
