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
from typing import Any, BinaryIO

import numpy as np
import PIL
import tensorflow as tf

from hh_fast.data.decode import CHANGED, NO_LIMIT, decoded_batches
from hh_fast.data.image_form import ImageForm
from hh_fast.data.pixels import mode_or_fault
from hh_fast.data.scan import ImageFile, fingerprint
from hh_fast.io.cores import num_cores
from hh_fast.io.files import atomic_dir, locked, read_sealed, write_sealed
from hh_fast.io.quiet import native_stderr_logged

logger = logging.getLogger(__name__)

FORMAT = 4
PIXELS, META = "images.u8", "meta.json"
CHECKED = 32  # images under one checksum


@dataclasses.dataclass(frozen=True)
class Store:
    """Images uint8 (num_images, height, width, channels), or None where none are kept, and what did not decode.

    `bad` maps the position of each file left out, in the list that the store was filled from, to the reason. `by_pillow`
    has the paths of the files that Pillow decodes, not TensorFlow.
    """

    images: tf.Tensor | None
    bad: dict[int, str]
    by_pillow: frozenset[str] = frozenset()


def _memory(num_bytes: int) -> mmap.mmap:
    """Fresh memory of this process: private, since first touches of shared pages cost half as much again."""
    return mmap.mmap(-1, max(num_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _as_tensor(block: mmap.mmap, num_images: int, form: ImageForm) -> tf.Tensor:
    """A tensor over the block's own memory; the tensor keeps the block alive."""
    shape = (num_images, *form.shape)
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


def _decode_all(
    files: Sequence[ImageFile], form: ImageForm, out: BinaryIO | mmap.mmap
) -> tuple[dict[int, str], frozenset[str]]:
    """Decodes all files without a fault into `out`, in order, from its start.

    Where Pillow reads what TensorFlow refuses, all begins again with these files left to Pillow, so that training refuses
    just what every other command does.

    Returns:
        `bad` and `by_pillow` of the store.
    """
    faults = {i: file.fault for i, file in enumerate(files) if file.fault is not None}
    good = {i: file for i, file in enumerate(files) if file.fault is None}
    positions, paths = list(good), [file.path for file in good.values()]
    only_png = form.channels == 4  # TensorFlow makes RGBA of no JPEG
    by_pillow = frozenset(
        file.path
        for file in good.values()
        if file.header.decoder == "pillow" or (only_png and file.header.format != "png")
    )
    while True:
        out.seek(0)
        decoded: set[int] = set()
        with native_stderr_logged():  # what libjpeg says of damaged files names none of them
            for numbers, images in decoded_batches(paths, form, by_pillow):
                out.write(images.data)
                decoded.update(positions[i] for i in numbers)
        lost = {i: mode_or_fault(files[i].path, max_image_pixels=NO_LIMIT)[1] for i in positions if i not in decoded}
        rescued = {files[i].path for i, reason in lost.items() if reason is None} - by_pillow
        if not rescued:
            return faults | {i: reason or CHANGED for i, reason in lost.items()}, by_pillow
        by_pillow |= rescued


def fill_memory(files: Sequence[ImageFile], form: ImageForm) -> Store:
    """Decodes `files` into memory. No more bytes than the good ones take."""
    block = _memory(sum(file.fault is None for file in files) * form.num_bytes)
    bad, by_pillow = _decode_all(files, form, block)
    return Store(_as_tensor(block, len(files) - len(bad), form), bad, by_pillow)


def check_only(files: Sequence[ImageFile], form: ImageForm, cache_root: Path) -> Store:
    """Decodes `files` once for their faults and keeps no pixel. What was found is kept, by content, for the next run."""
    path = cache_root / "checked" / f"{_key(files, form)}.json"
    try:
        found = read_sealed(path)
    except (OSError, ValueError):
        logger.info("Checking that all %d images decode (once: nothing is cached, so nothing else would)", len(files))
        with Path(os.devnull).open("wb") as nowhere:
            bad, by_pillow = _decode_all(files, form, nowhere)
        found = _record(files, bad, by_pillow)
        write_sealed(path, found)
    return Store(None, *_recorded(files, found))


def _record(files: Sequence[ImageFile], bad: dict[int, str], by_pillow: frozenset[str]) -> dict[str, Any]:
    """As JSON, by position: the files may have other paths the next time."""
    return {"bad": bad, "by_pillow": [i for i, file in enumerate(files) if file.path in by_pillow]}


def _recorded(files: Sequence[ImageFile], found: dict[str, Any]) -> tuple[dict[int, str], frozenset[str]]:
    bad = {int(i): str(reason) for i, reason in found["bad"].items()}
    return bad, frozenset(files[i].path for i in found["by_pillow"])


def _key(files: Sequence[ImageFile], form: ImageForm) -> str:
    """Names the file by the images' content and all that decides their pixels."""
    faults = [(i, file.fault) for i, file in enumerate(files) if file.fault]  # max_image_pixels has a say in these
    text = f"{FORMAT} {fingerprint(files)} {faults} {form} {tf.__version__} {PIL.__version__}"
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _write(folder: Path, files: Sequence[ImageFile], form: ImageForm) -> None:
    with (folder / PIXELS).open("w+b") as out:
        bad, by_pillow = _decode_all(files, form, out)
        out.truncate()
        num_images = len(files) - len(bad)
        with _mapped(out, num_images) as block:
            checksums = _checksums(block, num_images, form)
    write_sealed(folder / META, {"num_images": num_images, "checksums": checksums} | _record(files, bad, by_pillow))


def _mapped(file: BinaryIO, num_images: int) -> mmap.mmap:
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if num_images else _memory(0)


def _checksums(block: mmap.mmap, num_images: int, form: ImageForm) -> list[int]:
    """CRC-32 of each `CHECKED` images that are mapped, taken on all cores (zlib leaves the GIL).

    It finds every change of up to 32 neighbouring bits, and misses one in 4e9 of the others.
    """
    num_bytes, step = num_images * form.num_bytes, CHECKED * form.num_bytes
    with memoryview(block) as view, concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(lambda i: zlib.crc32(view[i : min(i + step, num_bytes)]), range(0, num_bytes, step)))


def _open(folder: Path, files: Sequence[ImageFile], form: ImageForm) -> Store | None:
    """The store in `folder`, or None where it is absent, torn or changed: every byte is checked before it is used."""
    try:
        meta = read_sealed(folder / META)
        num_images = meta["num_images"]
        with (folder / PIXELS).open("rb") as file:
            is_whole = (
                num_images + len(meta["bad"]) == len(files)
                and os.fstat(file.fileno()).st_size == num_images * form.num_bytes
            )
            if is_whole:
                block = _mapped(file, num_images)
                is_whole = _checksums(block, num_images, form) == meta["checksums"]
    except FileNotFoundError:
        return None
    except ValueError:
        is_whole = False
    if not is_whole:
        logger.warning("The cached images in %s are damaged: decoding them again", folder)
        return None
    return Store(_as_tensor(block, num_images, form), *_recorded(files, meta))


def open_on_disk(files: Sequence[ImageFile], form: ImageForm, cache_root: Path) -> Store:
    """The store of these files' contents on disk; the first run fills it while others that want it wait."""
    folder = cache_root / "decoded" / _key(files, form)
    store = _open(folder, files, form)
    if store is not None:
        return store
    with locked(folder, f"Waiting for another run that decodes these images into {folder}"):
        store = _open(folder, files, form)
        if store is None:
            start = time.monotonic()
            with atomic_dir(folder, flush=False) as temporary:  # its checksums tell what a power cut leaves of it
                _write(temporary, files, form)
            logger.info("Decoded %d images into %s in %.1f s", len(files), folder, time.monotonic() - start)
            store = _open(folder, files, form)
    if store is None:
        raise OSError(None, "cannot read back what was just written", str(folder))
    return store


def fill(home: str, files: Sequence[ImageFile], form: ImageForm, cache_root: Path) -> Store:
    """The store of `files` in `home`: memory, disk or none."""
    if home == "memory":
        return fill_memory(files, form)
    return (open_on_disk if home == "disk" else check_only)(files, form, cache_root)
