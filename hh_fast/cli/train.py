"""`bin/train`: from images to a trained, saved model."""

import functools
import logging
import os

from hh_fast.cli import command
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.distributed.tf_config import find_cluster

SYNOPSIS = """\
bin/train [flags]: trains the CNN, or a Keras model of yours, on a data set and writes a run folder with the model, its history and pictures.
Without flags it trains on the built-in sample. The same command goes on where an interrupted run stopped."""


def _name_worker(worker: int) -> None:
    for handler in logging.getLogger("hh_fast").handlers:
        handler.setFormatter(logging.Formatter(f"[worker {worker}] %(message)s"))


def body(data: DataConfig, train: TrainConfig) -> None:
    cluster = find_cluster(train.strategy, os.environ)
    if cluster is not None:
        _name_worker(cluster.worker)
    from hh_fast.io.quiet import import_tensorflow  # not for --help

    import_tensorflow()
    from hh_fast.io.signals import pending_signals
    from hh_fast.training.train import train_run

    train_run(data, train, pending_signals)


main = functools.partial(command.run, body, name="train", synopsis=SYNOPSIS, configs=(DataConfig, TrainConfig))
