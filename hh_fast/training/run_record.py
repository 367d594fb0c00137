"""What config.json and result.json of a run folder hold."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

from hh_fast.config import RUN_CONFIG, RUN_MODEL, Config, DataConfig, TrainConfig
from hh_fast.errors import DataError
from hh_fast.io.typed_json import from_json

LAST_MODEL, HELD_OUT = "last.keras", "held_out.csv"
# What may differ between the parts of one run: it decides where things are and when, not what comes out.
FREE_FIELDS = frozenset(
    {
        "run_dir",
        "model",
        "overwrite",
        "cache",
        "cache_dir",
        "tfds_manual_dir",
        "device",
        "require_gpu",
        "checkpoint_every_steps",
        "strategy",
        "worker_timeout_s",
        "profile_steps",
    }
)
# What the settings led to, and must lead to again for a run to go on, with the words for it.
BOUND_FACTS = {
    "precision": "precision",
    "jit_compile": "jit_compile",
    "class_names": "the classes",
    "num_shards": "the number of shards",
    "batch_size": "batch_size",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """config.json: the settings as flags have them, and what they led to on these images and this machine.

    `starting_model` is the SHA-256 of the model that `train.model` names, as hex; None: the recipe's CNN. `fingerprint` is
    the SHA-256 of all images' contents, labels and splits; `num_train` counts the training images of all
    workers; `batch_size` is the global one.
    """

    data: DataConfig
    train: TrainConfig
    starting_model: str | None = None
    class_names: tuple[str, ...]
    head: str
    precision: str
    jit_compile: bool
    batch_size: int
    fingerprint: str
    num_train: int
    num_validation: int
    num_bad: int
    cache: str
    devices: tuple[str, ...]
    num_replicas: int
    num_workers: int
    num_shards: int
    versions: dict[str, str | None]

    def other_settings(self, data: DataConfig, train: TrainConfig, starting_model: str | None) -> list[str]:
        """In words, the settings in which `data` and `train` ask for another run.

        More epochs go on with this one, unless its learning rate falls to 0 at the last of them.
        """
        fixed = self.train.learning_rate_schedule == "cosine"
        if not fixed:
            train = dataclasses.replace(train, epochs=min(self.train.epochs, train.epochs))
        pairs = [*_bound_settings(self.data, data), *_bound_settings(self.train, train)]
        pairs.append(("the starting model", self.starting_model, starting_model))
        why = {"epochs": ", and the cosine schedule of the learning rate is drawn for these"} if fixed else {}
        return [f"{name} was {before} and is {now}{why.get(name, '')}" for name, before, now in pairs if before != now]

    def other_facts(self, new: "RunConfig") -> list[str]:
        """In words, what the same settings lead to now, and did not before."""
        changed = ["the images changed"] if self.fingerprint != new.fingerprint else []
        for name, words in BOUND_FACTS.items():
            before, now = getattr(self, name), getattr(new, name)
            changed += [f"{words} was {before} and is {now}"] if before != now else []
        return changed


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """result.json: how a finished run ended. `val_accuracy` is measured on the saved model.keras; rows are of history.csv."""

    best_epoch: int
    val_accuracy: float | None
    best: dict[str, float]
    last: dict[str, float]
    fit_seconds_of_last_start: float
    peak_memory_bytes: int
    decoded_bytes: int


def _bound_settings(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    return [(name, before, getattr(new, name)) for name, before in vars(old).items() if name not in FREE_FIELDS]


def read_config(run_dir: Path) -> RunConfig | None:
    """The config of a run folder, or None where there is none. Raises `DataError` where it cannot be read."""
    path = run_dir / RUN_CONFIG
    try:
        return from_json(RunConfig, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as e:
        raise DataError(
            f"{path} is damaged, or of another version ({e!s:.60}): give another --run_dir, or train again with --overwrite"
        ) from e


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


def run_of(path: Path) -> Path | None:
    """The run folder that `path` is, or is a model of."""
    run_dir = path if path.is_dir() else path.parent
    is_model = path.is_dir() or path.name in (RUN_MODEL, LAST_MODEL)
    return run_dir if is_model and all((run_dir / name).is_file() for name in (RUN_CONFIG, HELD_OUT)) else None
