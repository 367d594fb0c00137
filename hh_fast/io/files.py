"""Files and folders written atomically: beside their place, flushed to the disk, then renamed.

A killed writer leaves a `.NAME.HOST-PID.tmp` beside the place; the next writer of that place removes it. No TensorFlow.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import psutil

logger = logging.getLogger(__name__)

_WRITER = re.compile(r"(?P<host>.+)-(?P<pid>\d+)\.tmp(\..*)?")


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for _ in range(3):
        # A killed run's helper processes may still write here for a moment, and a folder that gets files is not removed.
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.2)
    shutil.rmtree(path)


def remove_leftovers(path: Path, *, alone: bool = False) -> None:
    """Removes what killed writers of `path` left beside it.

    Only what processes of this machine left that run no more, unless the caller is `alone`: holds a lock without which
    nobody writes `path`. Then also what was left on other machines, or by a process whose number another has now.
    """
    if not path.parent.is_dir():
        return
    prefix = f".{path.name}."
    for left in sorted(path.parent.iterdir()):
        match = _WRITER.fullmatch(left.name[len(prefix) :]) if left.name.startswith(prefix) else None
        if match is None:
            continue
        pid = int(match["pid"])
        if alone or (match["host"] == socket.gethostname() and (pid == os.getpid() or not psutil.pid_exists(pid))):
            _remove(left)


def sync(path: Path) -> None:
    """Flushes a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        yield temporary
    except OSError as e:
        # A full disk is reported by write(), which knows no name: the person needs the one they asked for.
        if e.filename is None or str(e.filename).startswith(str(temporary)):
            e.filename = str(path)
        raise
    finally:
        if temporary.exists():
            _remove(temporary)


@contextlib.contextmanager
def scratch_dir(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, gone afterwards; what a killed process leaves of it, the next call removes."""
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write one file to; it becomes `path` if the block ends well, and is removed if not."""
    with _beside(path) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a fresh temporary folder; it becomes `path` if the block ends well, and is removed if not.

    For caches: a folder that stands there is of no use any more, and is removed with all that it holds.
    """
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        if path.exists():
            _remove(path)
        temporary.rename(path)
        sync(path.parent)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_sealed(path: Path, value: Any) -> None:
    """Writes `value` as JSON under the SHA-256 of its text, for `read_sealed`."""
    text = json.dumps(value).encode()
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        out.writelines([hashlib.sha256(text).hexdigest().encode(), b"\n", text, b"\n"])


def read_sealed(path: Path) -> Any:
    """The value that `write_sealed` wrote.

    Raises:
        ValueError: any byte of the file has changed since.
        OSError: it cannot be read.
    """
    digest, _, text = path.read_bytes().partition(b"\n")
    if not text.endswith(b"\n") or hashlib.sha256(memoryview(text)[:-1]).hexdigest().encode() != digest:
        raise ValueError(f"{path} is damaged")
    return json.loads(text)


@contextlib.contextmanager
def exclusive(lock: Path, waiting: str | None) -> Iterator[None]:
    """Holds the lock file `lock`, and removes it afterwards; where another process holds it, logs `waiting` and waits.

    The kernel frees the lock when its holder dies, so a killed run blocks nobody.

    Raises:
        filelock.Timeout: another process holds it, and `waiting` is None.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(lock)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        if waiting is None:
            raise
        logger.info("%s", waiting)
        held.acquire()
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who waits notices, and makes it anew
        held.release()


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock of the place `path` (`exclusive`, a file `.NAME.lock` beside it) and removes killed writers' leftovers."""
    with exclusive(path.with_name(f".{path.name}.lock"), waiting):
        remove_leftovers(path, alone=True)
        yield
