"""Output folders: only what hh_fast wrote is replaced or removed, and what is not ours is refused before anything is touched."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hh_fast.errors import DataError, UsageError
from hh_fast.io import output_folder
from hh_fast.io.output_folder import MARKER, OutputFolder

NAMES = ("README.md", "index.json", "parts")


def folder_at(path: Path) -> OutputFolder:
    return OutputFolder(path, "out_dir", "test", NAMES)


def write(path: Path, **files: str) -> None:
    """Writes an output: `files` by name, where `__` stands for / and the rest for itself."""
    with folder_at(path).replaced("index.json") as temporary:
        for name, text in {"index": "all", **files}.items():
            place = temporary / (f"{name}.json" if name == "index" else name.replace("__", "/"))
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)


def contents(path: Path) -> dict[str, str]:
    return {
        file.relative_to(path).as_posix(): file.read_text()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != MARKER
    }


def test_a_second_output_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "a" / "out"
    write(place, parts__one="1", parts__two="2")
    theirs = {"thesis.tex": "years", "parts/notes.txt": "mine", ".git/HEAD": "ref", "CNAME": "me.example"}
    for name, text in theirs.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    write(place, parts__two="new", index="second")
    assert contents(place) == theirs | {"index.json": "second", "parts/two": "new"}
    assert os.listdir(tmp_path / "a") == ["out"]


def test_a_folder_that_is_left_empty_goes(tmp_path: Path) -> None:
    write(tmp_path / "out", parts__one="1")
    write(tmp_path / "out")
    assert not (tmp_path / "out" / "parts").exists()


def test_hidden_files_do_not_keep_a_folder_from_being_used(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path)
    assert (tmp_path / ".git").is_dir()


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        write(tmp_path / "out", index=text)
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk") == {"index.json": "second"}


def unmarked(path: Path) -> None:
    (path / "README.md").write_text("mine")
    (path / "main.py").write_text("mine")


def same_name(path: Path) -> None:
    write(path)
    (path / "README.md").write_text("mine")


def same_folder(path: Path) -> None:
    write(path)
    (path / "parts").mkdir()
    (path / "parts" / "one").write_text("mine")


def broken_link(path: Path) -> None:
    write(path)
    (path / "README.md").symlink_to(path / "nowhere")


def other_kind(path: Path) -> None:
    with OutputFolder(path, "out_dir", "other", ("a.txt",)).replaced("a.txt") as temporary:
        (temporary / "a.txt").write_text("a")


def marker_of_others(path: Path) -> None:
    (path / MARKER).write_text("my own notes")
    (path / "index.json").write_text("mine")


def marker_that_leads_out(path: Path) -> None:
    write(path)
    (path / MARKER).write_text(json.dumps({"hh_fast": "test", "files": ["index.json", "../outside"]}))


NOT_OURS = [
    # what makes the folder, what the message says
    (unmarked, "must be new, empty or a test folder of hh_fast. Received: {}, which contains README.md, main.py: give another"),
    (same_name, "must not contain files of yours with names that a test writes. Received: {}, which contains README.md: move or"),
    (same_folder, "must not contain files of yours with names that a test writes. Received: {}, which contains parts: move or"),
    (broken_link, "must not contain files of yours with names that a test writes. Received: {}, which contains README.md: move"),
    (other_kind, "must be new, empty or a test folder of hh_fast. Received: {}, which contains a.txt: give another folder, or"),
    (marker_of_others, "must be new, empty or a test folder of hh_fast. Received: {}, which contains index.json: give another"),
    (marker_that_leads_out, "must be new, empty or a test folder of hh_fast. Received: {}, which contains index.json: give"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), NOT_OURS, ids=[make.__name__ for make, _ in NOT_OURS])
def test_what_is_not_ours_is_refused_and_stays(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (tmp_path / "outside").write_text("mine")
    make(place)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        write(place, **{"README.md": "ours", "parts__one": "ours"})
    assert str(caught.value).startswith("`out_dir` " + message.format(place))
    assert contents(tmp_path) == before


def test_a_file_that_came_meanwhile_is_refused_before_anything_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with (
        pytest.raises(UsageError, match="which contains README.md"),
        folder_at(tmp_path / "out").replaced("index.json") as temporary,
    ):
        for name in ("index.json", "README.md"):
            (temporary / name).write_text("ours")
        (tmp_path / "out" / "README.md").write_text("mine")
    assert contents(tmp_path / "out") == {"index.json": "all", "README.md": "mine"}


def test_a_failed_output_leaves_the_old_one_or_nothing(tmp_path: Path) -> None:
    write(tmp_path / "old")
    for name in ("old", "deep/new"):
        with pytest.raises(RuntimeError), folder_at(tmp_path / name).replaced("index.json") as temporary:
            (temporary / "index.json").write_text("half")
            raise RuntimeError
    assert contents(tmp_path) == {"old/index.json": "all"}
    assert os.listdir(tmp_path) == ["old"]


KILLED = """
import os, signal, sys
from pathlib import Path
from hh_fast.io import output_folder
place = Path(sys.argv[1])
with output_folder.OutputFolder(place, "out_dir", "test", ("index.json", "a", "b")).replaced("index.json") as temporary:
    for name in ("index.json", "a", "b"):
        (temporary / name).write_text("new")
    if sys.argv[2] == "while it is written":
        os.kill(os.getpid(), signal.SIGKILL)
    replace, count = Path.replace, []
    def killing(path, target):
        if path.parent == temporary and len(count) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        count.append(path.parent == temporary) if path.parent == temporary else None
        return replace(path, target)
    Path.replace = killing
