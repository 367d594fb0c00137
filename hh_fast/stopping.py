"""SIGTERM and Ctrl-C end the process in time, whatever it is busy with.

Python tells its main thread of a signal only between two of its own instructions. The exception that the handler then raises
may come late (from within TensorFlow's import or compiler) or be lost (in a destructor, whose exceptions Python passes over).
So a second thread, which the system tells at once, waits for the end and then makes it. Standard library only.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

GRACE_S = 3.0
POLL_S = 0.1
_busy = threading.Event()


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """While the block runs, it looks after signals by itself, and is given the time that it takes."""
    _busy.set()
    try:
        yield
    finally:
        _busy.clear()


def _watch(end: int, name: str, finished: threading.Event) -> None:
    number = 0
    while number not in (signal.SIGINT, signal.SIGTERM):
        number = os.read(end, 1)[0]
        if finished.is_set():
            break
    left = GRACE_S
    while left > 0 and not finished.wait(POLL_S):
        left = GRACE_S if _busy.is_set() else left - POLL_S
    if not finished.is_set():
        # No cleaning up: what is half written stands beside its place, and the next run removes it.
        os.write(2, f"{name}: stopped by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)
    os.close(end)


@contextlib.contextmanager
def in_time(name: str) -> Iterator[None]:
    """Ends the process `GRACE_S` seconds after SIGTERM or Ctrl-C if the block has not ended by then. Main thread only."""
    end, start = os.pipe()
    os.set_blocking(start, False)
    finished = threading.Event()
    previous = signal.set_wakeup_fd(start, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(end, name, finished), daemon=True).start()
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(previous)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(start, b"\0")
        os.close(start)
