"""Decoded uint8 images, decoded once: in memory, or in a file on disk that runs share.

Both homes are one block of memory that TensorFlow reads in place, without a copy: anonymous pages, or the file's own.
"""

import concurrent.futures
import ctypes
import dataclasses
import hashlib
import logging
import mmap
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.data.cache_mode import predicted_bytes
from hh_fast.data.decode import BATCH, decoded_batches, why_undecodable
from hh_fast.data.scan import ImageFile, fingerprint
from hh_fast.io.cores import num_cores
from hh_fast.io.files import atomic_dir, locked, read_sealed, write_sealed

logger = logging.getLogger(__name__)

FORMAT = 2
PIXELS, META = "images.u8", "meta.json"


@dataclasses.dataclass(frozen=True)
class Store:
    """Images uint8 (num_images, height, width, 3), or None where none are kept, and what did not decode.

    `bad` maps the position of each file left out, in the list that the store was filled from, to the reason.
    """

    images: tf.Tensor | None
    bad: dict[int, str]


def _memory(num_bytes: int) -> mmap.mmap:
    """Fresh memory of this process: private, since first touches of shared pages cost half as much again."""
    return mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _as_tensor(block: mmap.mmap, num_images: int, image_size: tuple[int, int]) -> tf.Tensor:
    """A tensor over the block's own memory; the tensor keeps the block alive."""
    shape = (num_images, *image_size, 3)
    if num_images == 0:
        return tf.zeros(shape, tf.uint8)
    array = np.frombuffer(block, np.uint8, count=int(np.prod(shape)))
    if not array.flags.writeable:
        # DLPack takes no read-only memory, and a private writable mapping of a file counts as memory taken: one that is
        # larger than the machine's would be refused. So the same memory under another name; nothing writes to it.
        named: Any = (ctypes.c_uint8 * array.size).from_address(array.ctypes.data)
        named.block = block
        array = np.frombuffer(named, np.uint8)
    return tf.experimental.dlpack.from_dlpack(array.reshape(shape).__dlpack__())


def _good(files: Sequence[ImageFile]) -> tuple[list[int], list[str]]:
    positions = [i for i, file in enumerate(files) if file.fault is None]
    return positions, [files[i].path for i in positions]


def _header_faults(files: Sequence[ImageFile]) -> dict[int, str]:
    return {i: file.fault for i, file in enumerate(files) if file.fault is not None}


def _decode_faults(
    files: Sequence[ImageFile], tried: Sequence[int], decoded: set[int], image_size: tuple[int, int]
) -> dict[int, str]:
    return {i: why_undecodable(files[i].path, image_size) for i in tried if i not in decoded}


def fill_memory(files: Sequence[ImageFile], image_size: tuple[int, int]) -> Store:
    """Decodes `files` into memory. Bytes: `predicted_bytes`, no more for bad files."""
    positions, paths = _good(files)
    if not paths:
        return Store(_as_tensor(_memory(1), 0, image_size), _header_faults(files))
    block = _memory(predicted_bytes(len(paths), image_size))
    rows = np.frombuffer(block, np.uint8).reshape(len(paths), *image_size, 3)
    decoded: set[int] = set()
    for numbers, images in decoded_batches(paths, image_size):
        rows[len(decoded) : len(decoded) + len(images)] = images
        decoded.update(positions[i] for i in numbers)
    bad = _header_faults(files) | _decode_faults(files, positions, decoded, image_size)
    return Store(_as_tensor(block, len(decoded), image_size), bad)


def check_only(files: Sequence[ImageFile], image_size: tuple[int, int], cache_root: Path) -> Store:
    """Decodes `files` once for their faults and keeps no pixel. What was found is kept, by content, for the next run."""
    path = cache_root / "checked" / f"{_key(files, image_size)}.json"
    positions, paths = _good(files)
    try:
        found = {int(i): str(reason) for i, reason in read_sealed(path)["bad"].items()}
    except (OSError, ValueError):
        logger.info("Checking that all %d images decode (once: nothing is cached, so nothing else would)", len(paths))
        decoded: set[int] = set()
        for numbers, _ in decoded_batches(paths, image_size):
            decoded.update(positions[i] for i in numbers)
        found = _decode_faults(files, positions, decoded, image_size)
        write_sealed(path, {"bad": found})
    return Store(None, _header_faults(files) | found)


def _key(files: Sequence[ImageFile], image_size: tuple[int, int]) -> str:
    """Names the file by the images' content and all that decides their pixels."""
    text = f"{FORMAT} {fingerprint(files)} {image_size} {tf.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write(folder: Path, files: Sequence[ImageFile], image_size: tuple[int, int]) -> None:
    positions, paths = _good(files)
    decoded: set[int] = set()
    checksums = []
    with (folder / PIXELS).open("wb") as out:
        for numbers, images in decoded_batches(paths, image_size):
            out.write(images.data)
            checksums.append(zlib.crc32(images.data))
            decoded.update(positions[i] for i in numbers)
    bad = _decode_faults(files, positions, decoded, image_size)
    write_sealed(folder / META, {"num_images": len(decoded), "bad": bad, "checksums": checksums})


def _checksums(block: mmap.mmap, num_bytes: int, block_bytes: int) -> list[int]:
    """CRC-32 of each `block_bytes` of what is mapped, taken on all cores (zlib leaves the GIL).

    It finds every change of up to 32 neighbouring bits, and misses one in 4e9 of the others.
    """
    with memoryview(block) as view, concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        ends = ((i, min(i + block_bytes, num_bytes)) for i in range(0, num_bytes, block_bytes))
        return list(pool.map(lambda ends: zlib.crc32(view[slice(*ends)]), ends))


def _open(folder: Path, files: Sequence[ImageFile], image_size: tuple[int, int]) -> Store | None:
    """The store in `folder`, or None where it is absent, torn or changed: every byte is checked before it is used."""
    try:
        meta = read_sealed(folder / META)
        num_images = meta["num_images"]
        bad = {int(i): str(reason) for i, reason in meta["bad"].items()}
        num_bytes, block_bytes = (predicted_bytes(n, image_size) for n in (num_images, BATCH))
        with (folder / PIXELS).open("rb") as file:
            whole = num_images + len(bad) == len(_good(files)[0]) and os.fstat(file.fileno()).st_size == num_bytes
            if whole:
                block = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if num_images else _memory(1)
                whole = _checksums(block, num_bytes, block_bytes) == meta["checksums"]
    except FileNotFoundError:
        return None
    except ValueError:
        whole = False
    if not whole:
        logger.warning("The cached images in %s are damaged: decoding them again", folder)
        return None
    return Store(_as_tensor(block, num_images, image_size), bad | _header_faults(files))


def open_on_disk(files: Sequence[ImageFile], image_size: tuple[int, int], cache_root: Path) -> Store:
    """The store of these files' contents on disk; the first run fills it while others that want it wait."""
    folder = cache_root / "decoded" / _key(files, image_size)
    store = _open(folder, files, image_size)
    if store is not None:
        return store
    with locked(folder, f"Waiting for another run that decodes these images into {folder}"):
        store = _open(folder, files, image_size)
        if store is None:
            start = time.monotonic()
            with atomic_dir(folder, flush=False) as temporary:  # its checksums tell what a power cut leaves of it
                _write(temporary, files, image_size)
            logger.info("Decoded %d images into %s in %.1f s", len(files), folder, time.monotonic() - start)
            store = _open(folder, files, image_size)
    if store is None:
        raise OSError(None, "cannot read back what was just written", str(folder))
    return store
