"""Whether files are in the system's page cache, and how to drop them from it without being root. Linux only."""

import errno
import os
from collections.abc import Sequence


def is_cached(path: str) -> bool:
    """Whether the file's first page would be read without touching the disk.

    Raises:
        OSError: the file cannot be read, or the system cannot tell (EOPNOTSUPP, ENOSYS).
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) >= 0
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def drop(paths: Sequence[str]) -> float:
    """Drops these files from the page cache, and returns the share of them that is out of it, counted afterwards.

    0.0 where the system offers no way to do so, or none to check it: then nothing can be called cold.
    """
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT") or not paths:
        return 0.0
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages not yet written stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    try:
        return sum(not is_cached(path) for path in paths) / len(paths)
    except OSError as e:
        if e.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return 0.0
        raise
