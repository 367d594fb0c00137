"""Which images a folder holds, and what their bytes and headers say, without decoding them. No TensorFlow."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hh_fast.data.headers import Header, read_header
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores

KERAS_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # what keras.utils.image_dataset_from_directory takes
SUFFIXES = (*KERAS_SUFFIXES, ".jfif", ".webp")
CHUNK = 16  # of files that a thread scans at a time


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """What one image file is known to be without decoding it. `sha256`, as hex, is empty where it could not be read."""

    path: str
    size_bytes: int
    sha256: str
    header: Header

    @property
    def fault(self) -> str | None:
        return self.header.fault


def list_images(directory: str | os.PathLike[str]) -> tuple[list[str], "np.ndarray", list[str]]:
    """(paths, labels int32 (n,), class_names) of a folder whose sub-folders are the classes.

    The order of `keras.utils.image_dataset_from_directory(shuffle=False)`: classes by name, then folders and files by name,
    links to folders not followed.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder.
    """
    root = Path(directory)
    if not root.exists():
        raise DataError(f"no folder {root}: check the path")
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give a folder whose sub-folders are the classes, or a .zip of one")
    class_names = class_folders(root)
    if not class_names:
        raise DataError(
            f"no class sub-folders in {root}: put the images of each class into a sub-folder named after it"
        )
    return *images_by_class(root, class_names, suffixes=SUFFIXES), class_names


def class_folders(root: str | os.PathLike[str]) -> list[str]:
    """The names of the sub-folders, sorted, without the hidden ones."""
    return sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir() and not entry.name.startswith("."))


def images_by_class(
    root: str | os.PathLike[str], class_names: Sequence[str], *, suffixes: tuple[str, ...], follow_links: bool = False
) -> tuple[list[str], np.ndarray]:
    """(paths, labels int32 (n,)) of the images in these sub-folders, one folder after the other."""
    found = [
        images_below(os.path.join(root, name), suffixes=suffixes, follow_links=follow_links)  # noqa: PTH118
        for name in class_names
    ]
    labels = np.repeat(np.arange(len(found), dtype=np.int32), list(map(len, found)))
    return [path for paths in found for path in paths], labels


def images_below(
    folder: str | os.PathLike[str], *, suffixes: tuple[str, ...] = SUFFIXES, follow_links: bool = False
) -> list[str]:
    """The paths of the image files in `folder` and below, by folder, then by name."""
    return [
        os.path.join(current, file)  # noqa: PTH118  # 100,000 Path objects cost a second
        for current, _, files in sorted(os.walk(folder, followlinks=follow_links), key=lambda entry: entry[0])
        for file in sorted(files)
        if file.lower().endswith(suffixes)
    ]


def list_others(directory: str | os.PathLike[str], *, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """The files that `list_images` leaves out, sorted: beside the class folders, or of another suffix. Hidden ones are no matter."""
    root = Path(directory)
    left = [str(entry) for entry in root.iterdir() if not entry.name.startswith(".") and not entry.is_dir()]
    for top in (entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        for folder, _, files in os.walk(top):
            others = (file for file in files if not file.lower().endswith(suffixes) and not file.startswith("."))
            left += [os.path.join(folder, file) for file in others]  # noqa: PTH118
    return sorted(left)


def left_out_kind(path: str) -> str:
    """What a file that is left out is counted as: its suffix; where images have that, that it is in no class folder."""
    suffix = Path(path).suffix.lower()
    return f"{suffix} in no class folder" if suffix in SUFFIXES else suffix or "no suffix"


def describe_left_out(kinds: "collections.Counter[str]") -> str:
    """The most frequent first: `.heic (30), no suffix (2)`."""
    return ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())


def read_bytes(path: str) -> bytes:
    """The whole file.

    Raises:
        OSError: it cannot be read, or is no regular file: a pipe would be waited for for ever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise OSError(None, "not a regular file", path)
    return Path(path).read_bytes()


def scan_file(path: str, *, max_image_pixels: int) -> ImageFile:
    """Reads one file whole; a file that cannot be read comes back with that as its fault."""
    try:
        data = read_bytes(path)
    except OSError as e:
        return ImageFile(path, 0, "", Header(None, None, None, fault=e.strerror or str(e)))
    return ImageFile(
        path, len(data), hashlib.sha256(data).hexdigest(), read_header(data, max_image_pixels=max_image_pixels)
    )


def scan(paths: Sequence[str], *, max_image_pixels: int) -> list[ImageFile]:
    """What each file's bytes say, in the order of `paths`. Hashing and reading leave the GIL, so threads share the work."""
    # By the chunk: a task for each file took a quarter longer.
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(16, 2 * num_cores())) as pool:
        scanned = pool.map(lambda chunk: [scan_file(path, max_image_pixels=max_image_pixels) for path in chunk], chunks)
        return list(itertools.chain.from_iterable(scanned))


def fingerprint(files: Sequence[ImageFile]) -> str:
    """A SHA-256, as hex, of the contents of these files in this order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((file.sha256 or f"unreadable {file.path!r}").encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
