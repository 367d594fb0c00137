"""A run: from settings through data and training to a finished run folder, or on from where it stopped."""

import contextlib
import csv
import dataclasses
import functools
import logging
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hh_fast.any_model import require_keras_defaults
from hh_fast.augmentation import Augmentation
from hh_fast.config import BATCH_SIZE, STEPS_PER_EPOCH, DataConfig, TrainConfig, require_model_size
from hh_fast.data.load import Data, load_data, write_bad_images
from hh_fast.data.sources import source_name
from hh_fast.distributed.collectives import Replicas
from hh_fast.distributed.handshake import introduction, meet
from hh_fast.distributed.shards import Shards, agree
from hh_fast.distributed.strategy import lost_workers_reported, start
from hh_fast.distributed.tf_config import ENVIRONMENT, find_cluster
from hh_fast.errors import UsageError
from hh_fast.io.files import write_json
from hh_fast.io.memory import peak_memory
from hh_fast.io.typed_json import to_json
from hh_fast.io.versions import package_versions
from hh_fast.model import build_model, choose_head
from hh_fast.training import checkpoint, run_folder, run_report
from hh_fast.training.checkpoint import Progress
from hh_fast.training.loop import CollectSignals, Loop, no_signals
from hh_fast.training.precision import Hardware, choose
from hh_fast.training.run_record import RunConfig, RunResult, read_config
from hh_fast.training.saving import Profiler, TensorBoard, save_portable
from hh_fast.training.starting_model import (
    StartingModel,
    read_starting_model,
    starting_model_path,
    take_starting_model,
)
from hh_fast.training.step import Trainer, balanced_weights, make_optimizer

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, as its folder `run_dir` holds it."""

    run_dir: Path

    @functools.cached_property
    def model(self) -> keras.Model:
        """The model of the best epoch, in float32: images (batch, height, width, 3), values 0 to 255, to probabilities."""
        return keras.models.load_model(self.run_dir / run_folder.BEST_MODEL, compile=False)

    @property
    def history(self) -> list[dict[str, float]]:
        """A row an epoch: loss, accuracy, val_loss and val_accuracy where there is validation, and what it took."""
        with (self.run_dir / run_folder.HISTORY).open(encoding="utf-8", newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs (of a single output p: [1 - p, p])."""
        config = read_config(self.run_dir)
        return config.class_names if config else ()


@dataclasses.dataclass(frozen=True)
class _Session:
    """What a run is made of once its images are known; `config` holds the batch size that `run.train` may leave open."""

    run_dir: Path
    run: RunConfig
    config: TrainConfig
    data: Data
    hardware: Hardware
    replicas: Replicas
    shards: Shards
    starting: StartingModel | None


def train(**settings: Any) -> Run:
    """Trains a model, and returns the finished run; the same call goes on where an interrupted one stopped.

        >>> run = hh_fast.train(train_dir="pictures", image_size=(150, 150), epochs=2, run_dir="runs/mine")
        >>> accuracy = run.history[-1]["val_accuracy"]

    Args:
        settings: The flags of bin/train by name (bin/train --help): `train_dir`, `image_size`, `epochs`, `batch_size`,
            `cache`, `seed` ..., with the same defaults; lists are tuples. `model` may be a keras.Model, which stays as it is:
            of keras.Input, one input (height, width, 3) that takes values 0 to 255, and one sigmoid or n softmax outputs.
            To go on with its run, give it with the same weights.

    Raises:
        UsageError: an unknown setting, or a value that cannot be used.
        DataError: folders, images or a run folder that cannot be used.
        DivergedError: the loss is no finite number. The last checkpoint stays.
        StoppedError: a KeyboardInterrupt, with the state saved.
    """
    kinds = {field.name: kind for kind in (DataConfig, TrainConfig) for field in dataclasses.fields(kind)}
    if unknown := sorted(settings.keys() - kinds.keys()):
        raise UsageError(f"`{unknown[0]}` must be one of {', '.join(sorted(kinds))}. Received: it as a setting")
    model = settings.get("model")
    if isinstance(model, keras.Model):
        settings["model"] = f"<keras.Model {model.name}>"
    elif model:
        settings["model"] = os.fspath(model)
    data, others = (
        {name: value for name, value in settings.items() if kinds[name] is kind} for kind in (DataConfig, TrainConfig)
    )
    return train_run(data, TrainConfig(**others), model=model if isinstance(model, keras.Model) else None)


