"""`bin/bench`: the ImageDataGenerator path, stock tf.data and hh_fast, timed in turn on this machine."""

import dataclasses
import datetime
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Results, describe_machine, make_results, portable, read_results, run_in_turn
from benchmarks.process import in_process, start_server
from benchmarks.race.config import BACKBONE_IMAGE_SIZE, BenchConfig
from benchmarks.race.names import GENERATOR, READ_CACHED, READ_GENERATOR, STOCK
from hh_fast.cli import command
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.errors import UsageError, require
from hh_fast.io.files import write_text
from hh_fast.io.output_folder import OutputFolder
from hh_fast.io.quiet import import_tensorflow

logger = logging.getLogger("hh_fast.benchmarks")

SYNOPSIS = """\
bin/bench [flags]: times ImageDataGenerator, stock tf.data and hh_fast, in turn, on the same images, and writes results.json,
results.md and a chart. It takes the images and settings by the same flags as bin/train.
bin/bench --backbone=NAME [flags]: whole processes, from the command to a classifier on that frozen network.
bin/bench --compare OLD.json NEW.json: says what got slower or faster between two results."""

RESULTS, REPORT, CHART_PNG, CHART_SVG = "results.json", "results.md", "chart.png", "chart.svg"
# Where the reader of an arm fails the check, so does the arm.
READERS = {GENERATOR: READ_GENERATOR, STOCK: READ_CACHED}


def output_folder(path: Path) -> OutputFolder:
    return OutputFolder(path, "output_dir", "results", (RESULTS, REPORT, CHART_PNG, CHART_SVG))


def prepare_output(bench: BenchConfig, *, overwrite: bool) -> Path:
    """The folder to write to; refused now, rather than after minutes of measuring.

    Raises:
        UsageError: it holds other files, or results and `overwrite` is not set.
    """
    if bench.write_flags is not None and Path(bench.write_flags).expanduser().exists() and not overwrite:
        raise UsageError(
            f"`write_flags` must be a new file; add --overwrite to replace it. Received: {bench.write_flags}"
        )
    if bench.output_dir is None:
        return Path("bench_results") / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(bench.output_dir).expanduser()
    output_folder(folder).check()
    if (folder / RESULTS).exists() and not overwrite:
        raise UsageError(f"`output_dir` holds results already; add --overwrite to replace them. Received: {folder}")
    return folder


def run_backbone(bench: BenchConfig, data_config: DataConfig, train: TrainConfig, command_line: str) -> Results:
    """Races whole processes on one frozen network; raises as `run_bench`."""
    from benchmarks.race import backbone, training
    from benchmarks.race.workload import linked

    for name in ("sweep", "augmented"):
        bench.require(name, not getattr(bench, name), "left out with --backbone, whose race has its own arms")
    began, plan = time.monotonic(), bench.plan(backbone=True)
    machine = in_process(describe_machine)
    data_config = dataclasses.replace(data_config, image_size=data_config.image_size or BACKBONE_IMAGE_SIZE)
    with linked(data_config, dataclasses.replace(train, epochs=plan.epochs), plan.num_images) as (workload, data):
        arms = backbone.backbone_arms(workload, workload.train_dir.parent)
        rows, failures = run_in_turn(arms, repeats=plan.repeats, kind="backbone")
    training.mark_steady([row for row in rows if "epoch_s" in row])
    return make_results(
        command_line,
        machine,
        rows,
        failures,
        data=data,
        backbone=train.backbone,
        precision=workload.train.precision,
        epochs=plan.epochs,
        repeats=plan.repeats,
        batch_size=workload.train.batch_size,
        remarks=[],
        seconds=time.monotonic() - began,
    )


