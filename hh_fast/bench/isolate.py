"""Runs one measurement in a fresh process, so that none inherits memory, threads or compiled graphs from another.

TensorFlow's allocator keeps what was freed, so a second path in one process would find its memory ready and its peak
hidden. A server that has TensorFlow imported, and nothing run, forks each process in about 0.1 s.
"""

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
from collections.abc import Callable
from typing import Any

from hh_fast.bench.statistics import MeasurementError, Variant, describe_failure
from hh_fast.errors import HHFastError
from hh_fast.io.quiet import import_tensorflow

PRELOAD = ("hh_fast.bench.preload",)


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def start_server() -> None:
    """Starts the server, which imports TensorFlow meanwhile. Optional: the first measurement would."""
    _context()
    multiprocessing.forkserver.ensure_running()


def import_tensorflow_without_gpu() -> None:
    """For the process that only directs: TensorFlow takes a GPU's whole memory, which the measuring ones need."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        import_tensorflow()
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _warm_up(*, use_gpu: bool) -> None:
    """Imports TensorFlow and starts its thread pools, for which the first operation would otherwise pay."""
    if not use_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import_tensorflow()
    import tensorflow as tf

    for _ in tf.data.Dataset.range(8).map(lambda i: i + 1, num_parallel_calls=2).batch(2).prefetch(1):
        pass


def _serve(
    connection: multiprocessing.connection.Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    use_gpu: bool,
) -> None:
    os.setsid()  # so that it can be ended together with the workers that it starts
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What is measured starts its own workers the way it would anywhere else, not through the server that made this one.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    try:
        _warm_up(use_gpu=use_gpu)
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


def in_process(function: Callable[..., Any], *arguments: Any, use_gpu: bool = False) -> Any:
    """What `function(*arguments)` returns, run in a process of its own.

    Function, arguments and result travel by pickle, so the function is one of a module's own. Without `use_gpu`, GPUs are
    hidden from it.

    Raises:
        HHFastError: what the function raised, if it was one of those.
        MeasurementError: any other exception, or the process' death, in one line.
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, arguments, use_gpu))
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


def isolated(name: str, function: Callable[..., Any], *arguments: Any, use_gpu: bool = False) -> Variant:
    """The variant that runs `function(*arguments)` in a process of its own each time."""
    return Variant(name, functools.partial(in_process, function, *arguments, use_gpu=use_gpu))
