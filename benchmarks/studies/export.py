"""Export and prediction: the time that bin/export takes and where it goes, sizes, agreement, and latencies in turn.

    .venv/bin/python -m benchmarks.studies.export runs/sample runs/mine

RUN is a finished run folder of bin/train. Takes about two minutes a run on 2 cores.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.harness import Row, command_words, finish_study, isolated, study
from benchmarks.process import MeasurementError, time_command
from hh_fast.export.latency import measure_latency

# What bin/export logs first in each part of its work, and the part before that.
PARTS = {
    "Converting to": "of it: imports, and reading the run and its images",
    "Checking": "of it: converting",
    "Measuring latency": "of it: checking",
    "Exported to": "of it: latency, memory and the rest",
}
NUM_EXPORTS = 3
TIMED = ("float32", "int8")


def time_export(run_dir: Path, bundle: Path) -> dict[str, float]:
    """Seconds of bin/export with the formats of its default, and of its parts."""
    words = command_words("export", f"--run_dir={run_dir}", f"--export_dir={bundle}")
    seconds: dict[str, float] = {}
    start = now = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            for begin, part in PARTS.items():
                if line.startswith(begin) and part not in seconds:
                    now, before = time.perf_counter(), now
                    seconds[part] = now - before
    if process.returncode:
        raise MeasurementError(f"bin/export ended with exit code {process.returncode}: {line.strip()}")
    return {"bin/export, s": time.perf_counter() - start, **{f"{part}, s": s for part, s in seconds.items()}}


def measure(run_dir: Path, repeats: int, scratch: Path) -> list[Row]:
    """A row for each figure and repeat."""
    bundle, image = scratch / "bundle", scratch / "image.png"
    rows: list[Row] = []

    def add(repeat: int, **figures: float) -> None:
        rows.extend(
            {"arm": arm, "repeat": repeat, "set": run_dir.name, "value": value} for arm, value in figures.items()
        )

    for repeat in range(min(repeats, NUM_EXPORTS)):
        add(repeat, **time_export(run_dir, bundle))
    files = json.loads((bundle / "metadata.json").read_text())["files"]
    checks = [file["check"] for file in files.values()]
    add(
        0,
        **{
            "int8 file, MB": files["int8"]["bytes"] / 1e6,
            "float32 file, MB": files["float32"]["bytes"] / 1e6,
            "largest accuracy drop": max(check["model_accuracy"] - check["accuracy"] for check in checks),
            "least agreement with Keras": min(check["agreement"] for check in checks),
        },
    )
    paths = {name: bundle / f"model_{name}.tflite" for name in TIMED}
    timed = isolated(measure_latency, paths)
    Image.effect_noise((300, 300), 64).convert("RGB").save(image)
    for repeat in range(repeats):
        took = {name: latencies[-1].median_ms for name, latencies in timed(repeat).items()}
        add(repeat, **{f"{name}, every core, ms": ms for name, ms in took.items()})
        add(repeat, **{"int8 latency / float32 latency": took["int8"] / took["float32"]})
        predict = command_words("predict", f"--model={paths['int8']}", str(image))
        add(repeat, **{"bin/predict on one image, s": time_command(predict)[0]})
    return rows


def main() -> None:
    parser = study("export", __doc__ or "", repeats=7)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for run_dir in arguments.runs:
        with tempfile.TemporaryDirectory(prefix="hh_fast-export-") as scratch:
            rows += measure(run_dir, arguments.repeats, Path(scratch))
    finish_study("export", arguments, rows)


if __name__ == "__main__":
    main()
