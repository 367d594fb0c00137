"""Before anything is timed: all paths must yield the same labels and pixels for the same files."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.process import describe_failure
from benchmarks.race.inputs import Epochs, InputPath, input_paths
from benchmarks.race.names import READ_GENERATOR, READ_OWN, READ_STOCK
from benchmarks.race.workload import Workload
from hh_fast.errors import CheckError

LOSSLESS = ("PNG", "BMP", "GIF")
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
# JPEG decoders differ in their inverse transforms; a mean difference beyond this, of 255, is no rounding.
MAX_JPEG_MEAN = 3.0
# Two bilinear resizers may round differently.
MAX_RESIZED = 1.0
TURNED, NEAREST, JPEG = (
    "does not heed EXIF orientation",
    "resizes by nearest neighbor",
    "decodes JPEG by another transform",
)


def excuse(file: str, path: InputPath, image_size: tuple[int, int]) -> tuple[str | None, float]:
    """Why the path may give other pixels than hh_fast does, or None, and the difference, of 255, that it then may have."""
    with Image.open(file) as image:
        resized = image.size != image_size[::-1]
        if not path.name.startswith("hh_fast"):
            if image.getexif().get(ORIENTATION, 1) != 1:
                return TURNED, np.inf
            if resized and path.by_pillow:
                return NEAREST, np.inf
            if image.format not in LOSSLESS:
                return JPEG, np.inf
    return None, MAX_RESIZED if resized else 0.0


def _pairs(
    epochs: Epochs, reference: Epochs, num_images: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.int64, np.int64]]:
    """Each image of one epoch, the reference's, and the labels of the two, in the files' order."""
    for batch, own in itertools.zip_longest(epochs(0, 1), reference(0, 1)):
        if batch is None or own is None or tuple(batch[0].shape) != tuple(own[0].shape):
            raise ValueError(
                f"it yields others of the {num_images} images that hh_fast reads (file types it does not know?)"
            )
        labels = (np.asarray(one[1]).reshape(-1).astype(np.int64) for one in (batch, own))
        yield from zip(np.asarray(batch[0]), np.asarray(own[0]), *labels, strict=True)


def _compare(path: InputPath, reference: Epochs, workload: Workload) -> list[str]:
    """What the path does otherwise by design, as sentences.

    Raises:
        CheckError: labels differ, or pixels by more than they may.
        ValueError: another number of images.
    """
    excused: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    scale = np.float32(path.to_uint8_scale)  # to 0..1 and back errs by under 1e-4
    files = workload.files
    pairs = _pairs(path.open(workload, shuffle=False), reference, len(files))
    for i, (image, own, label, own_label) in enumerate(pairs):
        name = Path(files[i]).resolve()
        if label != own_label:
            raise CheckError(f"{name}: {path.name} gives it label {label}, hh_fast {own_label}")
        difference = np.abs(np.rint(image * scale) - own)
        why, most = excuse(files[i], path, workload.data.size)
        if why:
            excused[why].append(np.array([difference.mean(), difference.max()]))
        elif difference.max() > most:
            raise CheckError(
                f"{name}: {path.name} reads other pixels than hh_fast (by up to {difference.max():.0f} of 255), so"
                " their times would not compare; convert the file to 8-bit RGB, or leave it out"
            )
    remarks = []
    for why, differences in excused.items():
        mean, largest = np.mean(differences, axis=0)[0], np.max(differences, axis=0)[1]
        text = f"{len(differences)} images, by {mean:.2f} of 255 on average and {largest:.0f} at most"
        if why == JPEG and mean > MAX_JPEG_MEAN:
            raise CheckError(f"{path.name} reads other JPEG pixels than hh_fast: {text}; leave out CMYK files")
        remarks.append(f"{READ_GENERATOR if path.by_pillow else READ_STOCK} {why}: {text}")
    return remarks


def check(paths: Sequence[InputPath], workload: Workload) -> tuple[dict[str, str], list[str]]:
    """Compares each path with hh_fast's on all files of the workload; called in a measuring process.

    Returns:
        Why paths cannot take part, by name; and sentences on pixels that differ by design.

    Raises:
        CheckError: labels or pixels that must be equal are not; the file is named.
    """
    failed: dict[str, str] = {}
    remarks: dict[str, None] = {}  # two paths of one reader say the same
    [reference] = [path.open(workload, shuffle=False) for path in input_paths() if path.name == READ_OWN]
    for path in paths:
        try:
            remarks |= dict.fromkeys(_compare(path, reference, workload))
        except CheckError:  # noqa: PERF203
            raise
        except Exception as e:  # a path that cannot read these files does not take part
            failed[path.name] = describe_failure(e)
    return failed, list(remarks)
