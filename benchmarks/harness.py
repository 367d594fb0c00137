"""One way to measure, and one kind of result.

Arms run in turn (A B C, then B C A, ...), so what the machine does meanwhile hits all of them alike. One run of an arm is one
row: a dict of `arm`, `repeat` and the figures that the run gave. A result is a list of rows, and what must be known to read
them. Ratios are taken between two rows of one repeat and summed up afterwards. No TensorFlow.
"""

import argparse
import datetime
import json
import logging
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.process import describe_failure, in_process
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores
from hh_fast.io.files import write_json
from hh_fast.io.versions import package_versions

# Beneath the package's logger, whose messages the commands show.
logger = logging.getLogger("hh_fast.benchmarks")

Row = dict[str, Any]
Results = dict[str, Any]
# Takes the number of the repeat, from 0; gives the row's figures.
Measure = Callable[[int], Row]

RESULTS_DIR = Path(__file__).parent / "results"
FORMAT = 3
REPORTED_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
# A share of a bound above this was taken on a machine too noisy to tell.
MAX_BOUND_SHARE = 1.05


def isolated(function: Callable[..., Row], *arguments: Any) -> Measure:
    """Runs `function(*arguments)` in a process of its own for each repeat."""
    return lambda _: in_process(function, *arguments)


def run_in_turn(arms: Mapping[str, Measure], *, repeats: int, **labels: Any) -> tuple[list[Row], dict[str, str]]:
    """The rows of `repeats` runs of each arm, by arm, each with `labels`; and why arms failed, by name.

    An arm that raises is not run again; the others go on.
    """
    names = list(arms)
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in [*names[first:], *names[:first]]:
            if name in failures:
                continue
            logger.info("Repeat %d of %d: %s", repeat + 1, repeats, name)
            try:
                rows.append({**labels, "arm": name, "repeat": repeat, **arms[name](repeat)})
            except Exception as e:  # one arm that fails must not take the others with it
                failures[name] = describe_failure(e)
                logger.warning("%s failed: %s", name, failures[name])
    rows.sort(key=lambda row: names.index(row["arm"]))
    return rows, failures


def values(rows: Sequence[Row], arm: str, figure: str) -> list[float]:
    """The figure of each of the arm's rows, without those that lack it."""
    return [row[figure] for row in rows if row["arm"] == arm and row.get(figure) is not None]


def median(rows: Sequence[Row], arm: str, figure: str) -> float | None:
    found = values(rows, arm, figure)
    return statistics.median(found) if found else None


def arms_of(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


class Claim(NamedTuple):
    """A ratio to take if both arms were measured. `bound`: a share of what no arm can exceed."""

    what: str
    above: str
    below: str
    figure: str
    bound: bool = False


class Ratio(NamedTuple):
    """`figure` of the claim's upper arm over that of the lower one: median and extremes of the pairs of one repeat."""

    median: float
    low: float
    high: float
    num_pairs: int


def take_ratio(rows: Sequence[Row], claim: Claim) -> Ratio | None:
    """The claim's ratio, or None where no repeat has both figures."""
    above, below = (
        {row["repeat"]: row.get(claim.figure) for row in rows if row["arm"] == arm}
        for arm in (claim.above, claim.below)
    )
    pairs = [value / other for i, value in above.items() if value is not None and (other := below.get(i))]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs), len(pairs)) if pairs else None


def doubt(claim: Claim, ratio: Ratio) -> str | None:
    """Why the ratio must not be claimed, or None. A single pair has no scatter to tell by."""
    what = f"{claim.what} ({claim.above} to {claim.below}): {ratio.median:.2f}"
    remedy = "stop other work and raise --repeats"
    if claim.bound:
        too_high = ratio.median > MAX_BOUND_SHARE
        return f"{what} of a bound: the machine was too noisy; {remedy}" if too_high else None
    if ratio.high - ratio.low <= abs(ratio.median - 1):
        return None
    return f"{what} is within this machine's noise (pairs from {ratio.low:.2f} to {ratio.high:.2f}); {remedy}"


def describe_machine() -> dict[str, Any]:
    """What a result must say of the machine and its software; called in a measuring process, since it starts GPU drivers."""
    import tensorflow as tf

    from hh_fast.training.hardware import cpu_flags, cpu_name

    gpus = tf.config.list_physical_devices("GPU")
    return {
        "cpu": cpu_name(),
        "cpu_flags": [flag for flag in REPORTED_CPU_FLAGS if flag in cpu_flags()],
        "num_cores": num_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")) for gpu in gpus],
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": package_versions("pillow", "scipy"),
    }


def machine_in_words(machine: dict[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['num_cores']} cores, {', '.join(machine['gpus']) or 'no GPU'}"


def portable(words: Sequence[str]) -> list[str]:
    """The arguments, without the flags that only say where files go, and with the last part of each path."""
    kept = [
        word
        for word in words
        if not word.startswith(("--cache_dir", "--output", "--overwrite", "--verbosity", "--work"))
    ]
    return [re.sub(r"(^|=)/?(?:[^=]*/)?([^/=]+)/?$", r"\1\2", word) for word in kept]


def make_results(
    command: str, machine: dict[str, Any], rows: Sequence[Row], failures: Mapping[str, str] | None = None, **about: Any
) -> Results:
    """All that a results.json holds."""
    return {
        "format": FORMAT,
        "command": command,
        "written": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine,
        **about,
        "failures": dict(failures or {}),
        "rows": list(rows),
    }


def read_results(path: Path) -> Results:
    """A results.json.

    Raises:
        DataError: it is none of these. OSError: it cannot be read.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise DataError(f"{path} is no results.json of bin/bench: {e}; measure again") from e
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise DataError(f"{path} is no results.json of this bin/bench, which writes format {FORMAT}; measure again")
    return results


def command_words(name: str, *arguments: str) -> list[str]:
    """What runs bin/NAME's code in a process of its own."""
    return [sys.executable, "-c", f"import sys; from hh_fast.cli.{name} import main; sys.exit(main())", *arguments]


def study(name: str, description: str, *, repeats: int) -> argparse.ArgumentParser:
    """The flags that every study has; shows what is being measured on standard error."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hh_fast").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--output", type=Path, default=RESULTS_DIR / f"{name}.json")
    return parser


def finish_study(
    name: str,
    arguments: argparse.Namespace,
    rows: Sequence[Row],
    failures: Mapping[str, str] | None = None,
    **about: Any,
) -> None:
    """Writes what a study measured, with the command that repeats it."""
    command = " ".join([f"python -m benchmarks.studies.{name}", *portable(sys.argv[1:])])
    write_json(arguments.output, make_results(command, in_process(describe_machine), rows, failures, **about))
    logger.info("Written: %s", arguments.output)
