"""`bin/train`: from images to a trained, saved model."""

from collections.abc import Sequence

from hh_fast.cli import command
from hh_fast.config import DataConfig, TrainConfig

SYNOPSIS = """\
bin/train [flags]: trains the CNN on a data set and writes a run folder with the model, its history and pictures.
Without flags it trains on the built-in sample. The same command goes on where an interrupted run stopped."""


def body(data: DataConfig, train: TrainConfig, free: Sequence[str]) -> None:
    command.no_arguments(free)
    from hh_fast.quiet import import_tensorflow  # not for --help

    import_tensorflow()
    from hh_fast.training.runs import train_run

    train_run(data, train)


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(body, name="train", synopsis=SYNOPSIS, configs=(DataConfig, TrainConfig), arguments=arguments)
