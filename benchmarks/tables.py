"""Writes the tables of README.md and benchmarks/README.md from the JSON in benchmarks/results.

    .venv/bin/python benchmarks/tables.py            # rewrites what stands between `<!-- table: NAME -->` and `<!-- end table -->`
    .venv/bin/python benchmarks/tables.py --check    # exits with 1 where they differ; bin/test does the same

So every figure there is one that a command left in a file. Standard library and hh_fast's table helpers only.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published
import scaling_model
from input_model import Costs, feed
from published import IteratorFigures, PageFigures, Published, ScaleFigures, StartFigures

from hh_fast.bench.report import (
    bound_table,
    counted,
    input_table,
    megabytes,
    number,
    percent,
    ratio_table,
    stall_sentence,
    training_table,
    with_spread,
)
from hh_fast.bench.results import InputFigures, Machine, StepFigures, TrainingFigures
from hh_fast.bench.statistics import Claim, Outcome, ratios
from hh_fast.evaluation.tables import markdown_table
from hh_fast.io.typed_json import from_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = published.RESULTS
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end table -->)", re.DOTALL)
# Rates to feed, for the analytical model: this CPU's kind, then accelerators of growing speed.
MODEL_RATES = (250, 2_000, 10_000, 40_000)
STALLED_S = 0.1
DECODE_BOUND, COPY_BOUND = "bound: bare decoding, every core", "bound: memory copy, one core"
GENERATOR, STOCK, OWN = "ImageDataGenerator + fit", "stock tf.data + fit", "hh_fast"


def about(machine: Machine, command: str, written: str) -> str:
    with_bf16 = ", bf16 instructions" if "avx512_bf16" in machine.cpu_flags else ""
    software = f"TensorFlow {machine.versions['tensorflow']}, Keras {machine.versions['keras']}"
    return f"`{command}`, {written[:10]}; {machine.in_words}{with_bf16}; {software}."


def footer(results: Published[Any]) -> list[str]:
    """Where the figures come from, and what failed."""
    outcomes = (*results.outcomes, *results.bounds)
    failed = [f"{outcome.name} failed: {outcome.failure}" for outcome in outcomes if outcome.failure]
    return [about(results.machine, results.command, results.written), *failed]


def joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def training(results: Published[TrainingFigures]) -> str:
    epochs, seeds = int(results.settings["epochs"]), int(results.settings["seeds"])
    title = f"{counted(epochs, 'epoch')}, {counted(seeds, 'seed')}"
    bounds = bound_table(results.bounds) if results.bounds else ""
    stalls = stall_sentence(results.outcomes)
    return joined(
        training_table(results.outcomes, title), stalls, bounds, ratio_table(results.ratios), *footer(results)
    )


def inputs(results: Published[InputFigures]) -> str:
    return joined(input_table(results.outcomes), ratio_table(results.ratios), *footer(results))


def step(results: Published[StepFigures]) -> str:
    rows = [[outcome.name, with_spread(outcome, "steady_images_per_s")] for outcome in results.outcomes]
    header = [f"training step, batch {results.settings['batch_size']}", "images/s"]
    parts = where_time_goes(results)
    return joined(markdown_table(header, rows), parts, ratio_table(results.ratios), *footer(results))


def where_time_goes(results: Published[StepFigures]) -> str:
    """Of each step: its arithmetic at the matrix product's speed, what convolutions take beyond it, and all else."""
    named = {outcome.name: outcome.median("steady_images_per_s") for outcome in results.outcomes}
    batch, rows = int(results.settings["batch_size"]), []
    for name, rate in named.items():
        precision = name.rpartition(", ")[2]
        convolutions = named[f"the convolutions alone, {precision}"]
        product = named.get(f"bound: matrix product, {precision}")
        if rate and convolutions and product and name.startswith(("Keras", OWN)):
            step, alone, least = (1000 * batch / each for each in (rate, convolutions, product))
            rows.append([name, *(number(ms) for ms in (step, least, alone - least, step - alone))])
    header = [
        "a step, ms",
        "in all",
        "arithmetic as a matrix product",
        "convolutions beyond it",
        "pooling, activations, update",
    ]
    return markdown_table(header, rows) if rows else ""


