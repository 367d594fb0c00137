"""Transfer learning as Keras' guide writes it, fed by stock tf.data: a frozen network under a new head, and `fit`.

    python -m benchmarks.race.rival_backbone SETTINGS    # JSON; prints a row as JSON

A process of its own, which imports nothing of hh_fast: the network comes as a .keras file.
"""

import json
import sys
import time
from typing import Any

import keras

from benchmarks.race import rivals


def train(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each epoch, and its validation accuracy."""
    keras.utils.set_random_seed(settings["seed"])
    size = tuple(settings["image_size"])
    reader = {"image_size": size, "batch_size": settings["batch_size"], "seed": settings["seed"]}
    batches = rivals.stock_dataset(settings["train_dir"], **reader, cache=True)
    held_out = rivals.stock_dataset(settings["validation_dir"], **reader, shuffle=False, cache=True, prefetch=True)
    network = keras.models.load_model(settings["network"])
    network.trainable = False
    binary = settings["num_classes"] == 2
    model = keras.Sequential(
        [
            keras.Input((*size, 3)),
            *(rivals.augmentation_layers(settings["seed"]) if settings["augment"] else []),
            network,
            keras.layers.Dropout(settings["dropout"]),
            keras.layers.Dense(1, "sigmoid") if binary else keras.layers.Dense(settings["num_classes"], "softmax"),
        ]
    )
    rivals.compile_classifier(model, "adam", settings["learning_rate"])
    began: list[float] = []
    ended: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: began.append(time.perf_counter()),
        on_epoch_end=lambda *_: ended.append(time.perf_counter()),
    )
    fed = batches.shuffle(rivals.SHUFFLE_BUFFER).prefetch(rivals.AUTOTUNE)
    options = {"epochs": settings["epochs"], "callbacks": [clock], "verbose": 0, "shuffle": False}
    accuracies = model.fit(fed, validation_data=held_out, **options).history["val_accuracy"]
    return {"epoch_s": [end - begin for begin, end in zip(began, ended, strict=True)], "val_accuracy": accuracies}


if __name__ == "__main__":
    print(json.dumps(train(json.loads(sys.argv[1]))))
