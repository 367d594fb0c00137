"""hh_fast's own step and loop, as the races need them: the one module of the bench that knows how a training is put together."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from hh_fast.bench.workload import Workload
from hh_fast.config import TrainConfig
from hh_fast.data.load import Data, load_data
from hh_fast.distributed.shards import whole
from hh_fast.training import checkpoint
from hh_fast.training.loop import Loop
from hh_fast.training.precision import choose
from hh_fast.training.step import Trainer, make_optimizer


def chosen_precision(train: TrainConfig) -> str:
    """What hh_fast would train in on this machine; called in a measuring process."""
    return choose(train).precision


def refuse_too_few(data: Data, train: TrainConfig) -> None:
    """Raises `UsageError` where there are fewer training images than a batch."""
    whole(data.train).steps_per_epoch(train)


def _trainer(workload: Workload) -> Trainer:
    hardware = choose(workload.train)
    return Trainer(
        workload.model(hardware.precision),
        make_optimizer(workload.train, hardware.precision),
        batch_size=workload.train.batch_size,
        jit_compile=hardware.jit_compile,
    )


def make_step(workload: Workload) -> Callable[[tf.Tensor, tf.Tensor], None]:
    """The compiled step on uint8 images and int32 labels of a whole batch, which returns when it is done."""
    trainer = _trainer(workload)

    def step(images: tf.Tensor, labels: tf.Tensor) -> None:
        trainer.train_step(images, labels)

    return step


def train(workload: Workload, folder: Path, callbacks: Sequence[keras.callbacks.Callback]) -> list[float]:
    """Trains as `bin/train` does, with its cache and a checkpoint after each epoch in `folder`.

    Returns:
        Of each epoch, the share of its steps' time that was waited for input.
    """
    data = load_data(dataclasses.replace(workload.data, cache_dir=str(folder)))
    trainer = _trainer(workload)

    def save(progress: checkpoint.Progress) -> None:
        checkpoint.save(folder / "checkpoints", trainer.variables(), progress)

    loop = Loop(trainer, data, workload.train, seed=workload.data.seed, save=save, callbacks=callbacks)
    return [row["input_wait"] for row in loop.run().history]
