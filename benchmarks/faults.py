"""The fault campaign in full: kills, storage, hostile images, archives and models, crowds, soak, supply.

    .venv/bin/python benchmarks/faults.py [--sections=kills,images] [--scale=0.1] [--work=FOLDER]

Writes benchmarks/results/faults.json: for each section what was tried, survived and lost. Some parts need root (a small
tmpfs, a control group) and are noted as skipped without it. At scale 1 on 2 cores it takes about two hours, most of it kills.
Exit code 1 if anything was lost. Sections that are not asked for keep their figures.
"""

import argparse
import json
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faultlib import bombs, crowd, forged, images, kills, models, names, products, soak, storage, supply
from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import make_set, run

RESULTS = Path(__file__).with_name("results") / "faults.json"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def _kills(work: Path, scale: float) -> list[Counts]:
    count = max(1, round(50 * scale))
    return [
        *kills.kills(work, count, numbers=SIGNALS).values(),
        *products.killed_products(work / "products", count),
    ]


def _storage(work: Path, scale: float) -> list[Counts]:
    return [
        storage.full_disk(work / "full"),
        storage.size_limit(work / "limit"),
        storage.unwritable(work / "fixed"),
        storage.removed_cache(work / "removed"),
        storage.changed_images(work / "changed"),
        storage.lost_images(work / "lost"),
        storage.flipped_bytes(work / "flipped", max(1, round(100 * scale))),
    ]


def _images(work: Path, scale: float) -> list[Counts]:
    counts = Counts("decompression bombs")
    (work / "bombs").mkdir(parents=True)
    for name, data in bombs.bombs().items():
        (work / "bombs" / name).write_bytes(data)
    images.judge_all(sorted(map(str, (work / "bombs").iterdir())), counts, max_peak=1_000_000_000)
    return [
        images.hostile_images(work / "mutants", max(1, round(2000 * scale))),
        counts,
        names.odd_names(work / "names"),
        names.many_empty(work / "empty", max(1, round(200_000 * scale))),
    ]


def _models(work: Path, scale: float) -> list[Counts]:
    data, run_dir, bundle = make_set(work / "data", 12), work / "run", work / "bundle"
    shared = ["--image_size=96,96", "--batch_size=8", "--epochs=1", "--device=cpu", f"--cache_dir={work / 'cache'}"]
    for command, flags in (
        ("train", [f"--train_dir={data}", f"--run_dir={run_dir}", *shared]),
        (
            "export",
            [f"--run_dir={run_dir}", f"--export_dir={bundle}", "--formats=float32,int8", "--calibration_images=8"],
        ),
    ):
        code, _, err = run(command, flags)
        if code != 0:
            raise RuntimeError(f"{command} ended with {code}: {err}")
    cuts, flips = max(1, round(100 * scale)), max(1, round(400 * scale))
    files = (bundle / "model_float32.tflite", bundle / "model_int8.tflite", run_dir / "model.keras")
    all_counts = []
    for file in files:
        all_counts.append(models.hostile_models(work / file.name, file, cuts, flips))
        all_counts[-1].name = f"broken {file.name}"
    return [*all_counts, forged.forged_models(work / "forged")]


def _crowd(work: Path, scale: float) -> list[Counts]:  # noqa: ARG001
    return [
        crowd.one_cache(work / "four"),
        crowd.one_cache(work / "killed", kill_filler=True),
        crowd.one_run_folder(work / "one"),
    ]


def _soak(work: Path, scale: float) -> list[Counts]:
    return [soak.soak(work / "soak", max(120, round(2000 * scale))), soak.larger_than_memory(work / "larger")]


def _supply(work: Path, scale: float) -> list[Counts]:  # noqa: ARG001
    return [supply.locks(), supply.no_network(work)]


SECTIONS: dict[str, Callable[[Path, float], list[Counts]]] = {
    "kills": _kills,
    "storage": _storage,
    "images": _images,
    "models": _models,
    "crowd": _crowd,
    "soak": _soak,
    "supply": _supply,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sections", default=",".join(SECTIONS), help="comma-separated: " + ", ".join(SECTIONS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--work", type=Path, help="folder for what the campaign makes; default: a temporary one")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="faults-", dir=given.work))
    # A shell that starts this in the background has Ctrl-C ignored, which the victims would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lost = 0
    for section in given.sections.split(","):
        all_counts = SECTIONS[section](work / section, given.scale)
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[section] = {counts.name: counts.to_json() for counts in all_counts}
        for counts in all_counts:
            lost += len(counts.lost)
            print(f"{section}, {counts.name}: {counts.tried} tried, {len(counts.lost)} lost", *counts.lost, sep="\n  ")
        results["machine"] = {"system": platform.platform(), "python": platform.python_version()}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        if not lost:
            shutil.rmtree(work / section, ignore_errors=True)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
