"""The training loop: runs Keras callbacks and progress bar, resumes exactly, and measures the time waited for input."""

import collections
import contextlib
import dataclasses
import gc
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.config import TrainConfig
from hh_fast.data.load import Data
from hh_fast.distributed.inputs import EvaluationRounds, train_input
from hh_fast.distributed.shards import Shards, whole
from hh_fast.errors import DataError, HHFastError
from hh_fast.evaluation.confusion import Confusion, balanced_size
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.training.checkpoint import Progress, best_epoch
from hh_fast.training.step import Batch, Trainer

logger = logging.getLogger(__name__)

# TensorFlow's profiler: shares of step time spent waiting for input (https://www.tensorflow.org/guide/data_performance_analysis).
MODERATE_WAIT, HIGH_WAIT = 0.05, 0.20


class DivergedError(HHFastError):
    """The loss is NaN or infinite."""

    exit_code = 4


class StoppedError(HHFastError):
    """A signal stopped the run; its state was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@dataclasses.dataclass
class Timing:
    """Seconds spent in an epoch's steps: `steps` in total, of which `wait` waiting for input; and their `num_images`.

    A GPU may still be computing the previous step while the host waits, so there `wait` is an upper bound of its idle time.
    """

    steps: float = 0.0
    wait: float = 0.0
    num_images: int = 0

    @property
    def images_per_second(self) -> float:
        return self.num_images / self.steps if self.steps else 0.0

    @property
    def wait_share(self) -> float:
        return self.wait / self.steps if self.steps else 0.0


def input_verdict(wait_share: float, cache: str) -> str:
    """Whether the run is input-bound, by the profiler's limits on the share of step time waited for input, and the remedy.

    `cache`: memory, disk or none; or the slowest stage, if that is `augmentation` or `front` (frozen layers).
    """
    if wait_share < MODERATE_WAIT:
        return "not input-bound"
    degree = "moderately" if wait_share < HIGH_WAIT else "highly"
    remedy = {
        "none": "keep decoded images: --cache=disk or memory",
        "disk": "the disk is slower than the step: --cache=memory, or a faster disk for --cache_dir",
        "front": "the frozen layers run on each image in each epoch: more cores, or no augmentation and --cache=disk",
        "augmentation": "more cores, or fewer augmentation ranges",
        "memory": "copying is slower than the step: a larger --batch_size, or fewer other programs",
    }[cache]
    return f"{degree} input-bound: {remedy}"


@contextlib.contextmanager
def _old_objects_set_aside() -> Iterator[None]:
    """Restricts garbage collection to new objects, which takes a millisecond instead of a hundred for all of TensorFlow's."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


CollectSignals: TypeAlias = Callable[[], contextlib.AbstractContextManager[Sequence[int]]]


def no_signals() -> contextlib.AbstractContextManager[Sequence[int]]:
    return contextlib.nullcontext(())


