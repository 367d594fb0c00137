"""Writes the tables of README.md and benchmarks/README.md from the JSON in benchmarks/results.

    .venv/bin/python benchmarks/tables.py            # rewrites what stands between `<!-- table: NAME -->` and `<!-- end table -->`
    .venv/bin/python benchmarks/tables.py --check    # exits with 1 where they differ; bin/test does the same

So every figure there is one that a command left in a file. Standard library and hh_fast's table helpers only.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hh_fast.bench import scaling
from hh_fast.bench.measure import HELD_UP
from hh_fast.bench.paper import Costs, feed
from hh_fast.bench.report import megabytes, number, percent, values, with_spread
from hh_fast.evaluation.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end table -->)", re.DOTALL)
# Rates to feed on paper: this CPU's kind, then accelerators of growing speed.
PAPER_RATES = (250, 2_000, 10_000, 40_000)
HELD_UP_S = 0.1
GENERATOR = "ImageDataGenerator and fit, float32"

Json = dict[str, Any]


def read(name: str) -> Json | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def counted(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"


def by_name(results: Json) -> dict[str, Json]:
    return {entry["name"]: entry for entry in results["entries"]}


def ratio_rows(results: Json) -> list[list[str]]:
    return [
        [
            entry["what"],
            f"{entry['median']:.2f}",
            f"{entry['low']:.2f} to {entry['high']:.2f}",
            entry["over"],
            entry["under"],
        ]
        for entry in results["ratios"]
    ]


def ratio_table(results: Json) -> str:
    return markdown_table(["ratio, pair by pair", "median", "lowest to highest", "of", "to"], ratio_rows(results))


def median_of(entry: Json, figure: str) -> float | None:
    found = values(entry, figure)
    return statistics.median(found) if found else None


def about(results: Json) -> str:
    machine, versions = results["machine"], results["versions"]
    where = f"{machine['cpu']}, {machine['num_cores']} cores, {', '.join(machine['gpus']) or 'no GPU'}"
    with_bf16 = ", bf16 instructions" if "avx512_bf16" in machine["cpu_flags"] else ""
    software = f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}"
    return f"`{results['command']}`, {results['written'][:10]}; {where}{with_bf16}; {software}."


def failures(results: Json) -> list[str]:
    return [f"{entry['name']} failed: {entry['failure']}" for entry in results["entries"] if entry["failure"]]


def held_up_epochs(entry: Json) -> str:
    """Says so where something held up some of a path's epochs: the whole runs hold them, the later epoch's column does not."""
    epochs = [(seconds, repeat["steady_epoch_s"]) for repeat in entry["repeats"] for seconds in repeat["epoch_s"]]
    found = sum(seconds > HELD_UP * steady for seconds, steady in epochs)
    if not found:
        return ""
    walls = [
        repeat["first_epoch_s"] + repeat["steady_epoch_s"] * (len(repeat["epoch_s"]) - 1) for repeat in entry["repeats"]
    ]
    return (
        f"{found} of the {len(epochs)} epochs of {entry['name']} took about twice as long as the others: they waited for"
        " tf.data's autotuner (benchmarks/README.md). The whole runs and their images/s hold them, a later epoch is one of the others; with none"
        f" held up, that whole run would take {statistics.median(walls):.0f} s. "
    )


def training(results: Json) -> str:
    rows = [
        [
            name,
            with_spread(entry, "wall_s", 1),
            number(median_of(entry, "steady_epoch_s"), 1),
            with_spread(entry, "warm_img_s"),
            percent(median_of(entry, "input_wait")),
            percent(median_of(entry, "last_val_accuracy")),
            megabytes(median_of(entry, "peak_bytes")),
        ]
        for name, entry in by_name(results).items()
    ]
    header = [
        f"{results['train']['epochs']} epochs, {counted(len(results['entries'][0]['repeats']), 'seed')}",
        "wall, s",
        "a later epoch, s",
        "training, images/s",
        "input wait",
        "validation accuracy",
        "peak memory, MB",
    ]
    slow = held_up_epochs(by_name(results)[GENERATOR]).strip()
    return "\n\n".join([markdown_table(header, rows), ratio_table(results), slow, about(results), *failures(results)])


def inputs(results: Json) -> str:
    rows = [
        [
            name,
            results["yields"].get(name, "-"),
            with_spread(entry, "first_img_s"),
            with_spread(entry, "warm_img_s"),
            number(median_of(entry, "first_batch_s"), 2),
            megabytes(median_of(entry, "peak_bytes")),
        ]
        for name, entry in by_name(results).items()
        if entry["repeats"]
    ]
    header = ["input alone", "yields", "first epoch, images/s", "later, images/s", "first batch, s", "peak memory, MB"]
    return "\n\n".join([markdown_table(header, rows), ratio_table(results), about(results), *failures(results)])


def step(results: Json) -> str:
    rows = [[name, with_spread(entry, "warm_img_s")] for name, entry in by_name(results).items()]
    header = [f"training step, batch {results['batch_size']}", "images/s"]
    return "\n\n".join([markdown_table(header, rows), ratio_table(results), about(results), *failures(results)])


def scale(results: Json) -> str:
    rows = []
    for name, entry in by_name(results).items():
        for repeat in entry["repeats"]:
            if repeat.get("failure"):
                rows.append([name, f"{repeat['num_images']:,}", f"failed: {repeat['failure']}", "-", "-", "-", "-"])
                continue
            rates = [number(repeat[figure]) for figure in ("first_img_s", "warm_img_s")]
            sizes = [megabytes(repeat[figure]) for figure in ("store_bytes", "peak_bytes", "peak_mapped_bytes")]
            rows.append([name, f"{repeat['num_images']:,}", *rates, *sizes])
    header = [
        "input alone",
        "images",
        "first epoch, images/s",
        "later, images/s",
        "decoded images, MB",
        "peak of own memory, MB",
        "peak of mapped file, MB",
    ]
    return "\n\n".join([markdown_table(header, rows), about(results)])


def measured_costs(results: Json) -> Costs:
    """From inputs.json: the decoder's and the copier's cost of an image, in core-seconds, and its bytes."""
    entries = by_name(results)
    decode = median_of(entries["bound: bare decoding, every core"], "first_img_s") or 0.0
    copy = median_of(entries["bound: memory copy, one core"], "warm_img_s") or 0.0
    height, width = results["data"]["image_size"]
    return Costs(results["machine"]["num_cores"] / decode, 1 / copy, height * width * 3)


def paper(results: Json) -> str:
    costs = measured_costs(results)
    rows = []
    for rate in PAPER_RATES:
        needed = feed(rate, costs)
        rows.append(
            [
                f"{rate:,}",
                str(needed.decoding_cores),
                str(needed.copying_cores),
                f"{needed.bytes_per_s / 1e9:.1f}",
            ]
        )
    header = ["images/s to feed", "cores to decode each epoch", "cores to copy from a cache", "GB/s from the cache"]
    costs_text = (
        f"Measured: {1e3 * costs.decode_s:.2f} ms of one core to decode an image, {1e6 * costs.copy_s:.0f} µs to copy it,"
        f" {costs.image_bytes:,} bytes. The arithmetic is `hh_fast/bench/paper.py`."
    )
    return "\n\n".join([markdown_table(header, rows), costs_text])


def readme(results: Json) -> str:
    """The front page's table: the whole recipe, the two paths."""
    entries = by_name(results)
    names = [GENERATOR, *(name for name in entries if name.startswith("hh_fast"))]
    rows = []
    for name in names:
        row = [name]
        for figure in ("steady_epoch_s", "wall_s"):
            base, seconds = (median_of(entries[which], figure) or 0.0 for which in (GENERATOR, name))
            row += [number(seconds, 1), f"{base / seconds:.1f}"]
        rows.append([*row, percent(median_of(entries[name], "last_val_accuracy"))])
    epochs, seeds = results["train"]["epochs"], len(entries[GENERATOR]["repeats"])
    data, machine = results["data"], results["machine"]
    header = [
        f"{epochs} epochs of {data['num_train']:,} images",
        "a later epoch, s",
        "times faster",
        "whole run, s",
        "times faster",
        "validation accuracy",
    ]
    text = (
        f"Medians of {counted(seeds, 'seed')} on the built-in sample, {machine['num_cores']} CPU cores ({machine['cpu']}),"
        f" from the same initial weights. {held_up_epochs(entries[GENERATOR])}How, and the rest:"
        " [benchmarks/README.md](benchmarks/README.md)."
    )
    return "\n\n".join([markdown_table(header, rows), text])


