"""A race's results in words and tables. No TensorFlow."""

from collections.abc import Sequence

from benchmarks.harness import Claim, Results, Row, arms_of, doubt, machine_in_words, take_ratio
from benchmarks.race.names import BACKBONE_CLAIMS, INPUT_CLAIMS, STALLED, fair_pairs, training_claims
from benchmarks.tables import Column, joined, ratio_table, table

MEGABYTE = 1e6
INPUT_COLUMNS = (
    Column("first epoch, images/s", "first_images_per_s", spread=True),
    Column("steady, images/s", "steady_images_per_s", spread=True),
    Column("first batch, s", "first_batch_s", "{:.2f}"),
    Column("peak memory, MB", "peak_bytes", unit=MEGABYTE),
)
TRAINING_COLUMNS = (
    Column("steady-state epoch, s", "steady_epoch_s", "{:.1f}", spread=True),
    Column("training time, s", "wall_s", "{:,.1f}", spread=True),
    Column("input wait", "input_wait", "{:.1%}"),
    Column("validation accuracy", "last_val_accuracy", "{:.1%}"),
    Column("peak memory, MB", "peak_bytes", unit=MEGABYTE),
)
BOUND_COLUMNS = (
    Column("images/s", "steady_images_per_s", spread=True),
    Column("GFLOP/s", "flops_per_s", unit=1e9),
)
BACKBONE_COLUMNS = (
    Column("whole process, s", "wall_s", "{:,.1f}", spread=True),
    Column("beyond importing TensorFlow, s", "beyond_import_s", "{:.1f}", spread=True),
    Column("steady-state epoch, s", "steady_epoch_s", "{:.2f}", spread=True),
    Column("validation accuracy", "last_val_accuracy", "{:.1%}", spread=True),
    Column("images/s", "images_per_s", spread=True),
)
SWEEP_COLUMNS = (
    Column("training, images/s", "images_per_s"),
    Column("input wait", "input_wait", "{:.1%}"),
    Column("compile, s", "compile_s", "{:.1f}"),
)


RACE_NOTES = (
    "Each run in a process of its own with TensorFlow imported and its thread pools started (the warm-up, not timed).",
    "First epoch: from the folder, with all that a path does once.",
    "All paths were checked to yield equal labels and pixels.",
    "Peak memory: rise of the process' own pages; mapped files and worker processes are not in it.",
    "Input wait: share of the step's time; fit does not tell it.",
    "The matrix product's images/s: what the step's convolutions and dense layers would take at that speed.",
)
WHOLE_NOTES = (
    "Whole processes, imports included: the same frozen network, head, batch size, learning rate and number of epochs.",
    "fit runs the network in the precision in which it is the faster one here.",
)


def of_kind(results: Results, *kinds: str) -> list[Row]:
    """The rows of `input`, `training`, `bound` or `sweep`."""
    return [row for row in results["rows"] if row["kind"] in kinds]


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def fair_sentence(results: Results) -> str:
    """The speedup over what is commonly run, and over stock tf.data at equal precision; empty where neither was measured."""
    whole, augmented = (take_ratio(results["rows"], claim) for claim in BACKBONE_CLAIMS[:2])
    if whole:
        epoch = f"; {augmented.median:.1f} for an augmented epoch" if augmented else ""
        return f"Speedup of a whole process over stock tf.data on the same frozen network: {whole.median:.1f}{epoch}."
    rows, said = of_kind(results, "training"), []
    for augment, when in ((False, ""), (True, "with augmentation, ")):
        over = []
        for other, above, below in fair_pairs(results["precision"], augment=augment):
            if ratio := take_ratio(rows, Claim("speedup", above, below, "steady_epoch_s")):
                over.append(f"{ratio.median:.1f} over {other}")
        said += [f"{when}{' and '.join(over)}"] if over else []
    return f"Speedup of a steady-state epoch of the CNN: {'; '.join(said)}." if said else ""


