"""Writes the tables of README.md and benchmarks/README.md from the JSON in benchmarks/results.

    .venv/bin/python -m benchmarks.publish            # rewrites what stands between `<!-- table: NAME -->` and `<!-- end table -->`
    .venv/bin/python -m benchmarks.publish --check    # exits with 1 where they differ; bin/test does the same

So every figure there is one that a command left in a file. No TensorFlow.
"""

import re
import sys
from collections.abc import Callable

from benchmarks.harness import RESULTS_DIR, Claim, Results, machine_in_words, median, read_results, take_ratio, values
from benchmarks.race import report
from benchmarks.race.names import (
    GENERATOR,
    OWN,
    STOCK,
    arm_name,
)
from benchmarks.tables import Column, joined, source, table
from hh_fast.evaluation.tables import markdown_table

ROOT = RESULTS_DIR.parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end table -->)", re.DOTALL)
# Rotation 40, shifts, shear and zoom 0.2: before, the recipe's accuracy swings between chance and 96%, by every path.
EPOCHS_TO_LEARN_AUGMENTED = 10


def front_page(results: Results) -> str:
    """What is commonly run, stock tf.data, and hh_fast; with and without augmentation."""
    rows, precision, epochs = report.of_kind(results, "training"), results["precision"], results["epochs"]
    lines = []
    for augment in (False, True):
        base = arm_name(GENERATOR, augment=augment)
        arms = [base, arm_name(STOCK, precision, augment=augment), arm_name(OWN, precision, augment=augment)]
        learned = epochs >= EPOCHS_TO_LEARN_AUGMENTED or not augment
        for arm in (arm for arm in arms if values(rows, arm, "wall_s")):
            line = [arm]
            for figure in ("steady_epoch_s", "wall_s"):
                ratio = take_ratio(rows, Claim("speedup", base, arm, figure))
                line += [f"{median(rows, arm, figure):.1f}", f"{ratio.median:.1f}" if ratio else "-"]
            lines.append([*line, f"{median(rows, arm, 'last_val_accuracy'):.1%}" if learned else "-"])
    header = [
        f"{report.counted(epochs, 'epoch')} of {report.counted(results['data']['num_train'], 'image')}",
        "steady-state epoch, s",
        "speedup",
        "training time, s",
        "speedup",
        "validation accuracy",
    ]
    images = "the built-in sample" if results["data"]["name"] == "sample" else "other images"
    text = (
        f"Medians of {results['repeats']} seeds on {images}, {machine_in_words(results['machine'])}, from the same initial weights;"
        " a speedup is the median of its pairs."
        + ("" if learned else " With so much augmentation accuracy still swings after so few epochs, by every path.")
        + " How, and the rest: [benchmarks/README.md](benchmarks/README.md)."
    )
    return joined(report.fair_sentence(results), markdown_table(header, lines), text)


def training(results: Results) -> str:
    title = f"{report.counted(results['epochs'], 'epoch')}, {report.counted(results['repeats'], 'seed')}"
    return joined(report.training_tables(results, title), source(results))


def recipe(results: Results) -> str:
    rows = report.of_kind(results, "training")
    title = f"{report.counted(results['epochs'], 'epoch')}, {report.counted(results['repeats'], 'seed')}"
    return joined(report.fair_sentence(results), table(title, rows, report.TRAINING_COLUMNS), source(results))


def inputs(results: Results) -> str:
    return joined(report.input_tables(results), source(results))


def backbone(results: Results) -> str:
    return joined(report.backbone_tables(results), source(results))


def gpu(results: Results) -> str:
    return joined(report.sweep_table(results), training(results))


def study(title: str, *columns: Column) -> Callable[[Results], str]:
    """The table of a study: a line an arm."""
    return lambda results: joined(table(title, results["rows"], columns), source(results))


# Name of a block: the JSON that it is made of, the command that makes that, and what makes the table.
RACE, RECIPE = ("race", "bin/bench --full --augmented"), ("recipe", "bin/bench --full --epochs=15")
BACKBONE = ("backbone", "bin/bench --backbone=efficientnet_lite0 --train_dir=PHOTOS")
GPU = ("gpu", "bin/bench --full --augmented --sweep --flagfile=gpu.flags")
TABLES: dict[str, tuple[tuple[str, str], Callable[[Results], str]]] = {
    "readme": (RACE, front_page),
    "training": (RACE, training),
    "recipe": (RECIPE, recipe),
    "inputs": (RACE, inputs),
    "backbone": (BACKBONE, backbone),
    "gpu": (GPU, gpu),
}
STUDIES = {
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
    "export": study(
        "figure",
        Column("measured", "value", "{:.3g}", spread=True),
        Column("at most", "at_most", "{:g}"),
        Column("at least", "at_least", "{:g}"),
    ),
    "heads": study(
        "one setting changed",
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
    return f"{make(read_results(path)) if path.exists() else f'Not measured yet: `{command}`.'}\n"


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
