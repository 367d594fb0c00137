"""A run: from configs through data and training to a finished run folder, or on from where it stopped."""

import contextlib
import dataclasses
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import keras

from hh_fast.augmentation import Augmentation
from hh_fast.config import BATCH_SIZE, STEPS_PER_EPOCH, DataConfig, TrainConfig, require_model_size
from hh_fast.data.cache_mode import predicted_bytes
from hh_fast.data.load import Data, load_data, write_bad_images
from hh_fast.data.sources import source_name
from hh_fast.distributed.data_service import require_service
from hh_fast.distributed.handshake import introduction, meet
from hh_fast.distributed.shards import Shards, agree
from hh_fast.distributed.strategy import Replicas, start
from hh_fast.distributed.tf_config import ENVIRONMENT, find_cluster
from hh_fast.errors import UsageError
from hh_fast.io.files import write_json
from hh_fast.io.memory import peak_memory
from hh_fast.io.versions import package_versions
from hh_fast.model import build_model, choose_head
from hh_fast.training import checkpoint, run_report
from hh_fast.training.checkpoint import Progress
from hh_fast.training.loop import Loop
from hh_fast.training.precision import Hardware, choose
from hh_fast.training.run_folder import (
    BAD_IMAGES,
    BEST_MODEL,
    CHECKPOINTS,
    CONFIG,
    LAST_MODEL,
    RESULT,
    TENSORBOARD,
    TensorBoard,
    clear,
    find_run,
    is_finished,
    own,
    refuse_changes,
    save_portable,
    write_held_out,
    write_history,
)
from hh_fast.training.step import Trainer, make_optimizer

logger = logging.getLogger(__name__)


def default_run_dir(config: DataConfig) -> Path:
    return Path("runs") / source_name(config)


def _identity(
    data_config: DataConfig,
    asked: TrainConfig,
    config: TrainConfig,
    data: Data,
    hardware: Hardware,
    head: str,
    replicas: Replicas,
    shards: Shards,
) -> dict[str, Any]:
    """What config.json holds: `data` and `train` as flags have them (`asked`), and what they led to here."""
    return {
        "data": data_config.to_json(),
        "train": asked.to_json(),
        "class_names": list(data.class_names),
        "head": head,
        "precision": hardware.precision,
        "jit_compile": hardware.jit_compile,
        "fingerprint": shards.fingerprint,
        "num_train": shards.num_images,
        "num_validation": data.validation.num_images if data.validation else 0,
        "num_bad": len(data.bad),
        "batch_size": config.batch_size,
        "cache": data.cache,
        "devices": list(hardware.devices),
        "num_replicas": replicas.num_replicas,
        "num_workers": replicas.num_workers,
        "num_shards": shards.num_shards,
        "versions": package_versions(),
    }


def _for_images(config: TrainConfig, replicas: Replicas, shards: Shards) -> TrainConfig:
    num_images = shards.smallest * shards.num_shards
    sized = config.for_images(num_images, replicas.num_replicas)
    if config.batch_size == 0 and sized.batch_size < BATCH_SIZE:
        logger.info(
            "Batches of %d images, not %d, as there are only %d to train on (--batch_size, --epochs)",
            *(sized.batch_size, BATCH_SIZE, num_images),
        )
    return sized


def _log_start(data: Data, hardware: Hardware, trainer: Trainer, config: TrainConfig, steps: int) -> None:
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


def _check_images(data: Data, config: TrainConfig) -> None:
    if config.head == "sigmoid" and len(data.class_names) != 2:
        raise UsageError(f"`head` must be softmax for {len(data.class_names)} classes. Received: sigmoid")


def _gather(data_config: DataConfig, config: TrainConfig) -> Replicas:
    """Meets the other workers, where there are any, and starts the strategy that the step runs under."""
    cluster = find_cluster(config.strategy, os.environ)
    if cluster is None and os.environ.get(ENVIRONMENT) and config.strategy != "auto":
        logger.warning("%s is set, and --strategy=%s leaves it unread", ENVIRONMENT, config.strategy)
    if cluster is None and config.shard_data:
        raise UsageError("`shard_data` must be left out without a cluster of workers. Received: True")
    if cluster is not None:
        meet(cluster, introduction(cluster, data_config, config), timeout_s=config.worker_timeout_s)
    return start(config, cluster)


