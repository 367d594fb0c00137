"""The model card: README.md in the layout of the Hugging Face hub, and the picture of example predictions."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import hh_fast
from hh_fast.config import ExportConfig
from hh_fast.data.pipeline import images_at
from hh_fast.evaluation.metrics import confusion_matrix, wilson_interval
from hh_fast.evaluation.plots import draw_images
from hh_fast.evaluation.tables import confusion_table, markdown_table
from hh_fast.export import snippets
from hh_fast.export.bundle_metadata import ExportedFile
from hh_fast.export.parity import SLOW_FORMATS, balanced
from hh_fast.export.trained_model import TrainedModel
from hh_fast.io.files import write_text

README, EXAMPLES = "README.md", "examples.png"
NUM_EXAMPLES = 12
PURPOSES = {
    "saved_model": "servers: TensorFlow, TensorFlow Serving",
    "float32": "reference; desktop and server without TensorFlow",
    "float16": "GPUs of phones; half the size at almost the same scores",
    "dynamic": "CPUs; float in and out, quarter of the size",
    "int8": "CPUs and accelerators of phones; pixels go in as they are",
    "int16x8": "accelerators with 16-bit activations",
}


def _front_matter(config: ExportConfig, trained: TrainedModel, accuracy: float) -> str:
    """YAML, of which JSON's strings, numbers and lists are a part."""
    quoted = json.dumps
    return f"""---
license: {quoted(config.license)}
library_name: tflite
pipeline_tag: image-classification
tags: ["image-classification", "tflite", "litert", "tensorflow", "keras", "mobile"]
metrics: ["accuracy"]
model-index:
- name: {quoted(trained.name)}
  results:
  - task:
      type: image-classification
    dataset:
      name: {quoted(trained.data.source.name)}
      type: {quoted(trained.data.source.name)}
      split: validation
    metrics:
    - type: accuracy
      value: {accuracy:.4f}
---
"""


def _formats_table(files: Mapping[str, ExportedFile]) -> str:
    threads = sorted({latency.num_threads for file in files.values() for latency in file.latency})
    rows = []
    for name, file in files.items():
        check = file.check
        ms = {latency.num_threads: f"{latency.median_ms:.2f} ({latency.p95_ms:.2f})" for latency in file.latency}
        rows.append(
            [
                f"`{file.file}`",
                PURPOSES[name],
                f"{file.bytes / 1e6:.2f}",
                *(ms.get(count, "") for count in threads),
                "" if file.peak_memory_bytes is None else f"{file.peak_memory_bytes / 1e6:.1f}",
                f"{check.accuracy:.4f}",
                f"{check.agreement:.4f}",
                f"{check.largest_difference:.1e}",
                str(check.num_images),
            ]
        )
    latencies = [f"ms, {count} {'thread' if count == 1 else 'threads'}" for count in threads]
    checks = ["accuracy", "same class", "largest difference", "images"]
    return markdown_table(["file", "for", "MB", *latencies, "memory MB", *checks], rows)


def _formats_notes(files: Mapping[str, ExportedFile], left_out: Mapping[str, str]) -> str:
    lines = [
        "Milliseconds are the median (95th percentile) of one image through LiteRT on the exporting machine's CPU, without decoding;"
        " memory is how far a process grows at its peak, on one thread. `same class`: share of the images on which the file names the"
        " Keras model's class. `largest difference`: of any score from the Keras model's. `images`: how many it was checked on.",
    ]
    lines += [
        f"\n`{name}` runs on reference kernels on CPUs (LiteRT has no fast ones there), so it is far slower than the others, and"
        f" was checked on {files[name].check.num_images} validation images."
        for name in SLOW_FORMATS
        if name in files
    ]
    lines += [f"\nNot in this bundle: {name}, which failed its check: {reason}" for name, reason in left_out.items()]
    return "\n".join(lines)


def _which_images(trained: TrainedModel) -> str:
    if trained.run is None or not trained.run.num_validation:
        return ""
    gone = (
        f" {trained.num_missing} more that it held out were not there any more at export."
        if trained.num_missing
        else ""
    )
    return (
        f" They are the images that training held out, by content.{gone} The weights kept are those of the epoch that was best"
        " on these same images, so new images may do a little worse."
    )


