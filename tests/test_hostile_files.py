"""Files of strangers and under odd names: read, or refused in one line, without a crash, much memory or code of theirs."""

import os
from pathlib import Path

import pytest
from hostile_files import bombs, forged

from benchmarks.faults.hostile import judge_all, write_files
from benchmarks.faults.lab import Lab, make_images, png, run, training_flags

pytestmark = pytest.mark.slow


def test_bombs_are_refused(tmp_path: Path) -> None:
    lab, files = Lab(tmp_path / "lab"), bombs()
    judge_all(lab, "image", write_files(tmp_path / "bombs", files), max_peak=1_000_000_000)
    assert lab.lost == []
    assert lab.tried == len(files)
    assert lab.notes["refused"] >= sum(name.startswith("refused") for name in files)


def test_forged_models_are_refused_and_run_no_code(tmp_path: Path) -> None:
    lab, folder = Lab(tmp_path / "lab"), tmp_path / "forged"
    files = forged(folder)
    judge_all(lab, "model", write_files(folder, files), max_peak=2_000_000_000)
    assert lab.lost == []
    assert lab.notes == {"refused": len(files)}
    assert {path.name for path in folder.iterdir()} == set(files)


def test_odd_names_are_named_on_one_line(tmp_path: Path) -> None:
    """Good images under odd names are trained on; bad ones are named, and left out if that is asked for."""
    data = make_images(tmp_path / "data", 12)
    horses = data / "horses"
    for name in ("a b", "line\nbreak", "\udcff\udcfe", "\u202eright", "-rf", "x" * 250):
        (horses / f"{name}.png").write_bytes(png(2))
    flags = training_flags(data, tmp_path, "--epochs=1")
    ended = run("train", flags)
    assert ended.code == 0, ended.err
    (horses / "folder.png").mkdir()
    (horses / "dangling.png").symlink_to("nowhere")
    (horses / "loop.png").symlink_to("loop.png")
    (horses / "loop").symlink_to("..")
    os.mkfifo(horses / "pipe.png")
    (horses / "bad\n\udcff.png").write_bytes(b"text")
    bad = ["dangling.png: No such", "loop.png: Too many levels", "pipe.png: not a regular", "bad\\n\\udcff.png: "]
    ended = run("train", [*flags, "--overwrite"])
    assert ended.is_one_line_error("train", ""), ended.err
    assert all(part in ended.err for part in bad), ended.err
    ended = run("train", [*flags, "--overwrite", "--bad_images=skip"])
    assert ended.code == 0, ended.err
    assert ended.err.count("\nSkipping ") == len(bad) + 1


@pytest.mark.parametrize("command", ["train", "explore"])
def test_very_many_empty_files_give_a_short_message(tmp_path: Path, command: str) -> None:
    data = make_images(tmp_path / "data", 4)
    for i in range(3000):
        (data / "humans" / f"e{i:06d}.png").touch()
    explore = [f"--train_dir={data}", f"--cache_dir={tmp_path / 'cache'}", "--grid_size=0,0"]
    ended = run(command, training_flags(data, tmp_path) if command == "train" else explore)
    assert ended.code == 2
    assert len(ended.out) + len(ended.err) < 20_000
    assert "3000 of 3008 images" in ended.out + ended.err
