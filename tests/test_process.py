import collections
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import process
from benchmarks.process import MeasurementError, in_process, peak_memory, read_memory
from hh_fast.errors import DataError

pytestmark = pytest.mark.slow


def add(a, b):
    return a + b, os.getpid()


def fail():
    raise ValueError("no\nluck")


def fail_mendably():
    raise DataError("no folder there: check the path")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def test_the_result_comes_from_another_process():
    total, pid = in_process(add, 1, 2)
    assert total == 3
    assert pid != os.getpid()


def test_no_two_calls_share_a_process():
    assert in_process(add, 1, 2)[1] != in_process(add, 1, 2)[1]


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (fail, MeasurementError, r"^ValueError: no luck$"),
        (fail_mendably, DataError, r"^no folder there: check the path$"),
        (die, MeasurementError, r"^its process was ended by SIGKILL \(out of memory\?\)$"),
        (leave, MeasurementError, r"^its process ended with exit code 3 and no result$"),
    ],
)
def test_errors_and_death_are_described(function, error, text):
    with pytest.raises(error, match=text):
        in_process(function)


def start_worker_and_wait(path):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    path.write_text(str(child))
    time.sleep(60)


def test_an_interrupted_measurement_ends_with_its_workers(tmp_path):
    path = tmp_path / "pid"

    def interrupt(*_):
        raise KeyboardInterrupt

    def alarm_when_started():
        while not (path.exists() and path.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    previous = signal.signal(signal.SIGALRM, interrupt)
    watcher = threading.Thread(target=alarm_when_started)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            in_process(start_worker_and_wait, path)
    finally:
        signal.signal(signal.SIGALRM, previous)
        watcher.join()
    deadline = time.monotonic() + 5
    while is_running(int(path.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(int(path.read_text()))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_peak_counts_what_was_freed_again_before_the_end():
    size = 64_000_000
    with peak_memory() as peak:
        block = bytearray(b"1" * size)
        time.sleep(5 * process.SAMPLING_INTERVAL_S)
        del block
    assert size <= peak["peak_bytes"] < 3 * size


@linux_only
def test_what_ran_before_does_not_count():
    block = bytearray(b"1" * 64_000_000)
    del block
    with peak_memory() as peak:
        time.sleep(2 * process.SAMPLING_INTERVAL_S)
    assert peak["peak_bytes"] < 16_000_000


def test_where_mapped_pages_are_not_told_all_of_it_counts(monkeypatch):
    macos = collections.namedtuple("pmem", "rss vms")(20_000_000, 90_000_000)
    monkeypatch.setattr(process.psutil.Process, "memory_info", lambda _: macos)
    assert read_memory() == (20_000_000, 0)