class Loop:
    """Trains `trainer` on `data`, starting at `progress`.

    `save` is called with the updated progress after each epoch, every `checkpoint_every_steps`, and when a signal stops the
    run; None saves nothing. `shards` are given if this process has only some of the training images. `collect_signals` gives
    the list of signals received, for which the loop stops in an orderly way; by default only a KeyboardInterrupt stops it.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: Data,
        config: TrainConfig,
        *,
        seed: int,
        progress: Progress | None = None,
        save: Callable[[Progress], None] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        shards: Shards | None = None,
        collect_signals: CollectSignals = no_signals,
    ) -> None:
        self.trainer = trainer
        self.data = data
        self.config = config
        self.seed = seed
        self._augmentation = Augmentation(**config.augmentation())
        self.progress = progress or Progress()
        self._shards = shards or whole(data.train)
        self._collect_signals = collect_signals
        self.steps = self._shards.steps_per_epoch(config)
        size = config.validation_batch_size
        self._rounds = EvaluationRounds(trainer.replicas, data.validation, size) if data.validation else None
        self._is_balanced = config.class_weight == "balanced"
        self._num_scored: float = self.steps * config.batch_size
        if data.validation:
            counts = np.bincount(data.validation.labels)
            self._num_scored = balanced_size(counts) if self._is_balanced else counts.sum()
        self._started: collections.deque[tuple[int, tf.Tensor]] = collections.deque()
        self._pending_signals: Sequence[int] = ()
        self._save = save or (lambda _: None)
        on_terminal = sys.stdout.isatty() and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)
        shows = trainer.replicas.cluster.is_chief and (on_terminal or "ipykernel" in sys.modules)
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            add_progbar=shows,
            model=trainer.model,
            verbose=1 if shows else 0,
            epochs=config.epochs,
            steps=self.steps,
        )

    def run(self) -> Progress:
        """Runs to the last epoch.

        Raises:
            DivergedError: the loss is NaN or infinite; the last checkpoint is kept.
            StoppedError: SIGTERM or Ctrl-C, after a checkpoint was saved.
            DataError: an image that is decoded each epoch is gone or has changed; the last checkpoint is kept.
        """
        progress = self.progress
        try:
            batches = train_input(
                self.trainer.replicas,
                self._shards,
                self.data.train,
                self.config,
                seed=self.seed,
                epochs=self.config.epochs,
                first_epoch=progress.epoch,
                first_step=progress.step,
                steps_per_epoch=self.steps,
                augmentation=self._augmentation,
            )
            with self._collect_signals() as self._pending_signals, _old_objects_set_aside():
                self._callbacks.on_train_begin()
                while not self._is_done():
                    self._run_epoch(batches)
                    gc.collect()  # a saved model is a reference cycle that holds megabytes
                if number := max(self.trainer.replicas.gather(self._pending_signal())):
                    self._stop(number)
                self._callbacks.on_train_end()
        except tf.errors.OpError as e:
            splits = [split for split in (self.data.train, self.data.validation) if split]
            found = (split.rows.first_fault() for split in splits)
            lost = next((image for image in found if image), None)
            if lost is None:
                raise
            raise DataError(
                f"an image can no longer be read: {lost}. Restore it and repeat the command, which resumes from the last"
                " checkpoint; or keep decoded images with --cache=disk"
            ) from e
        return progress

    def _is_done(self) -> bool:
        progress, config = self.progress, self.config
        return progress.epoch >= config.epochs or progress.has_waited(config.early_stopping_patience)

    def _pending_signal(self) -> int:
        return self._pending_signals[0] if self._pending_signals else 0

    def _run_epoch(self, batches: Iterator[Batch]) -> None:
        progress, every = self.progress, self.config.checkpoint_every_steps
        self._callbacks.on_epoch_begin(progress.epoch)
        start, timing = time.perf_counter(), Timing()
        try:
            while progress.step < self.steps:
                self._run_step(batches, timing)
                if every and progress.step % every == 0:
                    self._finish_steps()
                    self._save_finite()
            validated = self._validate()
        except KeyboardInterrupt:
            # No handler collected it, so it may have come anywhere: the device's own step count tells how far the run is.
            self._started.clear()
            progress.step = self.trainer.num_steps
            self._stop(signal.SIGINT)
        # The timing of the worker that waited longest for input, and so stalled all; and any worker's signal.
        figures = self.trainer.replicas.gather((timing.wait, timing.steps, self._pending_signal()))
        timing.wait, timing.steps, _ = max(figures)
        if number := max(number for _, _, number in figures):
            self._stop(number)
        self._finish_epoch(timing, time.perf_counter() - start, validated)

    def _run_step(self, batches: Iterator[Batch], timing: Timing) -> None:
        progress = self.progress
        self._callbacks.on_train_batch_begin(progress.step)
        start = time.perf_counter()
        rows, labels = next(batches)
        arrived = time.perf_counter()
        self._started.append((progress.step, self.trainer.start_step(rows, labels, self._pending_signals)))
        progress.step += 1
        self._finish_steps(running=int(progress.step < self.steps))
        timing.wait += arrived - start
        timing.steps += time.perf_counter() - start
        timing.num_images += self.config.batch_size

    def _validate(self) -> dict[str, float]:
        """Validation loss and accuracies by their names in the history; empty without validation images."""
        evaluated = self.trainer.evaluate(self._rounds, self._pending_signals) if self._rounds else None
        if evaluated is None:
            return {}
        result, outputs = evaluated
        if not math.isfinite(result.loss):
            raise self._diverged(f"the validation loss is {result.loss} after")
        validated = {"val_loss": result.loss, "val_accuracy": result.accuracy}
        if self._is_balanced and self.data.validation:
            predicted = class_probabilities(outputs).argmax(axis=1)
            confusion = Confusion(self.data.validation.labels, predicted, self.data.class_names)
            validated["val_balanced_accuracy"] = confusion.balanced_accuracy
        return validated

    def _finish_steps(self, running: int = 0) -> None:
        """Checks the losses of all steps but the last `running`, which the GPU computes while the next one is prepared."""
        while len(self._started) > running:
            step, started = self._started.popleft()
            loss, number = self.trainer.finish_step(started)
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss} at", step + 1)
            self._callbacks.on_train_batch_end(step, {"loss": loss})
            if number:
                self._stop(number)

    def _stop(self, number: int) -> NoReturn:
        self._finish_steps()
        self._save_finite()
        position = f"epoch {self.progress.epoch + 1}, step {self.progress.step} of {self.steps}"
        if self._is_done():
            position = "the end of the last epoch"
        raise StoppedError(
            f"stopped by {signal.Signals(number).name} at {position}; repeat the command to resume from there", number
        )

    def _finish_epoch(self, timing: Timing, seconds: float, validated: dict[str, float]) -> None:
        progress = self.progress
        logs = dataclasses.asdict(self.trainer.train_result()) | validated
        self._callbacks.on_epoch_end(progress.epoch, logs)
        told = [f"{name} {value:.4f}" for name, value in logs.items()]
        if timing.num_images:  # zero if the run was stopped after the last step
            told.append(f"{timing.images_per_second:.0f} images/s")
            if self.data.train.pixels is None:  # else steps are so short that their shares mean nothing
                slowest = "augmentation" if self._augmentation and self.data.cache != "none" else self.data.cache
                verdict = input_verdict(timing.wait_share, "front" if self.data.train.front else slowest)
                told.append(f"input wait {100 * timing.wait_share:.1f}% ({verdict})")
        logger.info("Epoch %d/%d: %s", progress.epoch + 1, self.config.epochs, ", ".join(told))
        self._require_finite_weights()
        measured = {"images_per_second": timing.images_per_second, "input_wait": timing.wait_share, "seconds": seconds}
        progress.history.append({"epoch": progress.epoch + 1, **logs, **measured})
        progress.best_epoch = best_epoch(progress.history, self._num_scored)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.trainer.reset_train_result()
        self._save(progress)
        if progress.epoch < self.config.epochs and self._is_done():
            logger.info("No better epoch in the last %d: stopping early (--early_stopping_patience)", progress.waited)

    def _save_finite(self) -> None:
        self._require_finite_weights()
        self._save(self.progress)

    def _require_finite_weights(self) -> None:
        """Raises `DivergedError` if the last update broke the weights, which only the next step's loss would show."""
        if not all(np.isfinite(weight.numpy()).all() for weight in self.trainer.model.trainable_variables):
            raise self._diverged("the weights are NaN or infinite after")

    def _diverged(self, what: str, step: int | None = None) -> DivergedError:
        """The error, with `step`, from 1, of this epoch; default: the last one started."""
        epoch, step = self.progress.epoch, step or self.progress.step
        return DivergedError(
            f"{what} step {step} of epoch {epoch + 1} (step {epoch * self.steps + step} of the run); try a lower"
            " --learning_rate. The last checkpoint is kept"
        )
