"""`bin/predict`: what is on these images?"""

import collections
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hh_fast.cli import command
from hh_fast.config import PredictConfig
from hh_fast.errors import UsageError

if TYPE_CHECKING:
    from hh_fast.predict.files import Found
    from hh_fast.predict.stream import Prediction

SYNOPSIS = """\
bin/predict --model=MODEL IMAGE...: names the class of each image, as `path: humans 0.983`.
An IMAGE is a file, a folder (with its sub-folders), a glob in quotes, or - for paths on standard input. Where a
folder's sub-folders are the classes, accuracy and the confusion matrix follow on standard error. Exit code 2 if any image
was unreadable.
A .tflite needs no TensorFlow."""

SIGPIPE_EXIT = 141


def _counted(found: "Iterable[Found]") -> "Iterator[Found]":
    """Passes `found` through, and shows how far it is on a terminal that shows nothing else."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from found
        return
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(found, 1):
        yield item
        now = time.monotonic()
        if now - last > 0.2:
            last = now
            print(f"\r{count} images, {count / (now - start):.0f} a second ", end="", file=sys.stderr, flush=True)
    print(f"\r{count} images in {time.monotonic() - start:.1f} s        ", file=sys.stderr)


def _tell_left_out(kinds: "collections.Counter[str]") -> None:
    if kinds:
        from hh_fast.data.scan import describe_left_out

        print(f"Left out {kinds.total()} files: {describe_left_out(kinds)}", file=sys.stderr)


def _non_empty(
    found: "Iterator[Found]", arguments: Sequence[str], left_out: "collections.Counter[str]"
) -> "Iterator[Found]":
    first = next(found, None)
    if first is None:
        _tell_left_out(left_out)
        raise UsageError(
            "`image` must be a PNG, JPEG, BMP, GIF or WebP file, a folder or glob of them, or - for paths on standard input."
            f" Received nothing but: {' '.join(arguments)}"
        )
    return itertools.chain([first], found)


def _report_fault(fault: str) -> None:
    print(f"predict: {command.one_line(fault)}", file=sys.stderr)


def _write_lines(predictions: "Iterable[Prediction]", class_names: Sequence[str], config: PredictConfig) -> int:
    from hh_fast.predict import output

    summary = output.Summary(class_names)
    top = min(config.top, len(class_names))
    line: output.Line = output.json_line if config.json else output.csv_line if config.csv else output.text_line
    if config.csv:
        print(output.csv_header(top))
    for prediction in predictions:
        summary.add(prediction)
        if prediction.fault is not None:
            _report_fault(prediction.fault)
        if prediction.fault is None or config.json or config.csv:
            print(command.one_line(line(prediction, class_names, top)))
    if text := summary.to_text():
        print(text, file=sys.stderr)
    if summary.num_unreadable:
        _report_fault(f"{summary.num_unreadable} of {summary.num_images} images could not be read, as named above")
    return 2 if summary.num_unreadable else 0


def _predict(config: PredictConfig, arguments: Sequence[str]) -> int:
    from hh_fast.predict.files import find_images
    from hh_fast.predict.opening import open_classifier
    from hh_fast.predict.stream import image_reader, predict, predict_bytes

    classifier = open_classifier(str(config.model))
    left_out: collections.Counter[str] = collections.Counter()
    images = find_images(arguments, classifier.class_names, sys.stdin.buffer, left_out)
    found = _counted(_non_empty(images, arguments, left_out))
    if config.signature == "bytes":
        predictions = predict_bytes(classifier, found, max_image_pixels=config.max_image_pixels)
    else:
        read = image_reader(classifier.image_size, max_image_pixels=config.max_image_pixels)
        predictions = predict(classifier, found, read, batch_size=config.batch_size)
    code = _write_lines(predictions, classifier.class_names, config)
    _tell_left_out(left_out)
    return code


def _compare(config: PredictConfig, arguments: Sequence[str]) -> int:
    from hh_fast.io.typed_json import to_json
    from hh_fast.predict.disagreement import compare, draw
    from hh_fast.predict.files import find_images
    from hh_fast.predict.opening import open_classifier
    from hh_fast.predict.stream import image_reader

    one, other = open_classifier(str(config.model)), open_classifier(str(config.compare))
    read = image_reader(one.image_size, max_image_pixels=config.max_image_pixels)
    left_out: collections.Counter[str] = collections.Counter()
    images = find_images(arguments, one.class_names, sys.stdin.buffer, left_out)
    found = _counted(_non_empty(images, arguments, left_out))
    comparison = compare(one, other, found, read, batch_size=config.batch_size)
    for fault in comparison.unreadable:
        _report_fault(fault)
    if config.json:
        print(json.dumps(to_json(comparison)))
    else:
        print("\n".join(map(command.one_line, comparison.lines())))
    _tell_left_out(left_out)
    draw(comparison, read, Path(config.picture))
    print(f"Drawn to {config.picture}", file=sys.stderr)
    return 2 if comparison.unreadable else 0


def body(config: PredictConfig, arguments: Sequence[str]) -> int:
    if not arguments:
        raise UsageError(
            "`image` must be given: a file, a folder, a glob, or - for paths on standard input. Received: nothing"
        )
    try:
        code = _predict(config, arguments) if config.compare is None else _compare(config, arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGPIPE_EXIT
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(body, name="predict", synopsis=SYNOPSIS, configs=(PredictConfig,), arguments=arguments)
