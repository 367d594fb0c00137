"""Rows of numbers that are made once and read often: pixels, features, whatever a `Fill` makes. No TensorFlow.

A row has any shape and type. Rows lie in one block of memory, which `data/rows.py` hands to TensorFlow as it is: anonymous
pages, or those of a file that runs share. A file is named by all that decides its content, and every byte of it is checked
before it is used. One that was being filled when its process ended is filled from there on by the next.
"""

import concurrent.futures
import json
import logging
import math
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from hh_fast.io.cores import num_cores
from hh_fast.io.files import locked, read_sealed, sync, write_sealed

logger = logging.getLogger(__name__)

ROWS, META, JOURNAL = "rows", "meta.json", "journal"
# Rows that are filled at a time, under one checksum: a killed fill loses no more of them.
CHUNK = max(64, 16 * num_cores())

# `fill(start, out)` puts the rows from number `start` on into `out`, (k, *shape), which is 0, and says of those that cannot be
# made, by their number, why: these stay 0. It may use threads.
Fill: TypeAlias = Callable[[int, np.ndarray], dict[int, str]]


def _fresh(num_rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros in memory of this process: private, since first touches of shared pages cost half as much again."""
    size = num_rows * math.prod(shape)
    block = mmap.mmap(-1, max(size * np.dtype(dtype).itemsize, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(block, dtype, count=size).reshape(num_rows, *shape)


def in_memory(num_rows: int, shape: tuple[int, ...], dtype: DTypeLike, fill: Fill) -> tuple[np.ndarray, dict[int, str]]:
    """The rows, (num_rows, *shape), and the faults of those that could not be made, by number."""
    block = _fresh(num_rows, shape, dtype)
    faults: dict[int, str] = {}
    for start in range(0, num_rows, CHUNK):
        faults |= fill(start, block[start : start + CHUNK])
    return block, faults


def on_disk(
    folder: Path, num_rows: int, shape: tuple[int, ...], dtype: DTypeLike, fill: Fill, *, what: str
) -> tuple[np.ndarray, dict[int, str]]:
    """As `in_memory`, from the files in `folder`, read-only; the first run fills them while others that want them wait.

    `folder` names the content: whatever decides a row must be in its name. `what` says what a row is, for the log.

    Raises:
        OSError: the files cannot be written or read.
    """
    kept = _open(folder, num_rows, shape, dtype)
    if kept is not None:
        return kept
    with locked(folder, f"Waiting for another run that makes {folder}"):
        kept = _open(folder, num_rows, shape, dtype)
        if kept is None:
            begun = time.monotonic()
            _fill(folder, num_rows, shape, dtype, fill)
            logger.info("Made %d %s in %.1f s: %s", num_rows, what, time.monotonic() - begun, folder)
            kept = _open(folder, num_rows, shape, dtype)
    if kept is None:
        raise OSError(None, "cannot read back what was just written", str(folder))
    return kept


def _fill(folder: Path, num_rows: int, shape: tuple[int, ...], dtype: DTypeLike, fill: Fill) -> None:
    """Fills `folder` under its lock. It gets its name when it is whole; until then a journal says which chunks are."""
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    scratch = np.zeros((min(CHUNK, num_rows), *shape), dtype)
    journal = partial / JOURNAL
    try:
        with (
            os.fdopen(os.open(partial / ROWS, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as rows,
            journal.open("a+b") as log,
        ):
            done = dict(_journalled(journal, rows.fileno(), scratch))
            if done:
                logger.info(
                    "Going on with %s: %d of %d rows are there", folder, min(len(done) * CHUNK, num_rows), num_rows
                )
            for start in range(0, num_rows, CHUNK):
                if start in done:
                    continue
                out = scratch[: min(CHUNK, num_rows - start)]
                out[...] = 0
                faults = fill(start, out)
                rows.seek(start * out[0].nbytes)
                rows.write(out.data)
                rows.flush()
                done[start] = {"start": start, "checksum": zlib.crc32(out.data), "faults": faults}
                log.write(_line(done[start]))
                log.flush()
            rows.truncate(num_rows * math.prod(shape) * scratch.itemsize)
        chunks = [done[start] for start in range(0, num_rows, CHUNK)]
        faults = {row: fault for chunk in chunks for row, fault in chunk["faults"].items()}
        write_sealed(
            partial / META,
            {"chunk": CHUNK, "checksums": [chunk["checksum"] for chunk in chunks], "faults": faults},
        )
    except OSError as e:
        e.filename = str(folder)  # a full disk is reported by write(), which knows no name
        raise
    journal.unlink()
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    sync(folder.parent)


def _line(chunk: dict[str, Any]) -> bytes:
    text = json.dumps(chunk).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _journalled(journal: Path, rows: int, scratch: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
    """The chunks that an earlier fill finished, and that are still as it left them, by their start."""
    for line in journal.read_bytes().splitlines():
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            continue
        chunk = json.loads(text)
        size = scratch[0].nbytes
        content = os.pread(rows, len(scratch) * size, chunk["start"] * size)
        if zlib.crc32(content) == chunk["checksum"]:
            yield chunk["start"], chunk


def _checksums(block: np.ndarray, chunk: int) -> list[int]:
    """CRC-32 of each `chunk` rows, taken on all cores (zlib leaves the GIL).

    It finds every change of up to 32 neighbouring bits, and misses one in 4e9 of the others.
    """
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(lambda i: zlib.crc32(block[i : i + chunk].data), range(0, len(block), chunk)))


def _open(
    folder: Path, num_rows: int, shape: tuple[int, ...], dtype: DTypeLike
) -> tuple[np.ndarray, dict[int, str]] | None:
    """What is in `folder`, or None where it is absent, torn or changed."""
    try:
        meta = read_sealed(folder / META)
        with (folder / ROWS).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != num_rows * math.prod(shape) * np.dtype(dtype).itemsize:
                raise ValueError(f"{folder / ROWS} has another size")
            block = np.zeros((0, *shape), dtype)
            if size:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                block = np.frombuffer(mapped, dtype).reshape(num_rows, *shape)
        if _checksums(block, meta["chunk"]) != meta["checksums"]:
            raise ValueError(f"{folder / ROWS} has changed")
    except FileNotFoundError:
        return None
    except ValueError:
        logger.warning("What is kept in %s is damaged: making it again", folder)
        return None
    return block, {int(row): fault for row, fault in meta["faults"].items()}
