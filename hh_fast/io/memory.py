"""Memory: how much this process may still take, and the most that it took. No TensorFlow."""

import ctypes
import dataclasses
import gc
import re
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
STATUS = Path("/proc/self/status")
INTERVAL_S = 0.01


def _group_dirs() -> Iterator[Path]:
    """Every control group that limits this process's memory, itself and those around it, of both versions."""
    if not OWN_GROUPS.is_file():
        return
    for line in OWN_GROUPS.read_text().splitlines():
        number, controllers, name = line.split(":", 2)
        if number == "0":
            mounts = [CONTROL_GROUPS, CONTROL_GROUPS / "unified"]
        elif "memory" in controllers.split(","):
            mounts = [CONTROL_GROUPS / "memory"]
        else:
            continue
        for mount in mounts:
            group = mount / name.lstrip("/")
            # In a container the name may be one that only the host sees; the limit is then at the mount itself.
            yield from (folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents)


def _left_in_group(folder: Path) -> int | None:
    """Bytes until the group's limit, its file cache counted as free; None where it has no limit."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit = (folder / limit_name).read_text().strip()
            if limit == "max":
                return None
            used = int((folder / used_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        # Version 1 tells of the groups below only under these longer names.
        prefix = "total_" if "total_inactive_file" in stat else ""
        cached = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
        return max(0, int(limit) - used + cached)
    return None


def _left_in_process() -> int | None:
    """Bytes until the process's own limits (`ulimit -v` and `ulimit -d`); None where it has none."""
    kinds = ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5))
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        return None
    counts = list(map(int, pages.read_text().split()))
    left = [
        soft - counts[field] * resource.getpagesize()
        for kind, field in kinds
        if (soft := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY
    ]
    return max(0, min(left)) if left else None


def available_memory() -> int:
    """Bytes that this process may still take: the least of what the machine, its control groups and its limits leave."""
    left = [_left_in_process(), *map(_left_in_group, _group_dirs())]
    return min([psutil.virtual_memory().available, *(amount for amount in left if amount is not None)])


def peak_memory() -> int:
    """The most bytes that this process held resident so far."""
    if STATUS.is_file() and (match := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return int(match[1]) * 1024  # getrusage() carries the peak of the process that started this one over exec()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_memory() -> tuple[int, int]:
    """(own, mapped) bytes resident now: pages that nothing else can take, and pages of mapped files, which the kernel
    can drop. Where the system does not tell them apart, as only Linux does, all count as own."""
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)
    return info.rss - mapped, mapped


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
