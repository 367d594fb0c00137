"""Training from top to bottom: settings, devices, model, images, step, run folder, loop, results."""

import contextlib
import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.any_model import copy_state, head_of, require_keras_defaults, with_policy
from hh_fast.augmentation import Augmentation
from hh_fast.backbone.features import Front
from hh_fast.backbone.frozen import split
from hh_fast.backbone.weights import IMAGE_SIZE as BACKBONE_IMAGE_SIZE
from hh_fast.config import STEPS_PER_EPOCH, UNKNOWN, DataConfig, TrainConfig, require_model_size
from hh_fast.data.copies import FINDS_SCENES
from hh_fast.data.load import load_data, write_bad_images
from hh_fast.data.sources import source_name
from hh_fast.distributed.replicas import start
from hh_fast.distributed.shards import agree
from hh_fast.errors import UsageError
from hh_fast.evaluation.confusion import Confusion
from hh_fast.io.files import to_json, write_json
from hh_fast.io.memory import peak_memory
from hh_fast.io.text import listed
from hh_fast.io.versions import package_versions
from hh_fast.model import add_head, build_model, choose_head
from hh_fast.training import checkpoint, report
from hh_fast.training import run as run_files
from hh_fast.training.checkpoint import Progress
from hh_fast.training.fit_unknown import with_unknown
from hh_fast.training.hardware import choose, use_devices
from hh_fast.training.loop import CollectSignals, Loop, no_signals
from hh_fast.training.run import Run, RunConfig, RunResult
from hh_fast.training.saving import Profiler, TensorBoard, save_portable
from hh_fast.training.starting_model import model_file, read_backbone, read_starting_model, take_starting_model
from hh_fast.training.step import Trainer, balanced_weights, make_optimizer
from hh_fast.unknown import feature_model

logger = logging.getLogger(__name__)

MODEL_EVERY_S = 60


def train(**settings: Any) -> Run:
    """Trains a model and returns the finished run; repeating the call resumes an interrupted run.

        >>> run = hh_fast.train(train_dir="pictures", image_size=(150, 150), epochs=2, run_dir="runs/mine")
        >>> accuracy = run.history[-1]["val_accuracy"]

    Args:
        settings: The flags of bin/train by name (bin/train --help): `train_dir`, `image_size`, `epochs`, `batch_size`,
            `cache`, `seed` ..., with the same defaults. `model` may also be a keras.Model, which is not changed. It is
            built from keras.Input, has one input (height, width, 3) for values 0 to 255, and one sigmoid or n softmax
            outputs. To resume its run, pass it with the same weights.

    Raises:
        UsageError: an unknown setting or an invalid value.
        DataError: unusable folders, images or run folder.
        DivergedError: the loss is NaN or infinite. The last checkpoint is kept.
        StoppedError: a KeyboardInterrupt, after the state was saved.
    """
    model = settings.get("model")
    if isinstance(model, keras.Model):
        settings["model"] = f"<keras.Model {model.name}>"
    kinds = {field.name: kind for kind in (DataConfig, TrainConfig) for field in dataclasses.fields(kind)}
    if unknown := sorted(settings.keys() - kinds.keys()):
        raise UsageError(f"unknown setting `{unknown[0]}`; choose from {', '.join(sorted(kinds))}")
    of_data, of_training = (
        {name: value for name, value in settings.items() if kinds[name] is kind} for kind in (DataConfig, TrainConfig)
    )
    return train_run(
        DataConfig(**of_data), TrainConfig(**of_training), model=model if isinstance(model, keras.Model) else None
    )


