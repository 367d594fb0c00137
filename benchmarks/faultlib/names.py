"""Folders with what no program wants to find in them."""

import os
import time
from pathlib import Path

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import finish, is_one_line_error, make_set, png, run, start


def _flags(data: Path, work: Path, *more: str) -> list[str]:
    return [
        f"--train_dir={data}",
        f"--run_dir={work / 'run'}",
        f"--cache_dir={work / 'cache'}",
        "--image_size=96,96",
        "--batch_size=8",
        "--epochs=1",
        "--device=cpu",
        *more,
    ]


def odd_names(work: Path) -> Counts:
    """Bad ones are named, each on the one line; with --bad_images=skip the rest is trained on."""
    counts = Counts("odd names and kinds")
    data = make_set(work / "data", 12)
    folder = os.fsencode(data / "horses")
    for name in (
        b"a b.png",
        b"line\nbreak.png",
        b"\xff\xfe.png",
        "\u202eright.png".encode(),
        b"-rf.png",
        b"x" * 250 + b".png",
    ):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(png(2))
    _, _, err = run("explore", [f"--train_dir={data}", f"--cache_dir={work / 'cache'}", "--grid_size=0,0", "--json"])
    code, _, err = run("train", _flags(data, work))
    counts.check(code == 0, f"good images under odd names: exit code {code}, {err[-300:]}")
    (data / "horses" / "folder.png").mkdir()
    (data / "horses" / "dangling.png").symlink_to("nowhere")
    (data / "horses" / "loop.png").symlink_to("loop.png")
    (data / "horses" / "loop").symlink_to("..")
    os.mkfifo(data / "horses" / "pipe.png")
    (data / "horses" / "forbidden.png").write_bytes(png(4))
    (data / "horses" / "forbidden.png").chmod(0)
    Path(os.fsdecode(folder + b"/bad\n\xff.png")).write_bytes(b"text")
    code, _, err = run("train", _flags(data, work, "--overwrite"))
    last = err.strip().splitlines()[-1]
    bad = [
        "dangling.png: No such file",
        "loop.png: Too many levels",
        "pipe.png: not a regular file",
        "bad\\n\\udcff.png: ",
    ]
    if os.geteuid() != 0:
        bad.append("forbidden.png: Permission denied")
    one_line = code == 2 and is_one_line_error("train", err)
    counts.check(one_line and all(part in last for part in bad), f"named: exit code {code}, {err[-600:]}")
    code, _, err = run("train", _flags(data, work, "--overwrite", "--bad_images=skip"))
    lines = [line for line in err.splitlines() if line.startswith("Skipping ")]
    counts.check(code == 0 and len(lines) == len(bad) + 1, f"skipped: exit code {code}, {lines}")
    return counts


def many_empty(work: Path, count: int, *, max_seconds: float = 120) -> Counts:
    """Very many empty files: a short message, in time."""
    counts = Counts("empty files")
    data = make_set(work / "many", 4)
    for i in range(count):
        os.close(os.open(data / "humans" / f"e{i:06d}.png", os.O_CREAT | os.O_WRONLY))
    for command, flags in (
        ("train", _flags(data, work)),
        ("explore", [f"--train_dir={data}", f"--cache_dir={work / 'cache'}", "--grid_size=0,0"]),
    ):
        begun = time.monotonic()
        code, out, err = finish(start(command, flags), 600)
        seconds = time.monotonic() - begun
        counts.notes[f"seconds of {command}"] = round(seconds, 1)
        short = len(out) + len(err) < 20_000
        good = code == 2 and f"{count} of {count + 8} images cannot be used" in (err if command == "train" else out)
        counts.check(good and short and seconds < max_seconds, f"{command}: {code}, {seconds:.0f} s, {err[-300:]}")
    return counts
