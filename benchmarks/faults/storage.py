"""Disks that are full, read-only or gone, images that change under a run, and folders that hold other people's files."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults.lab import Lab, finish, make_images, png, run, run_well, start, training_flags, wait_for

BETWEEN = ("changed", "changed with the old time", "added", "removed", "moved to the other class", "nothing")


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


def full_disk(lab: Lab, sizes_mb: Sequence[float] = (0.05, 0.5, 1.5, 4, 7, 10), *, more: Sequence[str] = ()) -> None:
    """The run folder or the cache on a disk that fills up at different moments; with space, the same command goes on."""
    data = make_images(lab.work / "data", 24)
    for size in sizes_mb:
        for which in ("run", "cache"):
            place, disk = lab.work / f"{which}-{size}", lab.work / f"{which}-{size}" / which
            with mounted(disk, "-o", f"size={int(size * 1e6)}") as able:
                if not able:
                    lab.notes["skipped"] = "this process may not mount a tmpfs"
                    return
                flags = training_flags(data, place, "--cache=disk", "--checkpoint_every_steps=1", *more)
                ended = run("train", flags)
                lab.note("runs that met the full disk", ended.code != 0)
                if ended.code != 0:
                    lab.refused(f"{which} of {size} MB", ended, "No space left on device: ", place)
                    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
                    ended = run("train", flags)
                lab.check(ended.code == 0, f"{which} of {size} MB, then with space: {ended.last}")


def size_limit(lab: Lab, limits_kb: Sequence[int] = (1, 20, 100, 400, 900, 2000)) -> None:
    """`ulimit -f`: whatever file is the first to be too large, one line says so."""
    data = make_images(lab.work / "data", 24)
    for limit in limits_kb:
        place = lab.work / f"limit-{limit}"
        flags = training_flags(data, place, "--cache=disk")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit * 1000, before[1]))
        try:
            process = start("train", flags)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        ended = finish(process)
        if ended.code != 0:
            lab.refused(f"{limit} kB", ended, "File too large: ", place)
            ended = run("train", flags)
        lab.check(ended.code == 0, f"{limit} kB, then without: {ended.last}")


def unwritable(lab: Lab) -> None:
    """Read-only file systems, and a file in a folder's place, for the run folder and the cache."""
    data, file, disk = make_images(lab.work / "data", 12), lab.work / "file", lab.work / "read-only"
    file.write_text("")

    def refused(what: str, part: str, place: str, *more: str) -> None:
        lab.refused(what, run("train", training_flags(data, lab.work / place, *more)), part, lab.work)

    refused("run_dir below a file", str(file), "a", f"--run_dir={file / 'run'}")
    refused("cache_dir below a file", str(file), "b", f"--cache_dir={file / 'cache'}", "--cache=disk")
    with mounted(disk) as able:
        if not able:
            lab.notes["read-only"] = "skipped: this process may not mount a tmpfs"
            return
        filled = f"--cache_dir={disk / 'cache'}"
        run_well("train", training_flags(data, lab.work / "c", filled, "--cache=disk"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        ended = run("train", training_flags(data, lab.work / "d", filled, "--cache=disk"))
        lab.check(ended.code == 0, f"a filled cache that is read-only: {ended.last}")
        refused("run_dir", "Read-only file system: ", "e", f"--run_dir={disk / 'run'}")
        refused("cache", "Read-only file system: ", "f", f"--cache_dir={disk / 'x'}", "--cache=disk")


def removed_cache(lab: Lab) -> None:
    """The cache folder goes away while a run reads it: the run ends well, and the next fills it again."""
    data, cache = make_images(lab.work / "data", 24), f"--cache_dir={lab.work / 'gone'}"
    process = start("train", training_flags(data, lab.work / "a", "--cache=disk", cache, "--epochs=30"))
    wait_for(process, lab.work / "a" / "run", "history.csv")
    shutil.rmtree(lab.work / "gone")
    ended = finish(process)
    lab.check(ended.code == 0, ended.last)
    ended = run("train", training_flags(data, lab.work / "b", "--cache=disk", cache))
    lab.check(ended.code == 0 and any((lab.work / "gone" / "decoded").iterdir()), ended.last)


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


def changed_images(lab: Lab, *, more: Sequence[str] = ()) -> None:
    """Images change between two runs: the resume refuses. Or during one that keeps none decoded: put back, it goes on."""
    for what in BETWEEN:
        place = lab.work / what
        data = make_images(place / "data", 24)
        flags = training_flags(data, place, "--cache=disk", "--epochs=3", *more)
        process = start("train", flags)
        wait_for(process, place / "run" / "checkpoints", "epoch*")
        process.kill()
        finish(process)
        _change(what, data)
        ended = run("train", flags)
        if what == "nothing":
            lab.check(ended.code == 0 and "Resuming" in ended.err, f"{what}: {ended.last}")
        else:
            lab.refused(what, ended, "cannot be resumed: the images changed", place)
    for what in ("lost", "broken"):
        place = lab.work / what
        data = make_images(place / "data", 16)
        flags = training_flags(data, place, "--cache=none", "--epochs=20")
        process = start("train", flags)
        wait_for(process, place / "run", "history.csv")
        image = data / "horses" / "003.png"
        content = image.read_bytes()
        image.write_bytes(content[:200])
        if what == "lost":
            image.unlink()
        lab.refused(what, finish(process), f"an image can no longer be read: {image}: ", place)
        image.write_bytes(content)
        ended = run("train", flags)
        lab.check(ended.code == 0 and "Resuming" in ended.err, f"{what}, put back: {ended.last}")


def _put_theirs(folder: Path, *names: str) -> dict[Path, str]:
    """Files of someone's own in `folder`, and what is in them."""
    theirs = {folder / name: f"mine: {name}" for name in (*names, "thesis.txt", ".git/HEAD", "CNAME")}
    for path, text in theirs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return theirs


def _stay(theirs: dict[Path, str]) -> bool:
    return all(path.is_file() and path.read_text() == text for path, text in theirs.items())


def foreign_folders(lab: Lab, num_names: int = 3) -> None:
    """Every output flag on a folder of someone's own: refused in one line or written beside, and each of their files stays."""
    data, bundle = make_images(lab.work / "data", 12), lab.work / "bundle"
    grid, cache = lab.work / "pictures" / "grid.png", lab.work / "cached"
    reading = [f"--train_dir={data}", f"--cache_dir={cache}"]
    beside = {
        "train --cache_dir": _put_theirs(cache, "decoded/a", "features"),
        "explore --grid": _put_theirs(grid.parent),
    }
    run_well("train", training_flags(data, lab.work, "--epochs=1", "--cache=disk", f"--cache_dir={cache}"))
    run_well("explore", [*reading, f"--grid={grid}"])
    for flag, theirs in beside.items():
        lab.check(_stay(theirs), f"{flag}: {[str(path) for path in theirs if not path.is_file()]}")
    lab.check(grid.is_file() and any((cache / "decoded").glob("*/rows")), "the grid and the cache are written beside")
    export = [f"--run_dir={lab.work / 'run'}", "--formats=float32,int8", "--calibration_images=8"]
    run_well("export", [*export, f"--export_dir={bundle}"])
    train = training_flags(data, lab.work / "other", "--epochs=1", "--overwrite")
    commands = (
        ("train", "run_dir", train, ("README.md", "model.keras", "checkpoints/a")),
        ("export", "export_dir", export, ("SHA256SUMS", "labels.txt", "saved_model/a")),
        ("serve", "site_dir", [f"--export_dir={bundle}"], ("index.html", "sw.js")),
        ("bench", "output_dir", [*reading, "--quick", "--overwrite"], ("results.json", "chart.png")),
        ("explore", "findings_dir", [*reading, f"--grid={grid}"], ("wrong_folder.png", "same_picture.png")),
    )
    for command, flag, flags, names in commands:
        for name in names[:num_names]:
            folder = lab.work / f"{flag}-{name.replace('/', '-')}"
            theirs = _put_theirs(folder, name)
            ended = run(command, [*flags, f"--{flag}={folder}"])  # a flag given twice counts as the last one says
            kept, refused = _stay(theirs), ended.is_one_line_error(command, str(folder), code=1)
            lab.check(kept and refused, f"{command} --{flag} beside {name}: kept {kept}, {ended.last}")