def _for_images(config: TrainConfig, replicas: Replicas, shards: Shards) -> TrainConfig:
    num_images = shards.smallest * shards.num_shards
    sized = config.for_images(num_images, replicas.num_replicas)
    if config.batch_size == 0 and sized.batch_size < BATCH_SIZE:
        logger.info(
            "Batches of %d images, not %d, as there are only %d to train on (--batch_size, --epochs)",
            *(sized.batch_size, BATCH_SIZE, num_images),
        )
    return sized


def _log_start(session: _Session, trainer: Trainer) -> None:
    data, hardware, config = session.data, session.hardware, session.config
    steps = session.shards.steps_per_epoch(config)
    if data.source.note:
        logger.info("%s", data.source.note)
    validation = f"{data.validation.num_images} to validate on" if data.validation else "no validation"
    logger.info(
        "Images: %d to train on, %s; classes %s", data.train.num_images, validation, ", ".join(data.class_names)
    )
    logger.info(
        "Device: %s. Precision %s (%s); XLA %s (%s)",
        " and ".join(hardware.devices),
        hardware.precision,
        hardware.precision_reason,
        "on" if hardware.jit_compile else "off",
        hardware.jit_compile_reason,
    )
    logger.info(
        "The step as built: %s; %d images a step, %d steps an epoch", trainer.describe_step(), config.batch_size, steps
    )
    if steps < STEPS_PER_EPOCH and config.steps_per_epoch is None:
        logger.info("So few steps an epoch train little: try a smaller --batch_size, or more --epochs")


def _gather(data_config: DataConfig, config: TrainConfig) -> Replicas:
    """Meets the other workers, where there are any, and starts the strategy that the step runs under."""
    cluster = find_cluster(config.strategy, os.environ)
    if cluster is None and os.environ.get(ENVIRONMENT) and config.strategy != "auto":
        logger.warning("%s is set, and --strategy=%s leaves it unread", ENVIRONMENT, config.strategy)
    config.require("shard_data", cluster is not None or not config.shard_data, "left out without a cluster of workers")
    if cluster is not None:
        meet(cluster, introduction(cluster, data_config, config), timeout_s=config.worker_timeout_s)
    return start(config, cluster)


def _starting_model(config: TrainConfig, model: keras.Model | None, run_dir: Path) -> StartingModel | None:
    if model is not None:
        return take_starting_model(model, config.head)
    if config.model is None:
        return None
    path = starting_model_path(config.model)
    if path.resolve().parent == run_dir.resolve():
        raise UsageError(f"`run_dir` must not be the folder of --model, which it writes to. Received: {run_dir}")
    return read_starting_model(path, config.head)


def train_run(
    given: dict[str, Any],
    config: TrainConfig,
    collect_signals: CollectSignals = no_signals,
    *,
    model: keras.Model | None = None,
) -> Run:
    """`train`, of fields of `DataConfig` and a config. In a cluster every worker calls this; the chief alone writes the run.

    `collect_signals` as of `Loop`. `model`: what to train, where `config.model` names no file.

    Raises:
        as `train`, and ClusterError: another worker is missing, failed, or was started otherwise.
    """
    require_keras_defaults()
    data_config = DataConfig(**given).absolute()
    if config.model is None:
        require_model_size(data_config.image_size)
    if augmentation := Augmentation(**config.augmentation()):  # checked before anything is read
        logger.info("Augmentation, on the host: %s", augmentation)
    hardware = choose(config)
    replicas = _gather(data_config, config)
    run_dir = Path(config.run_dir).expanduser() if config.run_dir else Path("runs") / source_name(data_config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lost_workers_reported(replicas.cluster))
        old, finished = None, False
        with replicas.together():
            starting = _starting_model(config, model, run_dir)
            if starting is not None:
                starting.require_image_size(given.get("image_size", starting.image_size))
                data_config = dataclasses.replace(data_config, image_size=starting.image_size)
            if replicas.cluster.is_chief:
                stack.enter_context(run_folder.output_folder(run_dir).held())
                old = run_folder.find_run(run_dir, data_config, config, starting.sha256 if starting else None)
                is_done = (run_dir / run_folder.RESULT).exists()
                finished = old is not None and old.train.epochs >= config.epochs and is_done
        replicas.require_same({"the starting model (SHA-256)": starting and starting.sha256})
        if replicas.gather_figures([finished]).any():
            logger.info(
                "The run in %s is finished, nothing to do; more --epochs go on with it, --overwrite trains anew",
                run_dir,
            )
            return Run(run_dir)
        session = _open(run_dir, old, data_config, config, hardware, replicas, starting)
        _train(session, collect_signals)
    return Run(run_dir)


