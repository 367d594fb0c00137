"""The two races, of input alone and of whole trainings, with their bounds; and the ratios that they allow to be claimed."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hh_fast.bench import baseline, bounds, inputs, whole
from hh_fast.bench.fairness import Fairness
from hh_fast.bench.isolate import in_process
from hh_fast.bench.measure import Outcome, Summary, Variant, noise_warning, ratio, run_in_turn
from hh_fast.bench.page_cache import drop
from hh_fast.bench.progress import Progress
from hh_fast.bench.setting import Setting

GENERATOR = "ImageDataGenerator"
GENERATOR_TRAINING = f"{GENERATOR} and fit, float32"
OWN_INPUT = "hh_fast, memory"
DECODE_BOUND = "bound: bare decoding, every core"
COPY_BOUND = "bound: memory copy, one core"
MOST_OF_BOUND = 1.05
RESIDENT_RECIPE = "bound: resident batch, fit, float32"


def resident_name(precision: str) -> str:
    return f"bound: resident batch, hh_fast, {precision}"


@dataclasses.dataclass(frozen=True)
class Call:
    """A measurement: what a process of its own calls, with what."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    use_gpu: bool = False
    framework: str = "tensorflow"

    def run(self) -> Any:
        return in_process(self.function, *self.arguments, use_gpu=self.use_gpu, framework=self.framework)


def measure_path(path: inputs.InputPath, num_images: int, cold_files: Sequence[str]) -> dict[str, Any]:
    """`measure_input`; with `cold_files`, these are dropped from the page cache first, and `cold_share` says how many."""
    shares: list[float] = []

    def before() -> None:
        if cold_files:
            shares.append(drop(cold_files))

    figures = inputs.measure_input(path, num_images=num_images, before=before)
    return {**figures, "cold_share": shares[0] if shares else None}


def files_of(folder: Path) -> list[str]:
    """The links in `folder` in the order in which every path lists them: by class, then by name."""
    return [str(path) for class_dir in sorted(folder.iterdir()) for path in sorted(class_dir.iterdir())]


def race_inputs(
    setting: Setting, checked: Fairness, progress: Progress, further: Sequence[Call] = ()
) -> dict[str, Outcome]:
    """Outcomes of the paths, of `further` ones and of the bounds; paths that failed the check are not run."""
    files = files_of(setting.input_dir)
    num_images = setting.plan.num_input
    calls = [
        Call(path.name, measure_path, (path, num_images, files if setting.bench.cold else ()))
        for path in setting.input_paths()
        if path.name not in checked.failed
    ]
    copied = (num_images, setting.data.image_size, setting.train.batch_size)
    calls += [
        *further,
        Call(DECODE_BOUND, bounds.decode_bound, (files,)),
        Call(COPY_BOUND, bounds.copy_bound, copied),
    ]
    outcomes = _run(calls, setting.bench.num_repeats, setting.plan.input_s, progress)
    return {name: Outcome(name, failure=reason) for name, reason in checked.failed.items()} | outcomes


def race_trainings(
    setting: Setting,
    precisions: Sequence[str],
    feedings: Sequence[baseline.Feeding],
    progress: Progress,
    further: Sequence[Call] = (),
) -> dict[str, Outcome]:
    """Outcomes of the whole trainings, of the resident batches of the recipe and the last precision, and of `further` ones."""
    jobs = {precision: setting.job(precision) for precision in precisions}
    recipe = setting.job("float32")
    calls = [Call(f"{feeding.name} and fit, float32", whole.train_generator, (recipe, feeding)) for feeding in feedings]
    calls += [Call(f"hh_fast, {precision}", whole.train_hh_fast, (job,)) for precision, job in jobs.items()]
    calls.append(Call(RESIDENT_RECIPE, whole.resident_recipe, (recipe,)))
    calls.append(Call(resident_name(precisions[-1]), whole.resident_hh_fast, (jobs[precisions[-1]],)))
    calls = [dataclasses.replace(call, use_gpu=True) for call in [*calls, *further]]
    return _run(calls, setting.bench.num_repeats, setting.plan.training_s, progress)


def _run(calls: Sequence[Call], repeats: int, expected_s: float, progress: Progress) -> dict[str, Outcome]:
    each = expected_s / repeats / len(calls)
    variants = [Variant(call.name, call.run, each) for call in calls]
    return run_in_turn(variants, repeats=repeats, on_progress=progress.begin)


def _bound_warning(what: str, shares: Summary) -> str | None:
    """A share of a bound claims no difference that noise could feign; but a bound that is beaten was taken in noise."""
    if shares.median <= MOST_OF_BOUND:
        return None
    return f"{what}: {shares.median:.2f} of a bound: the machine was too noisy; stop other work and raise --repeats"


def claims(input_outcomes: dict[str, Outcome], training: dict[str, Outcome], precision: str) -> list[dict[str, Any]]:
    """The ratios that the reports speak of, each with its pairs' summary and, where noise forbids it, a warning."""
    own = f"hh_fast, {precision}"
    asked = [
        ("warm input", input_outcomes, OWN_INPUT, GENERATOR, "warm_img_s"),
        ("first epoch's input", input_outcomes, OWN_INPUT, GENERATOR, "first_img_s"),
        ("whole training in float32", training, GENERATOR_TRAINING, "hh_fast, float32", "wall_s"),
        ("whole training", training, GENERATOR_TRAINING, own, "wall_s"),
        ("a warm epoch", training, GENERATOR_TRAINING, own, "warm_epoch_s"),
        ("share of bound: warm input", input_outcomes, OWN_INPUT, COPY_BOUND, "warm_img_s"),
        ("share of bound: first epoch's input", input_outcomes, OWN_INPUT, DECODE_BOUND, "first_img_s"),
        ("share of bound: training, hh_fast", training, own, resident_name(precision), "warm_img_s"),
        ("share of bound: training, generator", training, GENERATOR_TRAINING, RESIDENT_RECIPE, "warm_img_s"),
    ]
    found = []
    for what, outcomes, above, below, figure in asked:
        both = above in outcomes and below in outcomes
        summary = ratio(outcomes[above], outcomes[below], figure) if both else None
        if summary is None:
            continue
        warning = _bound_warning(what, summary) if what.startswith("share") else noise_warning(what, summary)
        entry = {"what": what, "over": above, "under": below, "figure": figure}
        found.append({**entry, **summary.to_json(), "warning": warning})
    return found
