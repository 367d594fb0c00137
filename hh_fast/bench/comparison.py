"""Two results side by side: what got slower, what faster, and what is only noise. No TensorFlow."""

from collections.abc import Sequence
from typing import Any

from hh_fast.bench.report import number
from hh_fast.bench.results import Results
from hh_fast.bench.statistics import Outcome
from hh_fast.evaluation.tables import markdown_table

# Figures of a part, and whether more is better.
INPUT = (("first_images_per_s", "first epoch, images/s", True), ("steady_images_per_s", "steady, images/s", True))
TRAINING = (
    ("wall_s", "training time, s", False),
    ("steady_epoch_s", "steady-state epoch, s", False),
    ("steady_images_per_s", "training, images/s", True),
)
# A change under this is not called one, however still the machine was.
LEAST_CHANGE = 0.03
ORDER = {"slower": 0, "faster": 1, "noise": 2, "same": 3}


def judge(old: Sequence[float], new: Sequence[float], change: float, *, more_is_better: bool) -> str:
    """`faster` or `slower` where the two ranges lie apart and the medians' ratio is over 3% from 1; else `noise` or `same`."""
    if abs(change - 1) < LEAST_CHANGE:
        return "same"
    if min(len(old), len(new)) < 2 or (min(new) <= max(old) and min(old) <= max(new)):
        return "noise"
    return "faster" if (change > 1) == more_is_better else "slower"


def _differences(old: Results, new: Results) -> list[str]:
    """What keeps the two from being comparable as they are, as sentences."""
    pairs = {
        "processor": (old.machine.cpu, new.machine.cpu),
        "number of cores": (old.machine.num_cores, new.machine.num_cores),
        "list of GPUs": (old.machine.gpus, new.machine.gpus),
        "data set": (old.images.fingerprint, new.images.fingerprint),
        "image size": (old.images.image_size, new.images.image_size),
        "number of images of input alone": (old.plan.num_input, new.plan.num_input),
        "number of images of training": (old.plan.num_train, new.plan.num_train),
        "number of epochs": (old.bench.epochs, new.bench.epochs),
        "state of the file cache": tuple("cold" if one.bench.cold else "warm" for one in (old, new)),
    }
    found = [f"the {name} differs: {before}, then {now}" for name, (before, now) in pairs.items() if before != now]
    before, now = old.machine.versions, new.machine.versions
    changed = [name for name in sorted({**before, **now}) if before.get(name) != now.get(name)]
    return found + [f"{name} was {before.get(name)} and is {now.get(name)}" for name in changed]


def _rows(
    old: Sequence[Outcome[Any]], new: Sequence[Outcome[Any]], figures: Sequence[tuple[str, str, bool]]
) -> list[list[str]]:
    """A row for each figure that both have."""
    before = {outcome.name: outcome for outcome in old}
    rows = []
    for outcome in new:
        for figure, label, more_is_better in figures if outcome.name in before else ():
            was, now = before[outcome.name].median(figure), outcome.median(figure)
            if not was or not now:
                continue
            values = before[outcome.name].values(figure), outcome.values(figure)
            verdict = judge(*values, now / was, more_is_better=more_is_better)
            digits = 0 if more_is_better else 1
            rows.append([outcome.name, label, number(was, digits), number(now, digits), f"{now / was:.2f}", verdict])
    return rows


def compare(old: Results, new: Results) -> str:
    """A Markdown table of every figure that both results have, slower ones first, and what differs between the two."""
    rows = _rows(old.input, new.input, INPUT) + _rows(old.training, new.training, TRAINING)
    rows.sort(key=lambda row: ORDER[row[-1]])
    slower = sum(row[-1] == "slower" for row in rows)
    parts = [f"{slower} of {len(rows)} figures got slower." if slower else f"None of {len(rows)} figures got slower."]
    parts.append(markdown_table(["path", "figure", "old", "new", "new/old", "verdict"], rows))
    lost = [
        f"- {line}, and did not before"
        for line in new.failures
        if line.split(" failed: ")[0] not in {other.split(" failed: ")[0] for other in old.failures}
    ]
    told = lost + [f"- {line}" for line in _differences(old, new)]
    return "\n\n".join([*parts, "\n".join(told)] if told else parts)
