"""Writes files and folders atomically: to a temporary name in the same folder, flushed to disk, then renamed.

A killed writer leaves a `.NAME.HOST-PID.tmp`, which the next writer of NAME removes. No TensorFlow.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import msgspec
import psutil

logger = logging.getLogger(__name__)

_WRITER = re.compile(r"(?P<host>.+)-(?P<pid>\d+)\.tmp(\..*)?")


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for _ in range(3):
        # A killed run's child processes may still write here for a moment, and then the folder is not removed.
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.2)
    shutil.rmtree(path)


def remove_leftovers(path: Path, *, alone: bool = False) -> None:
    """Removes the temporary files of killed writers of `path`.

    Only those of ended processes on this machine, unless the caller is `alone`, that is, holds the lock of `path`: then also
    those from other machines, and of processes whose number has been reused.
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
    """Flushes a file or folder to disk."""
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
        # On a full disk the error of write() has no file name: report the final one.
        if e.filename is None or str(e.filename).startswith(str(temporary)):
            e.filename = str(path)
        raise
    finally:
        if temporary.exists():
            _remove(temporary)


@contextlib.contextmanager
def scratch_dir(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder next to `path`, and removes it afterwards; the next call removes that of a killed process."""
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path for a file; it is renamed to `path` if the block succeeds, else removed."""
    with _beside(path) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a new temporary folder; it is renamed to `path` if the block succeeds, else removed.

    For caches: an existing folder at `path` is removed with all of its content.
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


def to_json(value: Any) -> Any:
    """`value` as JSON types: dataclasses become dicts, tuples lists, paths strings. `msgspec.convert` is the way back."""
    return json.loads(json.dumps(msgspec.to_builtins(value, enc_hook=str)))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_sealed(path: Path, value: Any) -> None:
    """Writes `value` as JSON, preceded by the SHA-256 of the text, for `read_sealed`."""
    text = json.dumps(value).encode()
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        out.writelines([hashlib.sha256(text).hexdigest().encode(), b"\n", text, b"\n"])


def read_sealed(path: Path) -> Any:
    """The value that `write_sealed` wrote.

    Raises:
        ValueError: the file has changed since.
        OSError: it cannot be read.
    """
    digest, _, text = path.read_bytes().partition(b"\n")
    if not text.endswith(b"\n") or hashlib.sha256(memoryview(text)[:-1]).hexdigest().encode() != digest:
        raise ValueError(f"{path} is damaged")
    return json.loads(text)


@contextlib.contextmanager
def exclusive(lock: Path, waiting: str | None) -> Iterator[None]:
    """Holds the lock file `lock`, and removes it afterwards; if another process holds it, logs `waiting` and waits.

    The kernel releases the lock when its holder dies.

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
        lock.unlink(missing_ok=True)  # while it is held: waiting processes notice, and create it again
        held.release()


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock of `path`, the file `.NAME.lock` in the same folder, and removes temporary files of killed writers."""
    with exclusive(path.with_name(f".{path.name}.lock"), waiting):
        remove_leftovers(path, alone=True)
        yield


def made_once(
    path: Path, make: Callable[[Path], None], waiting: str, is_whole: Callable[[Path], bool] = Path.is_dir
) -> Path:
    """The folder `path`; if it is not whole, `make` fills a temporary one that is then renamed, while others log `waiting` and wait."""
    if not is_whole(path):
        with locked(path, waiting):
            if not is_whole(path):
                with atomic_dir(path) as temporary:
                    make(temporary)
    return path
