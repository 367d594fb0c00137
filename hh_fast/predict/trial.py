"""Runs a `.tflite` file once in a child process before it is run in this one.

LiteRT does not validate files: one changed byte can make it read outside of its memory or allocate all of the machine's. A
child process that fails or crashes this way becomes a one-line error. It costs a tenth of a second of CPU time.
"""

import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from hh_fast.errors import DataError
from hh_fast.io.memory import peak_memory
from hh_fast.predict.tflite import open_tflite

# An image classifier for phones takes some 100 MB.
MAX_MEMORY_BYTES = 8 << 30
MAX_SECONDS = 120


def trial_run(path: Path) -> int:
    """Scores one black image in a child process; returns the bytes by which its peak memory grew.

    Raises:
        DataError: the child failed, crashed, took more than 8 GiB of memory or longer than two minutes.
    """
    # With this process's import path: by default, Python looks into the working folder first.
    code = f"import sys; sys.path[:] = {sys.path!r}; from hh_fast.predict.trial import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=MAX_SECONDS, check=False)
    except subprocess.TimeoutExpired as e:
        raise DataError(f"LiteRT did not score an image with {path} in {MAX_SECONDS} s: export or copy it again") from e
    if ended.returncode == 0:
        return int(ended.stdout)
    if ended.returncode == DataError.exit_code:
        raise DataError(ended.stdout.decode("utf-8", "surrogateescape"))
    how = f"was killed by signal {-ended.returncode}" if ended.returncode < 0 else "failed"
    raise DataError(f"LiteRT cannot run {path}: a process that tried it {how}; export or copy it again")


def _score_once(path: Path) -> None:
    classifier = open_tflite(path, num_threads=1)
    try:
        classifier.score(np.zeros((1, *classifier.image_size, 3), np.uint8))
    except (ValueError, RuntimeError, MemoryError) as e:
        raise DataError(f"LiteRT cannot run {path}: {' '.join(str(e).split())}; export or copy it again") from e


def main() -> int:
    """The child process: prints the memory that it took, or the error message, and returns the exit code."""
    for limit, amount in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is already set, or the system has no such limit
            resource.setrlimit(limit, (amount, amount))
    before = peak_memory()
    try:
        _score_once(Path(sys.argv[1]))
    except DataError as e:
        sys.stdout.buffer.write(str(e).encode("utf-8", "surrogateescape"))
        return DataError.exit_code
    sys.stdout.write(str(peak_memory() - before))
    return 0