def start(results: Published[StartFigures]) -> str:
    names = {
        "import_s": "import of TensorFlow, devices looked for",
        "listing_s": "listing the files",
        "hashing_s": "reading and hashing them, headers checked",
        "decoding_s": "decoding them into the cache",
        "tracing_s": "building and tracing the step",
        "first_step_s": "the first step",
        "bare_decoding_s": "for comparison: bare decoding of the files, every core",
        "touching_s": "for comparison: first touches of as much memory as the cache takes",
    }
    outcome = results.outcomes[0]
    rows = [[name, with_spread(outcome, figure, 2)] for figure, name in names.items()]
    header = [f"before the second step, {results.settings['num_images']:,} images", "s"]
    return joined(markdown_table(header, rows), *footer(results))


def scale(results: Published[ScaleFigures]) -> str:
    rows = []
    for outcome in results.outcomes:
        for one in outcome.repeats:
            start = [outcome.name, f"{one.num_images:,}"]
            if one.input is None:
                rows.append([*start, f"failed: {one.failure}", "-", "-", "-", "-"])
                continue
            rates = [number(one.input.first_images_per_s), number(one.input.steady_images_per_s)]
            sizes = [megabytes(size) for size in (one.store_bytes, one.input.peak_bytes, one.input.peak_mapped_bytes)]
            rows.append([*start, *rates, *sizes])
    header = [
        "input alone",
        "images",
        "first epoch, images/s",
        "steady, images/s",
        "decoded images, MB",
        "peak of own memory, MB",
        "peak of mapped file, MB",
    ]
    return joined(markdown_table(header, rows), *footer(results))


def measured_costs(results: Published[InputFigures]) -> Costs:
    """From inputs.json: the decoder's and the copier's cost of an image, in core-seconds, and its bytes."""
    named = {outcome.name: outcome for outcome in results.outcomes}
    decode = named[DECODE_BOUND].median("first_images_per_s") or 0.0
    copy = named[COPY_BOUND].median("steady_images_per_s") or 0.0
    height, width = results.data.image_size if results.data else (0, 0)
    return Costs(results.machine.num_cores / decode, 1 / copy, height * width * 3)


def input_model(results: Published[InputFigures]) -> str:
    costs = measured_costs(results)
    rows = []
    for rate in MODEL_RATES:
        needed = feed(rate, costs)
        cores = [str(needed.decoding_cores), str(needed.copying_cores)]
        rows.append([f"{rate:,}", *cores, f"{needed.bytes_per_s / 1e9:.1f}"])
    header = ["images/s to feed", "cores to decode each epoch", "cores to copy from a cache", "GB/s from the cache"]
    costs_text = (
        f"Measured: {1e3 * costs.decode_s:.2f} ms of one core to decode an image, {1e6 * costs.copy_s:.0f} µs to copy it,"
        f" {costs.image_bytes:,} bytes. The arithmetic is `benchmarks/input_model.py`."
    )
    return joined(markdown_table(header, rows), costs_text)


def speedup(named: dict[str, Outcome[TrainingFigures]], above: str, below: str, figure: str) -> float | None:
    """The median of the ratios of pairs, as everywhere, or None where an arm is not measured."""
    found = ratios(list(named.values()), [Claim("speedup", above, below, figure)])
    return found[0].median if found else None


def lead(named: dict[str, Outcome[TrainingFigures]], precision: str) -> str:
    """The fair sentence: over what is commonly run, and over stock tf.data at equal precision."""
    said = []
    for plus, when in (("", ""), (", augmented", "with augmentation, ")):
        own = f"{OWN}, {precision}{plus}"
        generator = speedup(named, f"{GENERATOR}, float32{plus}", own, "steady_epoch_s")
        stock = speedup(named, f"{STOCK}, {precision}{plus}", own, "steady_epoch_s")
        over = [f"{generator:.1f} over ImageDataGenerator as commonly run"] if generator else []
        over += [f"{stock:.1f} over stock tf.data at equal precision"] if stock else []
        said += [f"{when}{' and '.join(over)}"] if over else []
    return f"Speedup of a steady-state epoch: {'; '.join(said)}." if said else ""


# Rotation 40, shifts, shear and zoom 0.2: before, the recipe's accuracy swings between chance and 96%, by every path.
EPOCHS_TO_LEARN_AUGMENTED = 10


