"""The whole bench: which images, the check that the paths are equal, the races, and the results as one JSON value."""

import dataclasses
import datetime
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from hh_fast.bench import baseline, fairness, inputs, machine, peers
from hh_fast.bench.calibrate import calibrate
from hh_fast.bench.isolate import in_process
from hh_fast.bench.measure import Outcome
from hh_fast.bench.peer_calls import peer_calls
from hh_fast.bench.plan import Plan, Rates, Shape, make_plan
from hh_fast.bench.progress import Progress
from hh_fast.bench.race import claims, files_of, race_inputs, race_trainings
from hh_fast.bench.setting import Setting, link_all, refuse_unequal_work
from hh_fast.bench.subset import link_images
from hh_fast.bench.sweep import run_sweep
from hh_fast.config import BenchConfig, DataConfig, TrainConfig, require_model_size
from hh_fast.data.load import Data, load_data
from hh_fast.distributed.shards import whole
from hh_fast.io.files import scratch_dir
from hh_fast.training.precision import choose

logger = logging.getLogger(__name__)

FORMAT = 1


def _shape(bench: BenchConfig, precisions: Sequence[str]) -> Shape:
    return Shape(
        repeats=bench.num_repeats,
        epochs=bench.epochs,
        num_generator_inputs=2 if bench.quick else 3,
        num_decoding_inputs=5 if bench.quick else 7,
        num_generator_trainings=1 if bench.quick else 2,
        num_hh_fast_trainings=len(precisions),
        num_resident=2,
    )


def check_paths(setting: Setting) -> fairness.Fairness:
    """The fairness check of the input race's paths; called in a measuring process."""
    own = inputs.HHFastInput(
        directory=setting.input_dir, image_size=setting.data.image_size, batch_size=setting.train.batch_size
    )
    return fairness.check(setting.input_paths(), own, files_of(setting.input_dir))


def chosen_precision(train: TrainConfig) -> str:
    """What hh_fast would train in on this machine; called in a measuring process."""
    return choose(train).precision


def _precisions(train: TrainConfig, *, quick: bool) -> list[str]:
    """float32, for the same arithmetic as the recipe's, then what this machine, or a flag, chooses."""
    chosen = str(in_process(chosen_precision, train, use_gpu=True))
    return [chosen] if quick or chosen == "float32" else ["float32", chosen]


def _plan(setting: Setting, data: Data, precisions: Sequence[str]) -> tuple[Plan, Rates]:
    rates = in_process(calibrate, setting.job("float32"), data.train.paths, use_gpu=True)
    plan = make_plan(
        num_train=data.train.num_images,
        num_validation=data.validation.num_images if data.validation else 0,
        batch_size=setting.train.batch_size,
        budget_s=setting.bench.num_seconds,
        rates=rates,
        shape=_shape(setting.bench, precisions),
    )
    logger.info(
        "Input race: %d images; whole trainings: %d images, %d epochs; %d repeats; about %.0f s",
        *(plan.num_input, plan.num_train, setting.bench.epochs, setting.bench.num_repeats),
        plan.input_s + plan.training_s,
    )
    return plan, rates


def _best_feeding(outcomes: dict[str, Outcome]) -> list[baseline.Feeding]:
    """The faster of the generator's two ways of using every core; none where both failed."""
    rates = {feeding: outcomes[feeding.name].median("warm_img_s") or 0.0 for feeding in baseline.feedings()[1:]}
    best = max(rates, key=lambda feeding: rates[feeding])
    return [best] if rates[best] else []


