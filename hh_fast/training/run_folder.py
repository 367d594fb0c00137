"""A run folder: owned by one process, refused where it would lose something, and what a run writes into it."""

import contextlib
import csv
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, Config, DataConfig, TrainConfig
from hh_fast.data.load import Split
from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import atomic_path, exclusive, remove_leftovers, write_text
from hh_fast.io.text import printable
from hh_fast.model import in_float32
from hh_fast.training import checkpoint, run_report

logger = logging.getLogger(__name__)

CONFIG, RESULT, HISTORY, LOCK = RUN_CONFIG, RUN_RESULT, "history.csv", ".lock"
BEST_MODEL, LAST_MODEL = RUN_MODEL, "last.keras"
HELD_OUT = "held_out.csv"
CHECKPOINTS, TENSORBOARD, BAD_IMAGES = "checkpoints", "tensorboard", "bad_images.txt"
FILES = (
    RESULT,
    HISTORY,
    HELD_OUT,
    BEST_MODEL,
    LAST_MODEL,
    *run_report.FILES,
    CHECKPOINTS,
    TENSORBOARD,
    BAD_IMAGES,
    CONFIG,
)
# What may differ between the parts of one run: it decides where things are and when, not what comes out.
FREE_FIELDS = frozenset(
    {
        "run_dir",
        "overwrite",
        "cache",
        "cache_dir",
        "tfds_manual_dir",
        "device",
        "require_gpu",
        "checkpoint_every_steps",
        "strategy",
        "worker_timeout_s",
        "data_service",
    }
)


def _bound_settings(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.to_json().items() if name not in FREE_FIELDS}


def _differences(old: dict[str, Any], data_config: DataConfig, config: TrainConfig) -> list[str]:
    found = []
    for part, now in (("data", _bound_settings(data_config)), ("train", _bound_settings(config))):
        before = old.get(part, {})
        found += [
            f"{name} was {before.get(name)} and is {value}" for name, value in now.items() if before.get(name) != value
        ]
    return found


def _results_differ(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    named = {
        "fingerprint": "the images",
        "precision": "precision",
        "jit_compile": "jit_compile",
        "class_names": "the classes",
        "num_shards": "the number of shards",
        "batch_size": "batch_size",
    }
    return [
        f"{label} changed" if key == "fingerprint" else f"{label} was {old.get(key)} and is {new[key]}"
        for key, label in named.items()
        if old.get(key) != new[key]
    ]


def read_config(run_dir: Path) -> dict[str, Any] | None:
    """The config.json of a run folder, or None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    try:
        config = json.loads((run_dir / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as e:
        raise DataError(f"{run_dir / CONFIG} is damaged ({e}): use another --run_dir, or --overwrite") from e
    if not isinstance(config, dict):
        raise DataError(f"{run_dir / CONFIG} is no config of a run: use another --run_dir")
    return config


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
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"`run_dir` must be a folder. Received: {run_dir}, a file")
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


def is_finished(run_dir: Path) -> bool:
    if not (run_dir / RESULT).exists():
        return False
    shutil.rmtree(run_dir / CHECKPOINTS, ignore_errors=True)  # killed at the very end
    return True


def find_run(run_dir: Path, data_config: DataConfig, config: TrainConfig) -> dict[str, Any] | None:
    """The config of the run that this command goes on with, or None for a new one.

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
    differences = _differences(old, data_config, config) if old else []
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


def save_portable(model: keras.Sequential, path: Path) -> None:
    """Writes the model with the weights as they are, in float32 layers, whatever the step computes in."""
    portable = in_float32(model)
    with atomic_path(path) as temporary:
        named = temporary.with_name(temporary.name + ".keras")  # Keras insists on the suffix
        try:
            portable.save(named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


class TensorBoard:
    """Event files, rebuilt from the history when a run is resumed, so that no epoch stands there twice."""

    _SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")

    def __init__(self, folder: Path, history: list[dict[str, float]]) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        self._writer = tf.summary.create_file_writer(str(folder))
        for row in history:
            self.add(row)

    def add(self, row: dict[str, float]) -> None:
        with self._writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    # tf.summary.scalar would need the package tensorboard, which only a viewer does.
                    tf.summary.write(name, tf.constant(value, tf.float32), int(row["epoch"]), self._SCALAR)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def refuse_changes(run_dir: Path, old: dict[str, Any] | None, identity: dict[str, Any]) -> None:
    changed = _results_differ(old, identity) if old else []
    if changed:
        raise DataError(
            f"{run_dir} cannot go on as it began: {'; '.join(changed)}. Put that back, give another --run_dir, or --overwrite"
        )
    if old and old.get("num_replicas") != identity["num_replicas"]:
        logger.info(
            "Going on with %d replicas, before %s: the same images in each step, summed in another order",
            identity["num_replicas"],
            old.get("num_replicas"),
        )
