"""Before anything is timed: all paths must yield the same pixels and labels for the same files."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hh_fast.bench.inputs import GeneratorInput, HHFastInput, InputPath
from hh_fast.bench.measure import describe_failure
from hh_fast.bench.window import Batch
from hh_fast.data.headers import format_and_size
from hh_fast.errors import CheckError

logger = logging.getLogger(__name__)

LOSSLESS = ("png", "bmp", "gif")
# hh_fast decodes JPEG accurately, Keras by the fast inverse transform; a mean difference beyond this is no rounding.
MAX_JPEG_MEAN = 3.0


@dataclasses.dataclass
class Fairness:
    """What the check found. `failed` maps a path's name to why it cannot take part; `remarks` are sentences for reports."""

    num_images: int
    num_exact: int = 0
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Differences:
    """Of images whose pixels may differ: how many, the largest difference, and the sum of their mean ones, of 255."""

    num_images: int = 0
    largest: float = 0.0
    sum_of_means: float = 0.0

    def add(self, difference: np.ndarray) -> None:
        self.num_images += 1
        self.largest = max(self.largest, float(difference.max()))
        self.sum_of_means += float(difference.mean())

    def text(self) -> str:
        mean = self.sum_of_means / self.num_images
        return f"{self.num_images} images, by {mean:.2f} of 255 on average and {self.largest:.0f} at most"


def _kind(path: str, image_size: tuple[int, int]) -> tuple[bool, bool]:
    """Whether a file is a JPEG (or of a format that is not lossless), and whether it has to be resized."""
    with Path(path).open("rb") as file:
        kind, width, height = format_and_size(file.read(1 << 16))
    return kind not in LOSSLESS, (height, width) != image_size


def _tolerance(path: InputPath, is_jpeg: bool, is_resized: bool) -> str:
    """`exact`, `jpeg` (another decoder) or `resized` (another interpolation): what may be asked of a path's pixels."""
    if isinstance(path, GeneratorInput) and is_resized:
        return "resized"
    return "exact" if isinstance(path, HHFastInput) or not is_jpeg else "jpeg"


def _to_levels(images: Any, scale: float) -> np.ndarray:
    """float32 (batch, height, width, 3), values 0 to 255; scaling and back leaves an error of under 1e-4."""
    values = np.asarray(images)
    return values.astype(np.float32) * scale if scale != 1.0 else values.astype(np.float32)


def _batches(path: InputPath) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    images: Batch
    for images, labels in path.ordered():
        yield _to_levels(images, path.to_uint8_scale), np.asarray(labels).reshape(-1).astype(np.int64)


def _compare_path(
    path: InputPath, reference: InputPath, files: Sequence[str], kinds: Sequence[tuple[bool, bool]]
) -> dict[str, _Differences]:
    """Differences by kind of file.

    Raises:
        CheckError: labels differ, or pixels that must not.
        ValueError: another number of images.
    """
    found = {"jpeg": _Differences(), "resized": _Differences()}
    position = 0
    others = _batches(reference)
    for images, labels in _batches(path):
        expected, expected_labels = next(others, (np.zeros(0), np.zeros(0)))
        if images.shape != expected.shape:
            raise ValueError(
                f"it yields other images than the {len(files)} that hh_fast reads (file types it does not know?)"
            )
        for i in range(len(labels)):
            file = str(Path(files[position + i]).resolve())
            if labels[i] != expected_labels[i]:
                raise CheckError(f"{file}: {path.name} gives it label {labels[i]}, hh_fast {expected_labels[i]}")
            difference = np.abs(np.rint(images[i]) - expected[i])
            tolerance = _tolerance(path, *kinds[position + i])
            if tolerance != "exact":
                found[tolerance].add(difference)
            elif difference.max() > 0:
                raise CheckError(
                    f"{file}: {path.name} reads other pixels than hh_fast (by up to {difference.max():.0f} of 255), so"
                    " their times would not compare; convert the file to 8-bit RGB, or leave it out"
                )
        position += len(labels)
    if position != len(files):
        raise ValueError(
            f"it yields {position} of the {len(files)} images that hh_fast reads (file types it does not know?)"
        )
    return found


def check(paths: Sequence[InputPath], reference: InputPath, files: Sequence[str]) -> Fairness:
    """Compares each path with `reference` on all `files`, which are in the paths' order.

    Between hh_fast and `image_dataset_from_directory` every pixel of lossless files must be equal (after rounding to uint8);
    between hh_fast and `ImageDataGenerator` those of lossless files that are not resized.

    Raises:
        CheckError: labels or pixels that must be equal are not; the file is named.
    """
    kinds = [_kind(file, reference.image_size) for file in files]
    result = Fairness(len(files), num_exact=kinds.count((False, False)))
    for path in paths:
        try:
            found = _compare_path(path, reference, files, kinds)
        except CheckError:
            raise
        except Exception as e:  # a path that cannot read these files does not take part
            result.failed[path.name] = describe_failure(e)
            continue
        if isinstance(path, GeneratorInput) and path.feeding.workers > 1:
            continue
        if found["resized"].num_images:
            result.remarks.append(
                f"ImageDataGenerator resizes by nearest neighbor, the others bilinear: {found['resized'].text()}"
            )
        jpeg = found["jpeg"]
        if jpeg.sum_of_means > MAX_JPEG_MEAN * jpeg.num_images:
            raise CheckError(
                f"{path.name} reads other JPEG pixels than hh_fast: {jpeg.text()}; leave out what EXIF turns, or CMYK"
            )
        if jpeg.largest:
            result.remarks.append(f"{path.name} decodes JPEG by another transform than hh_fast: {jpeg.text()}")
    return result
