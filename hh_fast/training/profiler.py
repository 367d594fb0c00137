"""A trace of some steps by TensorFlow's profiler."""

import logging
from pathlib import Path

import tensorflow as tf

logger = logging.getLogger(__name__)


class Profiler:
    """Traces the steps `first` to `last` of the run, from 1, those of them that this start takes, into `folder`."""

    def __init__(self, folder: Path, first: int, last: int) -> None:
        self._folder = folder
        self._first = first
        self._last = last
        self._is_on = False

    def before_step(self, number: int) -> None:
        if not self._is_on and self._first <= number <= self._last:
            tf.profiler.experimental.start(str(self._folder))
            self._is_on = True

    def is_last(self, number: int) -> bool:
        return self._is_on and number == self._last

    def stop(self) -> None:
        """Writes the trace, where one is being taken."""
        if self._is_on:
            self._is_on = False
            tf.profiler.experimental.stop()
            logger.info("The profiler's trace is in %s", self._folder)
