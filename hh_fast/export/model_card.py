"""The model card: README.md in the format of the Hugging Face hub, and a picture of example predictions."""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import hh_fast
from hh_fast.config import UNKNOWN, ExportConfig
from hh_fast.data.pipeline import images_at
from hh_fast.evaluation.confusion import Confusion
from hh_fast.evaluation.plots import draw_images
from hh_fast.evaluation.tables import markdown_table
from hh_fast.export.bundle_metadata import ExportedFile
from hh_fast.export.parity import SLOW_FORMATS, balanced
from hh_fast.export.trained_model import TrainedModel
from hh_fast.io.files import write_text
from hh_fast.io.text import listed

README, EXAMPLES = "README.md", "examples.png"
CARD = Path(__file__).parent / "card"
# The most suitable format for phones and pages first.
PHONE_ORDER = ("int8", "dynamic", "float16", "float32", "int16x8")
PYTHON_ORDER = ("float32", "float16", "dynamic", "int16x8", "int8")
NUM_EXAMPLES = 12
PURPOSES = {
    "saved_model": "servers: TensorFlow, TensorFlow Serving",
    "float32": "reference; desktop and server without TensorFlow",
    "float16": "phone GPUs; half the size with almost the same scores",
    "dynamic": "CPUs; a quarter of the size, float input and output",
    "int8": "phone CPUs and accelerators; takes raw pixels",
    "int16x8": "accelerators with 16-bit activations",
}


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
        f"On CPUs, `{name}` runs on LiteRT's reference kernels and is far slower than the others, so it was checked on only"
        f" {files[name].check.num_images} validation images.\n\n"
        for name in SLOW_FORMATS
        if name in files
    ]
    lines += [f"Not in this bundle: {name}, which failed its check: {reason}\n\n" for name, reason in left_out.items()]
    return "".join(lines)


def _which_images(trained: TrainedModel) -> str:
    if trained.run is None or not trained.run.num_validation:
        return ""
    gone = f" {trained.num_missing} other held-out images no longer existed at export." if trained.num_missing else ""
    return (
        f" These are the images that training held out, identified by content.{gone} The best epoch was chosen on these same"
        " images, so expect slightly less on new images."
    )


def _training(trained: TrainedModel) -> str:
    pairs = zip(trained.train.images.counts(), trained.train.images.class_names, strict=True)
    classes = listed([f"{count} {name}" for count, name in pairs])
    unchanged = trained.fingerprint == trained.current_fingerprint
    lines = [
        f"{trained.num_train} images of `{trained.data_name}`{f': {classes}' if unchanged else ''}. Data fingerprint:"
        f" `{trained.fingerprint}`."
    ]
    if trained.data_name == "sample":
        lines.append(
            "These are drawings made by hh_fast, not photos: the model works only on such drawings of horses and humans."
        )
    if trained.run and (backbone := trained.run.backbone):
        lines.append(
            f"It starts from {backbone.name}, pretrained on ImageNet: weights `{backbone.weights}` (SHA-256 `{backbone.sha256}`) from"
            f" {backbone.source}, license {backbone.license}."
        )
    if run := trained.run:
        lines.append(
            f"Trained for {'up to ' if run.train.early_stopping_patience else ''}{run.train.epochs} epochs in batches of {run.train.batch_size} with {run.train.optimizer} at"
            f" {run.train.learning_rate}, seed {run.data.seed}, precision {run.precision}."
        )
    return " ".join(lines)


def _unknown_table(trained: TrainedModel, reference: np.ndarray, files: Mapping[str, ExportedFile]) -> str:
    """The performance of the output `unknown` in each file; empty for a model without it."""
    if not trained.has_unknown:
        return ""
    labels = trained.validation.labels
    without = (reference[:, :-1].argmax(axis=1) == labels).mean()
    rows, header = [], ["file", "held-out images", "pictures of other things"]
    for file in files.values():
        if check := file.check.unknown:
            rows.append([f"`{file.file}`", f"{check.known:.1%}", f"{check.other:.1%}"])
            model, number = (f"{check.model_known:.1%}", f"{check.model_other:.1%}"), check.num_other
    other_dir = trained.run.train.other_dir if trained.run else None
    pictures = f"of `{Path(other_dir).name}`" if other_dir else "held-out images with shuffled tiles"
    return (
        f"`{UNKNOWN}` is its answer for a picture that resembles no training image. Accuracy without that answer: {without:.4f}."
        f" Fractions that are taken for a class (pictures of other things: {number} {pictures}):\n\n"
        f"{markdown_table(header, [['the Keras model', *model], *rows])}\n\n"
    )


