import sys
import time

import pytest

from hh_fast.bench import page_cache
from hh_fast.io import memory

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


def test_where_there_is_no_proc_all_of_it_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    own, mapped = memory.read_memory()
    assert own > 10_000_000
    assert mapped == 0


@linux_only
def test_a_file_just_written_is_cached_and_can_be_dropped(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1" * 100_000)
    try:
        assert page_cache.is_cached(str(path))
    except OSError:
        pytest.skip("this file system cannot tell what is cached")
    assert page_cache.drop([str(path)]) == 1.0
    assert not page_cache.is_cached(str(path))
    path.read_bytes()
    assert page_cache.is_cached(str(path))


def test_nothing_is_called_cold_where_the_system_cannot_tell(monkeypatch, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    assert page_cache.drop([str(path)]) == 0.0