def _open(
    run_dir: Path,
    old: RunConfig | None,
    data_config: DataConfig,
    asked: TrainConfig,
    hardware: Hardware,
    replicas: Replicas,
    starting: StartingModel | None,
) -> _Session:
    """Reads the images, and refuses what all workers cannot train on alike, or other than the `old` run began."""
    with replicas.together():
        shard = (replicas.cluster.worker, replicas.cluster.num_workers) if asked.shard_data else None
        data = load_data(data_config, shard, num_sharing=replicas.cluster.num_local_workers)
        num_classes = len(data.class_names)
        if starting is not None:
            starting.require_classes(data.class_names)
        asked.require("head", asked.head != "sigmoid" or num_classes == 2, f"softmax for {num_classes} classes")
    shards = agree(
        replicas, data, precision=hardware.precision, jit_compile=hardware.jit_compile, sharded=asked.shard_data
    )
    config = _for_images(asked, replicas, shards)
    run = RunConfig(
        data=data_config,
        train=asked,
        starting_model=starting.sha256 if starting else None,
        class_names=data.class_names,
        head=starting.head if starting else choose_head(asked.head, num_classes),
        precision=hardware.precision,
        jit_compile=hardware.jit_compile,
        batch_size=config.batch_size,
        fingerprint=shards.fingerprint,
        num_train=shards.num_images,
        num_validation=data.validation.num_images if data.validation else 0,
        num_bad=len(data.bad),
        cache=data.cache,
        devices=hardware.devices,
        num_replicas=replicas.num_replicas,
        num_workers=replicas.cluster.num_workers,
        num_shards=shards.num_shards,
        versions=package_versions(),
    )
    with replicas.together():
        run_folder.refuse_changes(run_dir, old, run)
    return _Session(run_dir, run, config, data, hardware, replicas, shards, starting)


def _make_model(session: _Session) -> keras.Model:
    run = session.run
    if session.starting is not None:
        return session.starting.make(run.precision, seed=run.data.seed, reset_weights=run.train.reset_weights)
    return build_model(
        run.data.image_size,
        num_classes=len(run.class_names),
        head=run.head,
        seed=run.data.seed,
        dtype=run.precision,
    )


def _make_trainer(session: _Session) -> Trainer:
    run, config = session.run, session.config
    with session.replicas.strategy.scope():
        model = _make_model(session)
        num_steps = config.epochs * session.shards.steps_per_epoch(config)
        optimizer = make_optimizer(config, run.precision, num_steps)
    return Trainer(
        model,
        optimizer,
        session.replicas,
        batch_size=config.batch_size,
        jit_compile=run.jit_compile,
        class_weights=_class_weights(session),
    )


def _class_weights(session: _Session) -> tuple[float, ...]:
    """By the images of all workers."""
    names = session.run.class_names
    if session.config.class_weight == "none":
        return ()
    counts = np.bincount(session.data.train.labels, minlength=len(names))
    weights = balanced_weights(session.replicas.gather_figures(counts.tolist()).sum(axis=0))
    logger.info("Class weights: %s", ", ".join(f"{name} {w:.3f}" for name, w in zip(names, weights, strict=True)))
    return weights