def _evaluation(trained: TrainedModel, labels: np.ndarray, reference: np.ndarray) -> str:
    class_names = trained.data.class_names
    matrix = confusion_matrix(labels, reference.argmax(axis=1), len(class_names))
    right, total = int(np.trace(matrix)), len(labels)
    low, high = wilson_interval(right, total)
    return (
        f"The Keras model names the right class of {right} of {total} validation images: accuracy {right / total:.4f}"
        f" (95% interval {low:.4f} to {high:.4f}).{_which_images(trained)}\n\n{confusion_table(matrix, class_names)}"
    )


def _training(trained: TrainedModel) -> str:
    data = trained.data
    classes = ", ".join(f"{int((data.train.labels == i).sum())} {name}" for i, name in enumerate(data.class_names))
    unchanged = trained.fingerprint == data.fingerprint
    lines = [
        f"{trained.num_train} images of `{data.source.name}`{f': {classes}' if unchanged else ''}. Fingerprint of the data:"
        f" `{trained.fingerprint}`."
    ]
    if data.source.name == "sample":
        lines.append(
            "They are drawn by hh_fast, not photographs: the model knows drawings of horses and humans, nothing else."
        )
    if run := trained.run:
        lines.append(
            f"Trained for {'up to ' if run.train.early_stopping_patience else ''}{run.train.epochs} epochs in batches of {run.batch_size} with {run.train.optimizer} at"
            f" {run.train.learning_rate}, seed {run.data.seed}, precision {run.precision}."
        )
    return " ".join(lines)


def _limits(trained: TrainedModel, num_validation: int) -> str:
    names = " or ".join(trained.data.class_names)
    height, width = trained.data.train.image_size
    return (
        f"- Every image is named {names}, whatever it shows; a score near {1 / len(trained.data.class_names):.2f} means that"
        " the model cannot tell.\n"
        "- Scores are not calibrated: 0.9 does not mean right in 9 of 10 cases.\n"
        f"- It was measured on {num_validation} images like those that it was trained on. Other cameras, backgrounds and poses"
        " can do worse: measure on images of your own, with `bin/predict --model=FILE FOLDER`.\n"
        f"- An image is stretched to {height} x {width} pixels without regard to its aspect.\n"
        "- It must not decide anything about people."
    )


def _text(
    config: ExportConfig,
    trained: TrainedModel,
    files: Mapping[str, ExportedFile],
    left_out: Mapping[str, str],
    labels: np.ndarray,
    reference: np.ndarray,
) -> str:
    accuracy = float((reference.argmax(axis=1) == labels).mean())
    height, width = trained.data.train.image_size
    names = ", ".join(trained.data.class_names)
    return f"""{_front_matter(config, trained, accuracy)}
# {trained.name}

Tells {" and ".join(trained.data.class_names)} apart on an image. Made by hh_fast {hh_fast.__version__}.

![Validation images with the model's class and score]({EXAMPLES})

## Model details

- **Version:** {config.model_version}. **Author:** {config.author}. **License:** {config.license}.
- **Input:** `image`, RGB, {height} x {width} pixels, values 0 to 255 as they are; the model scales them itself.
- **Output:** `scores`, one for each class, 0 to 1, together 1, in the order of `labels.txt`: {names}.
- **Made from:** a Keras model with SHA-256 `{trained.sha256}`; every file was compared with it (below).

## Files

{_formats_table(files)}

{_formats_notes(files, left_out)}

Each `.tflite` file has its metadata and labels inside. `metadata.json` holds all this for programs; check the files with
`sha256sum --check SHA256SUMS`.

## How to use

{snippets.text(files, (height, width))}

## Training

{_training(trained)}

## Evaluation

{_evaluation(trained, labels, reference)}

## Limits

{_limits(trained, len(labels))}
"""


def write(
    folder: Path,
    config: ExportConfig,
    trained: TrainedModel,
    files: Mapping[str, ExportedFile],
    left_out: Mapping[str, str],
    reference: np.ndarray,
) -> None:
    """Writes README.md and examples.png. `reference`: the Keras model's scores on all validation images."""
    names, split = trained.data.class_names, trained.validation
    chosen = balanced(split.labels, NUM_EXAMPLES, seed=0)
    predicted, labels = reference[chosen].argmax(axis=1), split.labels[chosen]
    titles = [
        f"{names[guess]} {reference[i, guess]:.3f}" + ("" if guess == label else f" (is {names[label]})")
        for i, guess, label in zip(chosen, predicted, labels, strict=True)
    ]
    draw_images(images_at(split, chosen), titles, predicted != labels, folder / EXAMPLES)
    write_text(folder / README, _text(config, trained, files, left_out, split.labels, reference))
