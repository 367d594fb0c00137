"""Results as tables that read well on a terminal and as Markdown. No TensorFlow."""

import statistics
from collections.abc import Sequence
from typing import Any

from hh_fast.bench.results import STALLED, InputFigures, Results, StepFigures, SweepEntry, TrainingFigures
from hh_fast.bench.statistics import Outcome, Ratio
from hh_fast.evaluation.tables import markdown_table


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def with_spread(outcome: Outcome[Any], figure: str, digits: int = 0) -> str:
    """The median, and the lowest and the highest of several."""
    found = outcome.values(figure)
    if not found:
        return "-"
    middle = number(statistics.median(found), digits)
    return middle if len(found) == 1 else f"{middle} ({number(min(found), digits)} to {number(max(found), digits)})"


def megabytes(value: float | None) -> str:
    return number(None if value is None else value / 1e6)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def counted(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def input_table(outcomes: Sequence[Outcome[InputFigures]]) -> str:
    rows = [
        [
            outcome.name,
            with_spread(outcome, "first_images_per_s"),
            with_spread(outcome, "steady_images_per_s"),
            number(outcome.median("first_batch_s"), 2),
            megabytes(outcome.median("peak_bytes")),
        ]
        for outcome in outcomes
        if outcome.repeats
    ]
    header = ["input alone", "first epoch, images/s", "steady, images/s", "first batch, s", "peak memory, MB"]
    return markdown_table(header, rows)


def training_table(outcomes: Sequence[Outcome[TrainingFigures]], title: str = "training") -> str:
    rows = [
        [
            outcome.name,
            with_spread(outcome, "steady_epoch_s", 1),
            with_spread(outcome, "wall_s", 1),
            number(outcome.median("first_epoch_s"), 1),
            number(outcome.median("steady_images_per_s")),
            percent(outcome.median("input_wait")),
            percent(outcome.median("last_val_accuracy")),
            megabytes(outcome.median("peak_bytes")),
        ]
        for outcome in outcomes
        if outcome.repeats
    ]
    header = [
        title,
        "steady-state epoch, s",
        "training time, s",
        "to the first epoch's end, s",
        "steady, images/s",
        "input wait",
        "validation accuracy",
        "peak memory, MB",
    ]
    return markdown_table(header, rows)


def bound_table(outcomes: Sequence[Outcome[StepFigures]]) -> str:
    rows = [
        [
            outcome.name,
            with_spread(outcome, "steady_images_per_s"),
            number(None if (speed := outcome.median("flops_per_s")) is None else speed / 1e9),
        ]
        for outcome in outcomes
        if outcome.repeats
    ]
    return markdown_table(["bound of the step", "images/s", "GFLOP/s"], rows)


def ratio_table(ratios: Sequence[Ratio]) -> str:
    rows = []
    for ratio in ratios:
        pairs = "-" if ratio.num_pairs == 1 else f"{ratio.low:.2f} to {ratio.high:.2f}"
        rows.append([ratio.what, f"{ratio.median:.2f}", pairs, ratio.above, ratio.below])
    return markdown_table(["ratio, pair by pair", "median", "lowest to highest", "of", "to"], rows)


def stall_sentence(outcomes: Sequence[Outcome[TrainingFigures]]) -> str:
    """One sentence on the epochs that the steady-state column leaves out; empty where there are none."""
    counts = {outcome.name: sum(repeat.num_stalled for repeat in outcome.repeats) for outcome in outcomes}
    totals = {outcome.name: sum(max(1, len(one.epoch_s) - 1) for one in outcome.repeats) for outcome in outcomes}
    stalled = {name: f"{count} of {totals[name]} of {name}" for name, count in counts.items() if count}
    untuned = [text for name, text in stalled.items() if name.startswith("hh_fast")]
    tuned = [text for text in stalled.values() if text not in untuned]
    parts = [f"since tf.data's autotuner delays an iterator's shutdown, {'; '.join(tuned)}"] if tuned else []
    parts += [f"by the machine, for no autotuner runs there, {'; '.join(untuned)}"] if untuned else []
    if not parts:
        return ""
    return (
        f"Epochs after the first that stalled, taking over {STALLED:g} times as long as the shortest: {'; and '.join(parts)}."
        " The training times hold them, the steady-state columns do not."
    )


def sweep_table(entries: Sequence[SweepEntry]) -> str:
    """All settings, the fastest first, and what failed."""
    measured = sorted((entry for entry in entries if not entry.failure), key=lambda entry: -entry.images_per_s)
    rows = [
        [entry.name, entry.cache, number(entry.images_per_s), percent(entry.input_wait), number(entry.compile_s, 1)]
        for entry in measured
    ]
    text = markdown_table(["sweep", "cache", "training, images/s", "input wait", "compile, s"], rows)
    return "\n\n".join(
        [text, *(f"- Warning: {entry.name} failed: {entry.failure}" for entry in entries if entry.failure)]
    )


def headline(results: Results) -> str:
    """What the whole bench comes to, in one sentence."""
    own = f"hh_fast, {results.precision}"
    found = [ratio for ratio in results.ratios if ratio.figure == "wall_s" and ratio.below == own]
    if not found:
        return "No speedup can be told: see what failed."
    speedups = " and ".join(f"{ratio.median:.2f} times that of {ratio.above}" for ratio in found)
    return f"{counted(results.bench.epochs, 'epoch')} of {counted(results.plan.num_train, 'image')}: the speed of {own} is {speedups}."


def notes(results: Results) -> list[str]:
    """How it was measured, as sentences."""
    images, plan, machine, checked = results.images, results.plan, results.machine, results.fairness
    height, width = images.image_size
    part = " (a part of them, to end in the time asked for; --budget_s=0 takes all)"
    part = part if min(plan.num_train, plan.num_input) < images.num_train else ""
    cache = "dropped from the system's page cache before it" if results.bench.cold else "in the system's page cache"
    return [
        f"Machine: {machine.in_words}, {machine.memory_bytes / 1e9:.0f} GB; load before: {number(machine.load_before, 1)}.",
        f"Images: {images.name}, {images.num_train} to train and {images.num_validation} to validate on, as"
        f" {height} x {width}; used: {plan.num_input} for input alone, {plan.num_train} and"
        f" {plan.num_validation} for training{part}.",
        f"{counted(results.bench.num_repeats, 'repeat')}, variants in turn, each in a process of its own with TensorFlow imported and its thread"
        " pools started (the warm-up, not timed). Median (lowest to highest).",
        f"First epoch: from the folder, with all that a path does once; the image files were {cache}.",
        f"Checked before: the paths yield equal labels and pixels for {checked.num_images} files"
        f" ({checked.num_exact} of them not resized and lossless: equal to the bit).",
        "Peak memory: rise of this process' own pages; mapped files and worker processes are not in it.",
        "Input wait: share of the step's time; fit does not tell it, see its share of the bound.",
        "The matrix product's images/s: what the step's convolutions and dense layers would take at that speed.",
        *checked.remarks,
    ]


def warnings(results: Results) -> list[str]:
    single = "one repeat shows no noise, so these are first looks: use --repeats=3 or more to claim a difference"
    noisy = [ratio.warning for ratio in results.ratios if ratio.warning]
    return ([single] if results.bench.num_repeats == 1 else []) + noisy + results.failures


def render(results: Results) -> str:
    """The whole report as Markdown."""
    parts = [
        "# bin/bench",
        headline(results),
        input_table(results.input),
        training_table(results.training),
        stall_sentence(results.training),
        bound_table(results.step_bounds),
        ratio_table(results.ratios),
        sweep_table(results.sweep) if results.sweep else "",
        "\n".join(f"- Warning: {line}" for line in warnings(results)),
        "\n".join(f"- {line}" for line in notes(results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
