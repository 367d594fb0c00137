"""The report of a finished run: plots, and a README with the measured figures and the command that repeats the run."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hh_fast.any_model import digest
from hh_fast.augmentation import Augmentation
from hh_fast.backbone.features import Front
from hh_fast.backbone.frozen import split as front_and_rest
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import Data, Examples
from hh_fast.data.pipeline import eval_batches, images_at
from hh_fast.evaluation.confusion import Confusion
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.evaluation.plots import draw_confusion, draw_curves, draw_images, shortened
from hh_fast.evaluation.tables import markdown_table
from hh_fast.io.files import to_json, write_text
from hh_fast.io.text import listed
from hh_fast.training.run import BEST_MODEL, CONFUSION, CURVES, README, WORST, Backbone, RunConfig, RunResult

logger = logging.getLogger(__name__)

MAX_WORST = 16
POOR = 0.9
TRY_BACKBONE = (
    "This CNN is trained from scratch. --backbone=efficientnet_lite0 starts from a network pretrained on a million photos: with a"
    " few hundred photos it is far more accurate, and trains in seconds"
)
EVAL_BATCH = 32


def lacks_backbone(data: DataConfig, train: TrainConfig) -> bool:
    """Whether the built-in CNN is trained from scratch on a user's own photos."""
    return data.train_dir is not None and train.backbone is None and train.model is None


def training_command(run: RunConfig) -> str:
    """The command that repeats this run: bin/train with the flags that differ from their defaults."""
    words = ["bin/train"]
    for config in (run.data, run.train):
        defaults = to_json(type(config)())
        for name, value in to_json(config).items():
            if value == defaults[name] or name == "overwrite":
                continue
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{name}={text.lower() if isinstance(value, bool) else text}")
    return shlex.join(words)


