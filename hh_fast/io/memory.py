"""Available memory, and the peak memory of this process. No TensorFlow."""

import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
STATUS = Path("/proc/self/status")


def _group_dirs() -> Iterator[Path]:
    """The folders of all control groups (versions 1 and 2) that limit this process's memory, including enclosing groups."""
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
            # In a container the name may be valid on the host only; the limit is then at the mount itself.
            yield from (folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents)


def _left_in_group(folder: Path) -> int | None:
    """Bytes left in the group, counting its file cache as free; None if it has no limit."""
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
        # Version 1 includes child groups only in the total_ values.
        prefix = "total_" if "total_inactive_file" in stat else ""
        cached = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
        return max(0, int(limit) - used + cached)
    return None


def _left_in_process() -> int | None:
    """Bytes left by the process's own limits (`ulimit -v` and `ulimit -d`); None if it has none."""
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
    """Bytes that this process can still allocate: the minimum over the machine, its control groups and its limits."""
    left = [_left_in_process(), *map(_left_in_group, _group_dirs())]
    return min([psutil.virtual_memory().available, *(amount for amount in left if amount is not None)])


def peak_memory() -> int:
    """The peak resident memory of this process in bytes."""
    if STATUS.is_file() and (match := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return int(match[1]) * 1024  # getrusage() carries the peak of the process that started this one over exec()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
