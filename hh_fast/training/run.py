"""A run: its folder, the files in it, and whether a command may resume it. No TensorFlow."""

import csv
import dataclasses
import functools
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from hh_fast.config import RUN_CONFIG, RUN_MODEL, RUN_RESULT, DataConfig, TrainConfig
from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import write_text
from hh_fast.io.output_folder import OutputFolder
from hh_fast.io.text import printable

if TYPE_CHECKING:
    import keras

    from hh_fast.data.load import Examples

T = TypeVar("T")
CONFIG, RESULT, HISTORY, HELD_OUT = RUN_CONFIG, RUN_RESULT, "history.csv", "held_out.csv"
BEST_MODEL, LAST_MODEL = RUN_MODEL, "last.keras"
CURVES, CONFUSION, WORST, README = "curves.png", "confusion.png", "worst.png", "README.md"
CHECKPOINTS, TENSORBOARD, PROFILE, BAD_IMAGES = "checkpoints", "tensorboard", "profile", "bad_images.txt"
CHECKPOINT_FILES = f"epoch{'[0-9]' * 6}-step{'[0-9]' * 8}.npz"
EVENTS_SUFFIX = ".hh_fast"
EVENT_FILES = f"events.out.tfevents.*{EVENTS_SUFFIX}"
# Files that a run writes before and during training, and at its end: by name, or by a pattern that only we use.
STARTED = (
    CONFIG,
    HELD_OUT,
    BAD_IMAGES,
    HISTORY,
    BEST_MODEL,
    f"{CHECKPOINTS}/{CHECKPOINT_FILES}",
    f"{TENSORBOARD}/{EVENT_FILES}",
    f"{PROFILE}/plugins/profile/*/*.xplane.pb",
)
FINISHED = (LAST_MODEL, CURVES, CONFUSION, WORST, README, RESULT)
# Settings that may change when a run is resumed, since they do not affect its results.
RESUME_MAY_CHANGE = frozenset(
    {
        "run_dir",
        "model",
        "backbone_weights",
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
        "early_stopping_patience",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """The pretrained network that a model was made from: its name, weights file and their SHA-256 in hex."""

    name: str
    weights: str
    sha256: str
    license: str
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnknownFit:
    """How the output `unknown` performs on the held-out images.

    `kept` is the fraction that keeps its class, `accuracy_without` the accuracy without that output. Of `num_other` pictures that
    belong to no class, the fraction `let_through` is taken for one; None if there are no such pictures.
    """

    kept: float
    accuracy_without: float
    num_centres: int
    threshold: float
    num_other: int
    let_through: float | None

    def describe(self) -> str:
        text = (
            f"{self.kept:.1%} of the held-out images keep their class, the rest are taken for `unknown`; accuracy without this"
            f" output {self.accuracy_without:.4f}"
        )
        if self.let_through is None:
            return text
        return f"{text}; of {self.num_other} pictures of other things, {self.let_through:.1%} are taken for a class"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """config.json: the settings with their defaults filled in, and values derived from the images and the machine.

    `starting_model` is the SHA-256, in hex, of the model named by `train.model` or of the weights of `train.backbone`; None for
    the built-in CNN. `backbone` is the network that the model was made from, if known. `fingerprint` is the SHA-256 of the
    contents, labels and splits of all images; `num_train` counts the training images of all workers.
    """

    data: DataConfig
    train: TrainConfig
    starting_model: str | None = None
    backbone: Backbone | None = None
    class_names: tuple[str, ...]
    head: str
    precision: str
    jit_compile: bool
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

    def require_settings(self, run_dir: Path, data: DataConfig, train: TrainConfig, starting_model: str | None) -> None:
        """Raises `UsageError` if these settings differ from those of this run, which is in `run_dir`.

        More epochs resume the run, unless its learning rate decays to 0 at the last one.
        """
        fixed = self.train.learning_rate_schedule == "cosine"
        if not fixed:
            train = dataclasses.replace(train, epochs=min(self.train.epochs, train.epochs))
        if not train.batch_size:
            train = dataclasses.replace(train, batch_size=self.train.batch_size)
        why = {"epochs": ", on which the cosine learning rate schedule depends"} if fixed else {}
        before = {**vars(self.data), **vars(self.train), "the starting model": self.starting_model}
        now = {**vars(data), **vars(train), "the starting model": starting_model}
        differing = [
            f"{name} was {before[name]} and is {now[name]}{why.get(name, '')}"
            for name in before
            if name not in RESUME_MAY_CHANGE and before[name] != now[name]
        ]
        if differing:
            raise UsageError(
                f"`run_dir` {run_dir} holds a run with other settings: {'; '.join(differing)}. Give another --run_dir, the same"
                " settings, or --overwrite"
            )

    def require_facts(self, run_dir: Path, new: "RunConfig") -> None:
        """Raises `DataError` if the values derived from the settings have changed since this run in `run_dir` started."""
        counts = [f"{run.num_train} for training and {run.num_validation} for validation" for run in (self, new)]
        changed = [f"the images changed ({counts[0]}, now {counts[1]})"] if self.fingerprint != new.fingerprint else []
        for words, before, now in [
            ("precision", self.precision, new.precision),
            ("jit_compile", self.jit_compile, new.jit_compile),
            ("the classes", self.class_names, new.class_names),
            ("the number of shards", self.num_shards, new.num_shards),
            ("batch_size", self.train.batch_size, new.train.batch_size),
        ]:
            changed += [f"{words} was {before} and is {now}"] if before != now else []
        if changed:
            raise DataError(
                f"{run_dir} cannot be resumed: {'; '.join(changed)}. Restore that, give another --run_dir, or --overwrite"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """result.json: the results of a finished run. `val_accuracy` is measured on the saved model.keras.

    `best` and `last` are rows of history.csv; `waited` counts the epochs since the best one.
    """

    best_epoch: int
    waited: int
    val_accuracy: float | None
    best: dict[str, float]
    last: dict[str, float]
    fit_seconds_of_last_start: float
    peak_memory_bytes: int
    decoded_bytes: int
    unknown: UnknownFit | None = None

    def satisfies(self, old: TrainConfig, config: TrainConfig) -> bool:
        """Whether the run with config `old` has nothing left to do for `config`.

        A run that was stopped early resumes if it is given more epochs or more patience.
        """
        asks_more = config.epochs > old.epochs or self.waited < (config.early_stopping_patience or math.inf)
        return config.epochs <= self.last["epoch"] or not asks_more


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), kind)
    except FileNotFoundError:
        return None
    except ValueError as e:
        raise DataError(
            f"{path} is damaged or from another version ({e!s:.60}): give another --run_dir, or train again with --overwrite"
        ) from e


@dataclasses.dataclass(frozen=True)
class Run:
    """The run in the folder `run_dir`."""

    run_dir: Path

    def read_config(self) -> RunConfig | None:
        """Its config.json, or None if the folder holds no run. Raises `DataError` if it cannot be read."""
        return _read(RunConfig, self.run_dir / CONFIG)

    def read_result(self) -> RunResult | None:
        """Its result.json, or None if it is not finished. Raises `DataError` if it cannot be read."""
        return _read(RunResult, self.run_dir / RESULT)

    @functools.cached_property
    def model(self) -> "keras.Model":
        """The model of the best epoch, in float32; it maps images (batch, height, width, 3), values 0 to 255, to probabilities."""
        import keras

        return keras.models.load_model(self.run_dir / BEST_MODEL, compile=False)

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per epoch: loss, accuracy, val_loss and val_accuracy (with validation images), and timing."""
        with (self.run_dir / HISTORY).open(encoding="utf-8", newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs (a single output p stands for [1 - p, p])."""
        config = self.read_config()
        return config.class_names if config else ()

    @property
    def held_out(self) -> list[str]:
        """The SHA-256, in hex, of each validation image. Raises `DataError` if the list cannot be read."""
        path = self.run_dir / HELD_OUT
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return [row["sha256"] for row in csv.DictReader(file, strict=True)]
        except (csv.Error, KeyError, ValueError) as e:
            raise DataError(f"{path} is damaged ({e}): train again, or copy the run folder again") from e

    def write_held_out(self, validation: "Examples | None", class_names: Sequence[str]) -> None:
        """Writes one line per validation image: its SHA-256, which identifies it, and its class and file for readers."""
        rows = [("sha256", "class", "file")]
        if validation is not None:
            names = [printable(class_names[label]) for label in validation.labels]
            images = validation.images
            rows += zip(images.sha256, names, map(printable, images.paths), strict=True)
        self._write_csv(HELD_OUT, rows)

    def write_history(self, history: Sequence[dict[str, float]]) -> None:
        self._write_csv(HISTORY, [history[0].keys(), *(row.values() for row in history)])

    def _write_csv(self, name: str, rows: Iterable[Iterable[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(self.run_dir / name, text.getvalue())


def run_of(path: Path) -> Run | None:
    """The run whose folder or model `path` is; None if it is neither."""
    run_dir = path if path.is_dir() else path.parent
    is_model = path.is_dir() or path.name in (BEST_MODEL, LAST_MODEL)
    return Run(run_dir) if is_model and all((run_dir / name).is_file() for name in (CONFIG, HELD_OUT)) else None


def output_folder(run_dir: Path) -> OutputFolder:
    names = tuple(name.partition("/")[0] for name in (*STARTED, *FINISHED))
    return OutputFolder(run_dir, "run_dir", "run", names)
