"""Where a run stands, kept so that it goes on as if it had never stopped.

A checkpoint is one .npz: every variable that a step reads or changes, under its path, and the position and history as JSON. The images'
order needs no state: (seed, epoch) fixes it. Each member of the file carries a CRC-32, which reading it checks, so a
damaged file is noticed and the one before it is used.
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
    """Where a run stands: the next step is `step` of `epoch`, both from 0; `history` holds one row a finished epoch.

    `best_epoch`, from 1, is the one whose model is kept (0: none yet), and early stopping counts epochs since then, or since
    the later `patience_from`, where a run that it ended was asked for more.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    patience_from: int = 0

    @property
    def waited(self) -> int:
        """Epochs without a better one."""
        return self.epoch - max(self.best_epoch, self.patience_from)

    def has_waited(self, patience: int | None) -> bool:
        """Whether early stopping ends the run here; None: it never does."""
        return patience is not None and self.waited >= patience


def best_epoch(history: Sequence[dict[str, float]], num_images: float) -> int:
    """The epoch, from 1, whose model is kept: of the accuracies within the best one's 95% interval the lowest loss; 0: none.

    Accuracy is that of validation where there is any, balanced where the run weighs its classes, and of `num_images`. An epoch
    that was passed over stays so, for its weights are gone.
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
    """Each variable's path without the numbers that Keras gives what was not named, which count what the process made before.

    What is then named alike is told apart by a number of its own, in the variables' order.
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
    """Writes the checkpoint of this position, whole or not at all, and keeps the one before it.

    With `keeps_best` that of the end of the best epoch stays too, for `restore_best`.
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
    """Removes all checkpoints but the newest, and that of `best_epoch`."""
    for old in sorted(folder.glob(CHECKPOINT_FILES))[:-number]:
        if old != _path(folder, best_epoch):
            old.unlink()


def _read(path: Path) -> dict[str, np.ndarray]:
    # Each member is read whole before it is understood: only then has its CRC-32 been compared.
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
            f"the checkpoint {path} is of another model: {name.removeprefix('variables/')} is"
            f" {stored.get(name, 'missing')} in it and {expected.get(name, 'missing')} in the model. Use another --run_dir, or"
            " --overwrite"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def restore_best(folder: Path, variables: Sequence[keras.Variable], progress: Progress) -> None:
    """Sets `variables` to what they were at the end of the best epoch.

    Raises:
        DataError: that checkpoint is damaged or gone.
    """
    path = _path(folder, progress.best_epoch)
    try:
        arrays = _read(path)
    except Exception as e:  # as in `restore`
        raise DataError(f"the checkpoint of the best epoch, {path}, is damaged: start anew with --overwrite") from e
    _assign(path, arrays, dict(zip(_names(variables), variables, strict=True)))


def restore(folder: Path, variables: Sequence[keras.Variable]) -> Progress | None:
    """Sets `variables` to the newest whole checkpoint and returns its progress; None where there is none.

    What killed writers left is removed: this process holds the run folder.

    Raises:
        DataError: checkpoints exist, and all are damaged or of another model.
    """
    for left in folder.glob(f".{CHECKPOINT_FILES}.*.tmp"):
        left.unlink()
    found = sorted(folder.glob(CHECKPOINT_FILES))
    for path in reversed(found):
        try:
            arrays = _read(path)
            progress = from_text(arrays["progress"].tobytes().decode())
        except Exception as e:  # damage makes zipfile, NumPy and json raise nearly anything
            # It may quote the damage, at length.
            reason = " ".join(str(e).split()).encode("ascii", "backslashreplace").decode()[:100]
            logger.warning("The checkpoint %s is damaged (%s): using the one before it", path, reason)
            continue
        _assign(path, arrays, dict(zip(_names(variables), variables, strict=True)))
        return progress
    if found:
        raise DataError(f"no checkpoint in {folder} can be read: start anew with --overwrite")
    return None