def _draw_worst(split: Examples, probabilities: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Draws the images with the lowest probability of their true class, worst first."""
    of_true, predicted = probabilities[np.arange(len(split.labels)), split.labels], probabilities.argmax(axis=1)
    worst = np.argsort(of_true, kind="stable")[:MAX_WORST]
    titles = []
    for i in worst:
        name, guess = (shortened(class_names[k], start=True) for k in (split.labels[i], predicted[i]))
        text = name if predicted[i] == split.labels[i] else f"{name},\npredicted {guess}"
        titles.append(f"{text}\np({name}) = {of_true[i]:.3f}\n{shortened(Path(split.images.paths[i]).name)}")
    draw_images(images_at(split, worst), titles, predicted[worst] != split.labels[worst], path)


def saved_probabilities(path: Path, split: Examples, front: Front | None = None) -> np.ndarray:
    """Probabilities, float32 (n, num_classes), that the saved model gives the images of `split`.

    The training step may compute in another precision than the file, so figures about the file are measured on the file.
    """
    return class_probabilities(outputs_of(keras.models.load_model(path, compile=False), split, front))


def outputs_of(model: keras.Model, split: Examples, front: Front | None) -> np.ndarray:
    """The outputs of `model` for the images of `split`, float32 (n, ...).

    If the rows of `split` are outputs of `front`, and the model begins with the same layers and weights, only its other layers run.
    """
    if front is not None:
        parts = front_and_rest(model)
        if parts and digest(parts[0], seeds=False) == front.sha256:
            model = parts[1]
        else:
            split = Examples(split.images, split.rows if split.pixels is None else split.pixels)
    row = tf.TensorSpec((None, *split.input_spec.shape), split.input_spec.dtype)
    forward = tf.function(lambda rows: model(tf.cast(rows, tf.float32), training=False)).get_concrete_function(row)
    batches = eval_batches(split, batch_size=EVAL_BATCH)
    return np.concatenate([forward(rows).numpy() for rows, _ in batches])


def _validation_part(
    run_dir: Path, split: Examples, confusion: Confusion, best_epoch: int, probabilities: np.ndarray
) -> list[str]:
    low, high = confusion.interval()
    draw_confusion(confusion, run_dir / CONFUSION, title=f"Validation, epoch {best_epoch}")
    _draw_worst(split, probabilities, confusion.class_names, run_dir / WORST)
    return [
        f"Validation accuracy of `model.keras` (epoch {best_epoch}, the best): **{confusion.accuracy:.4f}**,"
        f" {confusion.num_right} of {confusion.num_images} images; 95% interval {low:.3f} to {high:.3f}."
        " The epoch was chosen on these same images, so expect slightly less on others.",
        *(f"\n**{remark}.**" for remark in confusion.remarks()),
        "",
        confusion.to_markdown(),
        "",
        f"![confusion matrix]({CONFUSION})",
        "",
        f"The validation images with the lowest probability of their own class (`{WORST}`):",
        "",
        f"![worst images]({WORST})",
    ]


def _describe_backbone(backbone: Backbone) -> list[list[str]]:
    """Table rows."""
    return [
        ["pretrained network", f"{backbone.name}, {backbone.license}"],
        ["its weights", f"`{backbone.weights}` of {backbone.source}"],
        ["their SHA-256", f"`{backbone.sha256}`"],
    ]


def write_report(
    run_dir: Path,
    run: RunConfig,
    data: Data,
    history: list[dict[str, float]],
    result: RunResult,
    probabilities: np.ndarray | None,
    confusion: Confusion | None,
) -> None:
    """Draws the pictures and writes README.md into the run folder.

    `probabilities` are those of model.keras for the validation images, if there are any (`saved_probabilities`), and
    `confusion` is computed from them.
    """
    draw_curves(history, run_dir / CURVES, best_epoch=result.best_epoch)
    last = result.last
    measured: list[list[str]] = [
        ["last epoch: training loss, accuracy", f"{last['loss']:.4f}, {last['accuracy']:.4f}"],
        ["last epoch: images per second in training steps", f"{last['images_per_second']:.0f}"],
        ["last epoch: share of step time waited for input", f"{100 * last['input_wait']:.2f}%"],
        ["images per step", str(run.train.batch_size)],
        ["byte-identical copies", data.copies],
        ["copies that differ in their bytes", data.near_copies],
        ["peak memory", f"{result.peak_memory_bytes / 1e6:.0f} MB"],
        ["device", ", ".join(run.devices)],
        ["precision, XLA", f"{run.precision}, {'on' if run.jit_compile else 'off'}"],
        ["augmentation", str(Augmentation(**run.train.augmentation()))],
        ["cache", run.cache],
        *([name, number or "none"] for name, number in run.versions.items()),
        *(_describe_backbone(run.backbone) if run.backbone else []),
        *([["starting model (SHA-256)", f"`{run.starting_model[:16]}…`"]] if run.starting_model else []),
        ["data fingerprint (SHA-256)", f"`{run.fingerprint[:16]}…`"],
    ]
    lines = [
        f"# hh_fast run: {listed(data.class_names)}",
        "",
        f"{len(data.train)} training images ({data.source.name}), {run.num_validation} validation images,"
        f" {len(history)} {'epoch' if len(history) == 1 else 'epochs'}. Command:",
        "",
        f"    {training_command(run)}",
        "",
        *(
            _validation_part(run_dir, data.validation, confusion, result.best_epoch, probabilities)
            if data.validation and probabilities is not None and confusion is not None
            else ["No validation images."]
        ),
        *(["", f"Output `unknown`: {result.unknown.describe()}."] if result.unknown else []),
        "",
        f"![curves]({CURVES})",
        "",
        markdown_table(["measured", "value"], measured),
        "",
        "Files: `model.keras` (best epoch), `last.keras`, `history.csv`, `held_out.csv` (the validation images), `config.json`, `result.json`, `tensorboard/`.",
        "",
    ]
    write_text(run_dir / README, "\n".join(lines))


def log_result(run_dir: Path, run: RunConfig, result: RunResult, confusion: Confusion | None) -> None:
    """Logs the results of the run, remarks on them, and the next command."""
    memory, decoded = result.peak_memory_bytes / 1e6, result.decoded_bytes / 1e6
    logger.info("Peak memory %.0f MB, including %.0f MB of decoded images", memory, decoded)
    measured = f"accuracy {result.best['accuracy']:.4f}"
    if confusion is not None:
        measured = f"val_accuracy {confusion.accuracy:.4f}, measured on the saved file"
        as_trained = confusion.accuracy if result.unknown is None else result.unknown.accuracy_without
        if as_trained != result.best["val_accuracy"]:
            measured += f"; {result.best['val_accuracy']:.4f} during training, in {run.precision}"
        for remark in confusion.remarks():
            logger.warning("%s", remark)
    if confusion is not None and confusion.accuracy < POOR and lacks_backbone(run.data, run.train):
        logger.info("%s", TRY_BACKBONE)
    if result.unknown is not None:
        logger.info("Output `unknown`: %s", result.unknown.describe())
    logger.info("Saved the model of epoch %s (%s) as %s", result.best_epoch, measured, run_dir / BEST_MODEL)
    logger.info("Next: bin/export --run_dir=%s", shlex.quote(str(run_dir)))
