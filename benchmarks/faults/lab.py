"""What the faults share: small folders of images, commands in processes of their own, and the count of what was survived."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.harness import Row

VICTIM = Path(__file__).with_name("victim.py")
ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300


class Ended(NamedTuple):
    """A command that is over: its exit code (-9 where it hung), what it wrote, and the seconds that it took."""

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def last(self) -> str:
        return f"exit code {self.code}, {self.err.strip()[-300:]!r}"

    def is_one_line_error(self, command: str, part: str, code: int = 2) -> bool:
        """Whether standard error ends with one line of the command's own that holds `part`, without a traceback."""
        lines = self.err.strip().splitlines()
        own = bool(lines) and lines[-1].startswith(f"{command}: ") and part in lines[-1]
        return self.code == code and own and "Traceback" not in self.err


class Lab:
    """A folder to work in, and how many faults were tried and which of them were lost, each with a line that says how."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.tried = 0
        self.lost: list[str] = []
        self.notes: dict[str, Any] = {}
        self._started = time.monotonic()
        work.mkdir(parents=True, exist_ok=True)

    def check(self, holds: bool, what: str) -> None:
        """Counts one fault; `what` tells of it if it was not survived."""
        self.tried += 1
        if not holds:
            self.lost.append(what)

    def note(self, key: str, amount: int = 1) -> None:
        self.notes[key] = self.notes.get(key, 0) + amount

    def refused(self, what: str, ended: Ended, part: str, folder: Path, command: str = "train") -> None:
        """Checks that the command ended with one line that holds `part`, and left nothing half-written in `folder`."""
        left = [str(path) for path in folder.rglob(".*") if ".tmp" in path.name or ".old" in path.name]
        good = ended.is_one_line_error(command, part) and not left
        self.check(good, f"{what}: {ended.last}, left {left}")

    def row(self, name: str) -> Row:
        figures = {"tried": self.tried, "lost": len(self.lost), "what_was_lost": self.lost, "notes": self.notes}
        return {"arm": name, "repeat": 0, **figures, "seconds": round(time.monotonic() - self._started, 1)}


def png(seed: int, size: tuple[int, int] = (40, 40)) -> bytes:
    """A PNG of noise, red for even seeds and green for odd ones."""
    pixels = np.random.default_rng(seed).integers(0, 128, (*size, 3), np.uint8)
    pixels[..., seed % 2] += 127
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def make_images(root: Path, per_class: int, *, size: tuple[int, int] = (40, 40)) -> Path:
    """A folder of two class folders of PNGs."""
    for label, name in enumerate(("horses", "humans")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            (root / name / f"{i:03d}.png").write_bytes(png(2 * i + label, size))
    return root


def training_flags(data: Path, place: Path, *more: str) -> list[str]:
    """bin/train on `data`, small and repeatable to the bit, with its run folder and its cache in `place`."""
    own_size = any(flag.startswith(("--backbone", "--model")) for flag in more)
    return [
        f"--train_dir={data}",
        f"--run_dir={place / 'run'}",
        f"--cache_dir={place / 'cache'}",
        *([] if own_size else ["--image_size=96,96"]),
        "--batch_size=8",
        "--epochs=2",
        "--precision=float32",
        "--device=cpu",
        *more,  # a flag given twice counts as the last one says
    ]


def start(command: str, arguments: Sequence[object], **environment: object) -> subprocess.Popen[str]:
    """Starts bin/COMMAND's code in a process of its own; `environment` goes to the victim."""
    given = {key: str(value) for key, value in environment.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, str(VICTIM), command, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"} | given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )


def finish(process: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> Ended:
    """Waits for the process; one that hangs is killed."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nHUNG for {timeout_s} s"
    return Ended(process.returncode, out, err, time.monotonic() - began)


def run(command: str, arguments: Sequence[object], **environment: object) -> Ended:
    return finish(start(command, arguments, **environment))


def run_well(command: str, arguments: Sequence[object], **environment: object) -> Ended:
    """`run` of what a fault needs to have; raises `RuntimeError` where that ends badly."""
    ended = run(command, arguments, **environment)
    if ended.code != 0:
        raise RuntimeError(f"{command} ended with {ended.last}")
    return ended


def wait_for(process: subprocess.Popen[str], place: Path, pattern: str) -> None:
    """Returns when a file of this pattern is in `place`, or the process is over."""
    while process.poll() is None and not list(place.glob(pattern)):
        time.sleep(0.02)