def _race(
    setting: Setting, checked: fairness.Fairness, precisions: Sequence[str], progress: Progress
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    peer_inputs, peer_trainings = peer_calls(setting)
    progress.plan(setting.plan.input_s + setting.plan.training_s)
    input_outcomes = race_inputs(setting, checked, progress, peer_inputs)
    feedings = [feeding for feeding in baseline.feedings()[:1] if feeding.name not in checked.failed]
    if feedings and not setting.bench.quick:
        feedings += _best_feeding(input_outcomes)
    return input_outcomes, race_trainings(setting, precisions, feedings, progress, peer_trainings)


def _sweep(setting: Setting, data: Data, gpus: list[str], progress: Progress) -> list[dict[str, Any]]:
    """The sweep's entries, on at least two batches of the largest size where there are so many images."""
    largest = max(setting.bench.sweep_batch_sizes)
    num_images = min(data.train.num_images, max(2 * largest, setting.plan.num_train))
    folder = link_images(data.train, data.class_names, num_images, setting.folder / "sweep")
    job = setting.job(setting.train.precision)
    changed = dataclasses.replace(job.data, train_dir=str(folder), validation_dir=None, validation_split=0.0)
    job = dataclasses.replace(job, data=changed)
    return run_sweep(job, setting.bench.sweep_batch_sizes, has_gpu=bool(gpus), progress=progress)


def _warnings(bench: BenchConfig, ratios: Sequence[dict[str, Any]]) -> list[str]:
    single = ["one repeat shows no noise, so these are first looks: use --repeats=3 or more to claim a difference"]
    return (single if bench.num_repeats == 1 else []) + [entry["warning"] for entry in ratios if entry["warning"]]


def _describe_data(data: Data, config: DataConfig, plan: Plan, *, cold: bool) -> dict[str, Any]:
    state = (
        "image files dropped from the system's page cache before each first epoch"
        if cold
        else "image files in the system's page cache: each was read before"
    )
    return {
        "name": data.source.name,
        "fingerprint": data.fingerprint,
        "num_train": data.train.num_images,
        "num_validation": data.validation.num_images if data.validation else 0,
        "class_names": list(data.class_names),
        "image_size": list(config.image_size),
        "file_cache": state,
        "subset": plan.num_train < data.train.num_images or plan.num_input < data.train.num_images,
    }


def run_bench(
    bench: BenchConfig, data_config: DataConfig, train: TrainConfig, show: Callable[[str], None]
) -> dict[str, Any]:
    """Measures everything that `bench` asks for, and returns the results as `results.json` holds them.

    Raises:
        UsageError: settings that the paths cannot share. DataError: as `load_data`.
        CheckError: the paths do not yield the same images and labels.
    """
    began, started = time.monotonic(), datetime.datetime.now(datetime.timezone.utc)
    refuse_unequal_work(train)
    require_model_size(data_config.image_size)
    progress = Progress(show)
    progress.begin("looking at the images", 0.0)
    data = load_data(dataclasses.replace(data_config, cache="none"))
    whole(data.train).steps_per_epoch(train)
    gpus = in_process(machine.gpu_names, use_gpu=True)
    about = machine.describe(gpus)
    precisions = _precisions(train, quick=bench.quick)
    with scratch_dir(data_config.cache_root / "bench") as folder:
        setting = Setting(bench, data_config, train, folder, len(data.class_names))
        progress.begin("estimating how long it will take", 0.0)
        plan, rates = _plan(setting, data, precisions)
        setting = dataclasses.replace(setting, plan=plan)
        link_all(data, plan, folder)
        progress.begin("checking that all paths yield the same", 0.0)
        checked = in_process(check_paths, setting)
        for remark in [*checked.remarks, *(f"{name} failed: {why}" for name, why in checked.failed.items())]:
            logger.info("%s", remark)
        input_outcomes, training_outcomes = _race(setting, checked, precisions, progress)
        swept = _sweep(setting, data, gpus, progress) if bench.sweep else None
    ratios = claims(input_outcomes, training_outcomes, precisions[-1])
    yields = {path.name: path.yields for path in setting.input_paths()}
    return {
        "format": FORMAT,
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.monotonic() - began,
        "machine": about,
        "versions": machine.versions(),
        "flags": {"bench": bench.to_json(), "data": data_config.to_json(), "train": train.to_json()},
        "data": _describe_data(data, data_config, plan, cold=bench.cold),
        "plan": {**dataclasses.asdict(plan), "rates": dataclasses.asdict(rates)},
        "fairness": dataclasses.asdict(checked),
        "input": [{**outcome.to_json(), "yields": yields.get(name)} for name, outcome in input_outcomes.items()],
        "training": [outcome.to_json() for outcome in training_outcomes.values()],
        "precision": precisions[-1],
        "missing_peers": peers.missing() if bench.peers else [],
        "sweep": swept,
        "ratios": ratios,
        "warnings": _warnings(bench, ratios),
    }
