"""Disks that are full, read-only or gone, files too large, flipped bytes, images that change between runs."""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import finish, is_one_line_error, make_set, png, run, start


def _flags(data: Path, run_dir: Path, cache_dir: Path, *more: str) -> list[str]:
    return [
        f"--train_dir={data}",
        f"--run_dir={run_dir}",
        f"--cache_dir={cache_dir}",
        "--image_size=96,96",
        "--batch_size=8",
        "--epochs=2",
        "--device=cpu",
        *more,
    ]


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[bool]:
    """A tmpfs at `place` while the block runs; False where this process may not mount."""
    place.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], capture_output=True, check=False)
    try:
        yield ended.returncode == 0
    finally:
        if ended.returncode == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".*") if ".tmp" in path.name or ".old" in path.name]


def _refused(counts: Counts, what: str, code: int, err: str, part: str, folder: Path) -> None:
    good = code == 2 and is_one_line_error("train", err) and part in err and not _leftovers(folder)
    counts.check(good, f"{what}: exit code {code}, {err.strip()[-400:]!r}, left {_leftovers(folder)}")


def full_disk(work: Path, sizes_mb: tuple[float, ...] = (0.05, 0.5, 1.5, 4, 7, 10)) -> Counts:
    """The run folder or the cache on a disk that fills up at different moments; with space, the same command goes on."""
    counts = Counts("full disk")
    data = make_set(work / "data", 24)
    for size in sizes_mb:
        for which in ("run", "cache"):
            place = work / f"full-{size}-{which}"
            with mounted(place, "-o", f"size={int(size * 1e6)}") as able:
                if not able:
                    counts.notes["full disk"] = "skipped: this process may not mount a tmpfs"
                    return counts
                run_dir = place / "run" if which == "run" else work / f"run-{size}"
                cache_dir = place / "cache" if which == "cache" else work / "cache"
                flags = _flags(data, run_dir, cache_dir, "--cache=disk", "--checkpoint_every_steps=1")
                code, _, err = run("train", flags)
                counts.note("runs that met the full disk", code != 0)
                if code != 0:
                    _refused(counts, f"{which} of {size} MB", code, err, "No space left on device: ", place)
                    subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
                    code, _, err = run("train", flags)
                counts.check(
                    code == 0, f"{which} of {size} MB, then with space: exit code {code}, {err.strip()[-300:]}"
                )
    return counts


def size_limit(work: Path, limits_kb: tuple[int, ...] = (1, 20, 100, 400, 900, 2000)) -> Counts:
    """`ulimit -f`: whatever file is the first to be too large, one line says so."""
    counts = Counts("file size limit")
    data = make_set(work / "limited", 24)
    for limit in limits_kb:
        place = work / f"limit-{limit}"
        flags = _flags(data, place / "run", place / "cache", "--cache=disk")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit * 1000, before[1]))
        try:
            process = start("train", flags)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        code, _, err = finish(process)
        if code != 0:
            _refused(counts, f"{limit} kB", code, err, "File too large: ", place)
            code, _, err = run("train", flags)
        counts.check(code == 0, f"{limit} kB, then without: exit code {code}, {err.strip()[-300:]}")
    return counts


def unwritable(work: Path) -> Counts:
    """Read-only file systems, and a file in a folder's place, for the run folder and the cache."""
    counts = Counts("read-only and misplaced")
    data = make_set(work / "fixed", 12)
    file = work / "file"
    file.write_text("")
    _refused(counts, "run_dir below a file", *_codes(_flags(data, file / "run", work / "c")), str(file), work / "c")
    _refused(
        counts, "cache_dir below a file", *_codes(_flags(data, work / "r", file / "c", "--cache=disk")), str(file), work
    )
    with mounted(work / "ro") as able:
        if not able:
            counts.notes["read-only"] = "skipped: this process may not mount a tmpfs"
            return counts
        code, _, err = run("train", _flags(data, work / "r1", work / "ro" / "cache", "--cache=disk"))
        counts.check(code == 0, f"writable: {err[-300:]}")
        subprocess.run(["mount", "-o", "remount,ro", str(work / "ro")], check=True)
        code, _, err = run("train", _flags(data, work / "r2", work / "ro" / "cache", "--cache=disk"))
        counts.check(code == 0, f"a filled cache that is read-only: exit code {code}, {err.strip()[-300:]}")
        part = "Read-only file system: "
        _refused(counts, "run_dir", *_codes(_flags(data, work / "ro" / "run", work / "c")), part, work / "c")
        _refused(
            counts, "cache", *_codes(_flags(data, work / "r3", work / "ro" / "x", "--cache=disk")), part, work / "ro"
        )
    return counts


def _codes(flags: list[str]) -> tuple[int, str]:
    code, _, err = run("train", flags)
    return code, err


def removed_cache(work: Path) -> Counts:
    """The cache folder goes away while a run reads it: the run ends well, and the next fills it again."""
    counts = Counts("cache removed mid-run")
    data = make_set(work / "kept", 24)
    flags = _flags(data, work / "removed", work / "gone", "--cache=disk", "--epochs=30")
    process = start("train", flags)
    while process.poll() is None and not list((work / "removed").glob("history.csv")):
        time.sleep(0.05)
    shutil.rmtree(work / "gone")
    code, _, err = finish(process)
    counts.check(code == 0, f"exit code {code}, {err.strip()[-300:]}")
    code, _, err = run("train", _flags(data, work / "after", work / "gone", "--cache=disk"))
    counts.check(code == 0 and "Decoded 38 images" in err, f"{code}: {err[-300:]}")
    return counts