def readme(results: Published[TrainingFigures]) -> str:
    """The front page's table: what is commonly run, stock tf.data, and hh_fast; with and without augmentation."""
    named = {outcome.name: outcome for outcome in results.outcomes if outcome.repeats}
    precision = str(results.settings["precision"])
    kinds = {precision: None, "float32": None}
    names = [f"{GENERATOR}, float32", f"{STOCK}, {precision}", *(f"{OWN}, {kind}" for kind in reversed(kinds))]
    names += [f"{name}, augmented" for name in names if name != f"{OWN}, float32" or precision == "float32"]
    epochs, num_images = int(results.settings["epochs"]), results.data.num_train if results.data else 0
    rows = []
    for name in (name for name in names if name in named):
        base = f"{GENERATOR}, float32{', augmented' if name.endswith('augmented') else ''}"
        row = [name]
        for figure in ("steady_epoch_s", "wall_s"):
            faster = speedup(named, base, name, figure)
            row += [number(named[name].median(figure), 1), number(faster, 1)]
        learned = epochs >= EPOCHS_TO_LEARN_AUGMENTED or not name.endswith("augmented")
        rows.append([*row, percent(named[name].median("last_val_accuracy")) if learned else "-"])
    header = [
        f"{counted(epochs, 'epoch')} of {counted(num_images, 'image')}",
        "steady-state epoch, s",
        "speedup",
        "training time, s",
        "speedup",
        "validation accuracy",
    ]
    seeds = int(results.settings["seeds"])
    images = "the built-in sample" if results.data and results.data.name == "sample" else "other images"
    text = (
        f"{f'Medians of {seeds} seeds' if seeds > 1 else 'One run of each'} on {images}, {results.machine.in_words}, from the same"
        " initial weights."
        + (" A speedup is the median of its pairs." if seeds > 1 else "")
        + (
            " With so much augmentation accuracy still swings from epoch to epoch after so few, by every path."
            if not learned
            else ""
        )
        + " How, and the rest: [benchmarks/README.md](benchmarks/README.md)."
    )
    return joined(
        lead(named, precision),
        markdown_table(header, rows),
        stall_sentence([named[name] for name in names if name in named]),
        text,
    )


def figures(results: Published[TrainingFigures]) -> str:
    """The five figures that matter, pair by pair: two speedups, and shares of what the machine allows."""
    precision = str(results.settings["precision"])
    own = f"{OWN}, {precision}"
    inputs_measured = published.read("inputs", Published[InputFigures], RESULTS)
    found = {(ratio.what, ratio.above, ratio.below): ratio for ratio in results.ratios}
    found |= {
        (ratio.what, ratio.above, ratio.below): ratio for ratio in (inputs_measured.ratios if inputs_measured else ())
    }
    asked = {
        "speedup of a steady-state epoch over ImageDataGenerator as commonly run": (
            ("speedup, steady-state epoch", f"{GENERATOR}, float32", own)
        ),
        "speedup of a steady-state epoch over stock tf.data at equal precision": (
            ("speedup, steady-state epoch", f"{STOCK}, {precision}", own)
        ),
        f"training, {precision}: share of the machine's own matrix product": (
            ("share of the matrix product", own, f"bound: matrix product, {precision}")
        ),
        "training: share of the synthetic bound": (
            ("share of the synthetic bound", own, f"bound: resident batch, {OWN}, {precision}")
        ),
        "first epoch's input: share of bare decoding": (
            ("share of bound: first epoch's input", f"{OWN}, memory", DECODE_BOUND)
        ),
    }
    rows = []
    for name, key in asked.items():
        ratio = found.get(key)
        pairs = f"{ratio.low:.2f} to {ratio.high:.2f}" if ratio and ratio.num_pairs > 1 else "-"
        cells = [f"{ratio.median:.2f}", pairs] if ratio else ["not measured yet", "-"]
        rows.append([name, *cells])
    return joined(
        markdown_table(["figure", "median", "lowest to highest"], rows),
        about(results.machine, results.command, results.written),
    )


