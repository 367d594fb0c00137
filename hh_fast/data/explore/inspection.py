"""What is in the folders, before anything is trained: counts, sizes, faults, duplicates, leaks. No TensorFlow."""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hh_fast.data.cache_mode import choose_cache
from hh_fast.data.headers import read_header
from hh_fast.data.image_form import ImageForm
from hh_fast.data.pixels import load
from hh_fast.data.scan import SUFFIXES, ImageFile, list_images, list_others, read_bytes, scan
from hh_fast.data.sources import Source
from hh_fast.data.split import DEFAULT_VALIDATION_SPLIT, hold_out, why_not_split
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores

# The format that each suffix promises.
PROMISED = {suffix: {".jpg": "jpeg", ".jfif": "jpeg"}.get(suffix, suffix[1:]) for suffix in SUFFIXES}


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """One folder of class sub-folders. All paths are as they are on disk.

    `counts` and `first_files` go by class; `image_sizes` ("WIDTHxHEIGHT"), `modes` (Pillow's: RGB, RGBA, L, P ...) and
    `formats` (by content) count the images that decode. `unreadable` has path and reason; `misnamed` has path, the
    format that the suffix promises, and the format that the content has; `ignored` are files that no class will use.
    """

    name: str
    directory: str
    counts: dict[str, int]
    first_files: dict[str, list[str]]
    image_sizes: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    unreadable: list[tuple[str, str]]
    misnamed: list[tuple[str, str, str]]
    ignored: list[str]


@dataclasses.dataclass(frozen=True)
class Report:
    """A data set.

    `duplicates` are groups of byte-identical images of one split, `leaks` groups that are in more than one split, and
    `conflicts` groups that are in more than one class. `problems` are what training will refuse. `cache_bytes` is what
    the decoded images take in each cache mode, at `image_size` (height, width), and `auto_cache` what --cache=auto chooses here.
    `held_out` counts by class what training would hold out for validation, or is None where it would not.
    """

    name: str
    note: str | None
    class_names: list[str]
    splits: list[SplitReport]
    image_size: tuple[int, int]
    cache_bytes: dict[str, dict[str, int]]
    auto_cache: str
    auto_cache_reason: str
    duplicates: list[list[str]]
    conflicts: list[list[str]]
    leaks: list[list[str]]
    problems: list[str]
    held_out: dict[str, int] | None


@dataclasses.dataclass(frozen=True)
class _Folder:
    name: str
    directory: Path
    class_names: list[str]
    labels: list[int]
    files: list[ImageFile]
    modes: list[str | None]
    reasons: list[str | None]


def inspect(
    source: Source,
    *,
    image_size: tuple[int, int],
    max_image_pixels: int,
    num_names: int,
    cache_root: Path,
    validation_split: float | None = None,
    seed: int = 0,
    bad_images: str = "error",
) -> Report:
    """Reads and decodes every image of the source once.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder.
    """
    places = [("train", source.train_dir)]
    if source.validation_dir is not None:
        places.append(("validation", source.validation_dir))
    folders = [_read(name, place, max_image_pixels) for name, place in places]
    groups = _identical(folders)
    share = DEFAULT_VALIDATION_SPLIT if validation_split is None else validation_split
    held_out, unsplit = _automatic_split(folders[0], share, seed) if len(folders) == 1 and share else (None, [])
    num_readable = sum(reason is None for folder in folders for reason in folder.reasons)
    kept = num_readable * ImageForm(image_size).num_bytes
    auto_cache, auto_cache_reason = choose_cache("auto", kept, cache_root)
    return Report(
        name=source.name,
        note=source.note,
        class_names=sorted({name for folder in folders for name in folder.class_names}),
        splits=[_report(folder, num_names) for folder in folders],
        image_size=image_size,
        cache_bytes={
            "memory": {"memory": kept, "disk": 0},
            "disk": {"memory": 0, "disk": kept},
            "none": {"memory": 0, "disk": 0},
        },
        auto_cache=auto_cache,
        auto_cache_reason=auto_cache_reason,
        duplicates=[[path for _, _, path in group] for group in groups if _has_repeats(group)],
        conflicts=[[path for _, _, path in group] for group in groups if len({name for _, name, _ in group}) > 1],
        leaks=[[path for _, _, path in group] for group in groups if len({split for split, _, _ in group}) > 1],
        problems=_problems(folders) + unsplit + _bad(folders, bad_images),
        held_out=held_out,
    )


