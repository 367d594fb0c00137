"""What is in the folders, before anything is trained: counts, sizes, faults, duplicates, leaks. No TensorFlow."""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hh_fast.config import DataConfig
from hh_fast.data.cache_mode import choose_cache
from hh_fast.data.image_form import ImageForm
from hh_fast.data.listing import Listing, hold_out_share, list_source, why_unfit
from hh_fast.data.pixels import mode_or_fault
from hh_fast.data.scan import SUFFIXES, list_others, scan
from hh_fast.data.sources import Source
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
    """A listing, and of each of its images Pillow's mode, or why it cannot be used."""

    listing: Listing
    modes: Sequence[str | None]
    reasons: Sequence[str | None]

    def bad(self) -> list[tuple[str, str]]:
        return [(path, why) for path, why in zip(self.listing.paths, self.reasons, strict=True) if why is not None]


def inspect(source: Source, config: DataConfig, *, num_names: int) -> Report:
    """Reads and decodes every image of the source once; of each class `num_names` file names are shown.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder.
    """
    folders = [_read(listing, config.max_image_pixels) for listing in list_source(source)]
    listings = [folder.listing for folder in folders]
    groups = _identical(listings)
    bad = [image for folder in folders for image in folder.bad()]
    num_images = sum(len(listing.paths) for listing in listings)
    splits, problems = _as_trained(listings, config)
    if bad and config.bad_images == "error":
        problems.append(
            f"{len(bad)} of {num_images} images cannot be used: mend or remove them, or give --bad_images=skip"
        )
    elif not problems:
        problems = [problem for split in splits for problem in split.unusable_classes({path for path, _ in bad})]
    kept = (num_images - len(bad)) * ImageForm(config.size).num_bytes
    auto_cache, auto_cache_reason = choose_cache("auto", kept, config.cache_root)
    return Report(
        name=source.name,
        note=source.note,
        class_names=sorted({name for listing in listings for name in listing.class_names}),
        splits=[_report(folder, num_names) for folder in folders],
        image_size=config.size,
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
        problems=problems,
        held_out=_counts(splits[1]) if len(splits) > len(listings) else None,
    )


def _read(listing: Listing, max_image_pixels: int) -> _Folder:
    files = scan(listing.paths, max_image_pixels=max_image_pixels)
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        look = functools.partial(mode_or_fault, max_image_pixels=max_image_pixels)
        modes, reasons = zip(*pool.map(look, listing.paths), strict=True) if listing.paths else ((), ())
    return _Folder(dataclasses.replace(listing, files=files), modes, reasons)


def _as_trained(listings: list[Listing], config: DataConfig) -> tuple[list[Listing], list[str]]:
    """The splits that training makes of these folders, and why it refuses them, if it does."""
    problems = why_unfit(listings)
    if not problems and len(listings) == 1:
        try:
            return hold_out_share(listings[0], config.share_held_out, config.seed), []
        except DataError as e:
            problems.append(str(e))
    return listings, problems


def _counts(listing: Listing) -> dict[str, int]:
    counts = np.bincount(listing.labels, minlength=len(listing.class_names))
    return dict(zip(listing.class_names, counts.tolist(), strict=True))


def _report(folder: _Folder, num_names: int) -> SplitReport:
    listing = folder.listing
    readable = [file.header for file, reason in zip(listing.files, folder.reasons, strict=True) if reason is None]
    return SplitReport(
        name=listing.name,
        directory=str(listing.directory),
        counts=_counts(listing),
        first_files={
            name: [Path(listing.paths[i]).name for i in np.flatnonzero(listing.labels == label)[:num_names]]
            for label, name in enumerate(listing.class_names)
        },
        image_sizes=_by_frequency(f"{header.width}x{header.height}" for header in readable),
        modes=_by_frequency(mode for mode in folder.modes if mode is not None),
        formats=_by_frequency(header.format for header in readable if header.format is not None),
        unreadable=folder.bad(),
        misnamed=[
            (file.path, PROMISED[suffix], file.header.format)
            for file in listing.files
            if file.header.format is not None
            and PROMISED[suffix := Path(file.path).suffix.lower()] != file.header.format
        ],
        ignored=list_others(listing.directory),
    )


def _by_frequency(values: Iterator[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0])))


_Member = tuple[str, str, str]  # split, class, path


def _identical(listings: Sequence[Listing]) -> list[list[_Member]]:
    """Groups of two or more images with the same bytes."""
    groups: dict[str, list[_Member]] = {}
    for one in listings:
        for label, file in zip(one.labels.tolist(), one.files, strict=True):
            if file.fault is None:
                groups.setdefault(file.sha256, []).append((one.name, one.class_names[label], file.path))
    return [group for group in groups.values() if len(group) > 1]


def _has_repeats(group: Sequence[_Member]) -> bool:
    return len({split for split, _, _ in group}) < len(group)
