"""This process's peak memory while something runs. No TensorFlow."""

import ctypes
import dataclasses
import gc
import threading
from pathlib import Path
from types import TracebackType

import psutil

INTERVAL_S = 0.01
_STATUS = Path("/proc/self/status")


def read_memory() -> tuple[int, int]:
    """(own, mapped) bytes resident now: pages that nothing else can take, and pages of mapped files, which the kernel
    can drop. Where there is no /proc, all resident bytes count as own."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return psutil.Process().memory_info().rss, 0
    fields = (line.partition(":") for line in lines)
    sizes = {name: int(value.split()[0]) * 1024 for name, _, value in fields if value.endswith(" kB")}
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

    Worker processes are not counted.
    """

    own_bytes: int = 0
    mapped_bytes: int = 0

    def __enter__(self) -> "PeakMemory":
        release_freed_memory()
        self._start = read_memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        own, mapped = read_memory()
        self.own_bytes = max(self.own_bytes, own - self._start[0])
        self.mapped_bytes = max(self.mapped_bytes, mapped - self._start[1])

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._look()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
