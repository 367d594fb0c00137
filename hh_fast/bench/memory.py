"""This process's peak memory while something runs, sampled from Linux' /proc. Standard library only."""

import ctypes
import dataclasses
import gc
import threading
from pathlib import Path
from types import TracebackType

INTERVAL_S = 0.01
_STATUS = Path("/proc/self/status")


def read_memory() -> tuple[int, int] | None:
    """(own, mapped) bytes resident now: pages that nothing else can take, and pages of mapped files, which the kernel
    can drop; None where there is no /proc."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    sizes = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }
    return sizes["RssAnon"] + sizes["RssShmem"], sizes["RssFile"]


def release_freed_memory() -> None:
    """Hands freed memory back to the system, where the C library can, so that it does not count for what runs next."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        return


@dataclasses.dataclass
class PeakMemory:
    """A context manager: how far resident memory rises over its start, looked at every 10 ms.

    `own_bytes` and `mapped_bytes` are None where it cannot be told. Worker processes are not counted.
    """

    own_bytes: int | None = None
    mapped_bytes: int | None = None

    def __enter__(self) -> "PeakMemory":
        release_freed_memory()
        self._start = read_memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        if self._start is not None:
            self.own_bytes = self.mapped_bytes = 0
            self._thread.start()
        return self

    def _look(self) -> None:
        now = read_memory()
        if now is not None and self._start is not None:
            self.own_bytes = max(self.own_bytes or 0, now[0] - self._start[0])
            self.mapped_bytes = max(self.mapped_bytes or 0, now[1] - self._start[1])

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._look()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._start is not None:
            self._thread.join()
            self._look()