"""


@pytest.mark.parametrize("when", ["while it is written", "0", "1", "2"])
def test_a_killed_command_leaves_the_output_whole_or_absent_and_the_next_one_mends_it(
    when: str, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    folder = OutputFolder(place, "out_dir", "test", ("index.json", "a", "b"))
    with folder.replaced("index.json") as temporary:
        for name in ("index.json", "a"):
            (temporary / name).write_text("old")
    (place / "mine").write_text("mine")
    subprocess.run([sys.executable, "-c", KILLED, str(place), when], check=False)
    if when == "while it is written":
        assert {name: contents(place).get(name) for name in ("index.json", "a", "b")} == {
            "index.json": "old",
            "a": "old",
            "b": None,
        }
    else:
        assert not (place / "index.json").exists()
    with folder.replaced("index.json") as temporary:
        (temporary / "index.json").write_text("newest")
    assert contents(place) == {"index.json": "newest", "mine": "mine"}


def test_patterns_remove_what_they_name(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    folder.record("parts/step[0-9].npz", "index.json")
    for name in ("parts/step1.npz", "parts/old/step1.npz", "parts/best.npz", "index.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    folder.remove("parts/step[0-9].npz", "index.json", "README.md")
    assert set(contents(tmp_path)) == {"parts/best.npz", "parts/old/step1.npz"}
    assert folder.recorded() == {"parts/step[0-9].npz"}
    folder.check()  # `parts` is shared
    (tmp_path / "index.json").write_text("mine")
    with pytest.raises(UsageError, match=f"Received: {tmp_path}, which contains index.json: move or rename"):
        folder.check()


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    with (
        folder_at(tmp_path / "out").held(),
        pytest.raises(DataError) as caught,
        folder_at(tmp_path / "out").held(),
    ):
        pass
    assert str(caught.value) == (
        f"another process is writing to {tmp_path / 'out'}: wait for it, or give another --out_dir"
    )
    assert not (tmp_path / "out").exists()


def test_many_names_are_counted(tmp_path: Path) -> None:
    for i in range(output_folder.MAX_NAMES + 2):
        (tmp_path / f"{i}.txt").write_text("")
    with pytest.raises(UsageError, match=r"which contains 0\.txt, 1\.txt, 2\.txt, 3\.txt, 4\.txt and 2 more: give"):
        folder_at(tmp_path).check()
