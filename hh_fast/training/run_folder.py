"""A run folder: owned by one process, refused where it would lose something, and what a run writes into it."""

import contextlib
import csv
import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, DataConfig, TrainConfig, require
from hh_fast.data.load import Split
from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import exclusive, remove_leftovers, write_text
from hh_fast.io.text import printable
from hh_fast.training import checkpoint, run_report
from hh_fast.training.run_record import RunConfig, read_config

logger = logging.getLogger(__name__)

CONFIG, RESULT, HISTORY, LOCK = RUN_CONFIG, RUN_RESULT, "history.csv", ".lock"
BEST_MODEL, LAST_MODEL = RUN_MODEL, "last.keras"
HELD_OUT = "held_out.csv"
CHECKPOINTS, TENSORBOARD, BAD_IMAGES = "checkpoints", "tensorboard", "bad_images.txt"
PROFILE = "profile"
FILES = (
    RESULT,
    HISTORY,
    HELD_OUT,
    BEST_MODEL,
    LAST_MODEL,
    *run_report.FILES,
    CHECKPOINTS,
    TENSORBOARD,
    PROFILE,
    BAD_IMAGES,
    CONFIG,
)


def write_held_out(run_dir: Path, validation: Split | None, class_names: Sequence[str]) -> None:
    """Writes which images are validated on, one a line, by the SHA-256 of their content; the other columns are for people."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("sha256", "class", "file"))
    if validation is not None:
        names = [printable(class_names[label]) for label in validation.labels]
        writer.writerows(zip(validation.sha256, names, map(printable, validation.paths), strict=True))
    write_text(run_dir / HELD_OUT, text.getvalue())


def read_held_out(run_dir: Path) -> list[str]:
    """The hashes of the images that the run validated on.

    Raises:
        DataError: the file cannot be read.
    """
    path = run_dir / HELD_OUT
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = [row["sha256"] for row in csv.DictReader(file, strict=True)]
    except (csv.Error, KeyError, ValueError) as e:
        raise DataError(f"{path} is damaged ({e}): train again, or copy the run folder again") from e
    return found


def clear(run_dir: Path) -> None:
    """Removes what a run leaves, and nothing else."""
    for name in FILES:
        path = run_dir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes those of a folder and its parents that a refused command left empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextlib.contextmanager
def own(run_dir: Path) -> Iterator[None]:
    """Holds the run folder for this process; the kernel lets go of it when the process ends, however it ends."""
    require(run_dir.is_dir() or not run_dir.exists(), "run_dir", "a folder", f"{run_dir}, a file")
    new = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, new)
        try:
            stack.enter_context(exclusive(run_dir / LOCK, None))
        except BlockingIOError as e:
            raise DataError(f"another process trains in {run_dir}: wait for it, or give another --run_dir") from e
        for name in FILES:
            remove_leftovers(run_dir / name, alone=True)
        checkpoint.remove_leftovers(run_dir / CHECKPOINTS)
        yield


def find_run(
    run_dir: Path, data_config: DataConfig, config: TrainConfig, starting_model: str | None
) -> RunConfig | None:
    """The config of the run that this command goes on with, or None for a new one.

    `starting_model`: as of `RunConfig`.

    Raises:
        UsageError: the folder holds other things, or a run with other settings that is not to be overwritten.
        DataError: the run's config cannot be read.
    """
    foreign = [
        path.name for path in run_dir.iterdir() if path.name not in (*FILES, LOCK) and not path.name.startswith(".")
    ]
    known = any((run_dir / name).exists() for name in FILES)
    if foreign and not known:
        raise UsageError(f"`run_dir` must be new, empty or a run folder. Received: {run_dir}, which holds {foreign[0]}")
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
