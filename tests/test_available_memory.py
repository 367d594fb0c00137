"""Memory that is left, as the machine, control groups of both versions and the process's limits have it."""

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hh_fast.io import memory


def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str]) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path / "fs")


V2 = "0::/slice/job\n"
V1 = "12:cpu,cpuacct:/x\n9:memory:/slice/job\n0::/\n"


def two(limit: str, used: int, cached: int) -> tuple[str, str, str]:
    return limit, str(used), f"anon 5\ninactive_file {cached - 1}\nactive_file 1\n"


@pytest.mark.parametrize(
    ("own", "group", "numbers", "expected"),
    [
        (V2, "slice/job", two("5000", 3000, 1000), 3000),
        (V2, "slice", two("5000", 3000, 1000), 3000),
        (V2, ".", two("5000", 3000, 1000), 3000),
        (V2, "slice/job", two("5000", 9000, 1), 0),
        (V2, "slice/job", two("max", 3000, 1000), None),
        (V2, "other", two("5000", 3000, 1000), None),
        (V1, "memory/slice/job", two("5000", 3000, 1000), 3000),
        (V1, "memory", two("5000", 3000, 1000), 3000),
    ],
)
def test_control_groups(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: str,
    group: str,
    numbers: tuple[str, str, str],
    expected: int | None,
) -> None:
    names = ("memory.max", "memory.current") if own == V2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    files = {f"{group}/{name}": text for name, text in zip((*names, "memory.stat"), numbers, strict=True)}
    groups(tmp_path, monkeypatch, own, files)
    machine = psutil.virtual_memory().total
    assert memory.available_memory() == expected if expected is not None else memory.available_memory() > machine / 100


def test_the_least_of_several_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {}
    for group, limit in (("slice", "4000"), ("slice/job", "5000")):
        files |= {
            f"{group}/{name}": text
            for name, text in zip(("memory.max", "memory.current", "memory.stat"), two(limit, 1000, 100), strict=True)
        }
    groups(tmp_path, monkeypatch, V2, files)
    assert memory.available_memory() == 3100


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_the_process(kind: str) -> None:
    limit = 2_000_000_000
    code = (
        f"import resource; resource.setrlimit(resource.{kind}, ({limit}, {limit}));"
        "from hh_fast.io.memory import available_memory; print(available_memory())"
    )
    left = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert limit / 2 < left < limit
    assert resource.getrlimit(getattr(resource, kind))[0] != limit


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_this_programs_own_and_not_that_of_the_one_that_started_it() -> None:
    code = "from hh_fast.io.memory import peak_memory; print(peak_memory())"
    parent = f"import os, sys; block = b'1' * 300_000_000\nos.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 5_000_000 < int(done.stdout) < 100_000_000


def test_where_there_is_no_proc_the_peak_is_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert 10_000_000 < memory.peak_memory() < 1 << 40
