"""Writes the tables of README.md, examples/guide.md and benchmarks/README.md from the JSON in benchmarks/results.

    .venv/bin/python -m benchmarks.publish            # rewrites what stands between `<!-- table: NAME -->` and `<!-- end table -->`
    .venv/bin/python -m benchmarks.publish --check    # exits with 1 where they differ; bin/test does the same

So every figure there is one that a command left in a file. No TensorFlow.
"""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.harness import (
    RESULTS_DIR,
    Claim,
    Results,
    Row,
    machine_in_words,
    median,
    read_results,
    take_ratio,
    values,
)
from benchmarks.race import report
from benchmarks.race.names import (
    GENERATOR,
    OWN,
    OWN_WHOLE,
    STOCK,
    STOCK_WHOLE,
    arm_name,
)
from benchmarks.tables import Column, joined, source, table
from hh_fast.evaluation.tables import markdown_table

ROOT = RESULTS_DIR.parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "examples" / "guide.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end table -->)", re.DOTALL)
# Rotation 40, shifts, shear and zoom 0.2: before, the recipe's accuracy swings between chance and 96%, by every path.
EPOCHS_TO_LEARN_AUGMENTED = 10


def _compared(rows: Sequence[Row], base: str, *others: str, learned: bool = True) -> list[list[str]]:
    """A line for each arm that was measured, with its speedups over `base`; accuracy where the epochs suffice to tell it."""
    lines = []
    for arm in (arm for arm in (base, *others) if values(rows, arm, "wall_s")):
        line = [arm]
        for figure in ("steady_epoch_s", "wall_s"):
            ratio, seconds = take_ratio(rows, Claim("speedup", base, arm, figure)), median(rows, arm, figure) or 0.0
            line += [f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}", f"{ratio.median:.1f}" if ratio else "-"]
        lines.append([*line, f"{median(rows, arm, 'last_val_accuracy'):.1%}" if learned else "-"])
    return lines


def _work(results: Results) -> str:
    return f"{report.counted(results['epochs'], 'epoch')} of {report.counted(results['data']['num_train'], 'image')}"


def front_page(results: Results) -> str:
    """What is commonly run, stock tf.data, and hh_fast; with and without augmentation; and on a frozen network."""
    rows, precision, data = report.of_kind(results, "training"), results["precision"], results["data"]
    learned = results["epochs"] >= EPOCHS_TO_LEARN_AUGMENTED
    lines = []
    for augment in (False, True):
        arms = (arm_name(method, precision, augment=augment) for method in (STOCK, OWN))
        lines += _compared(rows, arm_name(GENERATOR, augment=augment), *arms, learned=learned or not augment)
    lead, frozen, path = [], "", RESULTS_DIR / f"{BACKBONE_PHOTOS[0]}.json"
    if path.exists():
        raced = read_results(path)
        lead = [report.fair_sentence(raced)]
        found = _compared(raced["rows"], STOCK_WHOLE, OWN_WHOLE)
        # Seconds of another machine do not belong beside these.
        alike = all(raced["machine"][key] == results["machine"][key] for key in ("cpu", "cpu_flags", "num_cores"))
        lines += found if alike else [[line[0], "-", "-", "-", *line[4:]] for line in found]
        same = raced["data"]["fingerprint"] == data["fingerprint"] and raced["epochs"] == results["epochs"]
        work = "" if same else f", with {_work(raced)} of {raced['data']['name']}"
        frozen = (
            f" The frozen network is {raced['backbone']}{work}, in a run by itself; its times and speedup are those of whole"
            " processes, imports included."
        )
    stalled = any(row["num_stalled"] for row in rows)
    height, width = data["image_size"]
    text = (
        f"Medians of {report.counted(results['repeats'], 'seed')} on {data['name']} at {height} x {width},"
        f" {machine_in_words(results['machine'])}, from the same initial weights; accuracy on {data['num_validation']:,} held-out images;"
        f" a speedup is the median of its pairs.{frozen}"
        + (
            " Training times include epochs that tf.data's autotuner stalled, steady-state ones do not."
            if stalled
            else ""
        )
        + ("" if learned else " With so much augmentation accuracy still swings after so few epochs, by every path.")
        + " How, and the rest: [benchmarks/README.md](benchmarks/README.md)."
    )
    header = [_work(results), "steady-state epoch, s", "speedup", "training time, s", "speedup", "validation accuracy"]
    return joined(" ".join([*lead, report.fair_sentence(results)]), markdown_table(header, lines), text)


