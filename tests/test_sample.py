"""The built-in sample: the same pictures every time, drawn once, written atomically."""

import functools
import hashlib
import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hh_fast.errors import DataError
from hh_fast.sample import dataset as sample
from hh_fast.sample.dataset import draw_sample, sample_dir
from hh_fast.sample.picture import draw

TINY = {"num_train": 4, "num_validation": 2, "image_size": 40}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def make_tiny() -> None:
    sample.NUM_IMAGES = {"train": 4, "validation": 2}
    sample.draw_sample = functools.partial(draw_sample, num_workers=0, **TINY)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "NUM_IMAGES", None)  # both to be put back
    monkeypatch.setattr(sample, "draw_sample", None)
    make_tiny()


def test_folders_and_files(tmp_path: Path) -> None:
    draw_sample(tmp_path, num_workers=0, **TINY)
    assert sorted(contents(tmp_path)) == [
        "train/horses/horse0000.png",
        "train/horses/horse0001.png",
        "train/humans/human0000.png",
        "train/humans/human0001.png",
        "validation/horses/horse0000.png",
        "validation/humans/human0000.png",
    ]
    with Image.open(tmp_path / "train/horses/horse0000.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (40, 40))
        assert (np.asarray(picture)[..., 3] == 255).all()
    assert len(set(contents(tmp_path).values())) == 6


def test_processes_change_nothing_and_the_seed_does(tmp_path: Path) -> None:
    drawn = []
    for name, num_workers, seed in (("alone", 0, 0), ("shared", 2, 0), ("other", 0, 1)):
        (tmp_path / name).mkdir()
        draw_sample(tmp_path / name, num_workers=num_workers, seed=seed, **TINY)
        drawn.append(contents(tmp_path / name))
    assert drawn[0] == drawn[1]
    assert not set(drawn[0].values()) & set(drawn[2].values())


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("horses", "e67c98e1d12ce1b8"),
        ("humans", "351e8c23278928c7"),
    ],
)
def test_pictures_are_those_of_this_version(class_name: str, expected: str) -> None:
    # Where this fails after a change to the drawing, raise VERSION and put the new digests here.
    digest = hashlib.sha256()
    for index in range(12):
        digest.update(draw(class_name, random.Random(f"0/train/{class_name}/{index}"), 150).tobytes())
    assert (sample.VERSION, digest.hexdigest()[:16]) == (2, expected)


def test_pictures_tell_no_class_by_their_mean_color() -> None:
    means = {
        name: np.mean([draw(name, random.Random(f"0/train/{name}/{k}"), 40).mean((0, 1)) for k in range(60)], 0)
        for name in ("horses", "humans")
    }
    assert np.abs(means["horses"] - means["humans"]).max() < 12


def test_drawn_once_and_said_so(tiny: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sample_dir(tmp_path)
    assert folder == tmp_path / f"sample-v{sample.VERSION}"
    assert caplog.messages[0] == f"Drawing the built-in sample into {folder} (once; about half a minute)"
    assert caplog.messages[1].startswith("Drew 6 pictures in ")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    caplog.clear()
    assert sample_dir(tmp_path) == folder
    assert caplog.messages == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_that_lost_a_file_is_drawn_anew(tiny: None, tmp_path: Path) -> None:
    folder = sample_dir(tmp_path)
    before = contents(folder)
    (folder / "train/humans/human0001.png").unlink()
    sample_dir(tmp_path)
    assert contents(folder) == before


def test_an_interrupted_drawing_leaves_nothing(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "_draw_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample_dir(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tiny: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        sample_dir(tmp_path / "file" / "cache")


def _draw_below(root: Path) -> None:
    make_tiny()
    sample_dir(root)


def test_two_processes_at_once_draw_one_whole_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_draw_below, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [f"sample-v{sample.VERSION}"]
    assert len(contents(tmp_path)) == 6


def _killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_drawing_process_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_work", _killed)
    message = (
        r"^a process that drew the built-in sample ended with exit code -9 \(killed for memory\?\):"
        " free some memory, and run the command again$"
    )
    with pytest.raises(DataError, match=message):
        draw_sample(tmp_path, num_workers=1, **TINY)


def test_what_stops_a_drawing_process_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_jobs", lambda *_: [sample._Job("no/folder.png", "0", "horses")])
    (tmp_path / "no").touch()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    with pytest.raises(NotADirectoryError, match="folder.png"):
        draw_sample(tmp_path, num_workers=1)


def test_progress_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    draw_sample(tmp_path, num_workers=0, **TINY)
    err = capsys.readouterr().err
    assert err.startswith("\rDrawing the sample:   0%")
    assert err.endswith(" \r")  # taken away
