"""hh_fast's own input, step and loop, as the races need them: the one module that knows how a training is put together."""

import contextlib
import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.race.workload import Workload
from hh_fast.backbone.features import Front
from hh_fast.backbone.pretrained import build as build_backbone
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.images import list_images
from hh_fast.data.load import Data, load_data
from hh_fast.data.pipeline import eval_batches, train_batches
from hh_fast.data.pixels import ImageForm
from hh_fast.data.reading import PixelFill
from hh_fast.data.store import in_memory
from hh_fast.model import add_head, build_model
from hh_fast.training import checkpoint
from hh_fast.training.hardware import choose, use_devices
from hh_fast.training.loop import Loop
from hh_fast.training.step import Trainer, make_optimizer

# (images (batch, height, width, 3), labels (batch,)), as arrays or tensors.
Batch = tuple[Any, Any]


def chosen_precision(train: TrainConfig) -> str:
    """What hh_fast would train in on this machine; called in a measuring process."""
    use_devices(train)
    return choose(train).precision


def build(workload: Workload, dtype: str = "float32") -> keras.Sequential:
    """The CNN in stock Keras layers, on uint8 or float (batch, height, width, 3) with values 0 to 255."""
    data = workload.data
    return build_model(data.size, num_classes=workload.num_classes, head=workload.head, seed=data.seed, dtype=dtype)


def open_input(
    workload: Workload, *, shuffle: bool = True, cache: str = "memory", second_run: bool = False
) -> Callable[[int, int], Iterable[Batch]]:
    """From (first epoch, number of epochs) to their batches; a `second_run` finds the disk cache that an earlier one left."""
    around = workload.train_dir.parent
    kept = contextlib.nullcontext(str(around / "kept"))
    # What is mapped of a cache stays readable without its name.
    with kept if second_run else tempfile.TemporaryDirectory(prefix="cache-", dir=around) as cache_dir:
        changes: dict[str, Any] = {
            "validation_dir": None,
            "validation_split": 0.0,
            "cache": cache,
            "cache_dir": cache_dir,
        }
        images = load_data(dataclasses.replace(workload.data, **changes)).train
    size, seed = workload.train.batch_size, workload.data.seed
    if not shuffle:
        return lambda _, num: itertools.chain.from_iterable(eval_batches(images, batch_size=size) for _ in range(num))
    return lambda first, num: train_batches(images, batch_size=size, seed=seed, first_epoch=first, epochs=first + num)


def input_stages(workload: Workload) -> Iterator[None]:
    """Yields after each stage of a first run's input: the files listed; each read, hashed and decoded into memory."""
    images, _ = list_images(workload.train_dir)
    yield
    form = ImageForm(workload.data.size)
    fill = PixelFill(images, form, max_image_pixels=workload.data.max_image_pixels)
    in_memory(len(images), form.shape, np.uint8, fill)
    yield


def endless_batches(workload: Workload, cache: str) -> Iterator[Batch]:
    """Training batches, epoch after epoch, from images kept in `cache`."""
    images = load_data(dataclasses.replace(workload.data, cache=cache)).train
    epochs = 1 << 20  # more than are run
    return iter(train_batches(images, batch_size=workload.train.batch_size, seed=workload.data.seed, epochs=epochs))


def _trainer(workload: Workload) -> Trainer:
    hardware = choose(workload.train)
    return Trainer(
        build(workload, hardware.precision),
        make_optimizer(workload.train, hardware.precision),
        batch_size=workload.train.batch_size,
        jit_compile=hardware.jit_compile,
    )


def backbone(workload: Workload) -> keras.Model:
    """The frozen network, under Keras' global dtype policy."""
    return build_backbone(str(workload.train.backbone), image_size=workload.data.size)


def feature_pass(workload: Workload) -> dict[str, float]:
    """Images a second from files to features, with the network ready; called in a measuring process."""
    front = Front(backbone(workload), workload.data.cache_root)
    with tempfile.TemporaryDirectory(dir=workload.train_dir.parent) as folder:
        data = dataclasses.replace(workload.data, cache="disk", cache_dir=folder)
        start = time.perf_counter()
        load_data(data, front=front)
        return {"images_per_s": workload.num_images / (time.perf_counter() - start)}


def resident_features(workload: Workload, *, by_keras: bool = False) -> dict[str, float]:
    """Images a second of the engine alone, or of Keras' own `predict`, on images in memory; called in a measuring process."""
    network = backbone(workload)
    predict = functools.partial(network.predict, batch_size=workload.train.batch_size, verbose=0)
    run = predict if by_keras else Front(network, workload.data.cache_root)
    images = np.random.default_rng(0).integers(0, 256, (256, *workload.data.size, 3), np.uint8)
    run(images[: 2 * workload.train.batch_size])
    start = time.perf_counter()
    run(images)
    return {"images_per_s": len(images) / (time.perf_counter() - start)}


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


def with_features(data: DataConfig, name: str) -> Data:
    """The data set, of each image what the pretrained network `name` makes of it."""
    return load_data(data, front=Front(build_backbone(name, image_size=data.size), data.cache_root))


def train_head(data: Data, config: TrainConfig, seed: int) -> checkpoint.Progress:
    """Trains a classifier on features, as `bin/train --backbone` does."""
    config = config.for_images(len(data.train))
    features = keras.Input(data.train.rows.shape)
    num_classes = len(data.class_names)
    model = add_head(
        keras.Model(features, features), num_classes=num_classes, head="auto", dropout=config.dropout, seed=seed
    )
    optimizer = make_optimizer(config, "float32")
    trainer = Trainer(model, optimizer, batch_size=config.batch_size, jit_compile=False, row=data.train.input_spec)
    return Loop(trainer, data, config, seed=seed).run()
