"""SIGTERM and Ctrl-C end the process in time, whatever it is doing.

Python runs signal handlers only between two of its own instructions. The exception that the handler raises may come late (inside
TensorFlow's import or compiler), be lost (in a destructor, whose exceptions Python ignores), or turn into another one (through C code
with callbacks). So a second thread, woken at once by the signal, waits for the process to end and else ends it; any exception after a
signal counts as the interruption; and `pending_signals` includes signals received before. Standard library only.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

GRACE_S = 3.0
POLL_S = 0.1
STOPS = (signal.SIGINT, signal.SIGTERM)
_busy = threading.Event()
_at_once = threading.Event()
_received: list[int] = []


@contextlib.contextmanager
def handled_by(handler: Callable[[int, Any], Any] | signal.Handlers) -> Iterator[None]:
    """SIGTERM and Ctrl-C go to `handler` while the block runs; one that is ignored, as in a shell's background, stays so."""
    previous = {number: signal.getsignal(number) for number in STOPS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        for number in previous:
            signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _stop_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _stop(number: int, _: object) -> None:
    _received.append(number)
    raise _stop_of(number)


@contextlib.contextmanager
def pending_signals(most: int = 1) -> Iterator[list[int]]:
    """The block looks after signals by itself, as long as it takes: in this list, up to `most`; one more interrupts it.

    A signal that came before, in this `in_time` block, is in it, also where its exception was lost on its way.
    """
    numbers = _received[:1]

    def note(number: int, _: object) -> None:
        if len(numbers) >= most:
            raise KeyboardInterrupt
        numbers.append(number)

    with handled_by(note):
        _busy.set()
        try:
            yield numbers
        finally:
            _busy.clear()


@contextlib.contextmanager
def without_grace() -> Iterator[None]:
    """In this block nothing was begun that needs an end: a signal ends the process as soon as any Python code runs."""
    _at_once.set()
    try:
        yield
    finally:
        _at_once.clear()


def _watch(end: int, stderr: int, name: str, finished: threading.Event) -> None:
    number = 0
    while number not in STOPS:
        number = os.read(end, 1)[0]
        if finished.is_set():
            break
    left = 0.0 if _at_once.is_set() else GRACE_S
    while left > 0 and not finished.wait(POLL_S):
        left = GRACE_S if _busy.is_set() else left - POLL_S
    if not finished.is_set():
        # No cleaning up: what is half written stands beside its place, and the next run removes it.
        os.write(stderr, f"{name}: stopped by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)
    os.close(end)
    os.close(stderr)


@contextlib.contextmanager
def in_time(name: str) -> Iterator[None]:
    """Makes SIGTERM and Ctrl-C end the block, by SystemExit and KeyboardInterrupt, and the process if that takes `GRACE_S`.

    Main thread only.
    """
    _received.clear()
    end, start = os.pipe()
    os.set_blocking(start, False)
    finished = threading.Event()
    previous = signal.set_wakeup_fd(start, warn_on_full_buffer=False)
    stderr = os.dup(2)  # where 2 leads may change meanwhile
    threading.Thread(target=_watch, args=(end, stderr, name, finished), daemon=True).start()
    try:
        with handled_by(_stop):
            yield
    except Exception as e:
        if not _received or getattr(e, "exit_code", 0) > 128:  # who was stopped in order says so
            raise
        raise _stop_of(_received[0]) from e
    finally:
        finished.set()
        signal.set_wakeup_fd(previous)
        _received.clear()
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(start, b"\0")
        os.close(start)
