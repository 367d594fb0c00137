"""Long runs, in which memory and open files must not grow; and every command's main path without a network."""

import re
from collections.abc import Sequence

import psutil

from benchmarks.faults.lab import Lab, finish, make_images, run, start, training_flags, wait_for


def soak(lab: Lab, epochs: int, *, settled_after: int = 100, max_growth: float = 0.02) -> None:
    """Many epochs on a tiny set, watched from outside: resident memory and open files at each new epoch."""
    data = make_images(lab.work / "data", 8)
    more = ("--batch_size=4", "--steps_per_epoch=1", f"--epochs={epochs}", "--verbosity=-1")
    process = start("train", training_flags(data, lab.work, *more))
    checkpoints = lab.work / "run" / "checkpoints"
    seen: dict[int, tuple[int, int]] = {}
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        wait_for(process, checkpoints, "epoch*")
        found = [re.match(r"epoch(\d+)-", path.name) for path in checkpoints.glob("epoch*")]
        epoch = max((int(match[1]) for match in found if match), default=0)
        try:
            seen.setdefault(epoch, (watched.memory_info().rss, watched.num_fds()))
        except psutil.Error:
            break
    ended = finish(process)
    lab.check(ended.code == 0, ended.last)
    settled = [row for epoch, row in seen.items() if settled_after <= epoch < epochs - 1]
    tenth = max(1, len(settled) // 10)
    before, after = (sorted(row[0] for row in rows)[tenth // 2] for rows in (settled[:tenth], settled[-tenth:]))
    lab.notes |= {"epochs": epochs, "bytes_at_first": before, "bytes_at_last": after}
    lab.check(after <= before * (1 + max_growth), f"memory grew from {before:,} to {after:,} bytes")
    files = settled[0][1], settled[-1][1]
    lab.check(files[1] <= files[0] + 1, f"open files grew from {files[0]} to {files[1]}")


def no_network(lab: Lab) -> None:
    """Every command's main path with sockets to other machines forbidden."""
    data = make_images(lab.work / "data", 12)
    run_dir, bundle, home = lab.work / "run", lab.work / "bundle", lab.work / "home"
    shared = [f"--train_dir={data}", f"--cache_dir={lab.work / 'cache'}"]
    bench = ["--image_size=96,96", "--batch_size=4", "--epochs=1", "--quick", f"--output_dir={lab.work / 'bench'}"]
    commands: tuple[tuple[str, Sequence[object]], ...] = (
        ("train", [*training_flags(data, lab.work, "--epochs=1")]),
        ("explore", [*shared, f"--grid={lab.work / 'grid.png'}"]),
        ("export", [f"--run_dir={run_dir}", f"--export_dir={bundle}", "--formats=float32,saved_model"]),
        ("predict", [f"--model={run_dir}", data]),
        ("predict", [f"--model={bundle / 'model_float32.tflite'}", data]),
        ("bench", [*shared, *bench]),
        ("train", training_flags(data, lab.work / "features", "--backbone=efficientnet_lite0", "--epochs=1")),
    )
    log = lab.work / "reached"
    for command, arguments in commands:
        ended = run(command, arguments, VICTIM_NO_NETWORK=log, HOME=home, XDG_CACHE_HOME=home)
        lab.check(ended.code == 0, f"{command}: {log.read_text() if log.exists() else ended.last}")
        log.unlink(missing_ok=True)
