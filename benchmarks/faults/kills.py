"""Commands ended at random moments, then run again: they must end as one that was never disturbed."""

import concurrent.futures
import contextlib
import hashlib
import random
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py  # type: ignore[import-untyped]
import numpy as np
import psutil
from PIL import Image

from benchmarks.faults.lab import Ended, Lab, finish, make_images, run, run_well, start, training_flags, wait_for
from hh_fast.io.output_folder import MARKER

MEASURED = ("images_per_second", "input_wait", "seconds")
MAX_STOP_S = 5.0
IMAGES = 32
DAMAGES = ("a flipped bit", "cut off", "zeros")


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


def outcome(place: Path) -> dict[str, Any]:
    """All that a finished run in `place` must have in common with any other of the same command.

    Of its files the names, but those of event files, which hold the time; of the cache, what should not stay.
    """
    run_dir = place / "run"
    files = [str(path.relative_to(place)) for path in (*run_dir.rglob("*"), *_unfinished(place / "cache"))]
    return {
        "model.keras": _weights(run_dir / "model.keras"),
        "last.keras": _weights(run_dir / "last.keras"),
        "weights and optimizer": _checkpoint(run_dir / "checkpoints"),
        "history.csv": _history(run_dir / "history.csv"),
        "files": sorted(re.sub(r"events\.out.*", "events", name) for name in files),
    }


class Whole(NamedTuple):
    """An undisturbed training on `data` with the flags `more`: where it is, its outcome, and its changes of files."""

    data: Path
    more: tuple[str, ...]
    place: Path
    outcome: dict[str, Any]
    ended: Ended
    changes: int

    def differences(self, place: Path) -> str | None:
        """What differs in the run in `place`, or None."""
        now = outcome(place)
        different = [name for name in now if now[name] != self.outcome[name]]
        files = sorted(set(now["files"]) ^ set(self.outcome["files"]))
        return f"{', '.join(different)} differ from the undisturbed run's; files: {files}" if different else None


def flags_of(data: Path, place: Path, more: Sequence[str]) -> list[str]:
    return training_flags(data, place, "--cache=disk", "--checkpoint_every_steps=1", *more)


def undisturbed(work: Path, more: Sequence[str] = (), *, per_class: int = IMAGES) -> Whole:
    data, place, changes = make_images(work / "data", per_class), work / "whole", work / "changes"
    place.mkdir()
    ended = run_well("train", flags_of(data, place, more), VICTIM_ROOT=place, VICTIM_COUNT=changes)
    return Whole(data, tuple(more), place, outcome(place), ended, int(changes.read_text()))


def _badly_stopped(number: int, ended: Ended, place: Path) -> str | None:
    if ended.seconds > MAX_STOP_S:
        return f"it took {ended.seconds:.1f} s to stop"
    if ended.code in (0, -number):  # it had finished, or Python had not begun
        return None
    if ended.code != 128 + number or "Traceback" in ended.err:
        return ended.last
    if "to resume from there" in ended.err and not list((place / "run" / "checkpoints").glob("epoch*.npz")):
        return "no checkpoint"
    return None


def _trial(lab: Lab, whole: Whole, number: int, seed: int) -> tuple[str, str | None]:
    """What was tried, and why it was lost, or None. Half of the seeds strike at a time, half at a change of a file."""
    draw = random.Random(f"{number} {seed}")
    place = lab.work / f"trial-{number}-{seed}"
    place.mkdir()
    cache, every = draw.choice(("disk", "memory", "none")), draw.choice((1, 3, 1000))
    flags = training_flags(whole.data, place, f"--cache={cache}", f"--checkpoint_every_steps={every}", *whole.more)
    try:
        if seed % 2:
            when = f"change {draw.randint(1, whole.changes)}"
            at = when.split()[1]
            finish(start("train", flags, VICTIM_ROOT=place, VICTIM_AT=at, VICTIM_SIGNAL=int(number)))
            reason = None
        else:
            seconds = draw.uniform(0.05, whole.ended.seconds)
            when = f"{seconds:.2f} s"
            process = start("train", flags)
            time.sleep(seconds)
            process.send_signal(number)
            ended = finish(process)
            reason = None if number == signal.SIGKILL else _badly_stopped(number, ended, place)
        if reason is None:
            ended = run("train", flags)
            reason = whole.differences(place) if ended.code == 0 else f"the same command ended with {ended.last}"
    except Exception as e:  # a trial that cannot be judged is lost, and the campaign goes on
        when, reason = "", f"{type(e).__name__}: {e}"
    if reason is None:
        shutil.rmtree(place)
    return f"signal {number}, seed {seed}, cache={cache}, every={every}, at {when}", reason


def killed_trainings(
    lab: Lab, whole: Whole, count: int, *, numbers: Sequence[int] = (signal.SIGKILL,), first_seed: int = 0
) -> None:
    """`count` trials of each signal, two at a time."""
    trials = [(number, seed) for seed in range(first_seed, first_seed + count) for number in numbers]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for what, reason in pool.map(lambda trial: _trial(lab, whole, *trial), trials):
            lab.check(reason is None, f"{what}: {reason}")


def damage(path: Path, how: str, draw: random.Random) -> str:
    """Changes a file from some byte on; says which."""
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content))
    content[start:] = {
        "a flipped bit": bytes([content[start] ^ 1 << draw.randrange(8)]) + content[start + 1 :],
        "cut off": b"",
        "zeros": bytes(len(content) - start),
    }[how]
    path.write_bytes(content)
    return f"{path.name}, {how} at byte {start}"