def train_run(data_config: DataConfig, config: TrainConfig) -> Path:
    """Trains as asked, from the start or from where the run folder stands, and returns the run folder.

    In a cluster every worker calls this; only the chief writes to the run folder.

    Raises:
        UsageError, DataError, OSError: as `hh_fast.errors` says.
        DivergedError, StoppedError: as `hh_fast.training.loop.Loop.run` says.
        ClusterError: another worker is missing, failed, or was started otherwise.
    """
    require_model_size(data_config.image_size)
    data_config = data_config.absolute()
    if augmentation := Augmentation(**config.augmentation()):  # checked before anything is read
        logger.info("Augmentation, on the host: %s", augmentation)
    if config.data_service is not None:
        data_config = _decoded_elsewhere(data_config)
    hardware = choose(config)
    replicas = _gather(data_config, config)
    run_dir = Path(config.run_dir).expanduser() if config.run_dir else default_run_dir(data_config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(replicas.lost_workers_reported())
        old, finished = None, False
        with replicas.together():
            if config.data_service is not None:
                require_service(config.data_service)
            if replicas.is_chief:
                stack.enter_context(own(run_dir))
                old = find_run(run_dir, data_config, config)
                finished = old is not None and is_finished(run_dir)
        if replicas.gather_figures([finished]).any():
            logger.info("The run in %s is finished, nothing to do; --overwrite trains anew", run_dir)
            return run_dir
        with replicas.together():
            shard = (replicas.worker, replicas.num_workers) if config.shard_data else None
            data = load_data(data_config, shard, num_sharing=replicas.num_local_workers)
            _check_images(data, config)
        shards = agree(
            replicas, data, precision=hardware.precision, jit_compile=hardware.jit_compile, sharded=config.shard_data
        )
        head = choose_head(config.head, len(data.class_names))
        asked, config = config, _for_images(config, replicas, shards)
        identity = _identity(data_config, asked, config, data, hardware, head, replicas, shards)
        with replicas.together():
            refuse_changes(run_dir, old, identity)
        _train(run_dir, identity, data, config, hardware, replicas, shards)
    return run_dir


def _decoded_elsewhere(data_config: DataConfig) -> DataConfig:
    if data_config.cache not in ("auto", "none"):
        raise UsageError(
            f"`cache` must be auto or none where --data_service decodes the images. Received: {data_config.cache}"
        )
    return dataclasses.replace(data_config, cache="none")


def _make_trainer(identity: dict[str, Any], config: TrainConfig, hardware: Hardware, replicas: Replicas) -> Trainer:
    with replicas.strategy.scope():
        model = build_model(
            tuple(identity["data"]["image_size"]),
            num_classes=len(identity["class_names"]),
            head=identity["head"],
            seed=identity["data"]["seed"],
            dtype=hardware.precision,
        )
        optimizer = make_optimizer(config, hardware.precision)
    return Trainer(model, optimizer, replicas, batch_size=config.batch_size, jit_compile=hardware.jit_compile)


def _restore(run_dir: Path, identity: dict[str, Any], data: Data, trainer: Trainer) -> Progress:
    """Where the run folder stands; a new run's config is written, and which images it holds out."""
    progress = checkpoint.restore(run_dir / CHECKPOINTS, trainer.variables())
    if progress is None:
        progress = Progress()
        trainer.model.summary(print_fn=logger.info)
        write_held_out(run_dir, data.validation, data.class_names)
        write_json(run_dir / CONFIG, identity)
    else:
        logger.info("Going on in %s at epoch %d, step %d", run_dir, progress.epoch + 1, progress.step + 1)
    return progress


def _train(
    run_dir: Path,
    identity: dict[str, Any],
    data: Data,
    config: TrainConfig,
    hardware: Hardware,
    replicas: Replicas,
    shards: Shards,
) -> None:
    steps = shards.steps_per_epoch(config)
    trainer = _make_trainer(identity, config, hardware, replicas)
    _log_start(data, hardware, trainer, config, steps)
    writes = replicas.is_chief
    progress = Progress()
    with replicas.together():
        if writes:
            if config.overwrite:
                clear(run_dir)
            progress = _restore(run_dir, identity, data, trainer)
            if data.bad:
                write_bad_images(run_dir / BAD_IMAGES, data.bad)
                logger.info("All images that are skipped are listed in %s", run_dir / BAD_IMAGES)
            board = TensorBoard(run_dir / TENSORBOARD, progress.history)
    replicas.share_variables(trainer.variables())
    progress.epoch, progress.step = map(int, replicas.gather_figures([progress.epoch, progress.step])[0])

    def save(now: Progress) -> None:
        checkpoint.save(run_dir / CHECKPOINTS, trainer.variables(), now)
        if now.history and now.step == 0:
            write_history(run_dir, now.history)
            board.add(now.history[-1])

    def keep_best() -> None:
        save_portable(trainer.model, run_dir / BEST_MODEL)

    start_time = time.perf_counter()
    Loop(
        trainer,
        data,
        config,
        seed=identity["data"]["seed"],
        progress=progress,
        save=save if writes else None,
        keep_best=keep_best if writes else None,
        shards=shards,
        show_progress=writes,
    ).run()
    seconds = time.perf_counter() - start_time
    with replicas.together():
        if writes:
            board.close()
            _finish(run_dir, identity, data, trainer.model, progress, seconds)


def _finish(
    run_dir: Path, identity: dict[str, Any], data: Data, model: keras.Sequential, progress: Progress, seconds: float
) -> None:
    write_history(run_dir, progress.history)
    save_portable(model, run_dir / LAST_MODEL)
    num_images = data.train.num_images + (data.validation.num_images if data.validation else 0)
    chances, accuracy = None, None
    if data.validation is not None:
        chances = run_report.saved_probabilities(run_dir / BEST_MODEL, data.validation)
        accuracy = float((chances.argmax(axis=1) == data.validation.labels).mean())
    peak = peak_memory()
    decoded = predicted_bytes(num_images, data.train.image_size) if data.cache == "memory" else 0
    best = progress.history[(progress.best_epoch or 1) - 1]
    result = {
        "best_epoch": progress.best_epoch,
        "val_accuracy": accuracy,
        "best": best,
        "last": progress.history[-1],
        "fit_seconds_of_last_start": seconds,
        "peak_memory_bytes": peak,
        "decoded_bytes": decoded,
    }
    run_report.write_report(run_dir, identity, data, progress, result, chances)
    write_json(run_dir / RESULT, result)
    shutil.rmtree(run_dir / CHECKPOINTS)  # the run is done: nothing goes on from them
    logger.info("Peak memory %.0f MB, of it %.0f MB decoded images", peak / 1e6, decoded / 1e6)
    measured = (
        f"accuracy {best['accuracy']:.4f}" if accuracy is None else f"val_accuracy {accuracy:.4f}, of the saved file"
    )
    logger.info("Saved the model of epoch %s (%s) as %s", progress.best_epoch, measured, run_dir / BEST_MODEL)
