"""Small image folders, and commands run in processes of their own."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

VICTIM = Path(__file__).with_name("victim.py")
PACKAGE = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300


def png(seed: int, size: tuple[int, int] = (40, 40)) -> bytes:
    """A PNG of noise, red for even seeds and green for odd ones."""
    pixels = np.random.default_rng(seed).integers(0, 128, (*size, 3), np.uint8)
    pixels[..., seed % 2] += 127
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def make_set(root: Path, per_class: int, *, first_seed: int = 0, size: tuple[int, int] = (40, 40)) -> Path:
    """A folder of two class folders of PNGs."""
    for label, name in enumerate(("horses", "humans")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            (root / name / f"{i:03d}.png").write_bytes(png(2 * (first_seed + i) + label, size))
    return root


def start(command: str, arguments: Sequence[object], **environment: object) -> subprocess.Popen[str]:
    """Starts bin/COMMAND's code in a process of its own; `environment` goes to the victim."""
    given = {key: str(value) for key, value in environment.items() if value is not None}
    return subprocess.Popen(
        ["nice", "-n", "10", sys.executable, str(VICTIM), command, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE), "TF_CPP_MIN_LOG_LEVEL": "2"} | given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )


def finish(process: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> tuple[int, str, str]:
    """(exit code, standard output, standard error); a process that hangs is killed and gives -9."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nHUNG for {timeout_s} s"
    return process.returncode, out, err


def run(command: str, arguments: Sequence[object], **environment: object) -> tuple[int, str, str]:
    return finish(start(command, arguments, **environment))


def is_one_line_error(command: str, err: str) -> bool:
    """Whether standard error ends with one line of the command's own, and holds no traceback."""
    lines = err.strip().splitlines()
    return bool(lines) and lines[-1].startswith(f"{command}: ") and "Traceback" not in err
