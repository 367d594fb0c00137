"""Whole training, by the seeds' recipe and by hh_fast: same images, same initial weights, same number of updates.

Each function runs in a process of its own, with TensorFlow imported and its thread pools started. The clock starts before
the images are listed and the model is built, and stops after the last validation.
"""

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.bench import baseline
from hh_fast.bench.measure import steady_epoch_s
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.engine import as_written
from hh_fast.data.load import load_data
from hh_fast.io.memory import PeakMemory
from hh_fast.model import build_model, choose_head
from hh_fast.training import checkpoint
from hh_fast.training.loop import Loop
from hh_fast.training.precision import Hardware, choose
from hh_fast.training.step import Trainer, make_optimizer

# A resident batch is stepped through for at least so long, after its warm-up.
MIN_RESIDENT_S = 1.0
MIN_RESIDENT_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Job:
    """What is trained: folders of whole training batches in `data`, the recipe's settings in `train`."""

    data: DataConfig
    train: TrainConfig
    num_classes: int

    @property
    def head(self) -> str:
        return choose_head(self.train.head, self.num_classes)

    def model(self, dtype: str = "float32") -> keras.Sequential:
        return build_model(
            self.data.image_size, num_classes=self.num_classes, head=self.head, seed=self.data.seed, dtype=dtype
        )

    def with_precision(self, precision: str) -> "Job":
        return dataclasses.replace(self, train=dataclasses.replace(self.train, precision=precision))


class _Clock(keras.callbacks.Callback):
    """Seconds of each epoch, and of its training part: from its begin to its last step's end, waits for input included.

    `first_end` is when the first epoch ended, on `time.perf_counter()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch_s: list[float] = []
        self.training_s: list[float] = []
        self.logs: list[dict[str, float]] = []
        self.first_end = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._start = self._last_step = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._last_step = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        now = time.perf_counter()
        self.first_end = self.first_end or now
        self.epoch_s.append(now - self._start)
        self.training_s.append(self._last_step - self._start)
        self.logs.append({name: float(value) for name, value in (logs or {}).items()})


class _Counter(keras.callbacks.Callback):
    """Images of each epoch's steps, as the accuracy metric counted them from the batches.

    Reading the count also waits for the last step, which a GPU may still be at: it goes before the clock.
    """

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric
        self.images: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if batch + 1 == self.params["steps"]:
            self.images.append(round(float(self._metric.count.numpy())))


def _figures(
    start: float, clock: _Clock, images: list[int], waits: list[float] | None, peak: PeakMemory
) -> dict[str, Any]:
    wall = time.perf_counter() - start
    later = slice(1, None) if len(clock.epoch_s) > 1 else slice(None)
    logs = clock.logs
    return {
        "wall_s": wall,
        "epoch_s": clock.epoch_s,
        "training_s": clock.training_s,
        "images": images,
        "first_epoch_s": clock.first_end - start,
        "warm_epoch_s": statistics.median(clock.epoch_s[later]),
        "steady_epoch_s": steady_epoch_s(clock.epoch_s),
        "warm_img_s": sum(images[later]) / sum(clock.training_s[later]),
        "input_wait": statistics.mean(waits[later]) if waits else None,
        "loss": [row["loss"] for row in logs],
        "val_accuracy": [row["val_accuracy"] for row in logs if "val_accuracy" in row],
        "last_val_accuracy": logs[-1].get("val_accuracy"),
        "peak_bytes": peak.own_bytes,
    }


def train_generator(job: Job, feeding: baseline.Feeding) -> dict[str, Any]:
    """The seeds' recipe: `ImageDataGenerator` and `fit`, in float32.

    `fit` does not tell how long it waits for input, so `input_wait` is None.
    """
    softmax = job.head == "softmax"
    initial = job.model().get_weights()
    options: dict[str, Any] = {"image_size": job.data.image_size, "feeding": feeding, "categorical": softmax}
    clock = _Clock()
    with PeakMemory() as peak:
        start = time.perf_counter()
        train = baseline.generator(str(job.data.train_dir), batch_size=job.train.batch_size, **options)
        validation = (
            baseline.generator(str(job.data.validation_dir), batch_size=job.train.validation_batch_size, **options)
            if job.data.validation_dir
            else None
        )
        model = baseline.recipe_model(job.data.image_size, num_classes=job.num_classes, softmax=softmax)
        model.set_weights(initial)
        metric = baseline.compile_recipe(model, make_optimizer(job.train, "float32"), softmax=softmax)
        counter = _Counter(metric)
        model.fit(
            train,
            steps_per_epoch=len(train),
            epochs=job.train.epochs,
            validation_data=validation,
            callbacks=[counter, clock],
            verbose=0,
        )
    return _figures(start, clock, counter.images, None, peak)


def make_trainer(job: Job) -> tuple[Trainer, Hardware]:
    hardware = choose(job.train)
    trainer = Trainer(
        job.model(hardware.precision),
        make_optimizer(job.train, hardware.precision),
        batch_size=job.train.batch_size,
        jit_compile=hardware.jit_compile,
    )
    return trainer, hardware


def train_hh_fast(job: Job) -> dict[str, Any]:
    """hh_fast's own loop, with a checkpoint after each epoch as `bin/train` writes it."""
    clock = _Clock()
    images: list[int] = []
    # A cache folder of its own, so that none finds what another one kept.
    with (
        PeakMemory() as peak,
        tempfile.TemporaryDirectory(prefix="train-", dir=Path(str(job.data.train_dir)).parent) as folder,
    ):
        start = time.perf_counter()
        data = load_data(dataclasses.replace(job.data, cache_dir=folder))
        trainer, hardware = make_trainer(job)
        count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: images.append(job.train.batch_size))

        def save(progress: checkpoint.Progress) -> None:
            checkpoint.save(Path(folder, "checkpoints"), trainer.variables(), progress)

        loop = Loop(
            trainer,
            data,
            job.train,
            seed=job.data.seed,
            save=save,
            callbacks=[count, clock],
        )
        progress = loop.run()
    per_epoch = [sum(images[i * loop.steps : (i + 1) * loop.steps]) for i in range(job.train.epochs)]
    waits = [row["input_wait"] for row in progress.history]
    chosen = {"precision": hardware.precision, "jit_compile": hardware.jit_compile}
    return {**_figures(start, clock, per_epoch, waits, peak), **chosen}