def train_run(
    data_config: DataConfig,
    config: TrainConfig,
    collect_signals: CollectSignals = no_signals,
    *,
    model: keras.Model | None = None,
) -> Run:
    """`train` with configs. In a cluster every worker calls this, and only the chief writes the run.

    `collect_signals`: see `Loop`. `model`: the model object to train, if `config.model` is not a file.

    Raises:
        As `train`; and ClusterError: another worker is missing, failed, or was started with other settings.
    """
    require_keras_defaults()
    data_config = data_config.absolute()
    if config.model is None and config.backbone is None:
        require_model_size(data_config.size)
    if augmentation := Augmentation(**config.augmentation()):  # checked before anything is read
        logger.info("Augmentation, on the host: %s", augmentation)
    run = Run(Path(config.run_dir or Path("runs") / source_name(data_config)).expanduser())

    # Devices: those of this machine, and any other workers.
    use_devices(config)
    with contextlib.ExitStack() as stack:
        replicas = stack.enter_context(start(config, data_config))
        is_chief = replicas.cluster.is_chief

        # The model to start from, and the run that is already in the folder.
        old, finished = None, False
        with replicas.together():
            starting = None
            if model is not None:
                starting = take_starting_model(model, config.head)
            elif config.model is not None:
                path = model_file(Path(config.model).expanduser())
                if path.resolve().parent == run.run_dir.resolve():
                    raise UsageError(
                        f"`run_dir` must not be the folder of --model, which would be overwritten. Received: {run.run_dir}"
                    )
                starting = read_starting_model(path, config.head)
            elif config.backbone is not None:
                starting = read_backbone(config, data_config.image_size or BACKBONE_IMAGE_SIZE)
            own_size = starting.image_size if starting else data_config.size
            rule = f"the model's own, {own_size[0]},{own_size[1]}, or left out"
            data_config.require("image_size", data_config.image_size in (None, own_size), rule)
            data_config = dataclasses.replace(data_config, image_size=own_size)
            sha256 = starting.sha256 if starting else None
            if is_chief:
                folder = run_files.output_folder(run.run_dir)
                stack.enter_context(folder.held())
                old = None if config.overwrite else run.read_config()
                if old is not None:
                    old.require_settings(run.run_dir, data_config, config, sha256)
                    result = run.read_result()
                    finished = result is not None and result.satisfies(old.train, config)
        replicas.require_same({"the starting model (SHA-256)": sha256})
        if any(replicas.gather(finished)):
            logger.info(
                "The run in %s is finished, nothing to do; more --epochs (or another --early_stopping_patience) continue it,"
                " --overwrite starts over",
                run.run_dir,
            )
            return run

        # The images, and the settings derived from them. Frozen layers are computed once for each image.
        hardware = choose(config, starting.model if starting else None)
        seed = data_config.seed
        with replicas.together():
            whole = starting.whole(config, seed) if starting else None
            on_gpu = bool(
                tf.config.get_visible_devices("GPU")
            )  # there the step runs the frozen layers, since tf.data cannot
            parts = split(whole) if whole and not (augmentation and on_gpu) else None
            front = Front(parts[0], data_config.cache_root) if parts else None
            shard = (replicas.cluster.worker, replicas.cluster.num_workers) if config.shard_data else None
            data = load_data(
                data_config,
                shard,
                num_sharing=replicas.cluster.num_local_workers,
                front=front,
                augmented=bool(augmentation),
                # Not in a cluster, where the last bits of the features, and so the split, may differ by machine.
                finds_scenes=config.backbone in FINDS_SCENES
                and config.unfreeze is None
                and replicas.cluster.num_workers == 1,
            )
            num_classes = len(data.class_names)
            if starting is not None and config.backbone is None:
                starting.require_classes(data.class_names)
            config.require("head", config.head != "sigmoid" or num_classes == 2, f"softmax for {num_classes} classes")
            if config.unknown and whole is not None:
                feature_model(whole)  # raises if the output cannot be added to it
                rule = "left out if no images are held out, on which its threshold is set"
                config.require("unknown", data.validation is not None, rule)
                config.require("unknown", UNKNOWN not in data.class_names, f"left out if a class is named {UNKNOWN}")
        precision, jit_compile = hardware.precision, hardware.jit_compile
        shards = agree(replicas, data, precision=precision, jit_compile=jit_compile, sharded=config.shard_data)
        num_images = shards.smallest * shards.num_shards
        sized = config.for_images(num_images, replicas.num_replicas)
        if config.batch_size == 0 and sized.batch_size < config.largest_default_batch:
            logger.info(
                "Batch size %d instead of %d, as there are only %d training images (--batch_size, --epochs)",
                *(sized.batch_size, config.largest_default_batch, num_images),
            )
        config = sized
        num_steps = shards.steps_per_epoch(config)
        head = choose_head(config.head, num_classes)
        if config.backbone is not None and whole is not None:
            whole = add_head(whole, num_classes=num_classes, head=head, dropout=config.dropout, seed=seed)
        elif whole is not None:
            head = head_of(whole) or ""
        record = RunConfig(
            data=data_config,
            train=config,
            starting_model=sha256,
            backbone=starting.backbone if starting else None,
            class_names=data.class_names,
            head=head,
            precision=precision,
            jit_compile=jit_compile,
            fingerprint=shards.fingerprint,
            num_train=shards.num_images,
            num_validation=len(data.validation) if data.validation else 0,
            num_bad=len(data.bad),
            cache=data.cache,
            devices=hardware.devices,
            num_replicas=replicas.num_replicas,
            num_workers=replicas.cluster.num_workers,
            num_shards=shards.num_shards,
            versions=package_versions(),
        )
        with replicas.together():
            if old is not None:
                old.require_facts(run.run_dir, record)
                if old.num_replicas != record.num_replicas:
                    logger.info(
                        "Resuming with %d replicas instead of %s: each step has the same images, summed in another order",
                        *(record.num_replicas, old.num_replicas),
                    )

        # The model and its step.
        class_weights: tuple[float, ...] = ()
        if config.class_weight == "balanced":
            counts = np.bincount(data.train.labels, minlength=num_classes)
            class_weights = balanced_weights(np.sum(replicas.gather(counts.tolist()), axis=0))
            told = [f"{name} {weight:.3f}" for name, weight in zip(data.class_names, class_weights, strict=True)]
            logger.info("Class weights: %s", listed(told))
        parts = split(whole) if whole and front else None
        rest = parts[1] if parts else whole
        with replicas.strategy.scope():
            if rest is not None:
                trained = with_policy(rest, precision)
            else:
                trained = build_model(own_size, num_classes=num_classes, head=head, seed=seed, dtype=precision)
            optimizer = make_optimizer(config, precision, config.epochs * num_steps)
        trainer = Trainer(
            trained,
            optimizer,
            replicas,
            row=data.train.input_spec,
            batch_size=config.batch_size,
            jit_compile=jit_compile,
            class_weights=class_weights,
        )
        if data.source.note:
            logger.info("%s", data.source.note)
        if report.lacks_backbone(data_config, config):
            logger.info("%s", report.TRY_BACKBONE)
        if front is not None and whole is not None and rest is not None:
            logger.info(
                "Frozen layers: %d of %d weights, computed %s by %s; their output has %s values per image",
                *(whole.count_params() - rest.count_params(), whole.count_params()),
                "for each augmented image" if augmentation else "once for each image",
                *(front.engine, " x ".join(map(str, front.shape))),
            )
        validation = f"{record.num_validation} for validation" if record.num_validation else "no validation"
        logger.info("Images: %d for training, %s; classes %s", len(data.train), validation, listed(data.class_names))
        logger.info(
            "Device: %s. Precision %s (%s); XLA %s (%s)",
            " and ".join(hardware.devices),
            precision,
            hardware.precision_reason,
            "on" if jit_compile else "off",
            hardware.jit_compile_reason,
        )
        built = trainer.describe_step()
        logger.info("Compiled step: %s; %d images per step, %d steps per epoch", built, config.batch_size, num_steps)
        if num_steps < STEPS_PER_EPOCH and config.steps_per_epoch is None:
            logger.info("Few steps per epoch: the model may underfit; try a smaller --batch_size, or more --epochs")

        # The run folder: the progress so far; from here on its files are written.
        progress, board, checkpoints = Progress(), None, run.run_dir / run_files.CHECKPOINTS
        with replicas.together():
            if is_chief:
                if config.overwrite:
                    folder.remove(*run_files.STARTED, *run_files.FINISHED)
                folder.record(*run_files.STARTED)
                restored = checkpoint.restore(checkpoints, trainer.variables())
                if restored is None:
                    trained.summary(print_fn=logger.info)
                    run.write_held_out(data.validation, data.class_names)
                else:
                    progress = restored
                    place = (
                        f"step {progress.step + 1} of {num_steps}" if progress.step < num_steps else "its validation"
                    )
                    logger.info("Resuming %s at epoch %d, %s", run.run_dir, progress.epoch + 1, place)
                    if run.read_result() and progress.has_waited(config.early_stopping_patience):
                        # It was stopped early, and more epochs were asked for: they get the same patience again, which is saved
                        # before the result is removed.
                        progress.patience_from = progress.epoch
                        checkpoint.save(checkpoints, trainer.variables(), progress)
                (run.run_dir / run_files.RESULT).unlink(missing_ok=True)
                write_json(run.run_dir / run_files.CONFIG, to_json(record))
                if data.bad:
                    write_bad_images(run.run_dir / run_files.BAD_IMAGES, data.bad)
                    logger.info("All skipped images are listed in %s", run.run_dir / run_files.BAD_IMAGES)
                board = TensorBoard(run.run_dir / run_files.TENSORBOARD, progress.history)
        replicas.share_variables(trainer.variables())
        progress = checkpoint.from_text(replicas.gather(checkpoint.to_text(progress))[0])

        def save_model(name: str) -> None:
            if rest is not None:
                copy_state(trained, rest)  # shares its layers with the whole model
            save_portable(trained if whole is None else whole, run.run_dir / name)

        model_written = time.monotonic()

        def save(now: Progress) -> None:
            nonlocal model_written
            is_end_of_epoch = bool(now.history) and now.step == 0
            # An epoch on features takes less time than writing the whole model, so that is done once a minute and at the end.
            is_due = front is None or time.monotonic() > model_written + MODEL_EVERY_S
            if is_end_of_epoch and now.epoch == now.best_epoch and is_due:
                save_model(run_files.BEST_MODEL)
                model_written = time.monotonic()
            checkpoint.save(checkpoints, trainer.variables(), now, keeps_best=front is not None)
            if is_end_of_epoch and board is not None:
                run.write_history(now.history)
                board.add(now.history[-1])

        # Training.
        profiler = Profiler(run.run_dir / run_files.PROFILE, config.profile_steps)
        started = time.perf_counter()
        loop = Loop(
            trainer,
            data,
            config,
            seed=seed,
            progress=progress,
            save=save if is_chief else None,
            callbacks=[profiler] if is_chief else [],
            shards=shards,
            collect_signals=collect_signals,
        )
        try:
            loop.run()
        finally:
            profiler.stop()
        seconds = time.perf_counter() - started

        # Results.
        with replicas.together():
            if is_chief and board is not None:
                board.close()
                folder.record(*run_files.FINISHED)
                run.write_history(progress.history)
                save_model(run_files.LAST_MODEL)
                if front is not None:
                    checkpoint.restore_best(checkpoints, trainer.variables(), progress)
                    save_model(run_files.BEST_MODEL)
                unknown = None
                if config.unknown and data.validation is not None:
                    best, unknown = with_unknown(
                        keras.models.load_model(run.run_dir / run_files.BEST_MODEL, compile=False),
                        *(data.train, data.validation, front, config),
                        seed=seed,
                        max_image_pixels=data_config.max_image_pixels,
                    )
                    save_portable(best, run.run_dir / run_files.BEST_MODEL)
                probabilities, confusion = None, None
                if data.validation is not None:
                    probabilities = report.saved_probabilities(
                        run.run_dir / run_files.BEST_MODEL, data.validation, front
                    )
                    names = (*data.class_names, UNKNOWN) if unknown else data.class_names
                    confusion = Confusion(data.validation.labels, probabilities.argmax(axis=1), names)
                decoded = [split.rows.num_bytes for split in (data.train, data.validation) if split]
                ended = RunResult(
                    best_epoch=progress.best_epoch,
                    waited=progress.waited,
                    val_accuracy=confusion.accuracy if confusion else None,
                    best=progress.history[progress.best_epoch - 1],
                    last=progress.history[-1],
                    fit_seconds_of_last_start=seconds,
                    peak_memory_bytes=peak_memory(),
                    decoded_bytes=sum(decoded) if data.cache == "memory" else 0,
                    unknown=unknown,
                )
                try:
                    report.write_report(run.run_dir, record, data, progress.history, ended, probabilities, confusion)
                except Exception as e:  # a failed report must not fail the run
                    reason = f"{type(e).__name__}: {' '.join(str(e).split())}"
                    logger.warning("The report in %s is incomplete (%s)", run.run_dir, reason)
                checkpoint.keep_last(checkpoints, best_epoch=progress.best_epoch if front else 0)  # for more epochs
                write_json(run.run_dir / run_files.RESULT, to_json(ended))  # last, since it marks the run as finished
                report.log_result(run.run_dir, record, ended, confusion)
    return run
