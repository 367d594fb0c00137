"""Classifiers on a pretrained network: their accuracy by batch size, dropout, learning rate and number of epochs.

    .venv/bin/python -m benchmarks.studies.heads --train_dir=flower-photos

Trains as bin/train --backbone=efficientnet_lite0 does, the default with one setting changed at a time, with a seed for each repeat.
The folder holds train/ and validation/; its features are made once.
"""

import tempfile
from typing import Any

from benchmarks.harness import Measure, Row, finish_study, run_in_turn, study
from hh_fast.training.train import train

CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "batches of 16": {"batch_size": 16},
    "batches of 64": {"batch_size": 64},
    "no dropout": {"dropout": 0.0},
    "dropout 0.5": {"dropout": 0.5},
    "learning rate 0.0005": {"learning_rate": 5e-4},
    "learning rate 0.003": {"learning_rate": 3e-3},
    "RMSprop": {"optimizer": "rmsprop"},
    "10 epochs": {"epochs": 10},
    "40 epochs": {"epochs": 40},
    "40 epochs, patience 20": {"epochs": 40, "early_stopping_patience": 20},
}


def measure(train_dir: str, folder: str, changes: dict[str, Any]) -> Measure:
    def run(repeat: int) -> Row:
        settings = {"train_dir": train_dir, "run_dir": folder, "overwrite": True, "seed": repeat, **changes}
        result = train(backbone="efficientnet_lite0", **settings).read_result()
        assert result is not None
        return {"accuracy": result.val_accuracy, "best_epoch": result.best_epoch, "epochs": result.last["epoch"]}

    return run


def main() -> None:
    parser = study("heads", __doc__ or "", repeats=3)
    parser.add_argument("--train_dir", required=True, help="folder that holds train/ and validation/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arms = {name: measure(arguments.train_dir, folder, changes) for name, changes in CHANGES.items()}
        rows, failures = run_in_turn(arms, repeats=arguments.repeats)
    finish_study("heads", arguments, rows, failures)


if __name__ == "__main__":
    main()
