"""Files and folders that are whole or absent: written beside their place, flushed to the disk, then renamed.

A killed writer leaves a `.NAME.HOST-PID.tmp` beside the place; the next writer of that place removes it. Standard library only.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def _own_suffix(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of `path` on this machine left beside it; puts an old folder back that one had moved aside."""
    prefix = f".{path.name}.{socket.gethostname()}-"
    if not path.parent.is_dir():
        return
    for left in sorted(path.parent.iterdir()):
        if not left.name.startswith(prefix):
            continue
        pid, _, kind = left.name[len(prefix) :].partition(".")
        if not pid.isdigit() or (int(pid) != os.getpid() and _is_running(int(pid))):
            continue
        if kind == "old" and not path.exists():
            left.rename(path)
        elif kind in ("tmp", "old"):
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
    temporary = path.with_name(f".{path.name}.{_own_suffix(os.getpid())}.tmp")
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
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write one file to; it becomes `path` if the block ends well, and is removed if not."""
    with _beside(path) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a fresh temporary folder; it replaces the folder `path` if the block ends well, and is removed if not."""
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        aside = path.with_name(f".{path.name}.{_own_suffix(os.getpid())}.old")
        if path.exists():
            path.rename(aside)
        temporary.rename(path)
        sync(path.parent)
        if aside.exists():
            _remove(aside)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock of the place `path` (a file `.NAME.lock` beside it); where another process holds it, logs `waiting` first.

    The kernel frees the lock when its holder dies, so a killed run blocks nobody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s", waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