def gpu(results: Published[TrainingFigures]) -> str:
    rows = []
    for one in results.steps:
        start = [one.precision, "XLA" if one.jit_compile else "no XLA", f"{one.batch_size:,}"]
        if one.failure:
            rows.append([*start, f"failed: {one.failure}", "-", "-"])
        else:
            rows.append([*start, number(one.images_per_s), percent(one.share), percent(one.input_wait)])
    header = [
        "hh_fast's step",
        "compiler",
        "batch",
        "images/s",
        "share of the synthetic bound",
        "input wait, copy included",
    ]
    return joined(markdown_table(header, rows), training(results))


def export(results: dict[str, Any]) -> str:
    rows = [
        [entry["figure"], f"{entry['value']:.3g}", f"{entry['target']:g}", "yes" if entry["holds"] else "no"]
        for entry in results["figures"]
    ]
    return joined(markdown_table(["figure", "measured", "target", "reached"], rows), f"`{results['command']}`.")


def serve(results: Published[PageFigures]) -> str:
    rows = [
        [f"`model_{one.name}.tflite`", megabytes(one.median("loaded_bytes"))]
        + [number(one.median(figure), 1) for figure in ("start_ms", "pixels_ms", "model_ms", "desktop_model_ms")]
        for one in results.outcomes
    ]
    header = [
        "the page in Chromium",
        "loaded, MB",
        "start, ms",
        "resizing, ms",
        "model, ms",
        "LiteRT on the desktop, ms",
    ]
    return joined(markdown_table(header, rows), *footer(results))


def autotuner(results: Published[IteratorFigures]) -> str:
    rows = []
    for outcome in results.outcomes:
        for one in outcome.repeats:
            waited = sorted(one.waited_s)
            stalled = sum(seconds > STALLED_S for seconds in waited)
            rows.append([outcome.name, f"{one.life_s:g}", f"{stalled} of {len(waited)}", f"{waited[-1]:.2f}"])
    header = ["iterators", "in use for, s", f"shutdown stalled over {STALLED_S:g} s", "longest, s"]
    return joined(markdown_table(header, rows), *footer(results))


def distributed(results: dict[str, Any]) -> str:
    machine = from_json(Machine, results["machine"])
    return joined(scaling_model.report(results), about(machine, results["command"], results["written"]))


def tried(results: dict[str, Any]) -> str:
    rows = [[entry["what"], entry["predicted"], entry["came_out"], entry["kept"]] for entry in results["tried"]]
    return markdown_table(["tried", "predicted", "came out", "kept"], rows)


# Name of a block: the JSON that it is made of, of which kind, and what makes it.
TABLES: dict[str, tuple[str, Any, Callable[[Any], str]]] = {
    "readme": ("training", Published[TrainingFigures], readme),
    "figures": ("training", Published[TrainingFigures], figures),
    "training": ("training", Published[TrainingFigures], training),
    "recipe": ("recipe", Published[TrainingFigures], training),
    "inputs": ("inputs", Published[InputFigures], inputs),
    "start": ("start", Published[StartFigures], start),
    "step": ("step", Published[StepFigures], step),
    "gpu": ("gpu", Published[TrainingFigures], gpu),
    "scale": ("scale", Published[ScaleFigures], scale),
    "input_model": ("inputs", Published[InputFigures], input_model),
    "export": ("export", Any, export),
    "serve": ("serve", Published[PageFigures], serve),
    "autotuner": ("autotuner", Published[IteratorFigures], autotuner),
    "tried": ("tried", Any, tried),
    "distributed": ("distributed", Any, distributed),
}
# The command that makes a JSON, where it is not the one of its name.
COMMANDS = {"recipe": "training.py --recipe --epochs=15"}


def block(name: str) -> str:
    """What stands in the block `name`, or that it is not measured yet.

    Raises:
        KeyError: no such block.
    """
    source, kind, make = TABLES[name]
    results = published.read(source, kind, RESULTS)
    missing = f"Not measured yet: `benchmarks/{COMMANDS.get(source, f'{source}.py')}`."
    return f"{missing if results is None else make(results)}\n"


def rewritten(text: str) -> str:
    """`text` with every block as the JSON has it."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(match[2])}{match[4]}", text)


def main() -> int:
    stale = [
        path for path in DOCUMENTS if rewritten(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} differs from benchmarks/results: run benchmarks/tables.py", file=sys.stderr
            )
        return 1 if stale else 0
    for path in stale:
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"rewritten: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
