"""The fault campaign in full.

    .venv/bin/python -m benchmarks.faults [--only=killed,disk] [--scale=0.1] [--work=FOLDER] [--output=FILE]

Writes benchmarks/results/faults.json: a row for each fault, with what was tried and lost. Some faults need root (a small tmpfs)
and are noted as skipped without it. At scale 1 on 2 cores it takes about two hours, most of it kills. Exit code 1 if anything
was lost. Faults that are not asked for keep their rows.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.faults import endurance, features, hostile, kills, storage
from benchmarks.faults.lab import Lab
from benchmarks.harness import RESULTS_DIR, describe_machine, make_results, portable
from benchmarks.process import in_process
from hh_fast.io.files import write_json

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BACKBONE = ("--backbone=efficientnet_lite0",)
# The network's own file takes 14 MB of the cache, the features of the images 0.2 MB, a run 30 MB.
FEATURE_DISKS_MB = (0.05, 5, 13.7, 14.0, 20, 40)


def _of(most: int, scale: float) -> int:
    return max(1, round(most * scale))


def _trainings(lab: Lab, scale: float, most: int, more: Sequence[str] = ()) -> None:
    kills.killed_trainings(lab, kills.undisturbed(lab.work, more), _of(most, scale), numbers=SIGNALS)


def _damages(lab: Lab, scale: float, most: int, more: Sequence[str] = ()) -> None:
    kills.damaged_files(lab, kills.undisturbed(lab.work, more), _of(most, scale))


def _passes(lab: Lab, scale: float) -> None:
    features.killed_passes(lab, kills.undisturbed(lab.work, BACKBONE, per_class=300), _of(20, scale))


def _stale(lab: Lab, _: float) -> None:
    front = features.write_front(lab.work / "front.keras", 0)
    features.stale_features(lab, kills.undisturbed(lab.work, (f"--model={front}",)), front)


# By name; each takes the share of the full counts.
FAULTS: dict[str, Callable[[Lab, float], None]] = {
    "trainings killed or stopped": lambda lab, scale: _trainings(lab, scale, 50),
    "trainings on features killed or stopped": lambda lab, scale: _trainings(lab, scale, 10, BACKBONE),
    "feature passes killed": _passes,
    "caches and checkpoints damaged": lambda lab, scale: _damages(lab, scale, 20),
    "features and checkpoints damaged": lambda lab, scale: _damages(lab, scale, 10, BACKBONE),
    "features stale or damaged, weights changed": _stale,
    "export and explore killed": lambda lab, scale: kills.killed_products(lab, _of(50, scale)),
    "one cold cache": lambda lab, _: kills.one_cache(lab),
    "one cold cache, filler killed": lambda lab, _: kills.one_cache(lab, kill_filler=True),
    "the same features wanted twice": lambda lab, _: kills.one_cache(lab, more=BACKBONE),
    "one run folder": lambda lab, _: kills.one_run_folder(lab),
    "full disk": lambda lab, _: storage.full_disk(lab),
    "full disk, features": lambda lab, _: storage.full_disk(lab, FEATURE_DISKS_MB, more=BACKBONE),
    "file size limit": lambda lab, _: storage.size_limit(lab),
    "read-only and misplaced": lambda lab, _: storage.unwritable(lab),
    "cache removed": lambda lab, _: storage.removed_cache(lab),
    "images changed or lost": lambda lab, _: storage.changed_images(lab),
    "other people's folders": lambda lab, _: storage.foreign_folders(lab),
    "hostile images": lambda lab, scale: hostile.hostile_images(lab, _of(2000, scale)),
    "hostile models": lambda lab, scale: hostile.hostile_models(lab, _of(1500, scale)),
    "long run": lambda lab, scale: endurance.soak(lab, max(120, _of(2000, scale))),
    "no network": lambda lab, _: endurance.no_network(lab),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only faults with one of these in their name")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--work", type=Path, help="folder for what the campaign makes; default: a temporary one")
    parser.add_argument("--output", type=Path, default=RESULTS_DIR / "faults.json")
    given = parser.parse_args()
    names = [name for name in FAULTS if any(part in name for part in given.only.split(","))]
    if not names:
        parser.error(f"no fault has {given.only!r} in its name: they are {'; '.join(FAULTS)}")
    work = Path(tempfile.mkdtemp(prefix="faults-", dir=given.work))
    # A shell that starts this in the background has Ctrl-C ignored, which the victims would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output, lost = given.output, 0
    machine = in_process(describe_machine)
    # The rows say which faults were asked for, in several calls if need be.
    flags = [word for word in sys.argv[1:] if not word.startswith("--only")]
    command = " ".join(["python -m benchmarks.faults", *portable(flags)])
    for name in names:
        lab = Lab(work / name.replace(" ", "-").replace("'", ""))
        FAULTS[name](lab, given.scale)
        lost += len(lab.lost)
        print(f"{name}: {lab.tried} tried, {len(lab.lost)} lost", *lab.lost, sep="\n  ", flush=True)
        before = json.loads(output.read_text())["rows"] if output.exists() else []
        rows = {row["arm"]: row for row in before if row["arm"] in FAULTS} | {name: lab.row(name)}
        ordered = [rows[arm] for arm in FAULTS if arm in rows]
        write_json(output, make_results(command, machine, ordered))
        if not lab.lost:
            shutil.rmtree(lab.work, ignore_errors=True)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
