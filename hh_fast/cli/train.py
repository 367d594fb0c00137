"""`bin/train`: trains a model on images and saves it."""

import functools
import logging
import os

from hh_fast.cli import command
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.distributed.tf_config import find_cluster

SYNOPSIS = """\
bin/train [flags]: trains the built-in CNN, a pretrained network or your own Keras model, and writes a run folder with the
model, its history and plots. Without flags it trains on the built-in sample. Repeat the command to resume an interrupted run."""


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
