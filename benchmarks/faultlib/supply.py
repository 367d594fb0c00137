"""What comes from others: locked by hash; and no command reaches out."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import PACKAGE, VICTIM, make_set, run

PINNED = re.compile(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==[^ ;]+")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def unlocked(path: Path) -> list[str]:
    """Requirements of a lock file that lack a version or a hash, or name a place to get them from."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [line for line in lines if "://" in line or not PINNED.match(line) or not HASH.search(line)]


def locks() -> Counts:
    counts = Counts("locks")
    for path in sorted((PACKAGE / "lock").glob("*.txt")):
        found = unlocked(path)
        counts.check(not found, f"{path.name}: {found[:3]}")
    return counts


def no_network(work: Path) -> Counts:
    """Every command's main path with sockets forbidden in Python, and no network device but loopback where that works."""
    counts = Counts("no network")
    data = make_set(work / "data", 12)
    run_dir, bundle = work / "run", work / "bundle"
    shared = [f"--train_dir={data}", f"--cache_dir={work / 'cache'}"]
    train = [*shared, f"--run_dir={run_dir}", "--image_size=96,96", "--batch_size=8", "--epochs=1", "--device=cpu"]
    lite = bundle / "model_float32.tflite"
    commands: list[tuple[str, list[object]]] = [
        ("train", [*train]),
        ("explore", [*shared, f"--grid={work / 'grid.png'}"]),
        ("export", [f"--run_dir={run_dir}", f"--export_dir={bundle}", "--formats=float32,saved_model"]),
        ("predict", [f"--model={run_dir}", data]),
        ("predict", [f"--model={lite}", data]),
    ]
    log = work / "reached"
    for command, arguments in commands:
        code, _, err = run(command, arguments, VICTIM_NO_NETWORK=log, HOME=work / "home", XDG_CACHE_HOME=work / "home")
        counts.check(
            code == 0, f"{command}: exit code {code}, {log.read_text() if log.exists() else err.strip()[-300:]}"
        )
        log.unlink(missing_ok=True)
    _traced(work, train, counts)
    return counts


def _traced(work: Path, train: list[str], counts: Counts) -> None:
    """The same of what compiled code does, by the system calls themselves."""
    if shutil.which("strace") is None:
        counts.notes["strace"] = "skipped: not installed"
        return
    log = work / "calls"
    python = [sys.executable, str(VICTIM), "train", *train, "--overwrite"]
    ended = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto,bind", "-o", str(log), *python],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
    )
    if ended.returncode != 0:
        counts.notes["strace"] = f"skipped: it ended with {ended.returncode}"
        return
    outward = [
        line
        for line in log.read_text().splitlines()
        if "AF_INET" in line and '"::1"' not in line and '"127.0.0.1"' not in line
    ]
    counts.check(not outward, f"train: {outward[:3]}")
