"""Trainings ended by signals at random moments, then run again: they must end as one that was never disturbed."""

import concurrent.futures
import random
import re
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import finish, make_set, start

MEASURED = ("images_per_second", "input_wait", "seconds")
MAX_STOP_S = 5.0


def _flags(work: Path, trial: Path, cache: str, every: int | None) -> list[str]:
    return [
        f"--train_dir={work / 'train'}",
        f"--validation_dir={work / 'validation'}",
        f"--run_dir={trial / 'run'}",
        f"--cache_dir={trial / 'cache'}",
        f"--cache={cache}",
        "--image_size=96,96",
        "--batch_size=16",
        "--epochs=3",
        "--precision=float32",
        "--device=cpu",
        *([f"--checkpoint_every_steps={every}"] if every else []),
    ]


def _weights(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as raw, h5py.File(raw) as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    return found


def _checkpoint(folder: Path) -> dict[str, Any]:
    newest = sorted(folder.glob("epoch*.npz"))[-1]
    with np.load(newest) as arrays:
        return {newest.name: True} | {name: arrays[name].tobytes() for name in arrays.files if name != "progress"}


def _history(path: Path) -> list[list[str]]:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in MEASURED]
    return [[row[i] for i in kept] for row in rows]


def outcome(trial: Path) -> dict[str, Any]:
    """All that a finished run must have in common with any other of the same command."""
    run_dir = trial / "run"
    return {
        "model.keras": _weights(run_dir / "model.keras"),
        "last.keras": _weights(run_dir / "last.keras"),
        "weights and optimizer": _checkpoint(trial / "run" / "checkpoints"),
        "history.csv": _history(run_dir / "history.csv"),
        "files": _files(trial),
    }


def _files(trial: Path) -> list[str]:
    """Every file of the run, but the names of event files, which hold the time; of the cache, what should not stay."""
    run = [str(path.relative_to(trial)) for path in (trial / "run").rglob("*")]
    cache = [str(path.relative_to(trial)) for path in (trial / "cache").rglob(".*")]
    return sorted(re.sub(r"events\.out.*", "events", name) for name in run + cache)


def _train(work: Path, trial: Path, cache: str, every: int | None, **environment: object) -> Any:
    return start("train", _flags(work, trial, cache, every), **environment)


def _disturb(
    work: Path, trial: Path, cache: str, every: int | None, number: int, plan: dict[str, Any]
) -> tuple[int, float, str]:
    """(exit code, seconds from signal to end, standard error) of a training that gets the signal as planned."""
    if "change" in plan:
        process = _train(
            work, trial, cache, every, VICTIM_ROOT=trial, VICTIM_AT=plan["change"], VICTIM_SIGNAL=int(number)
        )
        code, _, err = finish(process)
        return code, 0.0, err
    process = _train(work, trial, cache, every)
    time.sleep(plan["seconds"])
    process.send_signal(number)
    sent = time.monotonic()
    code, _, err = finish(process)
    return code, time.monotonic() - sent, err


def _resume(work: Path, trial: Path, cache: str, every: int | None) -> str | None:
    """Runs the same command to the run's end; the reason where it does not get there."""
    code, _, err = finish(_train(work, trial, cache, every))
    return None if code == 0 else f"the same command ended with {code}: {err.strip()[-300:]}"


def one_trial(work: Path, number: int, seed: int, whole: dict[str, Any], counts: Counts) -> None:
    draw = random.Random(f"{number} {seed}")
    trial = work / f"trial-{number}-{seed}"
    trial.mkdir()
    cache, every = draw.choice(("disk", "memory", "none")), draw.choice((None, 1, 3))
    plan: dict[str, Any] = (
        {"change": draw.randint(1, whole["changes"])} if seed % 2 else {"seconds": draw.uniform(0.05, whole["seconds"])}
    )
    what = f"signal {number}, seed {seed}, cache={cache}, every={every}, {plan}"
    try:
        code, seconds, err = _disturb(work, trial, cache, every, number, plan)
        counts.note("signals that met a living process", code != 0)
        reason = None
        if number != signal.SIGKILL:
            reason = _badly_stopped(number, code, seconds, err, trial)
        reason = reason or _resume(work, trial, cache, every)
        if reason is None:
            now = outcome(trial)
            different = [name for name in now if now[name] != whole["outcome"][name]]
            if different:
                reason = f"{', '.join(different)} differ from the undisturbed run's"
                if "files" in different:
                    reason += f": {sorted(set(now['files']) ^ set(whole['outcome']['files']))}"
    except Exception as e:  # a trial that cannot be judged is lost, and the campaign goes on
        reason = f"{type(e).__name__}: {e}"
    counts.check(reason is None, f"{what}: {reason}")
    if reason is None:
        shutil.rmtree(trial)


def _badly_stopped(number: int, code: int, seconds: float, err: str, trial: Path) -> str | None:
    if seconds > MAX_STOP_S:
        return f"it took {seconds:.1f} s to stop"
    if code == 0 or code == -number:  # it had finished, or Python had not begun
        return None
    if code != 128 + number:
        return f"exit code {code}: {err.strip()[-300:]}"
    if "Traceback" in err:
        return f"a traceback: {err.strip()[-300:]}"
    if "stopped by" in err and not list((trial / "run" / "checkpoints").glob("epoch*.npz")):
        return "no checkpoint"
    return None


def undisturbed(work: Path) -> dict[str, Any]:
    """The reference: its outcome, how long it took, and how many file changes it made."""
    make_set(work / "train", 32)
    make_set(work / "validation", 8, first_seed=100)
    trial = work / "whole"
    trial.mkdir()
    begun = time.monotonic()
    code, _, err = finish(_train(work, trial, "disk", 1, VICTIM_ROOT=trial, VICTIM_COUNT=work / "changes"))
    if code != 0:
        raise RuntimeError(f"the undisturbed run ended with {code}: {err}")
    seconds = time.monotonic() - begun
    return {"outcome": outcome(trial), "seconds": seconds, "changes": int((work / "changes").read_text())}


def kills(
    work: Path, count: int, *, numbers: tuple[int, ...] = (signal.SIGKILL,), parallel: int = 2, first_seed: int = 0
) -> dict[str, Counts]:
    """`count` trials of each signal; half at a random time, half at a random change of a file."""
    whole = undisturbed(work)
    all_counts = {signal.Signals(number).name: Counts(signal.Signals(number).name) for number in numbers}
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        jobs = [
            pool.submit(one_trial, work, number, seed, whole, all_counts[signal.Signals(number).name])
            for seed in range(first_seed, first_seed + count)
            for number in numbers
        ]
        for job in jobs:
            job.result()
    return all_counts