def training(results: Results) -> str:
    title = f"{report.counted(results['epochs'], 'epoch')}, {report.counted(results['repeats'], 'seed')}"
    return joined(report.training_tables(results, title), source(results))


def inputs(results: Results) -> str:
    return joined(report.input_tables(results), source(results))


def backbone(results: Results) -> str:
    return joined(report.backbone_tables(results), source(results))


def gpu(results: Results) -> str:
    return joined(report.sweep_table(results), training(results))


def networks(results: Results | None) -> str:
    """The pretrained networks: what is published of them, and what was measured, where it was."""
    rows = results["rows"] if results else []
    lines = []
    for name, (top_1, in_int8, weights) in NETWORKS.items():
        size, took = median(rows, name, "int8_bytes"), median(rows, name, "int8_ms")
        measured = [f"{size / 1e6:.1f}" if size else "-", f"{took:.1f}" if took else "-"]
        lines.append([f"`{name}`", top_1, in_int8, *measured, weights])
    header = ["`--backbone`", "ImageNet top-1", "in int8", "int8 file, MB", "an image, ms", "weights"]
    return joined(markdown_table(header, lines), source(results) if results else "")


def study(title: str, *columns: Column) -> Callable[[Results], str]:
    """The table of a study: a line an arm. One for each set of images, under its name, where rows name theirs."""

    def tables(results: Results) -> str:
        sets = dict.fromkeys(row.get("set", title) for row in results["rows"])
        of_set = {name: [row for row in results["rows"] if row.get("set", title) == name] for name in sets}
        return joined(*(table(name, rows, columns) for name, rows in of_set.items()), source(results))

    return tables


