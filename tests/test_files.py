"""Files are written atomically."""

import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from hh_fast.io.files import (
    atomic_dir,
    atomic_path,
    exclusive,
    read_sealed,
    remove_leftovers,
    write_json,
    write_sealed,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "d") as temporary:
        (temporary / "one").write_text("1")
    with pytest.raises(RuntimeError), atomic_dir(tmp_path / "d") as temporary:
        (temporary / "two").write_text("2")
        raise RuntimeError
    assert os.listdir(tmp_path / "d") == ["one"]
    assert os.listdir(tmp_path) == ["d"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with atomic_dir(tmp_path / "d") as temporary:
            (temporary / name).write_text(name)
    assert os.listdir(tmp_path / "d") == ["two"]
    assert os.listdir(tmp_path) == ["d"]


KILLED = """
import os, signal, sys
from pathlib import Path
from hh_fast.io.files import {manager}
with {manager}(Path(sys.argv[1])) as temporary:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("manager", "write"),
    [
        ("atomic_path", "temporary.write_text('half')"),
        ("atomic_dir", "(temporary / 'x').write_text('half')"),
        ("scratch_dir", "(temporary / 'x').write_text('half')"),
    ],
)
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, manager: str, write: str) -> None:
    place = tmp_path / "place"
    code = KILLED.format(manager=manager, write=write)
    subprocess.run([sys.executable, "-c", code, str(place)], check=False)
    assert not place.exists()
    assert len(os.listdir(tmp_path)) == 1
    remove_leftovers(place)
    assert os.listdir(tmp_path) == []


def test_an_error_that_names_no_file_gets_the_name_of_the_place(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_json_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        (".a.elsewhere.example-7.tmp", True),
        (".a.elsewhere-7.tmp.keras", True),
        (f".a.host-{os.getppid()}.tmp", True),
        (".ab.host-7.tmp", False),
        (".a.host-7.txt", False),
        (".a.lock", False),
        ("a.host-7.tmp", False),
    ],
)
def test_who_holds_the_lock_removes_what_any_writer_left(tmp_path: Path, name: str, goes: bool) -> None:
    (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "a")
    assert (tmp_path / name).exists()
    remove_leftovers(tmp_path / "a", alone=True)
    assert (tmp_path / name).exists() != goes


def test_a_lock_goes_with_its_holder_and_one_waits_for_it(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with exclusive(tmp_path / "lock", "waiting"):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "lock", None):
        thread.start()
        with pytest.raises(filelock.Timeout), exclusive(tmp_path / "lock", None):
            pass
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert os.listdir(tmp_path) == []


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from hh_fast.io.files import exclusive
with exclusive(Path(sys.argv[1]), None):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(filelock.Timeout), exclusive(tmp_path / "lock", None):
            pass
        holder.kill()
    with exclusive(tmp_path / "lock", None):
        pass
    assert os.listdir(tmp_path) == []


def test_many_that_take_a_lock_in_turn_hold_it_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fstat = os.fstat

    def slow_fstat(file: int) -> os.stat_result:
        time.sleep(0.0005)  # the time in which another holder may remove the file
        return fstat(file)

    monkeypatch.setattr(os, "fstat", slow_fstat)
    holding: list[int] = []
    most: list[int] = []

    def take(number: int) -> int:
        for _ in range(50):
            with exclusive(tmp_path / "lock", "waiting"):
                holding.append(number)
                most.append(len(holding))
                holding.remove(number)
        return number

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(take, range(6))) == list(range(6))
    assert most == [1] * 300
    assert os.listdir(tmp_path) == []


def test_any_changed_byte_of_a_sealed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"bad": {"3": "why"}})
    assert read_sealed(path) == {"bad": {"3": "why"}}
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is damaged$"):
            read_sealed(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="is damaged$"):
        read_sealed(path)
