"""Lists the files in a folder, for all commands. No TensorFlow.

A class folder may be a link, and so may a file. Links to deeper folders are not followed, since they may be circular, but are
reported as left out, as all other files are, except for hidden files that are not images and macOS' `._` files.
"""

import collections
import dataclasses
import itertools
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

KERAS_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # what keras.utils.image_dataset_from_directory takes
SUFFIXES = (*KERAS_SUFFIXES, ".avif", ".heic", ".heif", ".jfif", ".webp")
PICTURES = "PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF"


@dataclasses.dataclass(frozen=True)
class Found:
    """The files in a folder: `images`, by suffix, in order; `others`; and `unreadable` folders with the reason."""

    images: list[str]
    others: list[str]
    unreadable: list[tuple[str, str]]


def walk(
    folder: str | os.PathLike[str],
    *,
    suffixes: tuple[str, ...] = SUFFIXES,
    follow_links: bool = False,
    below: bool = True,
) -> Found:
    """The files in `folder` and, if `below`, in its sub-folders, sorted by folder, then by name, as in Keras."""
    found = Found([], [], [])

    def note(e: OSError) -> None:
        found.unreadable.append((str(e.filename), e.strerror or str(e)))

    entries = itertools.islice(os.walk(folder, onerror=note, followlinks=follow_links), None if below else 1)
    for current, folders, names in sorted(entries, key=lambda entry: entry[0]):
        for name in sorted(names):
            path = os.path.join(current, name)  # noqa: PTH118  # 100,000 Path objects cost a second
            if name.startswith("._"):
                continue
            if name.lower().endswith(suffixes):
                found.images.append(path)
            elif not name.startswith("."):
                found.others.append(path)
        if below and not follow_links:
            paths = (os.path.join(current, name) for name in folders if not name.startswith("."))  # noqa: PTH118
            found.others.extend(path for path in paths if os.path.islink(path))  # noqa: PTH114
    return found


def class_folders(root: str | os.PathLike[str]) -> list[str]:
    """The sorted names of the sub-folders, including links to folders, without hidden ones."""
    return sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir() and not entry.name.startswith("."))


def walk_classes(
    root: str | os.PathLike[str],
    class_names: Sequence[str],
    *,
    suffixes: tuple[str, ...] = SUFFIXES,
    follow_links: bool = False,
) -> tuple[Found, np.ndarray]:
    """The files in the class folders, in order, and those outside of them; and the label of each image, int32 (n,)."""
    found = Found(
        [], sorted(str(it) for it in Path(root).iterdir() if not it.name.startswith(".") and not it.is_dir()), []
    )
    labels: list[int] = []
    for label, name in enumerate(class_names):
        of_class = walk(Path(root, name), suffixes=suffixes, follow_links=follow_links)
        found.images.extend(of_class.images)
        found.others.extend(of_class.others)
        found.unreadable.extend(of_class.unreadable)
        labels += [label] * len(of_class.images)
    return found, np.array(labels, np.int32)


def left_out_kind(path: str) -> str:
    """The kind of a file that is left out: its suffix, or that it is an image in no class folder."""
    suffix = Path(path).suffix.lower()
    if os.path.isdir(path):  # noqa: PTH112
        return "link to a folder"
    return f"{suffix} in no class folder" if suffix in SUFFIXES else suffix or "no suffix"


def count_left_out(paths: Iterable[str]) -> "collections.Counter[str]":
    return collections.Counter(map(left_out_kind, paths))


def describe_left_out(kinds: "collections.Counter[str]") -> str:
    """`Left out 32 files: .mov (30), no suffix (2)`."""
    return f"Left out {kinds.total():,} {'file' if kinds.total() == 1 else 'files'}: {list_kinds(kinds)}"


def list_kinds(kinds: "collections.Counter[str]") -> str:
    """`.mov (30), no suffix (2)`, the most frequent first."""
    return ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())


def why_unreadable(folder: str, reason: str) -> str:
    return f"the folder {folder} cannot be read ({reason}): change its permissions, or move it elsewhere"


def class_name_fault(name: str, root: str | os.PathLike[str]) -> str | None:
    """Why the folder's name cannot be stored in labels.txt, one UTF-8 name per line; None if it can."""
    if name.encode(errors="replace").decode() != name:
        return f"the name of the class folder {name!r} in {root} is not UTF-8: rename it"
    if name.strip() != name or len(name.splitlines()) != 1:
        return f"the name of the class folder {name!r} in {root} contains a line break, or begins or ends with a space: rename it"
    return None


def read_bytes(path: str) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read, or is not a regular file; reading a pipe would block.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "not a regular file", path)
        return file.readall()