def _resident_batch(job: Job) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(job.data.seed)
    images = random.integers(0, 256, (job.train.batch_size, *job.data.image_size, 3), np.uint8)
    return images, (np.arange(job.train.batch_size) % job.num_classes).astype(np.int32)


def resident_recipe(job: Job) -> dict[str, Any]:
    """The recipe's own bound: `fit` on one float32 batch that is there already, again and again, in float32."""
    images, labels = _resident_batch(job)
    softmax = job.head == "softmax"
    model = baseline.recipe_model(job.data.image_size, num_classes=job.num_classes, softmax=softmax)
    model.set_weights(job.model().get_weights())
    metric = baseline.compile_recipe(model, make_optimizer(job.train, "float32"), softmax=softmax)
    batch = tf.constant(images.astype(np.float32) / 255), tf.constant(labels)
    endless = as_written(tf.data.Dataset.from_tensors(batch).repeat())
    ends: list[float] = []
    note_end = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))  # noqa: ARG005
    start = time.perf_counter()
    model.fit(endless, steps_per_epoch=2, shuffle=False, callbacks=[note_end], verbose=0)
    compile_s, step_s = ends[0] - start, ends[1] - ends[0]
    steps = max(MIN_RESIDENT_STEPS, int(MIN_RESIDENT_S / step_s) + 1)
    clock, counter = _Clock(), _Counter(metric)
    model.fit(endless, steps_per_epoch=steps, shuffle=False, callbacks=[counter, clock], verbose=0)
    rate = counter.images[0] / clock.training_s[0]
    return {
        "first_step_s": compile_s,
        "images": counter.images[0],
        "training_s": clock.training_s[0],
        "warm_img_s": rate,
    }


def resident_hh_fast(job: Job, *, min_s: float = MIN_RESIDENT_S) -> dict[str, Any]:
    """The synthetic bound: hh_fast's step on one batch that is there already, again and again."""
    images, labels = (tf.constant(part) for part in _resident_batch(job))
    start = time.perf_counter()
    trainer, hardware = make_trainer(job)
    trainer.train_step(images, labels)
    first_step_s = time.perf_counter() - start
    start = time.perf_counter()
    trainer.train_step(images, labels)
    steps = max(MIN_RESIDENT_STEPS, int(min_s / (time.perf_counter() - start)) + 1)
    num_images = 0
    start = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(images, labels)
        num_images += int(images.shape[0])
    seconds = time.perf_counter() - start
    return {
        "first_step_s": first_step_s,
        "images": num_images,
        "training_s": seconds,
        "warm_img_s": num_images / seconds,
        "precision": hardware.precision,
        "jit_compile": hardware.jit_compile,
    }


def keras_probabilities(job: Job, images: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The initial weights, and the Keras model's probabilities for uint8 images with them."""
    model = job.model()
    return model.get_weights(), np.asarray(model(images))