def _limit_of_classes(classes: Sequence[str], *, has_unknown: bool) -> str:
    if has_unknown:
        return (
            "The background of an image counts too: a picture of the same surroundings without any of"
            f" {listed(classes)} may be taken for one of them."
        )
    named = " or ".join(classes) if len(classes) <= 10 else f"one of {listed(classes)}"
    return f"Every image is classified as {named}, whatever it shows; a score near {1 / len(classes):.2f} means that the model is undecided."


def _how_to_use(files: Mapping[str, ExportedFile], image_size: tuple[int, int]) -> str:
    """Example code for each platform for which the bundle has a file."""
    height, width = image_size
    parts = []
    if "int8" in files:
        parts.append(_filled("page", {"page_file": files["int8"].file}))
    if any(name in files for name in PHONE_ORDER):
        phone, python = (next(files[name] for name in order if name in files) for order in (PHONE_ORDER, PYTHON_ORDER))
        quantization = python.output.quantization if python.output else None
        values = {
            "phone_file": phone.file,
            "phone_stem": phone.file.removesuffix(".tflite"),
            "python_file": python.file,
            "height": height,
            "width": width,
            "dtype": "uint8" if quantization else "float32",
            "dequantize": f" * {quantization.scale:.8g}" if quantization else "",
        }
        parts.append(_filled("tflite", values))
    if "saved_model" in files:
        parts.append(_filled("saved_model", {}))
    return "\n".join(parts).removesuffix("\n")


def _filled(name: str, values: Mapping[str, object]) -> str:
    """The template card/`name`.md with `values` substituted."""
    return string.Template((CARD / f"{name}.md").read_text(encoding="utf-8")).substitute(values)


def write(
    folder: Path,
    config: ExportConfig,
    trained: TrainedModel,
    files: Mapping[str, ExportedFile],
    left_out: Mapping[str, str],
    reference: np.ndarray,
) -> None:
    """Writes README.md and examples.png. `reference`: the Keras model's scores on all validation images."""
    names, labels = trained.class_names, trained.validation.labels
    classes = trained.train.images.class_names
    predicted = reference.argmax(axis=1)
    chosen = balanced(labels, NUM_EXAMPLES, seed=0)
    wrong = (predicted != labels)[chosen]
    titles = [
        f"{names[predicted[i]]} {reference[i].max():.3f}" + (f" (is {names[labels[i]]})" if is_wrong else "")
        for i, is_wrong in zip(chosen, wrong, strict=True)
    ]
    draw_images(images_at(trained.validation, chosen), titles, wrong, folder / EXAMPLES)
    height, width = trained.image_size
    confusion = Confusion(labels, predicted, names)
    low, high = confusion.interval()
    card = _filled(
        "card",
        {
            # JSON strings are valid YAML.
            "quoted_license": json.dumps(config.license),
            "quoted_name": json.dumps(trained.name),
            "quoted_data": json.dumps(trained.data_name),
            "name": trained.name,
            "classes": listed(names),
            "classes_and": " and ".join(classes) if len(classes) <= 10 else listed(classes),
            "hh_fast_version": hh_fast.__version__,
            "examples": EXAMPLES,
            "version": config.model_version,
            "author": config.author,
            "license": config.license,
            "height": height,
            "width": width,
            "sha256": trained.sha256,
            "formats_table": _formats_table(files),
            "formats_notes": _formats_notes(files, left_out),
            "how_to_use": _how_to_use(files, (height, width)),
            "training": _training(trained),
            "num_right": confusion.num_right,
            "num_validation": len(labels),
            "accuracy": f"{confusion.accuracy:.4f}",
            "low": f"{low:.4f}",
            "high": f"{high:.4f}",
            "which_images": _which_images(trained),
            "confusion": confusion.to_markdown(),
            "unknown_table": _unknown_table(trained, reference, files),
            "limit_of_classes": _limit_of_classes(classes, has_unknown=trained.has_unknown),
        },
    )
    write_text(folder / README, card)
