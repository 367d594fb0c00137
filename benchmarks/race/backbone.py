"""The race of `bin/bench --backbone`: whole processes, from the command to a trained classifier on the same frozen network.

Stock tf.data and `fit` run the network each epoch; hh_fast computes its features once. Beside them: the same command again
with another learning rate, which finds the features on disk; an augmented epoch; and the feature pass by itself.
"""

import csv
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Measure, Row, command_words, isolated
from benchmarks.process import in_process, time_command
from benchmarks.race import ours, rivals
from benchmarks.race.names import AGAIN, FEATURES, KERAS_FEATURES, OWN_WHOLE, RESIDENT_FEATURES, STOCK_WHOLE
from benchmarks.race.workload import Workload

IMPORT = "from hh_fast.io.quiet import import_tensorflow; import_tensorflow(); import keras"
AUGMENTED_EPOCHS = 3


def faster_network(workload: Workload, folder: Path) -> str:
    """The file of the frozen network in the precision that makes it the faster one here; called in a measuring process."""
    import keras
    import numpy as np

    seconds: dict[str, float] = {}
    for precision in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(precision)
        network = ours.backbone(workload)
        network.save(folder / f"{precision}.keras")
        images = np.zeros((workload.train.batch_size, *network.input_shape[1:]), np.float32)
        network.predict(images, verbose=0)
        start = time.perf_counter()
        for _ in range(3):
            network.predict(images, verbose=0)
        seconds[precision] = time.perf_counter() - start
    return str(folder / f"{min(seconds, key=lambda precision: seconds[precision])}.keras")


def train_stock(workload: Workload, network: str, *, augment: bool = False) -> Row:
    """Stock tf.data and `fit`."""
    train, data = workload.train, workload.data
    settings = {
        "network": network,
        "train_dir": data.train_dir,
        "validation_dir": data.validation_dir,
        "image_size": data.size,
        "num_classes": workload.num_classes,
        "batch_size": train.batch_size,
        "dropout": train.dropout,
        "learning_rate": train.learning_rate,
        "epochs": AUGMENTED_EPOCHS if augment else train.epochs,
        "seed": data.seed,
        "augment": augment,
    }
    wall_s, printed = time_command([sys.executable, "-m", "benchmarks.race.rival_backbone", json.dumps(settings)])
    return {**json.loads(printed.splitlines()[-1]), "wall_s": wall_s, "network": Path(network).stem}


def train_ours(workload: Workload, cache_dir: Path | None = None, **changes: Any) -> Row:
    """bin/train as users run it; with a cache folder of its own, unless one is given."""
    train, data = workload.train, workload.data
    with tempfile.TemporaryDirectory(dir=workload.train_dir.parent) as folder:
        flags = {
            "train_dir": data.train_dir,
            "validation_dir": data.validation_dir,
            "backbone": train.backbone,
            "batch_size": train.batch_size,
            "dropout": train.dropout,
            "learning_rate": train.learning_rate,
            "epochs": train.epochs,
            "early_stopping_patience": train.epochs,  # as many epochs as the others take
            "seed": data.seed,
            "cache": "disk",
            "cache_dir": cache_dir or f"{folder}/cache",
            "run_dir": f"{folder}/run",
            "verbosity": -1,
            **changes,
        }
        wall_s, _ = time_command(command_words("train", *(f"--{name}={value}" for name, value in flags.items())))
        with (Path(folder) / "run" / "history.csv").open() as file:
            history = list(csv.DictReader(file))
    accuracies = [float(epoch["val_accuracy"]) for epoch in history]
    return {"epoch_s": [float(epoch["seconds"]) for epoch in history], "val_accuracy": accuracies, "wall_s": wall_s}


def train_again(workload: Workload, cache_dir: Path) -> Row:
    """The same command with another learning rate; `beyond_import_s` leaves importing TensorFlow out."""
    import_s, _ = time_command([sys.executable, "-c", IMPORT])
    row = train_ours(workload, cache_dir, learning_rate=workload.train.learning_rate / 2)
    return {**row, "beyond_import_s": row["wall_s"] - import_s}


def backbone_arms(workload: Workload, folder: Path) -> dict[str, Measure]:
    """The arms by name; each repeat has a seed of its own, the same for all."""
    network = in_process(faster_network, workload, folder)
    kept = folder / "kept"
    train_ours(workload, kept, epochs=1)  # leaves the features on disk

    def seeded(run: Callable[..., Row], *arguments: Any, **changes: Any) -> Measure:
        return lambda repeat: run(workload.seeded(repeat), *arguments, **changes)

    ranges = {"epochs": AUGMENTED_EPOCHS, **rivals.AUGMENTATION}
    return {
        STOCK_WHOLE: seeded(train_stock, network),
        OWN_WHOLE: seeded(train_ours),
        AGAIN: seeded(train_again, kept),
        f"{STOCK_WHOLE}, augmented": seeded(train_stock, network, augment=True),
        f"{OWN_WHOLE}, augmented": seeded(train_ours, **ranges),
        FEATURES: isolated(ours.feature_pass, workload),
        RESIDENT_FEATURES: isolated(ours.resident_features, workload),
        KERAS_FEATURES: isolated(functools.partial(ours.resident_features, by_keras=True), workload),
    }
