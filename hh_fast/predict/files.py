"""From command line arguments to image paths, one at a time: files, folders, globs, and standard input."""

import collections
import dataclasses
import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hh_fast.data.scan import SUFFIXES, left_out_kind

logger = logging.getLogger(__name__)

STDIN = "-"


@dataclasses.dataclass(frozen=True)
class Found:
    """One image file; `label` is its class, where the folder that it was found in has the classes as sub-folders."""

    path: str
    label: int | None = None


def _in_folder(folder: str, class_names: Sequence[str], left_out: "collections.Counter[str]") -> Iterator[Found]:
    top = Path(folder)
    subfolders = {entry.name for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    labelled = bool(subfolders) and subfolders <= set(class_names)
    if subfolders and not labelled:
        logger.info(
            "No accuracy for %s: its sub-folders %s are not the model's classes %s",
            folder,
            ", ".join(sorted(subfolders)),
            ", ".join(class_names),
        )
    for current, inner, names in os.walk(top):
        inner.sort()
        parts = Path(current).relative_to(top).parts
        label = class_names.index(parts[0]) if labelled and parts else None
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield Found(os.path.join(current, name), label)  # noqa: PTH118  # 100,000 Path objects cost a second
            elif not name.startswith("."):
                left_out[left_out_kind(name)] += 1


def find_images(
    arguments: Iterable[str],
    class_names: Sequence[str],
    stdin: Iterable[bytes],
    left_out: "collections.Counter[str] | None" = None,
) -> Iterator[Found]:
    """The image files that `arguments` name, in order: the files of a folder and of its sub-folders by name.

    An argument is a file, a folder, a glob pattern, or `-` for paths on `stdin`, one a line. One that names nothing is
    passed on as it is, so that reading it says so. `left_out` counts the other files of folders, by kind.
    """
    left_out = collections.Counter() if left_out is None else left_out
    for argument in arguments:
        if argument == STDIN:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin)
            yield from find_images((line for line in lines if line and line != STDIN), class_names, (), left_out)
        elif os.path.isdir(argument):  # noqa: PTH112
            yield from _in_folder(argument, class_names, left_out)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            yield from find_images(sorted(glob.glob(argument, recursive=True)), class_names, (), left_out)  # noqa: PTH207
        else:
            yield Found(argument)
