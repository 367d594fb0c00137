"""bin/export and bin/explore killed at random changes of files: what they make is written atomically, and the next run clears up."""

import hashlib
import random
import signal
from pathlib import Path

from PIL import Image

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import finish, make_set, run, start
from hh_fast.io.output_folder import MARKER


def _whole_bundle(folder: Path) -> bool:
    """Whether every file of the bundle is there and has the digest that its list says; hidden files are no part of it."""
    lines = [line.split(maxsplit=1) for line in (folder / "SHA256SUMS").read_text().splitlines()]
    listed = {name.lstrip("*"): digest for digest, name in lines}
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    there = {name for name in names if not name.startswith(".")} - {"SHA256SUMS"}
    same = all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())
    return there == set(listed) and same


def _whole_picture(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
    return True


def killed_products(work: Path, count: int) -> list[Counts]:
    data = make_set(work / "data", 12)
    shared = [f"--train_dir={data}", f"--cache_dir={work / 'cache'}"]
    train = [*shared, f"--run_dir={work / 'run'}", "--image_size=96,96", "--batch_size=8", "--epochs=1", "--device=cpu"]
    code, _, err = run("train", train)
    if code != 0:
        raise RuntimeError(f"train ended with {code}: {err}")
    bundle, grid = work / "out" / "bundle", work / "pictures" / "grid.png"
    export = [f"--run_dir={work / 'run'}", f"--export_dir={bundle}", "--formats=float32", "--calibration_images=8"]
    all_counts = []
    # `known_by`: the file without which nobody takes the product for one.
    for command, flags, product, known_by, is_whole in (
        ("export", export, bundle, bundle / "metadata.json", _whole_bundle),
        ("explore", [*shared, f"--grid={grid}"], grid, grid, _whole_picture),
    ):
        counts = Counts(f"{command} killed")
        counted = work / f"changes-{command}"
        code, _, err = run(command, flags, VICTIM_ROOT=product.parent, VICTIM_COUNT=counted)
        counts.check(code == 0 and is_whole(product), f"undisturbed: exit code {code}, {err[-300:]}")
        changes = int(counted.read_text())
        for seed in range(count):
            at = random.Random(f"{command} {seed}").randint(1, changes)
            killed = start(command, flags, VICTIM_ROOT=product.parent, VICTIM_AT=at, VICTIM_SIGNAL=int(signal.SIGKILL))
            code, _, err = finish(killed)
            good = code == -signal.SIGKILL and (not known_by.exists() or is_whole(product))
            counts.check(good, f"change {at} of {changes}: exit code {code}, {err[-300:]}")
        code, _, err = run(command, flags)
        left = [path.name for path in product.parent.rglob(".*") if path.name != MARKER]
        counts.check(
            code == 0 and is_whole(product) and not left, f"afterwards: exit code {code}, left {left}, {err[-300:]}"
        )
        all_counts.append(counts)
    return all_counts
