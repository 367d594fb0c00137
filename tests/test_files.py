"""Files that are whole or absent."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hh_fast.files import atomic_dir, atomic_path, remove_leftovers, write_json, write_text


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
from hh_fast.files import atomic_dir, atomic_path
with {manager}(Path(sys.argv[1])) as temporary:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("manager", "write"),
    [("atomic_path", "temporary.write_text('half')"), ("atomic_dir", "(temporary / 'x').write_text('half')")],
)
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, manager: str, write: str) -> None:
    place = tmp_path / "place"
    code = KILLED.format(manager=manager, write=write)
    subprocess.run([sys.executable, "-c", code, str(place)], check=False)
    assert not place.exists()
    assert len(os.listdir(tmp_path)) == 1
    remove_leftovers(place)
    assert os.listdir(tmp_path) == []


def test_a_folder_moved_aside_by_a_killed_writer_comes_back(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with atomic_dir(place) as temporary:
        (temporary / "old").write_text("old")
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    place.rename(tmp_path / f".place.{os.uname().nodename}-{ended.stdout.strip()}.old")
    remove_leftovers(place)
    assert (place / "old").read_text() == "old"


def test_an_error_that_names_no_file_gets_the_name_of_the_place(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_json_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").read_text().endswith("}\n")
