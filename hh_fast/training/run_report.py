"""What a finished run shows people: pictures, and a README with the measured figures and the command that repeats it."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.data.load import Data, Split
from hh_fast.data.pipeline import eval_batches, images_at
from hh_fast.evaluation.metrics import class_probabilities, confusion_matrix, wilson_interval
from hh_fast.evaluation.plots import draw_confusion, draw_curves, draw_images, shortened
from hh_fast.evaluation.tables import confusion_table, markdown_table
from hh_fast.io.files import write_text
from hh_fast.io.typed_json import to_json
from hh_fast.training.run_record import RunConfig, RunResult

logger = logging.getLogger(__name__)

CURVES, CONFUSION, WORST, README = "curves.png", "confusion.png", "worst.png", "README.md"
MAX_WORST = 16
FILES = (CURVES, CONFUSION, WORST, README)
EVAL_BATCH = 32


def training_command(run: RunConfig) -> str:
    """The command that asks for this run: the flags that are not the default."""
    words = ["bin/train"]
    for config in (run.data, run.train):
        defaults = to_json(type(config)())
        for name, value in to_json(config).items():
            if value == defaults[name] or name == "overwrite":
                continue
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{name}={text.lower() if isinstance(value, bool) else text}")
    return shlex.join(words)


def _draw_worst(split: Split, chances: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """The images of lowest probability for their true class, worst first."""
    of_true, predicted = chances[np.arange(len(split.labels)), split.labels], chances.argmax(axis=1)
    worst = np.argsort(of_true, kind="stable")[:MAX_WORST]
    titles = []
    for i in worst:
        name, guess = class_names[split.labels[i]], class_names[predicted[i]]
        text = name if guess == name else f"{name}, taken for {guess}"
        titles.append(f"{text}\np({name}) = {of_true[i]:.3f}\n{shortened(Path(split.paths[i]).name)}")
    draw_images(images_at(split, worst), titles, predicted[worst] != split.labels[worst], path)


def saved_probabilities(path: Path, split: Split) -> np.ndarray:
    """Probabilities of every class, float32 (n, num_classes), that the saved model gives the images of `split`.

    The step may compute in another precision than the file does; what is told of the file is measured on the file.
    """
    model = keras.models.load_model(path, compile=False)
    forward = tf.function(lambda images: model(tf.cast(images, tf.float32), training=False), reduce_retracing=True)
    batches = eval_batches(split, batch_size=EVAL_BATCH)
    return class_probabilities(np.concatenate([forward(images).numpy() for images, _ in batches]))


def _validation_part(
    run_dir: Path, split: Split, class_names: tuple[str, ...], best_epoch: int | None, chances: np.ndarray
) -> list[str]:
    matrix = confusion_matrix(split.labels, chances.argmax(axis=1), len(class_names))
    right = int(np.trace(matrix))
    low, high = wilson_interval(right, split.num_images)
    draw_confusion(matrix, class_names, run_dir / CONFUSION, title=f"Validation, epoch {best_epoch}")
    _draw_worst(split, chances, class_names, run_dir / WORST)
    return [
        f"Validation accuracy of `model.keras` (epoch {best_epoch}, the best): **{right / split.num_images:.4f}**,"
        f" {right} of {split.num_images} images; 95% interval {low:.3f} to {high:.3f}."
        " The epoch was chosen on these same images, so expect a little less on others.",
        "",
        confusion_table(matrix, class_names),
        "",
        f"![confusion matrix]({CONFUSION})",
        "",
        f"The validation images with the lowest probability of their own class (`{WORST}`):",
        "",
        f"![worst images]({WORST})",
    ]


def write_report(
    run_dir: Path,
    run: RunConfig,
    data: Data,
    history: list[dict[str, float]],
    result: RunResult,
    chances: np.ndarray | None,
) -> None:
    """Draws the pictures and writes README.md into the run folder.

    `chances`: what model.keras gives the validation images, where there are any, as of `saved_probabilities`.
    """
    draw_curves(history, run_dir / CURVES)
    last = result.last
    measured: list[list[str]] = [
        ["last epoch: training loss, accuracy", f"{last['loss']:.4f}, {last['accuracy']:.4f}"],
        ["last epoch: images a second in training steps", f"{last['images_per_second']:.0f}"],
        ["last epoch: share of step time waited for input", f"{100 * last['input_wait']:.2f}%"],
        ["images a step", str(run.batch_size)],
        ["byte-identical copies", data.copies],
        ["peak memory", f"{result.peak_memory_bytes / 1e6:.0f} MB"],
        ["device", ", ".join(run.devices)],
        ["precision, XLA", f"{run.precision}, {'on' if run.jit_compile else 'off'}"],
        ["augmentation", str(Augmentation(**run.train.augmentation()))],
        ["cache", run.cache],
        *([name, number or "none"] for name, number in run.versions.items()),
        *([["starting model (SHA-256)", f"`{run.starting_model[:16]}…`"]] if run.starting_model else []),
        ["data fingerprint (SHA-256)", f"`{run.fingerprint[:16]}…`"],
    ]
    lines = [
        f"# A run of hh_fast: {', '.join(data.class_names)}",
        "",
        f"{data.train.num_images} training images ({data.source.name}), {run.num_validation} validation images,"
        f" {len(history)} {'epoch' if len(history) == 1 else 'epochs'}. Made by:",
        "",
        f"    {training_command(run)}",
        "",
        *(
            _validation_part(run_dir, data.validation, data.class_names, result.best_epoch, chances)
            if data.validation and chances is not None
            else ["No validation images."]
        ),
        "",
        f"![curves]({CURVES})",
        "",
        markdown_table(["measured", "value"], measured),
        "",
        "Files: `model.keras` (best epoch), `last.keras`, `history.csv`, `held_out.csv` (the validation images), `config.json`, `result.json`, `tensorboard/`.",
        "",
    ]
    write_text(run_dir / README, "\n".join(lines))