def run_bench(bench: BenchConfig, data_config: DataConfig, train: TrainConfig, command_line: str) -> Results:
    """Measures everything that `bench` asks for.

    Raises:
        UsageError: settings that the arms cannot share. DataError: images that cannot be used.
        CheckError: the paths do not yield the same images and labels.
    """
    from benchmarks.race import fairness, inputs, ours, sweep, training
    from benchmarks.race.workload import linked

    began, plan = time.monotonic(), bench.plan()
    machine = in_process(describe_machine)
    precision = str(in_process(ours.chosen_precision, train))
    paths = inputs.input_paths(plan.level)
    arms = training.all_arms(precision, plan.level, augmented=bench.augmented)
    with linked(data_config, dataclasses.replace(train, epochs=plan.epochs), plan.num_images) as (workload, data):
        logger.info("Checking that all paths yield the same")
        failures, remarks = in_process(fairness.check, paths, workload)
        for line in [*remarks, *(f"{name} failed: {why}" for name, why in failures.items())]:
            logger.info("%s", line)
        paths = [path for path in paths if path.name not in failures]
        arms = [arm for arm in arms if READERS.get(arm.method) not in failures]
        raced = [
            run_in_turn(inputs.input_arms(paths, workload), repeats=plan.repeats, kind="input"),
            run_in_turn(training.training_arms(arms, workload), repeats=plan.repeats, kind="training"),
            run_in_turn(training.bound_arms(arms, workload, plan.level), repeats=plan.repeats, kind="bound"),
        ]
        training.mark_steady(raced[1][0])
    if bench.sweep:
        most = 2 * max(bench.sweep_batch_sizes)
        with linked(data_config, dataclasses.replace(train, batch_size=1), plan.num_images and most) as (small, _):
            raced.append(sweep.run_sweep(small, bench.sweep_batch_sizes, has_gpu=bool(machine["gpus"])))
    for _, failed in raced:
        failures |= failed
    return make_results(
        command_line,
        machine,
        [row for rows, _ in raced for row in rows],
        failures,
        data=data,
        precision=precision,
        epochs=plan.epochs,
        repeats=plan.repeats,
        batch_size=workload.train.batch_size,
        remarks=remarks,
        seconds=time.monotonic() - began,
    )


def write_all(results: Results, folder: Path) -> str:
    """Writes the folder's files and returns the report for the terminal."""
    from benchmarks.race import chart, report  # matplotlib is for the end, not for a refusal

    text = report.render(results)
    with output_folder(folder).replaced(RESULTS) as temporary:
        (temporary / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (temporary / REPORT).write_text(text, encoding="utf-8")
        chart.draw(results, temporary / CHART_PNG, temporary / CHART_SVG)
    return f"{text}\nResults: {folder}"


def write_flagfile(results: Results, path: Path, *, batch_size: int) -> str:
    """Writes the sweep's best settings and returns what to tell about it."""
    from benchmarks.race import report, sweep

    winner = sweep.best(report.of_kind(results, "sweep"), batch_size=batch_size)
    if winner is None:
        return f"Nothing was written to {path}: every setting failed."
    write_text(path, sweep.flagfile(results, winner))
    return f"Best settings ({winner['arm']}): {path}"


def body(bench: BenchConfig, data: DataConfig, train: TrainConfig, free: Sequence[str]) -> None:
    if bench.compare:
        if len(free) != 2:
            raise UsageError(
                f"`compare` must be given two results.json, the older first. Received: {len(free)} arguments"
            )
        from benchmarks.race.compare import compare

        print(compare(*(read_results(Path(path)) for path in free)))
        return
    require(not free, "a bench takes flags only; see --help", " ".join(free))
    folder = prepare_output(bench, overwrite=train.overwrite)
    start_server()  # imports TensorFlow for the measuring processes while this one does
    import_tensorflow()  # a GPU is left to the measuring processes: no device is set up here
    run = run_backbone if train.backbone else run_bench
    results = run(bench, data, train, " ".join(["bin/bench", *portable(sys.argv[1:])]))
    print(write_all(results, folder))
    if bench.write_flags is not None:
        path = Path(bench.write_flags).expanduser()
        print(write_flagfile(results, path, batch_size=results["batch_size"]))


def main(arguments: Sequence[str] | None = None) -> int:
    configs = (BenchConfig, DataConfig, TrainConfig)
    return command.run(body, arguments, name="bench", synopsis=SYNOPSIS, configs=configs, takes_arguments=True)


if __name__ == "__main__":
    sys.exit(main())
