"""Each measurement in a fresh process, so that none inherits memory, threads or compiled graphs from another.

TensorFlow's allocator keeps what was freed: a second arm in one process would find its memory ready and its peak hidden.
A server that has TensorFlow imported, and has run nothing, forks each process in about 0.1 s.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from hh_fast.errors import HHFastError
from hh_fast.io.quiet import import_tensorflow

SAMPLING_INTERVAL_S = 0.01


class MeasurementError(RuntimeError):
    """A measurement that ended in an error or in its process' death, described in one line."""


def describe_failure(error: BaseException) -> str:
    """Type and text of an error, on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    if isinstance(error, (HHFastError, MeasurementError)):  # these describe themselves
        return text
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.preload"])
    return context


def start_server() -> None:
    """Starts the server, which imports TensorFlow meanwhile. Optional: the first measurement would."""
    _context()
    multiprocessing.forkserver.ensure_running()


def _warm_up() -> None:
    """Starts TensorFlow's thread pools, for which the first operation would otherwise pay."""
    import_tensorflow()
    import tensorflow as tf

    for _ in tf.data.Dataset.range(8).map(lambda i: i + 1, num_parallel_calls=2).batch(2).prefetch(1):
        pass


def _serve(
    connection: multiprocessing.connection.Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.setsid()  # so that it can be ended together with the workers that it starts
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What is measured starts its own workers the way it would anywhere else, not through the server that made this one.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    try:
        _warm_up()
        connection.send((True, function(*arguments)))
    except HHFastError as e:  # a user-facing error keeps its class, and so the command's exit code
        connection.send((False, e))
    except Exception as e:
        connection.send((False, MeasurementError(describe_failure(e))))
    finally:
        connection.close()


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {exit_code} and no result"


def _end(process: Any) -> None:
    """Ends a process and the workers that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function(*arguments)` returns, run in a process of its own.

    Function, arguments and result travel by pickle, so the function is one of a module's own.

    Raises:
        HHFastError: what the function raised, if it was one of those.
        MeasurementError: any other exception, or the process' death, in one line.
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        succeeded, result = receiver.recv()
    except EOFError:
        process.join()
        raise MeasurementError(_death(process.exitcode)) from None
    except BaseException:  # Ctrl-C and SIGTERM
        _end(process)
        raise
    finally:
        receiver.close()
    process.join(10)
    if process.is_alive():
        _end(process)
    if not succeeded:
        raise result
    return result


def time_command(words: Sequence[str]) -> tuple[float, str]:
    """Wall seconds of a command, from its start to its end, and what it printed.

    Raises:
        MeasurementError: it failed; with the last line of its standard error.
    """
    start = time.perf_counter()
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if ended.returncode:
        raise MeasurementError(f"exit code {ended.returncode}: {(ended.stderr.strip() or '-').splitlines()[-1]}")
    return seconds, ended.stdout


def read_memory() -> tuple[int, int]:
    """(own, mapped) bytes resident now: pages that nothing else can take, and pages of mapped files, which the kernel
    can drop. Where the system does not tell them apart, as only Linux does, all count as own."""
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)
    return info.rss - mapped, mapped


@contextlib.contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """How far resident memory rises over its start in the block, sampled every 10 ms. Worker processes do not count."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # where the C library is not glibc
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not count as ready
    start, over = read_memory(), threading.Event()
    peak = {"peak_bytes": 0, "peak_mapped_bytes": 0}

    def sample() -> None:
        while True:
            last = over.wait(SAMPLING_INTERVAL_S)
            for name, now, before in zip(peak, read_memory(), start, strict=True):
                peak[name] = max(peak[name], now - before)
            if last:
                return

    thread = threading.Thread(target=sample, name="peak-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
