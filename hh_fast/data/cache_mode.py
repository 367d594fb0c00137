"""How large decoded images will be, and so where they are best kept. No TensorFlow."""

import shutil
from pathlib import Path

from hh_fast.io.memory import available_memory

# Of the memory that is free now, decoded images may take this share.
MEMORY_SHARE = 0.5


def choose_cache(
    cache: str, num_bytes: int, cache_root: Path, num_sharing: int = 1, *, features: bool = False
) -> tuple[str, str]:
    """(memory, disk or none; why), from the bytes that the decoded images, or their features, will take.

    `num_sharing` processes of this machine take as many at the same time, this one among them.
    """
    size = f"{num_bytes / 1e6:,.0f} MB {'of features' if features else 'decoded'}"
    size += f" by each of {num_sharing} workers" if num_sharing > 1 else ""
    if cache != "auto":
        return cache, f"{size}; set by --cache"
    existing = next(folder for folder in (cache_root, *cache_root.parents) if folder.exists())
    memory, disk = available_memory(), shutil.disk_usage(existing).free
    if features and num_bytes * 1.1 < disk:
        return "disk", f"{size}, which later runs share"
    if num_bytes * num_sharing <= MEMORY_SHARE * memory:
        return "memory", f"{size}, under half of the {memory / 1e6:,.0f} MB of memory that is free"
    if num_bytes * 1.1 < disk:
        return (
            "disk",
            f"{size}, too much for memory ({memory / 1e6:,.0f} MB free); the disk has {disk / 1e6:,.0f} MB free",
        )
    return "none", f"{size}, too much for memory ({memory / 1e6:,.0f} MB free) and disk ({disk / 1e6:,.0f} MB free)"
