"""Transfer learning as Keras' guide writes it, fed by stock tf.data: a frozen network under a new head, and `fit`.

    python -m benchmarks.race.rival_backbone SETTINGS    # JSON; prints a row as JSON

A process of its own, which imports nothing of hh_fast: the network comes as a .keras file.
"""

import json
import sys
import time
from typing import Any

import keras
import tensorflow as tf

SHUFFLE_BUFFER = 1000


def train(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each epoch, and its validation accuracy."""
    keras.utils.set_random_seed(settings["seed"])
    size = tuple(settings["image_size"])

    def read(directory: str, **how: Any) -> tf.data.Dataset:
        batch_size = settings["batch_size"]
        options = {"image_size": size, "batch_size": batch_size, "seed": settings["seed"], "verbose": False, **how}
        return keras.utils.image_dataset_from_directory(directory, **options).cache()

    batches = read(settings["train_dir"]).shuffle(SHUFFLE_BUFFER).prefetch(tf.data.AUTOTUNE)
    held_out = read(settings["validation_dir"], shuffle=False).prefetch(tf.data.AUTOTUNE)
    network = keras.models.load_model(settings["network"])
    network.trainable = False
    layers = keras.layers
    augmentation = [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
        layers.RandomRotation(40 / 360, fill_mode="nearest"),
        layers.RandomZoom(0.2, fill_mode="nearest"),
    ]
    binary = settings["num_classes"] == 2
    head = layers.Dense(1, "sigmoid") if binary else layers.Dense(settings["num_classes"], "softmax")
    model = keras.Sequential(
        [
            keras.Input((*size, 3)),
            *(augmentation if settings["augment"] else []),
            network,
            layers.Dropout(settings["dropout"]),
            head,
        ]
    )
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(settings["learning_rate"]), loss, metrics=["accuracy"])
    began: list[float] = []
    ended: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: began.append(time.perf_counter()),
        on_epoch_end=lambda *_: ended.append(time.perf_counter()),
    )
    history = model.fit(
        batches, validation_data=held_out, epochs=settings["epochs"], callbacks=[clock], verbose=0, shuffle=False
    ).history
    epoch_s = [end - begin for begin, end in zip(began, ended, strict=True)]
    return {"epoch_s": epoch_s, "val_accuracy": history["val_accuracy"]}


if __name__ == "__main__":
    print(json.dumps(train(json.loads(sys.argv[1]))))
