"""Command line arguments to image paths, one at a time: files, folders, globs, and standard input."""

import dataclasses
import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from hh_fast.data.folders import class_folders, walk, why_unreadable

logger = logging.getLogger(__name__)

STDIN = "-"


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file, or an unreadable folder with the reason as its `fault`.

    `label` is its class, if it was found in a folder whose sub-folders are the classes.
    """

    path: str
    label: int | None = None
    fault: str | None = None


def _in_folder(folder: str, class_names: Sequence[str], left_out: list[str]) -> Iterator[ImageFile]:
    names = class_folders(folder)
    labelled = bool(names) and set(names) <= set(class_names)
    if names and not labelled:
        logger.info(
            "No accuracy for %s: its sub-folders (%s) do not match the model's classes (%s)",
            folder,
            ", ".join(names),
            ", ".join(class_names),
        )
    for name in (None, *names):
        found = walk(folder, below=False) if name is None else walk(os.path.join(folder, name))  # noqa: PTH118
        left_out.extend(found.others)
        label = class_names.index(name) if labelled and name else None
        yield from (ImageFile(path, label) for path in found.images)
        yield from (ImageFile(path, label, why_unreadable(path, reason)) for path, reason in found.unreadable)


def find_images(
    arguments: Iterable[str], class_names: Sequence[str], stdin: Iterable[bytes], left_out: list[str]
) -> Iterator[ImageFile]:
    """The image files named by `arguments`, in order; those of a folder and its sub-folders are sorted by name.

    An argument is a file, a folder, a glob pattern, or `-` for paths on `stdin`, one per line. A path that does not exist is
    passed on, so that reading it reports the error. The other files in folders are appended to `left_out`.
    """
    for argument in arguments:
        if argument == STDIN:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin)
            yield from find_images((line for line in lines if line and line != STDIN), class_names, (), left_out)
        elif os.path.isdir(argument):  # noqa: PTH112
            yield from _in_folder(argument, class_names, left_out)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            yield from find_images(sorted(glob.glob(argument, recursive=True)), class_names, (), left_out)  # noqa: PTH207
        else:
            yield ImageFile(argument)
