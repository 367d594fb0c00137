"""The seeds' recipe with `ImageDataGenerator` and `fit`, as its users run it: what hh_fast is measured against.

The only home of `ImageDataGenerator`, which is deprecated and reached through `tf.keras.preprocessing.image`. In Keras
3.15 neither `flow_from_directory` nor `fit` takes `workers` and `use_multiprocessing`: they are properties of the
iterator (a `keras.utils.PyDataset`) that the former returns, and the latter reads them there.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.io.cores import num_cores

Batch = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Feeding:
    """How the generator's batches are made: in the caller's thread (`workers=1`), by threads, or by processes."""

    workers: int = 1
    use_multiprocessing: bool = False

    @property
    def name(self) -> str:
        if self.workers == 1 and not self.use_multiprocessing:
            return "ImageDataGenerator"
        return f"ImageDataGenerator, {self.workers} {'processes' if self.use_multiprocessing else 'threads'}"


def feedings(num_workers: int | None = None) -> tuple[Feeding, ...]:
    """As a user runs it, then its two ways of using every core."""
    cores = max(2, num_workers or num_cores())
    return Feeding(), Feeding(cores), Feeding(cores, use_multiprocessing=True)


def generator(
    directory: str | Path,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    feeding: Feeding = Feeding(),
    shuffle: bool = True,
    seed: int | None = None,
    categorical: bool = False,
) -> Any:
    """Keras' iterator over a folder of class folders: float32 (batch, height, width, 3), values 0 to 1, float32 labels.

    Files of other sizes are resized by Pillow's nearest neighbour, the default. The remainder is kept.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many images it found
        iterator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            str(directory),
            target_size=image_size,
            batch_size=batch_size,
            class_mode="sparse" if categorical else "binary",
            shuffle=shuffle,
            seed=seed,
        )
    iterator.workers = feeding.workers
    iterator.use_multiprocessing = feeding.use_multiprocessing
    return iterator


def batches(iterator: Any) -> Iterator[Batch]:
    """One epoch of the generator's batches, made the way that `fit` makes them under the iterator's settings.

    Keras has no public way to run its workers outside `fit`, so this uses the class that `fit` uses.
    """
    if iterator.workers == 1 and not iterator.use_multiprocessing:
        for position in range(len(iterator)):
            yield iterator[position]
    else:
        from keras.src.trainers.data_adapters.py_dataset_adapter import OrderedEnqueuer

        enqueuer = OrderedEnqueuer(
            iterator,
            workers=iterator.workers,
            use_multiprocessing=iterator.use_multiprocessing,
            max_queue_size=iterator.max_queue_size,
        )
        enqueuer.start()
        try:
            for _, batch in zip(range(len(iterator)), enqueuer.get(), strict=False):
                yield batch
        finally:
            enqueuer.stop()
    iterator.on_epoch_end()


def recipe_model(image_size: tuple[int, int], *, num_classes: int = 2, softmax: bool = False) -> keras.Sequential:
    """The seeds' CNN on float32 (batch, height, width, 3) with values 0 to 1; stock layers in the seeds' order."""
    layers: list[Any] = [keras.Input((*image_size, 3))]
    for filters in (16, 32, 64, 64, 64):
        layers += [keras.layers.Conv2D(filters, 3, activation="relu"), keras.layers.MaxPooling2D(2)]
    last = keras.layers.Dense(num_classes, "softmax") if softmax else keras.layers.Dense(1, "sigmoid")
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(512, "relu"), last])


def compile_recipe(model: keras.Sequential, optimizer: keras.optimizers.Optimizer, *, softmax: bool = False) -> Any:
    """The seeds' loss and metric; returns the accuracy metric, which also counts the images that it saw."""
    accuracy = keras.metrics.SparseCategoricalAccuracy if softmax else keras.metrics.BinaryAccuracy
    metric = accuracy(name="accuracy")
    loss = "sparse_categorical_crossentropy" if softmax else "binary_crossentropy"
    model.compile(loss=loss, optimizer=optimizer, metrics=[metric])
    return metric
