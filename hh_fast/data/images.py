"""`Images`: the table of the images of a data set, and checks of it. No TensorFlow."""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hh_fast.data.folders import PICTURES, Found, class_folders, class_name_fault, walk_classes, why_unreadable
from hh_fast.data.headers import Header
from hh_fast.errors import DataError

UNEQUAL = 1.5  # ratio of class sizes above which accuracy is misleading


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """A table with one row per image.

    `labels`, int32 (n,), are positions in `class_names`. `indices`, int64 (n,), are positions in the full listing of `directory`,
    also after splitting, sharding or skipping. `sha256`, in hex, and `headers` are empty until the files are read
    (`data/reading.py`); the hash of an unreadable file is empty.
    """

    directory: Path
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray
    indices: np.ndarray
    sha256: tuple[str, ...] = ()
    headers: tuple[Header, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: np.ndarray) -> "Images":
        """The table with only these rows."""
        paths, sha256, headers = (
            tuple(column[i] for i in rows) if column else () for column in (self.paths, self.sha256, self.headers)
        )
        labels, indices = self.labels[rows], self.indices[rows]
        return Images(self.directory, self.class_names, paths, labels, indices, sha256, headers)

    def contents(self) -> list[str]:
        """An identifier of each image's content: its hash if it is usable, else its path."""
        if not self.headers:
            return list(self.paths)
        columns = zip(self.paths, self.sha256, self.headers, strict=True)
        return [path if header.fault else sha256 for path, sha256, header in columns]

    def bad(self) -> list[tuple[str, str]]:
        """The path and fault of each unusable image."""
        return [(path, header.fault) for path, header in zip(self.paths, self.headers, strict=True) if header.fault]

    def with_faults(self, faults: Mapping[int, str]) -> "Images":
        """The same table with these faults by row."""
        headers = list(self.headers)
        for row, fault in faults.items():
            headers[row] = dataclasses.replace(headers[row], fault=fault)
        return dataclasses.replace(self, headers=tuple(headers))

    def good(self) -> np.ndarray:
        """The rows of the usable images."""
        return np.flatnonzero([header.fault is None for header in self.headers])

    def counts(self) -> np.ndarray:
        """The number of images of each class, int64 (num_classes,)."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def fingerprint(self) -> str:
        """The SHA-256, in hex, of the contents in order."""
        digest = hashlib.sha256()
        for path, sha256 in zip(self.paths, self.sha256, strict=True):
            digest.update((sha256 or f"unreadable {path!r}").encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def listing_digest(self) -> str:
        """The SHA-256, in hex, of names and labels."""
        names = "\n".join(os.path.relpath(path, self.directory) for path in self.paths)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape") + self.labels.tobytes()).hexdigest()


def list_images(directory: str | os.PathLike[str]) -> tuple[Images, Found]:
    """The (unread) images of a folder whose sub-folders are the classes, and all files found there.

    In the order of `keras.utils.image_dataset_from_directory(shuffle=False)`: by class, folder and file name.

    Raises:
        DataError: the folder does not exist, is a file, or has no sub-folders.
    """
    root = Path(directory)
    if not root.exists():
        raise DataError(f"no folder {root}: check the path")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: give a folder whose sub-folders are the classes, or a .zip of one")
    class_names = class_folders(root)
    if not class_names:
        raise DataError(
            f"no class sub-folders in {root}: put the images of each class into a sub-folder named after it"
        )
    found, labels = walk_classes(root, class_names)
    return Images(root, tuple(class_names), tuple(found.images), labels, np.arange(len(labels))), found


def why_unfit(tables: Sequence[Images], found: Sequence[Found], *, skips: bool) -> list[str]:
    """The faults of the folders, for which they cannot be trained on. `skips`: unreadable folders are ignored."""
    wrong = [why_unreadable(*folder) for one in found for folder in one.unreadable if not skips]
    for one in tables:
        wrong += [fault for name in one.class_names if (fault := class_name_fault(name, one.directory))]
        if len(one.class_names) < 2:
            wrong.append(
                f"only one class, {one.class_names[0]}, in {one.directory}: a classifier needs two or more sub-folders"
            )
        for name, count in zip(one.class_names, one.counts(), strict=True):
            if count == 0:
                wrong.append(f"no images in {one.directory / name}: put {PICTURES} files there, or remove that folder")
    if len({one.class_names for one in tables}) > 1:
        both = " and ".join(f"{one.directory} has {', '.join(one.class_names)}" for one in tables)
        wrong.append(f"the classes differ: {both}; give both the same sub-folders")
    return wrong


def why_empty(images: Images, purpose: str) -> list[str]:
    """A message for each class without usable images for `purpose`."""
    left = set(images.select(images.good()).labels.tolist())
    return [
        f"class {name} has no usable images for {purpose}: repair those in {images.directory / name}, or add some"
        for label, name in enumerate(images.class_names)
        if label not in left
    ]


def identical(tables: Sequence[Images]) -> list[list[tuple[int, int]]]:
    """Groups of two or more byte-identical images, each as (table number, row)."""
    groups: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    for number, one in enumerate(tables):
        for row in one.good().tolist():
            groups[one.sha256[row]].append((number, row))
    return [group for group in groups.values() if len(group) > 1]


def conflicts(tables: Sequence[Images]) -> list[list[str]]:
    """The paths of byte-identical images in more than one class, by group."""

    def class_name(number: int, row: int) -> str:
        return tables[number].class_names[tables[number].labels[row]]

    groups = [group for group in identical(tables) if len({class_name(*place) for place in group}) > 1]
    return [[tables[number].paths[row] for number, row in group] for group in groups]


def describe_unequal(counts: Sequence[int]) -> str | None:
    """A warning if classes are so unequal that accuracy is misleading, else None."""
    if not max(counts) > UNEQUAL * min(counts) > 0:
        return None
    times = max(counts) / min(counts)
    return f"unequal classes: the largest has {times:.1f} times the images of the smallest; --class_weight=balanced weighs classes equally"
