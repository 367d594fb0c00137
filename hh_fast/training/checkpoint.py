"""Checkpoints, from which a run resumes as if it had never stopped.

A checkpoint is one .npz file: every variable of a step under its path, and the progress as JSON. The order of the images needs no
state, since (seed, epoch) determines it. Each member of the file has a CRC-32 that is checked on reading; if a file is
damaged, the one before it is used.
"""

import collections
import dataclasses
import io
import json
import logging
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import wilson_interval
from hh_fast.io.files import atomic_path
from hh_fast.training.run import CHECKPOINT_FILES

logger = logging.getLogger(__name__)

KEPT = 2
_AUTOMATIC_NUMBER = re.compile(r"_\d+(?=[_/]|$)")


@dataclasses.dataclass
class Progress:
    """How far a run is: the next step is `step` of `epoch`, both from 0; `history` has one row per finished epoch.

    `best_epoch`, from 1, is the epoch whose model is kept (0: none yet). Early stopping counts the epochs since then, or since
    `patience_from`, if a run that was stopped early is continued.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    patience_from: int = 0

    @property
    def waited(self) -> int:
        """Epochs since the best one, as early stopping counts them."""
        return self.epoch - max(self.best_epoch, self.patience_from)

    def has_waited(self, patience: int | None) -> bool:
        """Whether early stopping ends the run here; with None it never does."""
        return patience is not None and self.waited >= patience


def best_epoch(history: Sequence[dict[str, float]], num_images: float) -> int:
    """The epoch, from 1, whose model is kept: the lowest loss among accuracies within the best one's 95% interval; 0: none.

    The accuracy is that of the `num_images` validation images, or training images if there are none; balanced if the run weighs
    its classes. An epoch that was not the best at its end is never chosen later, since its weights are gone.
    """
    if not history:
        return 0
    prefix = "val_" if "val_loss" in history[0] else ""
    balanced = f"{prefix}balanced_accuracy"
    accuracies = [row.get(balanced, row[f"{prefix}accuracy"]) for row in history]
    losses = [row[f"{prefix}loss"] for row in history]
    best = 0
    for epoch in range(1, len(history)):
        tied = wilson_interval(max(accuracies[: epoch + 1]), num_images)[0]
        if accuracies[best] < tied or (accuracies[epoch] >= tied and losses[epoch] < losses[best]):
            best = epoch
    return best + 1


def to_text(progress: Progress) -> str:
    return json.dumps(vars(progress))


def from_text(text: str) -> Progress:
    """The progress that `to_text` wrote."""
    return Progress(**json.loads(text))


def _names(variables: Sequence[keras.Variable]) -> list[str]:
    """Each variable's path without the numbers in Keras' automatic names, which depend on what the process created before.

    Equal names are then numbered in the order of the variables.
    """
    counts: collections.Counter[str] = collections.Counter()
    names = []
    for variable in variables:
        stem = _AUTOMATIC_NUMBER.sub("", variable.path)
        counts[stem] += 1
        names.append(f"variables/{stem}" + (f"#{counts[stem]}" if counts[stem] > 1 else ""))
    return names


def _path(folder: Path, epoch: int, step: int = 0) -> Path:
    return folder / f"epoch{epoch:06d}-step{step:08d}.npz"


def save(folder: Path, variables: Sequence[keras.Variable], progress: Progress, *, keeps_best: bool = False) -> Path:
    """Writes the checkpoint of `progress` atomically, and keeps the one before it.

    With `keeps_best` the one at the end of the best epoch is also kept, for `restore_best`.
    """
    path = _path(folder, progress.epoch, progress.step)
    arrays: dict[str, Any] = {
        name: variable.numpy() for name, variable in zip(_names(variables), variables, strict=True)
    }
    arrays["progress"] = np.frombuffer(to_text(progress).encode(), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        np.savez(out, **arrays)
    keep_last(folder, KEPT, best_epoch=progress.best_epoch if keeps_best else 0)
    return path


def keep_last(folder: Path, number: int = 1, *, best_epoch: int = 0) -> None:
    """Removes all checkpoints but the newest `number` and that of `best_epoch`."""
    for old in sorted(folder.glob(CHECKPOINT_FILES))[:-number]:
        if old != _path(folder, best_epoch):
            old.unlink()


def _read(path: Path) -> dict[str, np.ndarray]:
    # Each member is read completely before it is parsed, since its CRC-32 is checked only at its end.
    with zipfile.ZipFile(path) as archive:
        members = {name: io.BytesIO(archive.read(name)) for name in archive.namelist()}
    return {name.removesuffix(".npy"): np.load(member, allow_pickle=False) for name, member in members.items()}


def _assign(path: Path, arrays: dict[str, np.ndarray], variables: dict[str, keras.Variable]) -> None:
    stored = {name: value.shape for name, value in arrays.items() if name.startswith("variables/")}
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    differing = [name for name in stored | expected if stored.get(name) != expected.get(name)]
    if differing:
        name = differing[0]
        raise DataError(
            f"the checkpoint {path} belongs to another model: {name.removeprefix('variables/')} is"
            f" {stored.get(name, 'missing')} in it and {expected.get(name, 'missing')} in the model. Use another --run_dir, or"
            " --overwrite"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def restore_best(folder: Path, variables: Sequence[keras.Variable], progress: Progress) -> None:
    """Sets `variables` to what they were at the end of the best epoch.

    Raises:
        DataError: that checkpoint is damaged or missing.
    """
    path = _path(folder, progress.best_epoch)
    try:
        arrays = _read(path)
    except Exception as e:  # as in `restore`
        raise DataError(f"the checkpoint of the best epoch, {path}, is damaged: start over with --overwrite") from e
    _assign(path, arrays, dict(zip(_names(variables), variables, strict=True)))


def restore(folder: Path, variables: Sequence[keras.Variable]) -> Progress | None:
    """Sets `variables` to the newest undamaged checkpoint and returns its progress; None if there is none.

    Also removes temporary files of killed writers, as this process holds the run folder's lock.

    Raises:
        DataError: all checkpoints are damaged, or they belong to another model.
    """
    for left in folder.glob(f".{CHECKPOINT_FILES}.*.tmp"):
        left.unlink()
    found = sorted(folder.glob(CHECKPOINT_FILES))
    for path in reversed(found):
        try:
            arrays = _read(path)
            progress = from_text(arrays["progress"].tobytes().decode())
        except Exception as e:  # damage makes zipfile, NumPy and json raise nearly anything
            # The message may quote the damaged bytes at length.
            reason = " ".join(str(e).split()).encode("ascii", "backslashreplace").decode()[:100]
            logger.warning("The checkpoint %s is damaged (%s): using the one before it", path, reason)
            continue
        _assign(path, arrays, dict(zip(_names(variables), variables, strict=True)))
        return progress
    if found:
        raise DataError(f"no checkpoint in {folder} can be read: start over with --overwrite")
    return None
