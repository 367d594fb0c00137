"""Files written during training: float32 models, TensorBoard event files, and profiler traces."""

import logging
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hh_fast.any_model import is_float32, with_policy
from hh_fast.io.files import atomic_path
from hh_fast.training.run import EVENT_FILES, EVENTS_SUFFIX

logger = logging.getLogger(__name__)


def save_portable(model: keras.Model, path: Path) -> None:
    """Saves the model with float32 layers, whatever precision the step computes in."""
    portable = model if is_float32(model) else with_policy(model, "float32")
    with atomic_path(path) as temporary:
        named = temporary.with_name(temporary.name + ".keras")  # Keras insists on the suffix
        try:
            portable.save(named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


class TensorBoard:
    """Event files, rewritten from the history when a run is resumed, so that no epoch occurs twice."""

    _SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")

    def __init__(self, folder: Path, history: list[dict[str, float]]) -> None:
        for old in folder.glob(EVENT_FILES):
            old.unlink()
        self._writer = tf.summary.create_file_writer(str(folder), filename_suffix=EVENTS_SUFFIX)
        for row in history:
            self.add(row)

    def add(self, row: dict[str, float]) -> None:
        with self._writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    # tf.summary.scalar would need the tensorboard package.
                    tf.summary.write(name, tf.constant(value, tf.float32), int(row["epoch"]), self._SCALAR)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Profiler(keras.callbacks.Callback):
    """Traces steps `steps[0]` to `steps[1]` of the run, from 1, into `folder`; (): none. Steps before a resume are skipped."""

    def __init__(self, folder: Path, steps: tuple[int, ...]) -> None:
        super().__init__()
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._before_epoch = 0
        self._is_on = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._before_epoch = epoch * self.params["steps"]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if not self._is_on and self._first <= self._before_epoch + batch + 1 <= self._last:
            tf.profiler.experimental.start(str(self._folder))
            self._is_on = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if self._before_epoch + batch + 1 == self._last:
            self.stop()

    def stop(self) -> None:
        """Writes the trace, if one is being recorded."""
        if self._is_on:
            self._is_on = False
            tf.profiler.experimental.stop()
            logger.info("The profiler trace is in %s", self._folder)
