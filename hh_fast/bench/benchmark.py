"""The whole bench: which images, the check that the paths are equal, the races, and their results."""

import dataclasses
import datetime
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hh_fast.bench import fairness, input_race, machine, own_loop, training_race
from hh_fast.bench.budget import Races, calibrate, make_plan
from hh_fast.bench.isolate import in_process
from hh_fast.bench.progress import Progress
from hh_fast.bench.results import FORMAT, Fairness, Plan, Results, SweepEntry, with_steady_epochs
from hh_fast.bench.statistics import Outcome, Variant, ratios, run_in_turn
from hh_fast.bench.sweep import run_sweep
from hh_fast.bench.training_race import Arm
from hh_fast.bench.workload import Workload, link_images, link_workloads, refuse_unequal_work, summarize
from hh_fast.config import BenchConfig, DataConfig, TrainConfig, require_model_size
from hh_fast.data.load import Data, load_data
from hh_fast.io.files import scratch_dir

logger = logging.getLogger(__name__)


def _input_paths(bench: BenchConfig) -> list[input_race.InputPath]:
    return input_race.input_paths(input_race.QUICK if bench.quick else input_race.RACED)


def _bounds(arms: Sequence[Arm], precision: str, workload: Workload, *, quick: bool) -> list[Variant]:
    """Of the bounds of the arms' steps, those that `bin/bench` has time for: two of our step, and one of float32."""
    kinds = [precision] if quick else [precision, "float32"]
    resident = training_race.resident_name(training_race.OWN, precision)
    names = {resident, *map(training_race.matrix_name, kinds)}
    return [variant for variant in training_race.bound_variants(arms, workload) if variant.name in names]


def _plan(workload: Workload, data: Data, bench: BenchConfig, precision: str) -> Plan:
    rates = in_process(calibrate, workload, data.train.paths, use_gpu=True)
    paths = _input_paths(bench)
    arms = training_race.raced_arms(precision, quick=bench.quick, augmented=bench.augmented)
    num_generators = sum(path.by_pillow for path in paths)
    races = Races(
        repeats=bench.num_repeats,
        epochs=bench.epochs,
        generator_inputs=num_generators,
        other_inputs=len(paths) - num_generators,
        generator_arms=1,
        augmented_generator_arms=int(bench.augmented),
        other_arms=len(arms) - 1,
        step_bounds=len(_bounds(arms, precision, workload, quick=bench.quick)),
    )
    return make_plan(
        num_train=data.train.num_images,
        num_validation=data.validation.num_images if data.validation else 0,
        batch_size=workload.train.batch_size,
        budget_s=bench.num_seconds,
        rates=rates,
        races=races,
    )


def run_variants(variants: Sequence[Variant], repeats: int, seconds: float, progress: Progress) -> tuple[Outcome, ...]:
    """`run_in_turn`, each variant planned to take the same part of `seconds`."""
    each = seconds / repeats / max(1, len(variants))
    timed = [dataclasses.replace(variant, expected_s=each) for variant in variants]
    return run_in_turn(timed, repeats=repeats, on_progress=progress.begin)


def check_paths(workload: Workload, level: int = input_race.PUBLISHED) -> Fairness:
    """The fairness check of the input race's paths; called in a measuring process, which must not be forked any more."""
    paths = [path for path in input_race.input_paths(level) if not path.name.endswith("processes")]
    reference = next(path for path in paths if path.name == input_race.OWN)
    return fairness.check(paths, reference, workload)


def _race_inputs(
    workload: Workload, bench: BenchConfig, checked: Fairness, seconds: float, progress: Progress
) -> tuple[Outcome[Any], ...]:
    """Outcomes of the paths and of their bounds; of a path that failed the check, that it did."""
    paths = [path for path in _input_paths(bench) if path.name not in checked.failed]
    variants = input_race.input_variants(paths, workload, cold=bench.cold)
    left_out = [Outcome[Any](name, failure=reason) for name, reason in checked.failed.items()]
    return (*left_out, *run_variants(variants, bench.num_repeats, seconds, progress))


def _race_trainings(
    workload: Workload, bench: BenchConfig, checked: Fairness, precision: str, seconds: float, progress: Progress
) -> tuple[tuple[Outcome[Any], ...], tuple[Outcome[Any], ...]]:
    """Outcomes of the arms whose reader passed the check, and of the bounds of their steps."""
    reader = {training_race.GENERATOR: input_race.GENERATOR, training_race.STOCK: input_race.STOCK}
    every = training_race.raced_arms(precision, quick=bench.quick, augmented=bench.augmented)
    arms = [arm for arm in every if reader.get(arm.method) not in checked.failed]
    bounds = _bounds(arms, precision, workload, quick=bench.quick)
    variants = [*training_race.training_variants(arms, workload), *bounds]
    outcomes = run_variants(variants, bench.num_repeats, seconds, progress)
    return tuple(map(with_steady_epochs, outcomes[: len(arms)])), outcomes[len(arms) :]


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
    about = machine.describe(in_process(machine.gpu_names, use_gpu=True))
    precision = str(in_process(own_loop.chosen_precision, train, use_gpu=True))
    with scratch_dir(data_config.cache_root / "bench") as folder:
        workload = Workload(data_config, dataclasses.replace(train, epochs=bench.epochs), len(data.class_names))
        progress.begin("estimating how long it will take", 0.0)
        plan = _plan(workload, data, bench, precision)
        inputs, trainings = link_workloads(data, plan, workload, folder)
        progress.begin("checking that all paths yield the same", 0.0)
        checked = in_process(check_paths, inputs, input_race.QUICK if bench.quick else input_race.RACED)
        if bench.augmented:
            remark = in_process(fairness.check_augmentation, trainings)
            checked = dataclasses.replace(checked, remarks=(*checked.remarks, remark))
        for remark in [*checked.remarks, *(f"{name} failed: {why}" for name, why in checked.failed.items())]:
            logger.info("%s", remark)
        progress.expect(plan.input_s + plan.training_s)
        raced = _race_inputs(inputs, bench, checked, plan.input_s, progress)
        trained, bounds = _race_trainings(trainings, bench, checked, precision, plan.training_s, progress)
        has_gpu = bool(about.gpus)
        swept = _sweep(workload, bench, data, plan, folder, progress, has_gpu) if bench.sweep else ()
    claims = training_race.training_claims(training_race.raced_arms(precision, quick=bench.quick), precision)
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
        input=raced,
        training=trained,
        step_bounds=bounds,
        ratios=ratios(raced, input_race.CLAIMS) + ratios((*trained, *bounds), claims),
        sweep=swept,
    )
