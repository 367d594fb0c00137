"""Two results side by side: what got slower, what faster, and what is only noise. No TensorFlow."""

import statistics
from collections.abc import Sequence

from benchmarks.harness import Results, arms_of, values
from hh_fast.evaluation.tables import markdown_table

# Figure, its name in words, how it is written, and whether more of it is better.
FIGURES = (
    ("first_images_per_s", "first epoch, images/s", "{:,.0f}", True),
    ("steady_images_per_s", "steady, images/s", "{:,.0f}", True),
    ("wall_s", "training time, s", "{:,.1f}", False),
    ("steady_epoch_s", "steady-state epoch, s", "{:,.1f}", False),
)
# A change under this is not called one, however still the machine was.
LEAST_CHANGE = 0.03
ORDER = ("slower", "faster", "noise", "same")


def judge(old: Sequence[float], new: Sequence[float], *, more_is_better: bool) -> tuple[float, str]:
    """The medians' ratio, new to old, and `faster` or `slower` where it is over 3% from 1 and the ranges lie apart; else
    `noise` or `same`."""
    change = statistics.median(new) / statistics.median(old)
    if abs(change - 1) < LEAST_CHANGE:
        return change, "same"
    if min(len(old), len(new)) < 2 or (min(new) <= max(old) and min(old) <= max(new)):
        return change, "noise"
    return change, "faster" if (change > 1) == more_is_better else "slower"


def _differences(old: Results, new: Results) -> list[str]:
    """What keeps the two from being comparable as they are, as sentences."""
    before, now = ({**one["machine"], **one["data"], "epochs": one["epochs"]} for one in (old, new))
    names = {
        "cpu": "processor",
        "num_cores": "number of cores",
        "gpus": "list of GPUs",
        "fingerprint": "data set",
        "image_size": "image size",
        "num_train": "number of training images",
        "epochs": "number of epochs",
    }
    found = [f"the {name} differs: {before[k]}, then {now[k]}" for k, name in names.items() if before[k] != now[k]]
    was, versions = before["versions"], now["versions"]
    changed = [name for name in sorted({**was, **versions}) if was.get(name) != versions.get(name)]
    return found + [f"{name} was {was.get(name)} and is {versions.get(name)}" for name in changed]


def compare(old: Results, new: Results) -> str:
    """A Markdown table of every figure that both results have, slower ones first, and what differs between the two."""
    lines = []
    for arm in arms_of(new["rows"]):
        for figure, label, form, more_is_better in FIGURES:
            was, now = values(old["rows"], arm, figure), values(new["rows"], arm, figure)
            if was and now:
                change, verdict = judge(was, now, more_is_better=more_is_better)
                medians = [form.format(statistics.median(found)) for found in (was, now)]
                lines.append([arm, label, *medians, f"{change:.2f}", verdict])
    lines.sort(key=lambda line: ORDER.index(line[-1]))
    slower = sum(line[-1] == "slower" for line in lines)
    lost = [f"{name} failed: {why}" for name, why in new["failures"].items() if name not in old["failures"]]
    remarks = [f"- {text}, and did not before" for text in lost] + [f"- {text}" for text in _differences(old, new)]
    parts = [
        f"{slower or 'None'} of {len(lines)} figures got slower.",
        markdown_table(["arm", "figure", "old", "new", "new/old", "verdict"], lines),
        "\n".join(remarks),
    ]
    return "\n\n".join(part for part in parts if part)
