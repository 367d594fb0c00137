"""What hh_fast is measured against, as its users write it: `ImageDataGenerator`, and stock tf.data, under Keras' `fit`.

The only home of `ImageDataGenerator`, which is deprecated and reached through `tf.keras.preprocessing.image`. Imports nothing of
hh_fast.
"""

import concurrent.futures
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# The original notebook's augmentation, and its ranges as Keras' layers take them: parts of a turn, and of the image.
AUGMENTATION: dict[str, Any] = {
    "rotation_range": 40.0,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}
# Batches that stock tf.data shuffles among: all of a small data set, as TensorFlow's tutorials have it.
SHUFFLE_BUFFER = 1000
AUTOTUNE = tf.data.AUTOTUNE


def generator(
    directory: str | Path,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    shuffle: bool = True,
    seed: int | None = None,
    categorical: bool = False,
    augment: bool = False,
) -> Any:
    """Keras' iterator over a folder of class folders: float32 (batch, height, width, 3), values 0 to 1, float32 labels.

    Files of other sizes are resized by Pillow's nearest neighbor, the default. The remainder is kept.
    """
    options = AUGMENTATION if augment else {}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many images it found
        return tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255, **options).flow_from_directory(
            str(directory),
            target_size=image_size,
            batch_size=batch_size,
            class_mode="sparse" if categorical else "binary",
            shuffle=shuffle,
            seed=seed,
        )


def generator_batches(iterator: Any, threads: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of the generator's batches, made in the caller's thread, as `fit` does by default, or by `threads`."""
    iterator.on_epoch_end()  # draws the order, which several threads would each begin with
    if threads == 1:
        yield from map(iterator.__getitem__, range(len(iterator)))
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            yield from pool.map(iterator.__getitem__, range(len(iterator)))


def stock_dataset(
    directory: str | Path,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    shuffle: bool = True,
    seed: int | None = None,
    cache: bool = False,
    prefetch: bool = False,
) -> tf.data.Dataset:
    """`keras.utils.image_dataset_from_directory`: float32 (batch, height, width, 3), values 0 to 255, int32 labels.

    With `cache` decoded batches are kept in memory, with `prefetch` some are made ahead; both as TensorFlow's guide to input
    performance writes them.
    """
    dataset = keras.utils.image_dataset_from_directory(
        str(directory), image_size=image_size, batch_size=batch_size, shuffle=shuffle, seed=seed, verbose=False
    )
    dataset = dataset.cache() if cache else dataset
    return dataset.prefetch(AUTOTUNE) if prefetch else dataset


def augmentation_layers(seed: int) -> list[keras.layers.Layer]:
    """Keras' layers for the ranges of `AUGMENTATION`, as far as there are such: shear has none."""
    return [
        keras.layers.RandomFlip("horizontal", seed=seed),
        keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest", seed=seed + 1),
        keras.layers.RandomRotation(40 / 360, fill_mode="nearest", seed=seed + 2),
        keras.layers.RandomZoom(0.2, fill_mode="nearest", seed=seed + 3),
    ]


def compile_classifier(model: keras.Model, optimizer: str, learning_rate: float, *, dtype: str = "float32") -> None:
    """Keras' own compile, with the loss of the model's scores, and accuracy."""
    stepping = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": learning_rate}})
    if dtype == "mixed_float16":
        stepping = keras.optimizers.LossScaleOptimizer(stepping)
    binary = model.output_shape[-1] == 1
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(loss=loss, optimizer=stepping, metrics=["accuracy"])
