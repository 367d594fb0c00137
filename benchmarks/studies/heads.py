"""Classifiers on a pretrained network: their accuracy by batch size, dropout, optimizer, learning rate and number of epochs.

    .venv/bin/python -m benchmarks.studies.heads flower-photos horse-or-human

Takes about 2 minutes a folder on 2 cores. Trains as bin/train --backbone=efficientnet_lite0 does, the default with one setting changed at a
time, with a seed for each repeat. The folders hold train/ and validation/; their features are made once.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Measure, Row, finish_study, run_in_turn, study
from benchmarks.race.ours import train_head, with_features
from hh_fast.backbone.weights import IMAGE_SIZE
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import Data

NETWORK = "efficientnet_lite0"

CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "batches of 16": {"batch_size": 16},
    "batches of 64": {"batch_size": 64},
    "no dropout": {"dropout": 0.0},
    "dropout 0.5": {"dropout": 0.5},
    "learning rate 0.0003": {"learning_rate": 3e-4},
    "learning rate 0.003": {"learning_rate": 3e-3},
    "RMSprop": {"optimizer": "rmsprop"},
    "10 epochs": {"epochs": 10},
    "40 epochs": {"epochs": 40},
    "no early stopping": {"early_stopping_patience": 20},
}


def measure(data: Data, changes: dict[str, Any]) -> Measure:
    def run(seed: int) -> Row:
        start = time.perf_counter()
        progress = train_head(data, TrainConfig(backbone=NETWORK, **changes), seed)
        seconds = time.perf_counter() - start
        best = progress.history[progress.best_epoch - 1]
        return {
            "accuracy": best["val_accuracy"],
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            "fit_s": seconds,
        }

    return run


def main() -> None:
    parser = study("heads", __doc__ or "", repeats=3)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that hold train/ and validation/")
    parser.add_argument("--only", default=",".join(CHANGES), help="names of settings, with commas")
    arguments = parser.parse_args()
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for folder in arguments.folders:
        data = with_features(DataConfig(train_dir=str(folder), image_size=IMAGE_SIZE, cache="memory"), NETWORK)
        arms = {name: measure(data, CHANGES[name]) for name in arguments.only.split(",")}
        found, failed = run_in_turn(arms, repeats=arguments.repeats, set=folder.name)
        rows, failures = rows + found, failures | failed
    finish_study("heads", arguments, rows, failures)


if __name__ == "__main__":
    main()