def export(results: Json) -> str:
    rows = [
        [entry["figure"], f"{entry['value']:.3g}", f"{entry['target']:g}", "yes" if entry["holds"] else "no"]
        for entry in results["figures"]
    ]
    return "\n\n".join([markdown_table(["figure", "measured", "target", "reached"], rows), f"`{results['command']}`."])


def autotuner(results: Json) -> str:
    rows = []
    for name, entry in by_name(results).items():
        for repeat in entry["repeats"]:
            waited = sorted(repeat["waited_s"])
            held_up = sum(seconds > HELD_UP_S for seconds in waited)
            rows.append([name, f"{repeat['life_s']:g}", f"{held_up} of {len(waited)}", f"{waited[-1]:.2f}"])
    header = ["iterators", "in use for, s", f"held up their program over {HELD_UP_S:g} s", "longest, s"]
    return "\n\n".join([markdown_table(header, rows), about(results)])


def distributed(results: Json) -> str:
    return "\n\n".join([scaling.report(results), about(results)])


def tried(results: Json) -> str:
    rows = [[entry["what"], entry["predicted"], entry["came_out"], entry["kept"]] for entry in results["tried"]]
    return markdown_table(["tried", "predicted", "came out", "kept"], rows)


# Name of a block: the JSON that it is made of, and what makes it.
TABLES: dict[str, tuple[str, Callable[[Json], str]]] = {
    "readme": ("training", readme),
    "training": ("training", training),
    "inputs": ("inputs", inputs),
    "step": ("step", step),
    "scale": ("scale", scale),
    "paper": ("inputs", paper),
    "export": ("export", export),
    "autotuner": ("autotuner", autotuner),
    "tried": ("tried", tried),
    "distributed": ("distributed", distributed),
}


def block(name: str) -> str:
    """What stands in the block `name`, or that it is not measured yet.

    Raises:
        KeyError: no such block.
    """
    source, make = TABLES[name]
    results = read(source)
    return f"Not measured yet: `benchmarks/{source}.py`.\n" if results is None else f"{make(results)}\n"


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