def lost_images(work: Path) -> Counts:
    """With nothing cached, an image goes away or breaks during the run: one line says which, and put back, the run goes on."""
    counts = Counts("images lost mid-run")
    for what in ("removed", "broken"):
        data = make_set(work / what / "data", 16)
        flags = _flags(data, work / what / "run", work / what / "cache", "--cache=none", "--epochs=20")
        process = start("train", flags)
        while process.poll() is None and not (work / what / "run" / "history.csv").exists():
            time.sleep(0.05)
        image = data / "horses" / "003.png"
        whole = image.read_bytes()
        if what == "removed":
            image.unlink()
        else:
            image.write_bytes(whole[:200])
        code, _, err = finish(process)
        _refused(counts, what, code, err, f"an image cannot be read any more: {image}: ", work / what)
        image.write_bytes(whole)
        code, _, err = run("train", flags)
        counts.check(code == 0 and "Going on in" in err, f"{what}, put back: exit code {code}, {err[-300:]}")
    return counts


def changed_images(work: Path) -> Counts:
    """Between two runs an image is changed, added, removed, renamed or swapped: the resume refuses and says why."""
    counts = Counts("images changed between runs")
    for what in ("changed", "added", "removed", "moved to the other class", "changed with the old time", "nothing"):
        data = make_set(work / what / "data", 24)
        flags = _flags(data, work / what / "run", work / what / "cache", "--cache=disk", "--epochs=3")
        process = start("train", flags, VICTIM_ROOT=work / what / "run", VICTIM_AT=24, VICTIM_SIGNAL=9)
        code, _, err = finish(process)
        if code != -9:
            counts.check(False, f"{what}: the run was not interrupted: {code} {err[-300:]}")
            continue
        _change(what, data)
        code, _, err = run("train", flags)
        if what == "nothing":
            counts.check(code == 0 and "Going on in" in err, f"{what}: {code} {err[-300:]}")
        else:
            _refused(counts, what, code, err, "cannot go on as it began: the images changed", work / what)
    return counts


def _change(what: str, data: Path) -> None:
    image = data / "horses" / "005.png"
    status = image.stat()
    if what.startswith("changed"):
        image.write_bytes(png(9999))
        if what.endswith("time"):
            os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif what == "added":
        (data / "horses" / "999.png").write_bytes(png(9999))
    elif what == "removed":
        image.unlink()
    elif what.startswith("moved"):
        image.rename(data / "humans" / "zzz.png")


def flipped_bytes(work: Path, count: int) -> Counts:
    """One byte of the cache or of a checkpoint changes: noticed and made good, or without any effect."""
    import numpy as np

    from hh_fast.data import store
    from hh_fast.data.images import list_images
    from hh_fast.data.load import read_examples
    from hh_fast.data.pipeline import images_at
    from hh_fast.data.pixels import ImageForm

    counts = Counts("flipped bytes")
    draw = random.Random(0)
    images, _ = list_images(make_set(work / "flip", 20))
    everything = np.arange(len(images))

    def read() -> Any:
        limits: dict[str, Any] = {"max_image_pixels": 10**6, "index": work / "flip-index.json"}
        return read_examples(images, ImageForm((24, 24)), "disk", work / "flip-cache", **limits)

    whole = images_at(read(), everything)
    folder = next(path for path in (work / "flip-cache" / "decoded").iterdir() if path.is_dir())
    for i in range(count):
        path = folder / (store.ROWS if i % 2 else store.META)
        place, data = _flip(path, draw)
        again = read()
        same = not again.images.bad() and bool(np.array_equal(images_at(again, everything), whole))
        counts.check(same and path.read_bytes() == data, f"{path.name}, byte {place}")
    _flipped_checkpoints(work, count, draw, counts)
    return counts


def _flip(path: Path, draw: random.Random) -> tuple[int, bytes]:
    data = path.read_bytes()
    place = draw.randrange(len(data))
    path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :])
    return place, data


def _flipped_checkpoints(work: Path, count: int, draw: random.Random, counts: Counts) -> None:
    import keras
    import numpy as np

    from hh_fast.training import checkpoint

    values = [np.random.default_rng(i).normal(size=(7, 3)).astype(np.float32) for i in range(6)]
    variables = [keras.Variable(value) for value in values]
    folder = work / "checkpoints"
    for step, factor in ((1, 0.0), (2, 1.0)):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value * factor)
        checkpoint.save(folder, variables, checkpoint.Progress(step=step, history=[{"epoch": 1.0, "loss": 0.5}]))
    newest = folder / "epoch000000-step00000002.npz"
    for _ in range(count):
        place, data = _flip(newest, draw)
        progress: Any = checkpoint.restore(folder, variables)
        factor = {1: 0.0, 2: 1.0}[progress.step]
        same = all(np.array_equal(v.numpy(), value * factor) for v, value in zip(variables, values, strict=True))
        counts.check(same and progress.history == [{"epoch": 1.0, "loss": 0.5}], f"checkpoint, byte {place}")
        counts.note("checkpoints fallen back from", progress.step == 1)
        newest.write_bytes(data)
