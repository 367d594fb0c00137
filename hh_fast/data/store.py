"""Stores rows that are computed once and read often: pixels or features, from a `Fill`. No TensorFlow.

Rows have any shape and dtype. They are one block of memory, which `data/rows.py` passes to TensorFlow without a copy: anonymous
memory, or a mapped file shared by runs. A file is named after everything that determines its content, and all of its bytes are
checked before use. If the process that fills it ends, the next one continues.
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
from hh_fast.io.memory import available_memory

logger = logging.getLogger(__name__)

# The fraction of free memory that rows may take.
MEMORY_SHARE = 0.5
ROWS, META, JOURNAL = "rows", "meta.json", "journal"
# Rows per call of a `Fill` and per checksum; a killed process loses at most these.
CHUNK = max(64, 16 * num_cores())

# `fill(start, out)` writes the rows from number `start` on to `out`, (k, *shape), which is initially 0. It returns the faults, by
# number, of rows that cannot be computed, which stay 0. It may use threads.
Fill: TypeAlias = Callable[[int, np.ndarray], dict[int, str]]


def choose_cache(
    cache: str, num_bytes: int, cache_root: Path, num_sharing: int = 1, *, features: bool = False
) -> tuple[str, str]:
    """The cache mode (memory, disk or none) and the reason, from the predicted bytes of the decoded images or `features`.

    `num_sharing` processes on this machine, including this one, need that many bytes each.
    """
    size = f"{num_bytes / 1e6:,.0f} MB {'of features' if features else 'decoded'}"
    size += f" by each of {num_sharing} workers" if num_sharing > 1 else ""
    if cache != "auto":
        return cache, f"{size}; set by --cache"
    existing = next(folder for folder in (cache_root, *cache_root.parents) if folder.exists())
    memory, disk = available_memory(), shutil.disk_usage(existing).free
    if features and num_bytes * 1.1 < disk:
        return "disk", f"{size}, shared with later runs"
    if num_bytes * num_sharing <= MEMORY_SHARE * memory:
        return "memory", f"{size}, less than half of the {memory / 1e6:,.0f} MB of free memory"
    if num_bytes * 1.1 < disk:
        return (
            "disk",
            f"{size}, too much for memory ({memory / 1e6:,.0f} MB free); the disk has {disk / 1e6:,.0f} MB free",
        )
    return "none", f"{size}, too much for memory ({memory / 1e6:,.0f} MB free) and disk ({disk / 1e6:,.0f} MB free)"


def _fresh(num_rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros in private memory, since the first access to shared pages takes 1.5 times as long."""
    size = num_rows * math.prod(shape)
    block = mmap.mmap(-1, max(size * np.dtype(dtype).itemsize, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(block, dtype, count=size).reshape(num_rows, *shape)


def in_memory(num_rows: int, shape: tuple[int, ...], dtype: DTypeLike, fill: Fill) -> tuple[np.ndarray, dict[int, str]]:
    """The rows, (num_rows, *shape), and the faults by row number."""
    block = _fresh(num_rows, shape, dtype)
    faults: dict[int, str] = {}
    for start in range(0, num_rows, CHUNK):
        faults |= fill(start, block[start : start + CHUNK])
    return block, faults


def on_disk(
    folder: Path, num_rows: int, shape: tuple[int, ...], dtype: DTypeLike, fill: Fill, *, what: str
) -> tuple[np.ndarray, dict[int, str]]:
    """Like `in_memory`, but read-only, from the files in `folder`; the first run fills them while others wait.

    The name of `folder` must depend on everything that determines the rows. `what`: name of the rows, for the log.

    Raises:
        OSError: the files cannot be written or read.
    """
    kept = _open(folder, num_rows, shape, dtype)
    if kept is not None:
        return kept
    with locked(folder, f"Waiting for another run that is filling {folder}"):
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
    """Fills `folder` while its lock is held. It is renamed to `folder` when complete; until then a journal lists the finished chunks."""
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
                logger.info("Resuming %s: %d of %d rows are done", folder, min(len(done) * CHUNK, num_rows), num_rows)
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
        e.filename = str(folder)  # the error of write() on a full disk has no file name
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
    """The chunks, by their start, that an earlier process finished and that are undamaged."""
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
    """The CRC-32 of each `chunk` rows, computed on all cores (zlib releases the GIL).

    It detects every burst error of up to 32 bits, and misses one in 4e9 of the others.
    """
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(lambda i: zlib.crc32(block[i : i + chunk].data), range(0, len(block), chunk)))


def _open(
    folder: Path, num_rows: int, shape: tuple[int, ...], dtype: DTypeLike
) -> tuple[np.ndarray, dict[int, str]] | None:
    """The rows and faults in `folder`, or None if it does not exist or is damaged."""
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
        logger.warning("The cache %s is damaged: rebuilding it", folder)
        return None
    return block, {int(row): fault for row, fault in meta["faults"].items()}
