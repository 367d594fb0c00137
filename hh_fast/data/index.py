"""What earlier runs read of a data set's files: a file that has not changed since is not read again. No TensorFlow.

The way of git's index: a file counts as unchanged while its size, its two times and its inode are. The time of its last
change of state (ctime) is set by the system alone, so that a copy under an old date is noticed too.
"""

import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hh_fast.data.headers import Header
from hh_fast.data.scan import ImageFile, scan
from hh_fast.io.files import read_sealed, write_sealed

logger = logging.getLogger(__name__)

FORMAT = 3
# A file that changed this short before it was read may change again within one tick of its file system's clock (2 s on FAT).
TICK_NS = 2_000_000_000

Stamp = tuple[int, int, int, int]


def index_path(cache_root: Path, directory: Path, part: object = None) -> Path:
    """Where what is known of the files below `directory`, or of a `part` of them, is kept."""
    name = hashlib.sha256(f"{os.path.abspath(directory)} {part}".encode("utf-8", "surrogateescape")).hexdigest()  # noqa: PTH100
    return cache_root / "index" / f"{name[:32]}.json"


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(path: Path, limits: dict[str, int]) -> dict[str, list[Any]]:
    try:
        kept = read_sealed(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        logger.warning("Reading all image files again: %s", e)
        return {}
    files: dict[str, list[Any]] = kept["files"] if kept["limits"] == limits else {}
    return files


def scan_changed(paths: Sequence[str], *, max_image_pixels: int, index: Path) -> list[ImageFile]:
    """`scan(paths)`, which reads only the files that have changed since a scan that kept what it found in `index`."""
    limits = {"format": FORMAT, "max_image_pixels": max_image_pixels}
    known = _read(index, limits)
    begun = time.time_ns()
    stamps = [_stamp(path) for path in paths]  # before they are read: a change meanwhile shows the next time
    files: dict[str, ImageFile] = {}
    for path, stamp in zip(paths, stamps, strict=True):
        entry = known.get(path)
        if entry is not None and stamp == tuple(entry[:4]):
            files[path] = ImageFile(path, stamp[0], entry[4], Header(*entry[5:]))
    unread = [path for path in paths if path not in files]
    if known:
        logger.info("%d of %d image files are as they were, and not read again", len(paths) - len(unread), len(paths))
    for file in scan(unread, max_image_pixels=max_image_pixels):
        files[file.path] = file
    if unread or len(known) != len(paths):
        kept = {
            path: (*stamp, file.sha256, *dataclasses.astuple(file.header))
            for path, stamp in zip(paths, stamps, strict=True)
            if stamp
            and max(stamp[1:3]) < begun - TICK_NS
            and (file := files[path]).sha256
            and file.size_bytes == stamp[0]
        }
        try:
            write_sealed(index, {"limits": limits, "files": kept})
        except OSError as e:
            logger.info("The next run will read all image files again, for this cannot be kept: %s", e)
    return [files[path] for path in paths]
