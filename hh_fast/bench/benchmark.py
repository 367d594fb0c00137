"""The whole bench: which images, the check that the paths are equal, the races, and their results."""

import dataclasses
import datetime
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hh_fast.bench import budget, fairness, input_race, machine, own_loop, training_race
from hh_fast.bench.input_race import InputPath
from hh_fast.bench.isolate import in_process
from hh_fast.bench.progress import Progress
from hh_fast.bench.results import FORMAT, Fairness, Machine, Plan, Results, SweepEntry, with_steady_epochs
from hh_fast.bench.statistics import Outcome, Variant, ratios, run_in_turn
from hh_fast.bench.sweep import run_sweep
from hh_fast.bench.training_race import Arm
from hh_fast.bench.workload import Workload, link_images, link_workloads, refuse_unequal_work, summarize
from hh_fast.config import BenchConfig, DataConfig, TrainConfig, require_model_size
from hh_fast.data.load import Data, load_data
from hh_fast.io.files import scratch_dir

logger = logging.getLogger(__name__)

# The reader of an arm that is raced alone as well: where it fails the check, so does the arm.
READERS = {training_race.GENERATOR: input_race.GENERATOR, training_race.STOCK: input_race.CACHED}


def _look_at_machine(workload: Workload, files: Sequence[str]) -> tuple[Machine, str, budget.Rates]:
    """The machine, the precision that hh_fast chooses on it, and its rates; called in a measuring process."""
    about = machine.describe(machine.gpu_names())
    return about, own_loop.chosen_precision(workload.train), budget.calibrate(workload, files)


def _bound_names(precision: str, *, quick: bool) -> set[str]:
    """Of the bounds of the arms' steps, those that `bin/bench` has time for: two of our step, and one of float32."""
    kinds = {precision} if quick else {precision, "float32"}
    return {training_race.resident_name(training_race.OWN, precision), *map(training_race.matrix_name, kinds)}


def _plan(
    bench: BenchConfig,
    data: Data,
    batch_size: int,
    rates: budget.Rates,
    paths: list[InputPath],
    arms: list[Arm],
    bounds: set[str],
) -> Plan:
    num_validation = data.validation.num_images if data.validation else 0
    share = num_validation / data.train.num_images
    trainings = [budget.training_cost(arm, rates, epochs=bench.epochs, validation_share=share) for arm in arms]
    return budget.make_plan(
        num_train=data.train.num_images,
        num_validation=num_validation,
        batch_size=batch_size,
        budget_s=bench.num_seconds,
        repeats=bench.num_repeats,
        inputs=[*(budget.input_cost(path, rates) for path in paths), *[budget.INPUT_BOUND] * 2],
        trainings=[*trainings, *[budget.STEP_BOUND] * len(bounds)],
    )


def _check(inputs: Workload, trainings: Workload, paths: list[InputPath], *, augmented: bool) -> Fairness:
    """What the fairness checks found, which is also logged."""
    checked: Fairness = in_process(fairness.check, paths, inputs)
    if augmented:
        remark = in_process(fairness.check_augmentation, trainings)
        checked = dataclasses.replace(checked, remarks=(*checked.remarks, remark))
    for remark in [*checked.remarks, *(f"{name} failed: {why}" for name, why in checked.failed.items())]:
        logger.info("%s", remark)
    return checked


def _race(variants: Sequence[Variant], repeats: int, seconds: float, progress: Progress) -> tuple[Outcome[Any], ...]:
    """`run_in_turn`, each variant planned to take the same part of `seconds`."""
    each = seconds / repeats / len(variants)
    return run_in_turn(variants, repeats=repeats, on_progress=lambda name: progress.begin(name, each))


def _sweep(
    workload: Workload, bench: BenchConfig, data: Data, plan: Plan, folder: Path, progress: Progress, has_gpu: bool
) -> tuple[SweepEntry, ...]:
    """The sweep's entries, on at least two batches of the largest size where there are so many images."""
    num_images = min(data.train.num_images, max(2 * max(bench.sweep_batch_sizes), plan.num_train))
    linked = link_images(data.train, data.class_names, num_images, folder / "sweep")
    return run_sweep(workload.on(linked, None), bench.sweep_batch_sizes, has_gpu=has_gpu, progress=progress)


def run_bench(bench: BenchConfig, data_config: DataConfig, train: TrainConfig, progress: Progress) -> Results:
    """Measures everything that `bench` asks for.

    Raises:
        UsageError: settings that the arms cannot share. DataError: as `load_data`.
        CheckError: the paths do not yield the same images and labels.
    """
    began, started = time.monotonic(), datetime.datetime.now(datetime.timezone.utc)
    refuse_unequal_work(train)
    require_model_size(data_config.image_size)
    progress.begin("looking at the images", 0.0)
    data = load_data(dataclasses.replace(data_config, cache="none"))
    train = train.for_images(data.train.num_images)
    own_loop.refuse_too_few(data, train)
    progress.begin("estimating how long it will take", 0.0)
    workload = Workload(data_config, dataclasses.replace(train, epochs=bench.epochs), len(data.class_names))
    about, precision, rates = in_process(_look_at_machine, workload, data.train.paths, use_gpu=True)
    paths = input_race.input_paths(input_race.QUICK if bench.quick else input_race.RACED)
    arms = training_race.raced_arms(precision, quick=bench.quick, augmented=bench.augmented)
    bound_names = _bound_names(precision, quick=bench.quick)
    plan = _plan(bench, data, train.batch_size, rates, paths, arms, bound_names)
    with scratch_dir(data_config.cache_root / "bench") as folder:
        inputs, trainings = link_workloads(data, plan, workload, folder)
        progress.begin("checking that all paths yield the same", 0.0)
        checked = _check(inputs, trainings, paths, augmented=bench.augmented)
        paths = [path for path in paths if path.name not in checked.failed]
        arms = [arm for arm in arms if READERS.get(arm.method) not in checked.failed]
        progress.expect(plan.input_s + plan.training_s)
        variants = input_race.input_variants(paths, inputs, cold=bench.cold)
        raced = _race(variants, bench.num_repeats, plan.input_s, progress)
        every_bound = training_race.bound_variants(arms, trainings)
        bounds = [variant for variant in every_bound if variant.name in bound_names]
        variants = [*training_race.training_variants(arms, trainings), *bounds]
        outcomes = _race(variants, bench.num_repeats, plan.training_s, progress)
        trained, step_bounds = tuple(map(with_steady_epochs, outcomes[: len(arms)])), outcomes[len(arms) :]
        has_gpu = bool(about.gpus)
        swept = _sweep(workload, bench, data, plan, folder, progress, has_gpu) if bench.sweep else ()
    left_out = [Outcome[Any](name, failure=reason) for name, reason in checked.failed.items()]
    claims = training_race.training_claims(arms, precision)
    return Results(
        format=FORMAT,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        machine=about,
        bench=bench,
        data=data_config,
        train=train,
        images=summarize(data),
        plan=plan,
        fairness=checked,
        precision=precision,
        input=(*left_out, *raced),
        training=trained,
        step_bounds=step_bounds,
        ratios=ratios(raced, input_race.CLAIMS) + ratios((*trained, *step_bounds), claims),
        sweep=swept,
    )
