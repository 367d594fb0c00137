"""TensorFlow's own lines while it is imported: kept from the terminal, and readable where they explain something."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_captured: list[str] = []


def import_log() -> str:
    """What TensorFlow printed while it was imported and looked for devices; empty if it was imported some other way."""
    return "".join(_captured)


@contextlib.contextmanager
def _stderr_kept() -> Iterator[None]:
    """Keeps what C++ writes to file descriptor 2, which Python's sys.stderr knows nothing of."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        real = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(real, kept.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
            kept.seek(0)
            _captured.append(kept.read().decode(errors="replace"))


def import_tensorflow() -> None:
    """Imports TensorFlow and finds its devices without its start-up lines, which no setting of its own turns off.

    The devices are not set up yet, since a cluster's strategy and the choice of devices must come before that. With TF_CPP_MIN_LOG_LEVEL=0 in the environment they are shown.
    """
    with contextlib.nullcontext() if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" else _stderr_kept():
        import tensorflow as tf

        tf.config.list_physical_devices()
