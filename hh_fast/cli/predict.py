"""`bin/predict`: classifies images with any trained or exported model."""

import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hh_fast.cli import command
from hh_fast.config import PredictConfig
from hh_fast.errors import DataError, UsageError
from hh_fast.io.text import printable

if TYPE_CHECKING:
    from hh_fast.predict.files import ImageFile

SYNOPSIS = """\
bin/predict --model=MODEL IMAGE...: prints the class of each image, as `path: humans 0.983`.
An IMAGE is a file, a folder (with its sub-folders), a quoted glob, or - for paths on standard input. If the sub-folders
of a folder are named after the classes, accuracy and the confusion matrix follow on standard error. The exit code is 2 if
any image was unreadable. A .tflite file needs no TensorFlow."""


class _HeldOut:
    """Knows which images the model's run held out, and counts those that it was trained on."""

    def __init__(self, config: PredictConfig) -> None:
        from hh_fast.training.run import run_of

        self.only = config.held_out
        self.num_trained_on = 0
        self._hashes: frozenset[str] = frozenset()
        self._folder: Path | None = None
        run = run_of(Path(str(config.model)).expanduser())
        record = run.read_config() if run else None
        config.require(
            "held_out", record is not None or not self.only, "left out if --model does not belong to a run folder"
        )
        if run is not None and record is not None:
            self._hashes = frozenset(run.held_out)
            self._folder = Path(record.data.train_dir).resolve() if record.data.train_dir else None

    def pick(self, images: "Iterable[ImageFile]") -> "Iterator[ImageFile]":
        for image in images:
            path = Path(image.path)
            is_known = self._folder is not None and path.resolve().is_relative_to(self._folder)
            if self.only or is_known:
                try:
                    is_held_out = hashlib.sha256(path.read_bytes()).hexdigest() in self._hashes
                except OSError:  # reported when its pixels are read
                    is_held_out = self.only
                if self.only and not is_held_out:
                    continue
                self.num_trained_on += not is_held_out
            yield image


def _find_images(arguments: Sequence[str], class_names: Sequence[str], held_out: _HeldOut) -> "Iterator[ImageFile]":
    """The images, with a progress bar if standard output is not a terminal; at the end, reports the files left out."""
    from tqdm import tqdm

    from hh_fast.data.folders import PICTURES, count_left_out, describe_left_out
    from hh_fast.predict.files import find_images

    left_out: list[str] = []
    images = held_out.pick(find_images(arguments, class_names, sys.stdin.buffer, left_out))
    shown = tqdm(images, unit=" images", disable=not sys.stderr.isatty() or sys.stdout.isatty())
    count = 0
    for image in shown:
        count += 1
        yield image
    if left_out:
        print(describe_left_out(count_left_out(left_out)), file=sys.stderr)
    if held_out.num_trained_on:
        print(
            f"The model was trained on {held_out.num_trained_on} of these {count} images, so the accuracy is too high for new ones:"
            " --held_out classifies only the images that the run held out",
            file=sys.stderr,
        )
    if not count and held_out.only:
        raise DataError(
            "none of these images was held out for validation by the run: give the folder that it was trained on"
        )
    if not count:
        raise UsageError(
            f"`image` must be a {PICTURES} file, a folder or glob of them, or - for paths on standard input."
            f" Received only: {' '.join(arguments)}"
        )


def _report_fault(fault: str) -> None:
    print(f"predict: {printable(fault)}", file=sys.stderr)


def body(config: PredictConfig, arguments: Sequence[str]) -> int:
    if not arguments:
        raise UsageError(
            "`image` must be given: a file, a folder, a glob, or - for paths on standard input. Received: nothing"
        )
    from hh_fast.data.pixels import ImageForm, read_pixels
    from hh_fast.predict import output
    from hh_fast.predict.opening import load_classifier
    from hh_fast.predict.stream import predict, predict_bytes

    classifier = load_classifier(str(config.model))
    names = classifier.class_names
    found = _find_images(arguments, names, _HeldOut(config))
    if config.signature == "bytes":
        predictions = predict_bytes(classifier, found, max_image_pixels=config.max_image_pixels)
    else:
        form = ImageForm(classifier.image_size)
        read = functools.partial(read_pixels, form=form, max_image_pixels=config.max_image_pixels)
        predictions = predict(classifier, found, read, batch_size=config.batch_size)
    summary = output.Summary(names)
    top = min(config.top, len(names))
    line: output.Line = output.json_line if config.json else output.csv_line if config.csv else output.text_line
    if config.csv:
        print(output.csv_header(top))
    for prediction in predictions:
        summary.add(prediction)
        if prediction.fault is not None:
            _report_fault(prediction.fault)
        if prediction.fault is None or config.json or config.csv:
            print(printable(line(prediction, names, top)))
    if text := summary.to_text():
        print(text, file=sys.stderr)
    if summary.num_unreadable:
        _report_fault(f"{summary.num_unreadable} of {summary.num_images} images could not be read, see above")
    return 2 if summary.num_unreadable else 0


main = functools.partial(
    command.run, body, name="predict", synopsis=SYNOPSIS, configs=(PredictConfig,), takes_arguments=True
)
