"""Before anything is timed: all paths must yield the same pixels and labels for the same files."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hh_fast.augmentation import Augmentation, apply, draw
from hh_fast.bench import baselines
from hh_fast.bench.input_race import GENERATOR, OWN, STOCK, Epochs, InputPath, input_paths
from hh_fast.bench.results import Fairness
from hh_fast.bench.statistics import describe_failure
from hh_fast.bench.workload import Workload
from hh_fast.data.pixels import read_image
from hh_fast.errors import CheckError

LOSSLESS = ("PNG", "BMP", "GIF")
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
# JPEG decoders differ in their inverse transforms; a mean difference beyond this, of 255, is no rounding.
MAX_JPEG_MEAN = 3.0
# A uint8 is this far from the float32 that it rounds; but for a pixel on the image's very edge, which may be in or out.
MAX_ROUNDING = 0.51
NUM_AUGMENTED = 16
OTHER_IMAGES = "of the {} images that hh_fast reads (file types it does not know?)"


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

    @property
    def mean(self) -> float:
        return self.sum_of_means / self.num_images

    def text(self) -> str:
        return f"{self.num_images} images, by {self.mean:.2f} of 255 on average and {self.largest:.0f} at most"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Of a file, what decides whether two readers can give equal pixels."""

    lossless: bool
    resized: bool
    turned: bool

    def compared(self, path: InputPath) -> str:
        """`exact`, or where a reader does otherwise by design: `turned`, `resized` by another interpolation, `decoded`."""
        if path.name.startswith("hh_fast"):
            return "exact"
        if self.turned:
            return "turned"
        if self.resized and path.by_pillow:
            return "resized"
        return "exact" if self.lossless else "decoded"


def _kind(path: str, image_size: tuple[int, int]) -> _Kind:
    with Image.open(path) as image:
        turned = image.getexif().get(ORIENTATION, 1) != 1
        return _Kind(image.format in LOSSLESS, image.size != image_size[::-1], turned)


def _batches(epochs: Epochs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch's images as they are, and int64 labels (batch,), in the files' order."""
    for images, labels in epochs(0, 1):
        yield np.asarray(images), np.asarray(labels).reshape(-1).astype(np.int64)


def _path_differences(
    path: InputPath, reference: Epochs, workload: Workload, kinds: Sequence[_Kind]
) -> dict[str, _Differences]:
    """Those between the path's images and the reference's, by kind of file.

    Raises:
        CheckError: labels differ, or pixels that must not.
        ValueError: another number of images.
    """
    files = workload.files
    found = {"decoded": _Differences(), "resized": _Differences(), "turned": _Differences()}
    position = 0
    others = _batches(reference)
    scale = np.float32(path.to_uint8_scale)  # to 0..1 and back errs by under 1e-4
    for images, labels in _batches(path.open(workload, shuffle=False)):
        expected, expected_labels = next(others, (np.zeros(0), np.zeros(0)))
        if images.shape != expected.shape:
            raise ValueError(f"it yields others {OTHER_IMAGES.format(len(files))}")
        for i in range(len(labels)):
            file = str(Path(files[position + i]).resolve())
            if labels[i] != expected_labels[i]:
                raise CheckError(f"{file}: {path.name} gives it label {labels[i]}, hh_fast {expected_labels[i]}")
            difference = np.abs(np.rint(images[i] * scale) - expected[i])
            kind = kinds[position + i].compared(path)
            if kind != "exact":
                found[kind].add(difference)
            elif difference.max() > 0:
                raise CheckError(
                    f"{file}: {path.name} reads other pixels than hh_fast (by up to {difference.max():.0f} of 255), so"
                    " their times would not compare; convert the file to 8-bit RGB, or leave it out"
                )
        position += len(labels)
    if position != len(files):
        raise ValueError(f"it yields {position} {OTHER_IMAGES.format(len(files))}")
    return found


def _remarks(path: InputPath, found: dict[str, _Differences]) -> Iterator[str]:
    """What the path does otherwise by design, as sentences.

    Raises:
        CheckError: the decoded pixels differ by more than decoders do.
    """
    reader = GENERATOR if path.by_pillow else STOCK
    if found["turned"].num_images:
        yield f"{found['turned'].num_images} images are turned by their EXIF orientation, which only hh_fast heeds"
    if found["resized"].num_images:
        yield f"{reader} resizes by nearest neighbor, the others bilinear: {found['resized'].text()}"
    if found["decoded"].largest:
        if found["decoded"].mean > MAX_JPEG_MEAN:
            raise CheckError(
                f"{path.name} reads other JPEG pixels than hh_fast: {found['decoded'].text()}; leave out CMYK files"
            )
        yield f"{reader} decodes JPEG otherwise than hh_fast: {found['decoded'].text()}"


def check_augmentation(workload: Workload) -> str:
    """Compares hh_fast's augmentation with ImageDataGenerator's, of some images by equal parameters; called in a measuring process.

    Returns:
        What was found, as a sentence.

    Raises:
        CheckError: more than rounding lies between them.
    """
    height, width = size = workload.data.image_size
    other = "Keras' layers draw otherwise, resample once each, and have no shear"
    if height != width:
        return f"augmentation: not compared, since ImageDataGenerator turns images that are not square off their center; {other}"
    files = workload.files[:: max(1, len(workload.files) // NUM_AUGMENTED)][:NUM_AUGMENTED]
    images = [read_image(file, size, max_image_pixels=workload.data.max_image_pixels) for file in files]
    augmentation = Augmentation(**baselines.AUGMENTATION)
    drawn = draw(augmentation, size, seed=workload.data.seed, epoch=0, indices=np.arange(len(files)))
    found = _Differences()
    for i, (image, own) in enumerate(zip(images, apply(images, drawn), strict=True)):
        theirs = baselines.augmented_by_generator(image, {name: values[i] for name, values in drawn.items()})
        found.add(np.abs(theirs - own))
        if np.percentile(np.abs(theirs - own), 99.9) > MAX_ROUNDING:
            raise CheckError(f"{files[i]}: hh_fast and ImageDataGenerator augment it otherwise, by equal parameters")
    return (
        f"augmentation: by equal parameters, hh_fast and ImageDataGenerator differ by {found.mean:.2f} of 255 on average and"
        f" {found.largest:.1f} at most ({found.num_images} images); {other}"
    )


def check(paths: Sequence[InputPath], workload: Workload) -> Fairness:
    """Compares each path with hh_fast's on all files of the workload; called in a measuring process.

    That must not be forked any more, so paths by several processes, which read as those by threads do, are left out. Pixels of lossless files must be equal (after rounding to uint8), but where `ImageDataGenerator` resizes; those of JPEG
    files may differ as decoders do.

    Raises:
        CheckError: labels or pixels that must be equal are not; the file is named.
    """
    kinds = [_kind(file, workload.data.image_size) for file in workload.files]
    failed: dict[str, str] = {}
    remarks: dict[str, None] = {}  # two ways of one reader say the same
    [reference] = [path.open(workload, shuffle=False) for path in input_paths() if path.name == OWN]
    for path in (path for path in paths if not path.name.endswith("processes")):
        try:
            found = _path_differences(path, reference, workload, kinds)
        except CheckError:
            raise
        except Exception as e:  # a path that cannot read these files does not take part
            failed[path.name] = describe_failure(e)
            continue
        remarks |= dict.fromkeys(_remarks(path, found))
    num_exact = sum(kind == _Kind(lossless=True, resized=False, turned=False) for kind in kinds)
    return Fairness(len(kinds), num_exact, failed, tuple(remarks))
