"""Reads image files once: hashes them, inspects their headers, and decodes them if needed. No TensorFlow.

If only hashes and headers are needed, files that have not changed since an earlier run are not read again, as in git's index: a file
is unchanged if its size, mtime, ctime and inode are. Only the system sets the ctime, so a new file with an old mtime is noticed.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pi_heif
import PIL

from hh_fast.data.copies import thumbnail
from hh_fast.data.folders import read_bytes
from hh_fast.data.headers import Header, read_header
from hh_fast.data.images import Images
from hh_fast.data.pixels import ImageForm, decode, fit
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores
from hh_fast.io.files import read_sealed, write_sealed

logger = logging.getLogger(__name__)

T = TypeVar("T")
CHANGED = "the file changed while it was read: is it being written?"
# Versions that determine which files decode, and to which pixels.
DECODERS = f"4 Pillow {PIL.__version__} pi-heif {pi_heif.__version__}"
# A file may change again within one tick of its file system's clock (2 s on FAT), so newer files are not trusted.
TICK_NS = 2_000_000_000

Stamp = tuple[int, int, int, int]


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(num_cores(), thread_name_prefix="images")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of these threads


def in_threads(function: Callable[..., T], *columns: Iterable[Any]) -> list[T]:
    """`function` of each row of `columns`, in order, on all cores: reading, hashing and decoding release the GIL."""
    rows = list(zip(*columns, strict=True))
    found: dict[int, T] = {}
    numbers, stopped = itertools.count(), False

    # Each thread takes the next row when it is done with one: a future for each row took a quarter longer.
    def work(_: int) -> None:
        while not stopped and (number := next(numbers)) < len(rows):
            found[number] = function(*rows[number])

    try:
        list(_pool().map(work, range(min(num_cores(), len(rows)))))
    finally:
        stopped = True  # after Ctrl-C no thread takes another row
    return [found[number] for number in range(len(rows))]


def read_file(
    path: str,
    *,
    max_image_pixels: int,
    decodes: bool = False,
    form: ImageForm | None = None,
    out: np.ndarray | None = None,
    thumbnails: dict[str, np.ndarray] | None = None,
) -> tuple[str, Header]:
    """The SHA-256, in hex, and header of a file; "" and a header with a fault if it cannot be read.

    With `decodes`, failing to decode is a fault too. With `form`, the pixels are written to `out`, of `form.shape`. If the file is
    decoded, its thumbnail is stored in `thumbnails` by path.
    """
    try:
        data = read_bytes(path)
    except OSError as e:
        return "", Header(None, None, None, fault=e.strerror or str(e))
    header = read_header(data, max_image_pixels=max_image_pixels)
    if header.fault is None and (decodes or form):
        try:
            pixels = decode(data, header, form.channels if form else 3)
            if thumbnails is not None:
                thumbnails[path] = thumbnail(pixels)
            if form:
                fit(pixels, form, out)
        except DataError as e:
            header = dataclasses.replace(header, fault=str(e))
    return hashlib.sha256(data).hexdigest(), header


def index_path(cache_root: Path, directory: Path, part: object = None) -> Path:
    """The path of the index of the files below `directory`, or of a `part` of them."""
    name = hashlib.sha256(f"{os.path.abspath(directory)} {part}".encode("utf-8", "surrogateescape")).hexdigest()  # noqa: PTH100
    return cache_root / "index" / f"{name[:32]}.json"


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _known(index: Path, limits: dict[str, Any]) -> dict[str, list[Any]]:
    """The index: [stamp, whether it was decoded, SHA-256, header fields] by path."""
    try:
        kept = read_sealed(index)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        logger.warning("Reading all image files again: %s", e)
        return {}
    files: dict[str, list[Any]] = kept["files"] if kept["limits"] == limits else {}
    return files


def read_images(
    images: Images,
    *,
    max_image_pixels: int,
    index: Path,
    decodes: bool = False,
    thumbnails: dict[str, np.ndarray] | None = None,
) -> Images:
    """The same table with `sha256` and `headers`, which are also stored in the file `index`.

    Files that have not changed since they were indexed are not read. `decodes` and `thumbnails`: see `read_file`; indexed files that
    have not been decoded yet are.
    """
    limits = {"decoders": DECODERS, "max_image_pixels": max_image_pixels}
    known = _known(index, limits)
    begun = time.time_ns()
    stamps = [
        _stamp(path) for path in images.paths
    ]  # before reading, so that a change meanwhile is noticed the next time
    entries = [known.get(path) for path in images.paths]
    fresh = [
        entry is not None and stamp is not None and list(stamp) == entry[0] and (entry[1] or not decodes)
        for entry, stamp in zip(entries, stamps, strict=True)
    ]
    unread = [path for path, is_known in zip(images.paths, fresh, strict=True) if not is_known]
    if 0 < len(unread) < len(images):
        logger.info("Reading %d of %d image files: the others have not changed", len(unread), len(images))
    one = functools.partial(
        read_file, max_image_pixels=max_image_pixels, decodes=decodes, thumbnails=thumbnails if decodes else None
    )
    read = iter(in_threads(one, unread))
    rows = [
        (entry[1], entry[2], Header(*entry[3])) if entry and is_known else (decodes, *next(read))
        for entry, is_known in zip(entries, fresh, strict=True)
    ]
    if unread or len(known) != len(images):
        kept = {
            path: (stamp, decoded, sha256, dataclasses.astuple(header))
            for path, stamp, (decoded, sha256, header) in zip(images.paths, stamps, rows, strict=True)
            if stamp and sha256 and max(stamp[1:3]) < begun - TICK_NS
        }
        try:
            write_sealed(index, {"limits": limits, "files": kept})
        except OSError as e:
            logger.info("The next run will read all image files again, as the index cannot be written: %s", e)
    sha256, headers = tuple(row[1] for row in rows), tuple(row[2] for row in rows)
    return dataclasses.replace(images, sha256=sha256, headers=headers)


class PixelFill:
    """A `Fill` (`data/store.py`) with the pixels of `images`; afterwards, `read()` returns the table with hashes and headers.

    If the table was read before, a file whose content has changed since is a fault. `thumbnails`: see `read_file`.
    """

    def __init__(
        self,
        images: Images,
        form: ImageForm,
        *,
        max_image_pixels: int,
        thumbnails: dict[str, np.ndarray] | None = None,
    ) -> None:
        self._images = images
        self._read: dict[int, tuple[str, Header]] = {}
        self._file = functools.partial(read_file, max_image_pixels=max_image_pixels, form=form, thumbnails=thumbnails)

    def __call__(self, start: int, out: np.ndarray) -> dict[int, str]:
        rows = range(start, start + len(out))
        self._read |= zip(rows, in_threads(self._row, rows, out), strict=True)
        return {row: fault for row in rows if (fault := self._read[row][1].fault)}

    def _row(self, row: int, out: np.ndarray) -> tuple[str, Header]:
        images = self._images
        if not images.headers:
            return self._file(images.paths[row], out=out)
        if images.headers[row].fault is not None:
            return images.sha256[row], images.headers[row]
        sha256, header = self._file(images.paths[row], out=out)
        if sha256 != images.sha256[row]:
            out[...] = 0
            header = dataclasses.replace(header, fault=header.fault or CHANGED)
        return sha256, header

    def read(self) -> Images:
        sha256, headers = (
            zip(*(self._read[row] for row in range(len(self._images))), strict=True) if self._read else ((), ())
        )
        return dataclasses.replace(self._images, sha256=sha256, headers=headers)