def damaged_files(lab: Lab, whole: Whole, count: int, *, num_files: int = 1) -> None:
    """Of a killed run's cache and checkpoints some are damaged: the same command notices, and ends as an undisturbed one."""
    draw, place, kept = random.Random(0), lab.work / "damaged", lab.work / "killed"
    place.mkdir()
    flags = flags_of(whole.data, place, whole.more)
    at = whole.changes * 2 // 3
    finish(start("train", flags, VICTIM_ROOT=place, VICTIM_AT=at, VICTIM_SIGNAL=9))
    place.rename(kept)
    for i in range(count):
        shutil.copytree(kept, place)
        found = [*(place / "cache").rglob("*"), *(place / "run" / "checkpoints").glob("epoch*")]
        files = sorted(path for path in found if path.is_file() and path.stat().st_size)
        damages = [damage(path, DAMAGES[(i + k) % 3], draw) for k, path in enumerate(draw.sample(files, num_files))]
        ended = run("train", flags)
        reason = whole.differences(place) if ended.code == 0 else ended.last
        lab.check(reason is None, f"{'; '.join(damages)}: {reason}")
        place.rename(lab.work / f"lost-{i}") if reason else shutil.rmtree(place)


def _is_whole_bundle(folder: Path) -> bool:
    """Whether every file of the bundle is there and has the digest that its list says; hidden files are no part of it."""
    lines = [line.split(maxsplit=1) for line in (folder / "SHA256SUMS").read_text().splitlines()]
    digests = {name.lstrip("*"): digest for digest, name in lines}
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    return {name for name in names if not name.startswith(".")} == set(digests) and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in digests.items()
    )


def _is_whole_picture(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
    return True


def killed_products(lab: Lab, count: int) -> None:
    """bin/export and bin/explore killed at random changes of files: what they make is whole or absent."""
    data = make_images(lab.work / "data", 12)
    run_well("train", training_flags(data, lab.work, "--epochs=1"))
    bundle, grid = lab.work / "out" / "bundle", lab.work / "pictures" / "grid.png"
    shared = [f"--train_dir={data}", f"--cache_dir={lab.work / 'cache'}"]
    export = [f"--run_dir={lab.work / 'run'}", f"--export_dir={bundle}", "--formats=float32", "--calibration_images=8"]
    # `known_by`: the file without which nobody takes the product for one.
    for command, flags, product, known_by, is_whole in (
        ("export", export, bundle, bundle / "metadata.json", _is_whole_bundle),
        ("explore", [*shared, f"--grid={grid}"], grid, grid, _is_whole_picture),
    ):
        run_well(command, flags, VICTIM_ROOT=product.parent, VICTIM_COUNT=lab.work / "changes")
        changes = int((lab.work / "changes").read_text())
        for seed in range(count):
            at = random.Random(f"{command} {seed}").randint(1, changes)
            ended = run(command, flags, VICTIM_ROOT=product.parent, VICTIM_AT=at, VICTIM_SIGNAL=9)
            if ended.code == 0 and is_whole(product):
                continue  # a later run changes fewer files than the first, so it was not killed
            good = ended.code == -9 and (not known_by.exists() or is_whole(product))
            lab.check(good, f"{command} at change {at} of {changes}: {ended.last}")
        ended = run(command, flags)
        left = [path.name for path in product.parent.rglob(".*") if path.name != MARKER]
        lab.check(ended.code == 0 and is_whole(product) and not left, f"{command} after: left {left}, {ended.last}")


def _unfinished(cache: Path) -> list[Path]:
    """What should not stay in a cache."""
    return [*cache.rglob(".*.tmp"), *cache.rglob("*.partial")]


def is_filling(process: subprocess.Popen[str]) -> bool:
    """Whether the process is writing into the cache now."""
    with contextlib.suppress(psutil.Error):
        return any(".partial/" in file.path for file in psutil.Process(process.pid).open_files())
    return False


def one_cache(lab: Lab, processes: int = 3, *, kill_filler: bool = False, more: Sequence[str] = ()) -> None:
    """All start on one cold cache: each file is filled once, or again by another where its filler was killed."""
    data = make_images(lab.work / "data", 100, size=(400, 400))
    cache = lab.work / "cache"
    places = [lab.work / f"p{i}" for i in range(processes)]
    all_flags = [training_flags(data, place, "--cache=disk", f"--cache_dir={cache}", *more) for place in places]
    running = [start("train", flags) for flags in all_flags]
    killed = None
    while kill_filler and killed is None and any(process.poll() is None for process in running):
        killed = next((i for i, process in enumerate(running) if is_filling(process)), None)
        time.sleep(0.005)
    if killed is not None:
        running[killed].kill()
    elif kill_filler:
        lab.check(False, "no process was seen filling the cache")
    ended = [finish(process) for process in running]
    left = [i for i in range(processes) if i != killed]
    for i in left:
        lab.check(ended[i].code == 0, f"process {i}: {ended[i].last}")
    outcomes = [outcome(places[i]) for i in left if ended[i].code == 0]
    lab.check(all(one == outcomes[0] for one in outcomes), "the trained weights differ")
    made = sum(one.err.count("Made ") for one in ended)
    lab.check(made == 1, f"made {made} times")
    lab.check(not _unfinished(cache), f"left in the cache: {_unfinished(cache)}")


def one_run_folder(lab: Lab) -> None:
    """The second run on a folder is refused at once; the first is not disturbed."""
    flags = training_flags(make_images(lab.work / "data", 24), lab.work, "--epochs=40")
    first = start("train", flags)
    wait_for(first, lab.work / "run", "history.csv")
    second = run("train", flags)
    refused = second.is_one_line_error("train", "another process")
    lab.check(refused and first.poll() is None, f"the second: {second.last}")
    ended = finish(first)
    lab.check(ended.code == 0, f"the first: {ended.last}")
