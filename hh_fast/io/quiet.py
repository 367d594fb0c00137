"""Captures what native code writes to standard error, bypassing Python."""

import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

from hh_fast.io.signals import handled_by, without_grace

logger = logging.getLogger(__name__)

_captured: list[str] = []
_in_command = False


def enter_command() -> None:
    """Marks this process as a command, whose file descriptors and signals may be changed, unlike those of a notebook."""
    global _in_command
    _in_command = True


def import_log() -> str:
    """What TensorFlow printed during `import_tensorflow`; empty if it was imported another way."""
    return "".join(_captured)


@contextlib.contextmanager
def _native_stderr_to(receive: Callable[[str], None]) -> Iterator[None]:
    """In a command, passes everything that is written to file descriptor 2 in the block to `receive`."""
    if not _in_command:
        yield
        return
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            kept.seek(0)
            receive(kept.read().decode("utf-8", "replace"))


def native_stderr_logged() -> contextlib.AbstractContextManager[None]:
    """Logs what TensorFlow's and LiteRT's C++ code writes to standard error in the block, as debug messages."""

    def log(text: str) -> None:
        for line in text.splitlines():
            logger.debug("%s", line)

    return _native_stderr_to(log)


def signals_end_at_once() -> contextlib.AbstractContextManager[None]:
    """For native code that lets Python hear of a signal only when it is over, and where nothing was begun that needs an end."""
    ours = _in_command and threading.current_thread() is threading.main_thread()
    return handled_by(signal.SIG_DFL) if ours else contextlib.nullcontext()


def import_tensorflow() -> None:
    """Imports TensorFlow and lists its devices without its start-up messages, which no setting turns off.

    Its hundreds of thousands of objects are then excluded from garbage collections, which took 0.1 s each.

    The devices are not initialised yet, since a cluster's strategy and the choice of devices must come first. With
    TF_CPP_MIN_LOG_LEVEL=0 in the environment the messages are shown.
    """
    shown = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    try:
        quiet = contextlib.nullcontext() if shown else _native_stderr_to(_captured.append)
        with quiet, without_grace():
            import tensorflow as tf

            tf.config.list_physical_devices()
        gc.freeze()
    except Exception:
        sys.stderr.write(import_log())  # it may say why
        raise
