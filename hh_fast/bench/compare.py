"""Two results side by side: what got slower, what faster, and what is only noise. Standard library only."""

import json
from pathlib import Path
from typing import Any

from hh_fast.bench.report import median, number, values
from hh_fast.errors import DataError
from hh_fast.evaluation.tables import markdown_table

# Figures by part, and whether more is better.
FIGURES = {
    "input": (("first_img_s", "first epoch, images/s", True), ("warm_img_s", "later, images/s", True)),
    "training": (
        ("wall_s", "wall, s", False),
        ("warm_epoch_s", "a later epoch, s", False),
        ("warm_img_s", "training, images/s", True),
    ),
}
# A change under this is not called one, however still the machine was.
LEAST_CHANGE = 0.03


def read_results(path: Path) -> dict[str, Any]:
    """A results.json.

    Raises:
        DataError: it is none.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results, dict) or not {"input", "training", "machine", "data"} <= set(results):
            raise ValueError("it lacks input, training, machine or data")
    except ValueError as e:
        raise DataError(f"{path} is no results.json of bin/bench: {e}") from e
    return results


def judge(old: list[float], new: list[float], change: float, *, more_is_better: bool) -> str:
    """`faster` or `slower` where the two ranges lie apart and the medians' ratio is over 3% from 1; else `noise` or `same`."""
    if abs(change - 1) < LEAST_CHANGE:
        return "same"
    if min(len(old), len(new)) < 2 or (min(new) <= max(old) and min(old) <= max(new)):
        return "noise"
    return "faster" if (change > 1) == more_is_better else "slower"


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What keeps the two from being comparable as they are, as sentences."""
    found = []
    for label, part, key in (
        ("processor", "machine", "cpu"),
        ("number of cores", "machine", "num_cores"),
        ("list of GPUs", "machine", "gpus"),
        ("data set", "data", "fingerprint"),
        ("image size", "data", "image_size"),
        ("number of images of input alone", "plan", "num_input"),
        ("number of images of whole trainings", "plan", "num_train"),
        ("state of the file cache", "data", "file_cache"),
    ):
        before, now = old.get(part, {}).get(key), new.get(part, {}).get(key)
        if before != now:
            found.append(f"the {label} differs: {before}, then {now}")
    versions = sorted(set(old.get("versions", {})) | set(new.get("versions", {})))
    changed = [name for name in versions if old["versions"].get(name) != new["versions"].get(name)]
    found += [f"{name} was {old['versions'].get(name)} and is {new['versions'].get(name)}" for name in changed]
    return found


def compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """A Markdown table of every figure that both results have, slower ones first, and what differs between the two."""
    rows = []
    for part, figures in FIGURES.items():
        before = {entry["name"]: entry for entry in old[part]}
        for entry in new[part]:
            for figure, label, more_is_better in figures:
                earlier = before.get(entry["name"], {"repeats": []})
                was, now = median(earlier, figure), median(entry, figure)
                if not was or not now:
                    continue
                change = now / was
                verdict = judge(values(earlier, figure), values(entry, figure), change, more_is_better=more_is_better)
                digits = 1 if figure.endswith("_s") and not more_is_better else 0
                rows.append([entry["name"], label, number(was, digits), number(now, digits), f"{change:.2f}", verdict])
    order = {"slower": 0, "faster": 1, "noise": 2, "same": 3}
    rows.sort(key=lambda row: order[row[-1]])
    lost = [
        f"- {entry['name']} failed and did not before: {entry['failure']}"
        for part in FIGURES
        for entry in new[part]
        if entry["failure"] and any(entry["name"] == other["name"] and not other["failure"] for other in old[part])
    ]
    slower = sum(row[-1] == "slower" for row in rows)
    parts = [f"{slower} of {len(rows)} figures got slower." if slower else f"None of {len(rows)} figures got slower."]
    parts.append(markdown_table(["path", "figure", "old", "new", "new/old", "verdict"], rows))
    parts += ["\n".join(lost)] if lost else []
    differences = [f"- {line}" for line in _differences(old, new)]
    parts += ["\n".join(differences)] if differences else []
    return "\n\n".join(parts)


def compare_files(old: Path, new: Path) -> str:
    """`compare` of two files. Raises: DataError, OSError."""
    return compare(read_results(old), read_results(new))
