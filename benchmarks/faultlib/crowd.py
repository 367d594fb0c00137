"""Many processes at once: one cold cache, one run folder."""

import signal
import time
from pathlib import Path

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.kills import outcome
from benchmarks.faultlib.runner import finish, is_one_line_error, make_set, start


def _flags(work: Path, name: str, epochs: int = 1) -> list[str]:
    return [
        f"--train_dir={work / 'data'}",
        f"--run_dir={work / name / 'run'}",
        f"--cache_dir={work / 'cache'}",
        "--cache=disk",
        "--image_size=96,96",
        "--batch_size=16",
        f"--epochs={epochs}",
        "--precision=float32",
        "--device=cpu",
    ]


def one_cache(work: Path, processes: int = 4, *, kill_filler: bool = False) -> Counts:
    """All start on one cold cache: each file is filled once, or again by another where its filler was killed."""
    counts = Counts("one cold cache" + (", filler killed" if kill_filler else ""))
    make_set(work / "data", 200, size=(400, 400))
    names = [f"p{i}" for i in range(processes)]
    running = [start("train", _flags(work, name)) for name in names]
    killed = None
    while kill_filler and killed is None:
        for temporary in (work / "cache" / "decoded").glob(".*.tmp"):
            pid = int(temporary.name.rpartition("-")[2].removesuffix(".tmp"))
            killed = next((i for i, process in enumerate(running) if process.pid == pid), None)
            if killed is not None:
                running[killed].send_signal(signal.SIGKILL)
                break
        time.sleep(0.005)
    ended = [finish(process) for process in running]
    fills = sum(err.count("\nDecoded ") for _, _, err in ended)
    counts.notes["messages of waiting"] = sum(err.count("Waiting for another run") for _, _, err in ended)
    left = [i for i in range(processes) if i != killed]
    for i in left:
        counts.check(ended[i][0] == 0, f"process {i}: exit code {ended[i][0]}, {ended[i][2][-300:]}")
    results = [outcome(work / names[i]) for i in left if ended[i][0] == 0]
    counts.check(all(result == results[0] for result in results), "the trained weights differ")
    counts.check(fills == 2, f"{fills} files were filled, not the two of training and validation")
    hidden = [path.name for path in (work / "cache").rglob(".*")]
    counts.check(not hidden, f"left in the cache: {hidden}")
    return counts


def one_run_folder(work: Path) -> Counts:
    """The second run on a folder is refused at once; the first is not disturbed."""
    counts = Counts("one run folder")
    make_set(work / "data", 24)
    first = start("train", _flags(work, "same", epochs=40))
    while not (work / "same" / "run" / "history.csv").exists() and first.poll() is None:
        time.sleep(0.05)
    code, _, err = finish(start("train", _flags(work, "same", epochs=40)))
    refused = code == 2 and is_one_line_error("train", err) and "another process trains in" in err
    counts.check(refused and first.poll() is None, f"the second: exit code {code}, {err[-300:]}")
    code, _, err = finish(first)
    counts.check(code == 0, f"the first: exit code {code}, {err[-300:]}")
    return counts