def _restore(session: _Session, trainer: Trainer) -> Progress:
    """Where the run folder stands; a new run's config is written, and which images it holds out."""
    run_dir, data = session.run_dir, session.data
    folder = run_folder.output_folder(run_dir)
    if session.config.overwrite:
        folder.remove(*run_folder.STARTED, *run_folder.FINISHED)
    folder.record(*run_folder.STARTED)
    progress = checkpoint.restore(run_dir / run_folder.CHECKPOINTS, trainer.variables())
    if progress is None:
        progress = Progress()
        trainer.model.summary(print_fn=logger.info)
        run_folder.write_held_out(run_dir, data.validation, data.class_names)
    else:
        logger.info("Going on in %s at epoch %d, step %d", run_dir, progress.epoch + 1, progress.step + 1)
    (run_dir / run_folder.RESULT).unlink(missing_ok=True)
    write_json(run_dir / run_folder.CONFIG, to_json(session.run))
    if data.bad:
        write_bad_images(run_dir / run_folder.BAD_IMAGES, data.bad)
        logger.info("All images that are skipped are listed in %s", run_dir / run_folder.BAD_IMAGES)
    return progress


def _train(session: _Session, collect_signals: CollectSignals) -> None:
    run_dir, replicas, data = session.run_dir, session.replicas, session.data
    trainer = _make_trainer(session)
    _log_start(session, trainer)
    progress = Progress()
    with replicas.together():
        if replicas.cluster.is_chief:
            progress = _restore(session, trainer)
            board = TensorBoard(run_dir / run_folder.TENSORBOARD, progress.history)
    replicas.share_variables(trainer.variables())
    progress = checkpoint.from_text(replicas.gather_texts(checkpoint.to_text(progress))[0])

    def save(now: Progress) -> None:
        if now.history and now.step == 0 and now.epoch == now.best_epoch:
            save_portable(trainer.model, run_dir / run_folder.BEST_MODEL)
        checkpoint.save(run_dir / run_folder.CHECKPOINTS, trainer.variables(), now)
        if now.history and now.step == 0:
            run_folder.write_history(run_dir, now.history)
            board.add(now.history[-1])

    profiler = Profiler(run_dir / run_folder.PROFILE, session.config.profile_steps)
    start_time = time.perf_counter()
    loop = Loop(
        trainer,
        data,
        session.config,
        seed=session.run.data.seed,
        progress=progress,
        save=save if replicas.cluster.is_chief else None,
        callbacks=[profiler] if replicas.cluster.is_chief else [],
        shards=session.shards,
        collect_signals=collect_signals,
    )
    try:
        loop.run()
    finally:
        profiler.stop()
    seconds = time.perf_counter() - start_time
    with replicas.together():
        if replicas.cluster.is_chief:
            board.close()
            _finish(session, trainer.model, progress, seconds)


def _finish(session: _Session, model: keras.Model, progress: Progress, seconds: float) -> None:
    run_dir, data, history = session.run_dir, session.data, progress.history
    run_folder.output_folder(run_dir).record(*run_folder.FINISHED)
    run_folder.write_history(run_dir, history)
    save_portable(model, run_dir / run_folder.LAST_MODEL)
    chances, accuracy = None, None
    if data.validation is not None:
        chances = run_report.saved_probabilities(run_dir / run_folder.BEST_MODEL, data.validation)
        accuracy = float((chances.argmax(axis=1) == data.validation.labels).mean())
    num_images = data.train.num_images + (data.validation.num_images if data.validation else 0)
    best_epoch = progress.best_epoch
    result = RunResult(
        best_epoch=best_epoch,
        val_accuracy=accuracy,
        best=history[best_epoch - 1],
        last=history[-1],
        fit_seconds_of_last_start=seconds,
        peak_memory_bytes=peak_memory(),
        decoded_bytes=num_images * data.train.form.num_bytes if data.cache == "memory" else 0,
    )
    run_report.write_report(run_dir, session.run, data, history, result, chances)
    checkpoint.keep_last(run_dir / run_folder.CHECKPOINTS)  # for more epochs
    write_json(run_dir / run_folder.RESULT, to_json(result))  # the last: it says that the run is finished
    logger.info(
        "Peak memory %.0f MB, of it %.0f MB decoded images", result.peak_memory_bytes / 1e6, result.decoded_bytes / 1e6
    )
    measured = (
        f"accuracy {result.best['accuracy']:.4f}"
        if accuracy is None
        else f"val_accuracy {accuracy:.4f}, of the saved file"
    )
    logger.info("Saved the model of epoch %s (%s) as %s", best_epoch, measured, run_dir / run_folder.BEST_MODEL)
