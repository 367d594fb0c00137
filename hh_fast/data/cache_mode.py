"""Chooses the cache mode by the predicted size of the decoded images. No TensorFlow."""

import shutil
from pathlib import Path

from hh_fast.io.memory import available_memory

# The fraction of free memory that decoded images may take.
MEMORY_SHARE = 0.5


def choose_cache(
    cache: str, num_bytes: int, cache_root: Path, num_sharing: int = 1, *, features: bool = False
) -> tuple[str, str]:
    """The cache mode (memory, disk or none) and the reason, from the predicted bytes of the decoded images or `features`.

    `num_sharing` processes on this machine, including this one, need that many bytes each.
    """
    size = f"{num_bytes / 1e6:,.0f} MB {'of features' if features else 'decoded'}"
    size += f" by each of {num_sharing} workers" if num_sharing > 1 else ""
    if cache != "auto":
        return cache, f"{size}; set by --cache"
    existing = next(folder for folder in (cache_root, *cache_root.parents) if folder.exists())
    memory, disk = available_memory(), shutil.disk_usage(existing).free
    if features and num_bytes * 1.1 < disk:
        return "disk", f"{size}, shared with later runs"
    if num_bytes * num_sharing <= MEMORY_SHARE * memory:
        return "memory", f"{size}, less than half of the {memory / 1e6:,.0f} MB of free memory"
    if num_bytes * 1.1 < disk:
        return (
            "disk",
            f"{size}, too much for memory ({memory / 1e6:,.0f} MB free); the disk has {disk / 1e6:,.0f} MB free",
        )
    return "none", f"{size}, too much for memory ({memory / 1e6:,.0f} MB free) and disk ({disk / 1e6:,.0f} MB free)"
