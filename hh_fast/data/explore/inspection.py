"""What is in the folders, before anything is trained: counts, sizes, faults, duplicates, leaks. No TensorFlow."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hh_fast.config import DataConfig
from hh_fast.data.copies import FINDS_SCENES
from hh_fast.data.explore.labels import Suspect, Unlike, find_suspects, find_unlike
from hh_fast.data.features import backbone_features
from hh_fast.data.folders import SUFFIXES, Found
from hh_fast.data.images import Images, conflicts, identical, list_images, why_empty, why_unfit
from hh_fast.data.pixels import ImageForm, stored_mode
from hh_fast.data.reading import in_threads, read_file
from hh_fast.data.sources import Source
from hh_fast.data.split import hold_out_share, resembling
from hh_fast.data.store import choose_cache
from hh_fast.errors import DataError

# The format that each suffix promises.
PROMISED = {suffix: {".jpg": "jpeg", ".jfif": "jpeg", ".heif": "heic"}.get(suffix, suffix[1:]) for suffix in SUFFIXES}


PURPOSES = ("training", "validation")


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """One folder of class sub-folders. All paths are as they are on disk.

    `counts` and `first_files` go by class; `image_sizes` ("WIDTHxHEIGHT"), `modes` (Pillow's: RGB, RGBA, L, P ...) and
    `formats` (by content) count the images that decode. `unreadable` has path and reason, of folders too; `misnamed` has path, the
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
    `conflicts` groups that are in more than one class. `near_copies` are groups of images that show the same picture in other
    bytes, the first the one that all the others resemble, of all splits. `problems` are what training will refuse. `cache_bytes` is what
    the decoded images take in each cache mode, at `image_size` (height, width), and `auto_cache` what --cache=auto chooses here.
    `held_out` counts by class what training would hold out for validation, or is None where it would not. `wrong_folder` are the
    photos that look like another class, the least probable label first, and `unlike_others` those far from every other of their
    class, the farthest first; both are None without a pretrained network.
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
    near_copies: list[list[str]]
    problems: list[str]
    held_out: dict[str, int] | None
    wrong_folder: list[Suspect] | None
    unlike_others: list[Unlike] | None


def inspect(
    source: Source,
    config: DataConfig,
    *,
    num_names: int,
    backbone: str | None = None,
    backbone_weights: str | None = None,
) -> Report:
    """Reads and decodes every image of the source once; of each class `num_names` file names are shown.

    With a `backbone`, as of bin/train, labels are looked at by its features, which are kept on disk for that too.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder; weights of the backbone that cannot be used.
        OSError: features that cannot be written.
    """
    names, tables, found = [], [], []
    thumbnails: dict[str, np.ndarray] = {}
    read = functools.partial(read_file, max_image_pixels=config.max_image_pixels, decodes=True, thumbnails=thumbnails)
    for name, folder in (("train", source.train_dir), ("validation", source.validation_dir)):
        if folder is not None:
            images, files = list_images(folder)
            sha256, headers = zip(*in_threads(read, images.paths), strict=True) if len(images) else ((), ())
            names.append(name)
            tables.append(dataclasses.replace(images, sha256=sha256, headers=headers))
            found.append(files)
    num_bad, num_images = sum(len(one.bad()) for one in tables), sum(map(len, tables))
    skips = config.bad_images == "skip"
    features = backbone_features(tables, backbone, backbone_weights, config) if backbone else None
    alike = resembling(tables, thumbnails, config, features if backbone in FINDS_SCENES else None)
    problems, held_out = why_unfit(tables, found, skips=skips), None
    splits = tables
    if not problems and len(tables) == 1:
        try:
            splits = [tables[0].select(rows) for rows in hold_out_share(tables[0], config, alike)]
            held_out = _counts(splits[1].select(splits[1].good())) if len(splits) == 2 else None
        except DataError as e:
            problems.append(str(e))
    if num_bad and not skips:
        problems.append(
            f"{num_bad} of {num_images} images cannot be used: mend or remove them, or give --bad_images=skip"
        )
    elif not problems:
        problems = [text for name, one in zip(PURPOSES, splits, strict=False) for text in why_empty(one, name)]
    kept = (num_images - num_bad) * ImageForm(config.size).num_bytes
    auto_cache, auto_cache_reason = choose_cache("auto", kept, config.cache_root)
    wrong_folder, unlike_others = _look_at_labels(tables, features[0], alike) if features else (None, None)
    groups = identical(tables)
    paths = [[tables[number].paths[row] for number, row in group] for group in groups]
    sides = [[number for number, _ in group] for group in groups]
    return Report(
        name=source.name,
        note=source.note,
        class_names=sorted({name for one in tables for name in one.class_names}),
        splits=[_report(*split, num_names) for split in zip(names, tables, found, strict=True)],
        image_size=config.size,
        cache_bytes={
            "memory": {"memory": kept, "disk": 0},
            "disk": {"memory": 0, "disk": kept},
            "none": {"memory": 0, "disk": 0},
        },
        auto_cache=auto_cache,
        auto_cache_reason=auto_cache_reason,
        duplicates=[group for group, side in zip(paths, sides, strict=True) if len(set(side)) < len(side)],
        conflicts=conflicts(tables),
        leaks=[group for group, side in zip(paths, sides, strict=True) if len(set(side)) > 1],
        near_copies=_near_copies(tables, alike),
        problems=problems,
        held_out=held_out,
        wrong_folder=wrong_folder,
        unlike_others=unlike_others,
    )


def _look_at_labels(
    tables: Sequence[Images], features: np.ndarray, alike: np.ndarray
) -> tuple[list[Suspect], list[Unlike]]:
    """What the features say of the labels of all images that can be used."""
    class_names = sorted({name for images in tables for name in images.class_names})
    names = [images.class_names[label] for images in tables for label in images.labels]
    labels = np.asarray([class_names.index(name) for name in names], np.int64)
    paths = [path for images in tables for path in images.paths]
    # An image that has changed since it was looked at has no features either.
    usable = np.concatenate([[header.fault is None for header in images.headers] for images in tables])
    rows = np.flatnonzero(usable.astype(bool) & features.any(axis=1))
    features, labels, paths = features[rows], labels[rows], [paths[row] for row in rows]
    suspects = find_suspects(features, labels, alike[rows], paths, class_names)
    return suspects, find_unlike(features, labels, paths, class_names)


def _near_copies(tables: Sequence[Images], alike: np.ndarray) -> list[list[str]]:
    """Of each group the path of one image of each content, that which the others resemble first."""
    paths = [path for images in tables for path in images.paths]
    contents = [content for images in tables for content in images.contents()]
    groups: dict[int, dict[str, str]] = {}
    for i in [*np.unique(alike), *np.flatnonzero(alike != np.arange(len(alike)))]:
        groups.setdefault(int(alike[i]), {}).setdefault(contents[i], paths[i])
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _counts(images: Images) -> dict[str, int]:
    return dict(zip(images.class_names, images.counts().tolist(), strict=True))


def _report(name: str, images: Images, found: Found, num_names: int) -> SplitReport:
    good = images.select(images.good())
    promised = [PROMISED[Path(path).suffix.lower()] for path in images.paths]
    formats = zip(images.paths, promised, [header.format for header in images.headers], strict=True)
    return SplitReport(
        name=name,
        directory=str(images.directory),
        counts=_counts(images),
        first_files={
            class_name: [Path(images.paths[i]).name for i in np.flatnonzero(images.labels == label)[:num_names]]
            for label, class_name in enumerate(images.class_names)
        },
        image_sizes=_by_frequency(f"{header.width}x{header.height}" for header in good.headers),
        modes=_by_frequency(in_threads(stored_mode, good.paths, good.headers)),
        formats=_by_frequency(str(header.format) for header in good.headers),
        unreadable=[*found.unreadable, *images.bad()],
        misnamed=[(path, suffix, kind) for path, suffix, kind in formats if kind is not None and kind != suffix],
        ignored=sorted(found.others),
    )


def _by_frequency(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0])))
