import collections
import sys
import time

import pytest

from hh_fast.io import memory

pytestmark = pytest.mark.slow

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_peak_counts_what_was_freed_again_before_the_end():
    size = 64_000_000
    with memory.PeakMemory() as peak:
        block = bytearray(b"1" * size)
        time.sleep(5 * memory.INTERVAL_S)
        del block
    assert size <= peak.own_bytes < 3 * size


@linux_only
def test_what_ran_before_does_not_count():
    block = bytearray(b"1" * 64_000_000)
    del block
    with memory.PeakMemory() as peak:
        time.sleep(2 * memory.INTERVAL_S)
    assert peak.own_bytes < 16_000_000


def test_where_mapped_pages_are_not_told_all_of_it_counts(monkeypatch):
    macos = collections.namedtuple("pmem", "rss vms")(20_000_000, 90_000_000)
    monkeypatch.setattr(memory.psutil.Process, "memory_info", lambda _: macos)
    assert memory.read_memory() == (20_000_000, 0)
