"""A run folder: what a run writes into it, and whether a command may go on with the run that it holds."""

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, DataConfig, TrainConfig
from hh_fast.data.load import Split
from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import write_text
from hh_fast.io.output_folder import OutputFolder
from hh_fast.io.text import printable
from hh_fast.training import checkpoint, run_report, saving
from hh_fast.training.run_record import HELD_OUT, LAST_MODEL, RunConfig, read_config

logger = logging.getLogger(__name__)

CONFIG, RESULT, HISTORY = RUN_CONFIG, RUN_RESULT, "history.csv"
BEST_MODEL = RUN_MODEL
CHECKPOINTS, TENSORBOARD, BAD_IMAGES = "checkpoints", "tensorboard", "bad_images.txt"
PROFILE = "profile"
# What a run writes before and during its training, and what at its end: by name, or by a pattern that is ours alone.
STARTED = (
    CONFIG,
    HELD_OUT,
    BAD_IMAGES,
    HISTORY,
    BEST_MODEL,
    f"{CHECKPOINTS}/{checkpoint.PATTERN}",
    f"{TENSORBOARD}/{saving.EVENTS}",
    f"{PROFILE}/{saving.TRACES}",
)
FINISHED = (LAST_MODEL, *run_report.FILES, RESULT)


def output_folder(run_dir: Path) -> OutputFolder:
    names = tuple(name.partition("/")[0] for name in (*STARTED, *FINISHED))
    return OutputFolder(run_dir, "run_dir", "run", names)


def write_held_out(run_dir: Path, validation: Split | None, class_names: Sequence[str]) -> None:
    """Writes which images are validated on, one a line, by the SHA-256 of their content; the other columns are for people."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("sha256", "class", "file"))
    if validation is not None:
        names = [printable(class_names[label]) for label in validation.labels]
        writer.writerows(zip(validation.sha256, names, map(printable, validation.paths), strict=True))
    write_text(run_dir / HELD_OUT, text.getvalue())


def find_run(
    run_dir: Path, data_config: DataConfig, config: TrainConfig, starting_model: str | None
) -> RunConfig | None:
    """The config of the run that this command goes on with, or None for a new one.

    `starting_model`: as of `RunConfig`.

    Raises:
        UsageError: it is a run with other settings, and not to be overwritten.
        DataError: the run's config cannot be read.
    """
    old = None if config.overwrite else read_config(run_dir)
    differences = old.other_settings(data_config, config, starting_model) if old else []
    if differences:
        raise UsageError(
            f"`run_dir` {run_dir} holds a run with other settings: {'; '.join(differences)}. Give another --run_dir, the same"
            " settings, or --overwrite"
        )
    return old


def write_history(run_dir: Path, history: list[dict[str, float]]) -> None:
    if not history:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(run_dir / HISTORY, text.getvalue())


def refuse_changes(run_dir: Path, old: RunConfig | None, new: RunConfig) -> None:
    """Raises `DataError` where the run that goes on would not be the one that began."""
    if old is None:
        return
    changed = old.other_facts(new)
    if changed:
        raise DataError(
            f"{run_dir} cannot go on as it began: {'; '.join(changed)}. Put that back, give another --run_dir, or --overwrite"
        )
    if old.num_replicas != new.num_replicas:
        logger.info(
            "Going on with %d replicas, before %s: the same images in each step, summed in another order",
            *(new.num_replicas, old.num_replicas),
        )