def _read(name: str, directory: Path, max_image_pixels: int) -> _Folder:
    paths, labels, class_names = list_images(directory)
    files = scan(paths, max_image_pixels=max_image_pixels)
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        tried = list(pool.map(functools.partial(_decode, max_image_pixels=max_image_pixels), files))
    return _Folder(
        name, directory, class_names, labels.tolist(), files, [mode for mode, _ in tried], [why for _, why in tried]
    )


def _decode(file: ImageFile, max_image_pixels: int) -> tuple[str | None, str | None]:
    """(Pillow's mode, None), or (None, why the image cannot be used)."""
    if file.fault is not None:
        return None, file.fault
    try:
        data = read_bytes(file.path)
        return load(data, read_header(data, max_image_pixels=max_image_pixels)).mode, None
    except DataError as e:
        return None, str(e)
    except OSError as e:
        return None, e.strerror or str(e)


def _report(folder: _Folder, num_names: int) -> SplitReport:
    by_class: dict[str, list[str]] = {name: [] for name in folder.class_names}
    for label, file in zip(folder.labels, folder.files, strict=True):
        by_class[folder.class_names[label]].append(file.path)
    readable = [file for file, reason in zip(folder.files, folder.reasons, strict=True) if reason is None]
    return SplitReport(
        name=folder.name,
        directory=str(folder.directory),
        counts={name: len(paths) for name, paths in by_class.items()},
        first_files={name: [Path(path).name for path in paths[:num_names]] for name, paths in by_class.items()},
        image_sizes=_counted(f"{file.width}x{file.height}" for file in readable),
        modes=_counted(mode for mode in folder.modes if mode is not None),
        formats=_counted(file.format for file in readable if file.format is not None),
        unreadable=[
            (file.path, reason) for file, reason in zip(folder.files, folder.reasons, strict=True) if reason is not None
        ],
        misnamed=[
            (file.path, PROMISED[suffix], file.format)
            for file in folder.files
            if file.format is not None and PROMISED[suffix := Path(file.path).suffix.lower()] != file.format
        ],
        ignored=list_others(folder.directory),
    )


def _counted(values: Iterator[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0])))


_Member = tuple[str, str, str]  # split, class, path


def _identical(folders: Sequence[_Folder]) -> list[list[_Member]]:
    """Groups of two or more images with the same bytes."""
    groups: dict[str, list[_Member]] = {}
    for folder in folders:
        for label, file in zip(folder.labels, folder.files, strict=True):
            if file.fault is None:
                groups.setdefault(file.sha256, []).append((folder.name, folder.class_names[label], file.path))
    return [group for group in groups.values() if len(group) > 1]


def _has_repeats(group: Sequence[_Member]) -> bool:
    return len({split for split, _, _ in group}) < len(group)


def _automatic_split(folder: _Folder, share: float, seed: int) -> tuple[dict[str, int] | None, list[str]]:
    """How many images of each class are held out, or None and why not; as training does it."""
    if set(folder.labels) != set(range(len(folder.class_names))):
        return None, []  # a problem anyway
    labels = np.asarray(folder.labels)
    contents = [file.path if file.fault else file.sha256 for file in folder.files]
    if why := why_not_split(labels, contents, [folder.directory / name for name in folder.class_names]):
        return None, [why]
    held = hold_out(labels, contents, share, seed)[1]
    counts = np.bincount(labels[held], minlength=len(folder.class_names))
    return dict(zip(folder.class_names, counts.tolist(), strict=True)), []


def _bad(folders: Sequence[_Folder], bad_images: str) -> list[str]:
    """What bad images do to training, where they are an error and where they are skipped."""
    reasons = [reason for folder in folders for reason in folder.reasons]
    num_bad = len(reasons) - reasons.count(None)
    if num_bad and bad_images == "error":
        return [f"{num_bad} of {len(reasons)} images cannot be used: mend or remove them, or give --bad_images=skip"]
    return [
        f"none of the images in {folder.directory / name} can be used"
        for folder in folders
        for label, name in enumerate(folder.class_names)
        if label in folder.labels
        and all(why for at, why in zip(folder.labels, folder.reasons, strict=True) if at == label)
    ]


def _problems(folders: Sequence[_Folder]) -> list[str]:
    found = []
    for folder in folders:
        if len(folder.class_names) < 2:
            found.append(f"only one class, {folder.class_names[0]}, in {folder.directory}")
        for label, name in enumerate(folder.class_names):
            if label not in folder.labels:
                found.append(f"no images in {folder.directory / name}")
    if len(folders) == 2 and folders[0].class_names != folders[1].class_names:
        lists = [f"{folder.directory} has {', '.join(folder.class_names)}" for folder in folders]
        found.append(f"the classes differ: {' and '.join(lists)}")
    return found
