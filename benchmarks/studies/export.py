"""Export and prediction: sizes, latencies in turn, agreement, and the time that bin/export takes.

    .venv/bin/python -m benchmarks.studies.export --run_dir=RUN

RUN is a finished run folder of bin/train. Takes about three minutes on 2 cores.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.harness import Row, command_words, finish_study, study
from hh_fast.io.quiet import import_tensorflow


def measure(run_dir: Path, repeats: int, scratch: Path) -> list[Row]:
    """A row for each figure and repeat: `value`, with the `target` that it should not exceed, or `at_least` reach."""
    rows: list[Row] = []

    def add(arm: str, value: float, repeat: int = 0, **target: float) -> None:
        rows.append({"arm": arm, "repeat": repeat, "value": value, **target})

    bundle = scratch / "bundle"
    words = command_words("export", f"--run_dir={run_dir}", f"--export_dir={bundle}", "--formats=all", "--verbosity=-1")
    start = time.perf_counter()
    subprocess.run(words, check=True)
    add("export of six formats, s", time.perf_counter() - start, at_most=60)
    import_tensorflow()
    from hh_fast.export.latency import measure_latency

    files = json.loads((bundle / "metadata.json").read_text())["files"]
    drops = [file["check"]["model_accuracy"] - file["check"]["accuracy"] for file in files.values()]
    add("int8 bytes / float32 bytes", files["int8"]["bytes"] / files["float32"]["bytes"], at_most=0.26)
    add("largest accuracy drop", max(drops), at_most=0.005)
    add("least agreement", min(file["check"]["agreement"] for file in files.values()), at_least=0.99)
    paths = {name: bundle / f"model_{name}.tflite" for name in ("float32", "int8")}
    image = scratch / "image.png"
    Image.effect_noise((300, 300), 64).convert("RGB").save(image)
    for repeat in range(repeats):
        took = {name: latencies[-1].median_ms for name, latencies in measure_latency(paths).items()}
        add("int8 latency / float32 latency", took["int8"] / took["float32"], repeat, at_most=0.6)
        predict = command_words("predict", f"--model={bundle / 'model_int8.tflite'}", str(image))
        start = time.perf_counter()
        subprocess.run(predict, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        add("bin/predict on one image, s", seconds, repeat, at_most=1.5)
    return rows


def main() -> None:
    parser = study("export", __doc__ or "", repeats=7)
    parser.add_argument("--run_dir", type=Path, default=Path("runs/sample"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(arguments.run_dir, arguments.repeats, Path(scratch))
    finish_study("export", arguments, rows)


if __name__ == "__main__":
    main()