def stall_sentence(rows: Sequence[Row]) -> str:
    """One sentence on the epochs that the steady-state column leaves out; empty where there are none."""
    tuned: list[str] = []
    untuned: list[str] = []
    for arm in arms_of(rows):
        own = [row for row in rows if row["arm"] == arm]
        stalled, total = sum(row["num_stalled"] for row in own), sum(max(1, len(row["epoch_s"]) - 1) for row in own)
        if stalled:
            (untuned if arm.startswith("hh_fast") else tuned).append(f"{stalled} of {total} of {arm}")
    parts = [f"since tf.data's autotuner delays an iterator's shutdown, {'; '.join(tuned)}"] if tuned else []
    parts += [f"by the machine, for no autotuner runs there, {'; '.join(untuned)}"] if untuned else []
    if not parts:
        return ""
    return (
        f"Epochs after the first that stalled, taking over {STALLED:g} times as long as the shortest: {'; and '.join(parts)}."
        " Training times include them, steady-state figures do not."
    )


def training_tables(results: Results, title: str) -> str:
    """The trainings, what stalled, and the bounds of their steps."""
    trained = of_kind(results, "training")
    return joined(
        table(title, trained, TRAINING_COLUMNS),
        stall_sentence(trained),
        table("bound of the step", of_kind(results, "bound"), BOUND_COLUMNS),
        ratio_table(of_kind(results, "training", "bound"), training_claims(results["precision"])),
    )


def input_tables(results: Results) -> str:
    rows = of_kind(results, "input")
    return joined(table("input alone", rows, INPUT_COLUMNS), ratio_table(rows, INPUT_CLAIMS))


def backbone_tables(results: Results) -> str:
    rows = of_kind(results, "backbone")
    title = f"{results['backbone']}, {counted(results['epochs'], 'epoch')} of {counted(results['data']['num_train'], 'image')}"
    return joined(table(title, rows, BACKBONE_COLUMNS), ratio_table(rows, BACKBONE_CLAIMS))


def sweep_table(results: Results) -> str:
    """All settings, the fastest first."""
    rows = sorted(of_kind(results, "sweep"), key=lambda row: -row["images_per_s"])
    return table("sweep", rows, SWEEP_COLUMNS)


def warnings(results: Results) -> list[str]:
    single = "one repeat shows no noise, so these are first looks: use --repeats=3 or more to claim a difference"
    claims = (*BACKBONE_CLAIMS, *INPUT_CLAIMS, *training_claims(results["precision"]))
    ratios = [(claim, take_ratio(results["rows"], claim)) for claim in claims]
    doubts = [text for claim, ratio in ratios if ratio and (text := doubt(claim, ratio))]
    failed = [f"{name} failed: {why}" for name, why in results["failures"].items()]
    return ([single] if results["repeats"] == 1 else []) + doubts + failed


def notes(results: Results) -> list[str]:
    """How it was measured, as sentences."""
    data, machine = results["data"], results["machine"]
    height, width = data["image_size"]
    load = f"; load before: {machine['load_before']:.1f}" if machine["load_before"] is not None else ""
    return [
        f"Machine: {machine_in_words(machine)}, {machine['memory_bytes'] / 1e9:.0f} GB{load}.",
        f"Images: {data['num_train']:,} of {data['num_available']:,} of {data['name']} to train on, {data['num_validation']:,} to"
        f" validate on, as {height} x {width}; they were in the system's page cache.",
        f"{counted(results['repeats'], 'repeat')}, arms in turn. Median (lowest to highest).",
        *(WHOLE_NOTES if of_kind(results, "backbone") else RACE_NOTES),
        *results["remarks"],
    ]


def render(results: Results) -> str:
    """The whole report as Markdown."""
    title = f"{counted(results['epochs'], 'epoch')} of {counted(results['data']['num_train'], 'image')}"
    return (
        joined(
            "# bin/bench",
            fair_sentence(results) or "No speedup can be told: see what failed.",
            backbone_tables(results) if of_kind(results, "backbone") else "",
            training_tables(results, title),
            input_tables(results),
            sweep_table(results),
            "\n".join(f"- Warning: {line}" for line in warnings(results)),
            "\n".join(f"- {line}" for line in notes(results)),
        )
        + "\n"
    )
