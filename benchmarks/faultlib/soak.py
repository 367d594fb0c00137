"""Long runs: memory and open files must not grow; data far larger than memory must train."""

import os
import re
import time
from pathlib import Path

import psutil

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import finish, make_set, png, start

GROUPS = Path("/sys/fs/cgroup/memory")


def soak(work: Path, epochs: int, *, settled_after: int = 100, max_growth: float = 0.02) -> Counts:
    """Many epochs on a tiny set, watched from outside: resident memory and open files at each new epoch."""
    counts = Counts("soak")
    make_set(work / "data", 8)
    flags = [
        f"--train_dir={work / 'data'}",
        f"--run_dir={work / 'run'}",
        f"--cache_dir={work / 'cache'}",
        "--image_size=96,96",
        "--batch_size=4",
        "--steps_per_epoch=1",
        f"--epochs={epochs}",
        "--device=cpu",
        "--verbosity=-1",
    ]
    process = start("train", flags)
    seen: list[tuple[int, int, int]] = []
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        epoch = _epochs_done(work / "run" / "checkpoints")
        if epoch and (not seen or epoch > seen[-1][0]):
            try:
                seen.append((epoch, watched.memory_info().rss, watched.num_fds()))
            except psutil.Error:
                break
        time.sleep(0.02)
    code, _, err = finish(process)
    counts.check(code == 0, f"exit code {code}: {err[-300:]}")
    settled = [row for row in seen if settled_after <= row[0] < epochs - 1]
    first, last = settled[: max(1, len(settled) // 10)], settled[-max(1, len(settled) // 10) :]
    before, after = (sorted(row[1] for row in rows)[len(rows) // 2] for rows in (first, last))
    counts.notes |= {"epochs": epochs, "bytes_at_first": before, "bytes_at_last": after}
    counts.notes |= {"open_files": sorted({row[2] for row in settled})}
    counts.check(after <= before * (1 + max_growth), f"memory grew from {before:,} to {after:,} bytes")
    counts.check(first[0][2] >= last[-1][2] - 1, f"open files grew from {first[0][2]} to {last[-1][2]}")
    return counts


def _epochs_done(folder: Path) -> int:
    found = [int(match[1]) for path in folder.glob("epoch*") if (match := re.match(r"epoch(\d+)-", path.name))]
    return max(found, default=0)


def larger_than_memory(work: Path, *, memory_mb: int = 1300, times: int = 10, side: int = 500) -> Counts:
    """Images that decode to `times` the memory that the control group gives, kept on disk or not at all."""
    counts = Counts("data larger than memory")
    group = GROUPS / f"hh_fast-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        counts.notes["larger than memory"] = "skipped: this process may not make a control group (version 1)"
        return counts
    try:
        (group / "memory.limit_in_bytes").write_text(str(memory_mb * 1_000_000))
        per_class = memory_mb * 1_000_000 * times // (side * side * 3) // 2
        _linked_set(work / "data", per_class)
        for cache in ("disk", "none"):
            _train_in(group, work, cache, side, counts)
        peak = (group / "memory.max_usage_in_bytes").read_text()
        counts.notes |= {
            "images": 2 * per_class,
            "limit_mb": memory_mb,
            "decoded_mb": memory_mb * times,
            "peak": int(peak),
        }
    finally:
        group.rmdir()
    return counts


def _linked_set(root: Path, per_class: int) -> None:
    for label, name in enumerate(("horses", "humans")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            path = root / name / f"{i:06d}.png"
            if i < 50:
                path.write_bytes(png(2 * i + label))
            else:
                os.link(root / name / f"{i % 50:06d}.png", path)


def _train_in(group: Path, work: Path, cache: str, side: int, counts: Counts) -> None:
    flags = [
        f"--train_dir={work / 'data'}",
        f"--run_dir={work / cache}",
        f"--cache_dir={work / 'cache'}",
        f"--cache={cache}",
        f"--image_size={side},{side}",
        "--validation_split=0",
        "--batch_size=4",
        "--steps_per_epoch=20",
        "--epochs=1",
        "--device=cpu",
    ]
    process = start("train", flags)
    (group / "cgroup.procs").write_text(str(process.pid))
    code, _, err = finish(process, 1800)
    counts.check(code == 0, f"--cache={cache}: exit code {code}: {err.strip()[-300:]}")