# Top-1 as their authors publish it, in float and in 8 bits; and where the weights come from.
DOWNLOADED = "downloaded once by Keras"
NETWORKS = {
    "efficientnet_lite0": ("75.1%", "74.4%", "come with this package; no network needed"),
    "mobilenet_v3_large": ("75.2%", "73.9%", DOWNLOADED),
    "mobilenet_v3_small": ("67.5%", "64.9%", DOWNLOADED),
    "mobilenet_v2": ("71.9%", "63.7%", DOWNLOADED),
    "efficientnet_v2_b0": ("78.7%", "loses much", DOWNLOADED),
}
# Name of a block: the JSON that it is made of, the command that makes that, and what makes the table.
RACE = ("race", "bin/bench --full --augmented --epochs=15 --batch_size=32 --image_size=224,224 --train_dir=PHOTOS")
BACKBONE = ("backbone", "bin/bench --backbone=efficientnet_lite0")
BACKBONE_PHOTOS = ("backbone_photos", "bin/bench --backbone=efficientnet_lite0 --train_dir=PHOTOS")
GPU = ("gpu", "bin/bench --full --augmented --sweep --flagfile=gpu.flags")
TABLES: dict[str, tuple[tuple[str, str], Callable[[Any], str]]] = {
    "readme": (RACE, front_page),
    "training": (RACE, training),
    "inputs": (RACE, inputs),
    "backbone": (BACKBONE, backbone),
    "backbone_photos": (BACKBONE_PHOTOS, backbone),
    "gpu": (GPU, gpu),
}
STUDIES: dict[str, Callable[[Any], str]] = {
    "start": study("before the second step", Column("s", "s", "{:.2f}", spread=True)),
    "first_pass": study(
        "first pass over the files",
        Column("images/s", "first_images_per_s", spread=True),
        Column("of Keras' loader in the same turn", "of_keras", "{:.2f}", spread=True),
    ),
    "scale": study(
        "input alone",
        Column("first epoch, images/s", "first_images_per_s"),
        Column("steady, images/s", "steady_images_per_s"),
        Column("decoded images, MB", "decoded_bytes", unit=1e6),
        Column("peak of own memory, MB", "peak_bytes", unit=1e6),
        Column("peak of mapped file, MB", "peak_mapped_bytes", unit=1e6),
    ),
    "export": study("export", Column("measured", "value", "{:.3g}", spread=True)),
    "copies": study(
        "copies",
        Column("found", "found", "{:.1%}"),
        Column("others", "others"),
        Column("largest group", "largest_group"),
        Column("reading and decoding, s", "reading_s", "{:.1f}"),
        Column("thumbnails, s", "thumbnails_s", "{:.2f}"),
        Column("finding, s", "finding_s", "{:.2f}"),
        Column("both, of reading", "share_of_reading", "{:.1%}", spread=True),
    ),
    "networks": networks,
    "explore": study("bin/explore", Column("s", "seconds", "{:.1f}", spread=True)),
    "labels": study(
        "changed labels found",
        Column("among the first 16", "among_first_16", spread=True),
        Column("among the first 32", "among_first_32", spread=True),
    ),
    "unknown": study(
        "pictures of other things",
        Column("held-out images kept", "kept", "{:.1%}", spread=True),
        Column("kept, if a split of train/ sets the threshold", "kept_by_split", "{:.1%}", spread=True),
        Column("accuracy", "accuracy", "{:.1%}"),
        Column("without `unknown`", "accuracy_without", "{:.1%}"),
        Column("let through", "let_through", "{:.1%}", spread=True),
        Column("at 95% kept", "let_through_at_95", "{:.1%}", spread=True),
        Column("softmax at 95% kept", "softmax_let_through_at_95", "{:.1%}", spread=True),
        Column("int8: kept", "int8_kept", "{:.1%}"),
        Column("int8: let through", "int8_let_through", "{:.1%}"),
        Column("int8: time", "int8_time", "{:.2f}"),
        Column("int8: kB a class", "int8_bytes_a_class", "{:.1f}", unit=1e3),
    ),
    "heads": study(
        "heads",
        Column("accuracy", "accuracy", "{:.3f}", spread=True),
        Column("best epoch", "best_epoch"),
        Column("epochs", "epochs"),
    ),
    "page": study(
        "the page in Chromium",
        Column("loaded, MB", "loaded_bytes", "{:.1f}", unit=1e6),
        Column("start, ms", "start_ms"),
        Column("resizing, ms", "pixels_ms", "{:.1f}"),
        Column("model, ms", "model_ms", "{:.1f}"),
        Column("LiteRT on the desktop, ms", "desktop_model_ms", "{:.1f}"),
    ),
}
TABLES |= {name: ((name, f"python -m benchmarks.studies.{name}"), make) for name, make in STUDIES.items()}
FAULTS = study("fault", Column("tried", "tried"), Column("lost", "lost"))
TABLES["faults"] = ("faults", "python -m benchmarks.faults"), FAULTS


def block(name: str) -> str:
    """What stands in the block `name`, or that it is not measured yet.

    Raises:
        KeyError: no such block.
    """
    (stem, command), make = TABLES[name]
    path = RESULTS_DIR / f"{stem}.json"
    if not path.exists() and make is not networks:
        return f"Not measured yet: `{command}`.\n"
    return f"{make(read_results(path) if path.exists() else None)}\n"


def rewritten(text: str) -> str:
    """`text` with every block as the JSON has it."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(match[2])}{match[4]}", text)


def main() -> int:
    stale = [path for path in DOCUMENTS if rewritten(path.read_text("utf-8")) != path.read_text("utf-8")]
    for path in stale:
        if "--check" in sys.argv[1:]:
            print(f"{path.name} differs from benchmarks/results: run python -m benchmarks.publish", file=sys.stderr)
        else:
            path.write_text(rewritten(path.read_text("utf-8")), "utf-8")
            print(f"rewritten: {path}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
