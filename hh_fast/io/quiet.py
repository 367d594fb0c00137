"""What native code writes past Python to the terminal: kept from it, and read where it explains something."""

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
    """From here on the process is a command's: its file descriptors and signals are ours. A notebook's are left alone."""
    global _in_command
    _in_command = True


def import_log() -> str:
    """What TensorFlow printed while it was imported and looked for devices; empty if it was imported some other way."""
    return "".join(_captured)


@contextlib.contextmanager
def _native_stderr_to(receive: Callable[[str], None]) -> Iterator[None]:
    """In a command, gives `receive` what goes to file descriptor 2 meanwhile, which Python's sys.stderr knows nothing of."""
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
    """Logs, as debug messages, what the C++ of TensorFlow and LiteRT writes to standard error meanwhile."""

    def log(text: str) -> None:
        for line in text.splitlines():
            logger.debug("%s", line)

    return _native_stderr_to(log)


def signals_end_at_once() -> contextlib.AbstractContextManager[None]:
    """For native code that lets Python hear of a signal only when it is over, and where nothing was begun that needs an end."""
    ours = _in_command and threading.current_thread() is threading.main_thread()
    return handled_by(signal.SIG_DFL) if ours else contextlib.nullcontext()


def import_tensorflow() -> None:
    """Imports TensorFlow and finds its devices without its start-up lines, which no setting of its own turns off.

    Its hundreds of thousands of objects stay, so garbage collections leave them out from here on: each took 0.1 s.

    The devices are not set up yet, since a cluster's strategy and the choice of devices must come before that. With
    TF_CPP_MIN_LOG_LEVEL=0 in the environment the lines are shown.
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
