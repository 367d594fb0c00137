"""The figures of export and prediction, as ratios in one run: files timed in turn, round by round.

    .venv/bin/python benchmarks/export.py --run_dir=RUN

RUN is a finished run folder of bin/train. Writes benchmarks/results/export.json and prints each figure beside its target.
Takes about three minutes on 2 cores.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from published import RESULTS

from hh_fast.io.files import write_json
from hh_fast.io.quiet import import_tensorflow
from hh_fast.io.typed_json import to_json

PLAIN = "plain"
TIMED = ("float32", "int8", "dynamic", "float16")


def command(name: str, *arguments: str) -> list[str]:
    code = f"import sys; from hh_fast.cli.{name} import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def export_seconds(run_dir: str, target: Path) -> float:
    """Wall seconds of bin/export in all six formats, imports, checks and measurements included."""
    arguments = [f"--run_dir={run_dir}", f"--export_dir={target}", "--verbosity=-1"]
    return timed(lambda: subprocess.run(command("export", *arguments), check=True))


def convert_plainly(model_path: Path, to: Path) -> None:
    """The same CNN as TensorFlow's own guide converts it."""
    import keras
    import tensorflow as tf

    from hh_fast.io.quiet import native_stderr_logged

    model = keras.models.load_model(model_path)
    with native_stderr_logged(), warnings.catch_warnings(), open(os.devnull, "w") as silent:  # noqa: PTH123
        warnings.simplefilter("ignore")
        stdout, sys.stdout = sys.stdout, silent
        try:
            to.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        finally:
            sys.stdout = stdout


def latency_rounds(paths: dict[str, Path], repeats: int) -> list[dict[str, float]]:
    """Median milliseconds of an image on all cores, of each file, in each of `repeats` rounds."""
    from hh_fast.export.latency import measure_latency

    return [
        {name: latencies[-1].median_ms for name, latencies in measure_latency(paths).items()} for _ in range(repeats)
    ]


def ratio(rounds: list[dict[str, float]], one: str, other: str) -> dict[str, float]:
    ratios = sorted(entry[one] / entry[other] for entry in rounds)
    return {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}


def start_seconds(model: Path, image: Path, repeats: int) -> list[float]:
    """Wall seconds of bin/predict on one image, from the start of Python to its end."""
    arguments = command("predict", f"--model={model}", str(image))
    return [timed(lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)) for _ in range(repeats)]


def many_images(model: Path, image: Path, count: int, scratch: Path) -> dict[str, float]:
    """bin/predict on a folder of `count` links to one image: images a second, and the process' peak memory."""
    folder = scratch / str(count)
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:06d}{image.suffix}").symlink_to(image)
    start = time.perf_counter()
    with subprocess.Popen(command("predict", f"--model={model}", str(folder)), stdout=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            # A process that has just ended has no such line any more: what was seen before holds.
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
            time.sleep(0.05)
    return {"images": count, "images_per_second": count / (time.perf_counter() - start), "peak_bytes": peak}


def figures(metadata: dict[str, Any], rounds: list[dict[str, float]], seconds: float) -> list[dict[str, Any]]:
    """Each figure beside its target; `holds` says whether it is reached."""
    files = metadata["files"]
    drops = {name: file["check"]["model_accuracy"] - file["check"]["accuracy"] for name, file in files.items()}
    agreement = {name: file["check"]["agreement"] for name, file in files.items()}
    int8, plain = ratio(rounds, "int8", "float32"), ratio(rounds, "float32", PLAIN)
    size = files["int8"]["bytes"] / files["float32"]["bytes"]
    return [
        {"figure": "int8 bytes / float32 bytes", "value": size, "target": 0.26, "holds": size <= 0.26},
        {
            "figure": "int8 latency / float32 latency",
            "value": int8["median"],
            "spread": int8,
            "target": 0.6,
            "holds": int8["median"] <= 0.6,
        },
        # Equal but for noise: the two differ by one column of the last layer.
        {
            "figure": "float32 latency / plain conversion",
            "value": plain["median"],
            "spread": plain,
            "target": 1.0,
            "holds": plain["median"] <= 1.02,
        },
        {
            "figure": "largest accuracy drop",
            "value": max(drops.values()),
            "by_format": drops,
            "target": 0.005,
            "holds": max(drops.values()) <= 0.005,
        },
        {
            "figure": "least agreement",
            "value": min(agreement.values()),
            "by_format": agreement,
            "target": 0.99,
            "holds": min(agreement.values()) >= 0.99,
        },
        {"figure": "export of six formats, s", "value": seconds, "target": 60, "holds": seconds < 60},
    ]


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    bundle = scratch / "bundle"
    seconds = export_seconds(options.run_dir, bundle)
    import_tensorflow()
    from hh_fast.bench.machine import describe
    from hh_fast.data.scan import list_images

    metadata = json.loads((bundle / "metadata.json").read_text())
    convert_plainly(Path(options.run_dir) / "model.keras", scratch / "plain.tflite")
    paths = {PLAIN: scratch / "plain.tflite"} | {name: bundle / f"model_{name}.tflite" for name in TIMED}
    rounds = latency_rounds(paths, options.repeats)
    data = json.loads((Path(options.run_dir) / "config.json").read_text())["data"]
    image = Path(options.image) if options.image else None
    if image is None:
        from hh_fast.config import DataConfig
        from hh_fast.data.sources import find_source
        from hh_fast.io.typed_json import from_json

        source = find_source(from_json(DataConfig, data))
        image = Path(list_images(source.validation_dir or source.train_dir)[0][0])
    starts = start_seconds(bundle / "model_int8.tflite", image.resolve(), options.repeats)
    results = figures(metadata, rounds, seconds)
    start = statistics.median(starts)
    results.append(
        {
            "figure": "bin/predict on one image, s",
            "value": start,
            "repeats": starts,
            "target": 1.5,
            "holds": start < 1.5,
        }
    )
    few, many = (
        many_images(bundle / "model_int8.tflite", image.resolve(), count, scratch) for count in (1000, options.many)
    )
    growth = many["peak_bytes"] / few["peak_bytes"]
    results.append(
        {
            "figure": f"memory on {options.many} images / on 1000",
            "value": growth,
            "runs": [few, many],
            "target": 1.25,
            "holds": growth <= 1.25,
        }
    )
    return {
        "command": f"benchmarks/export.py --repeats={options.repeats} --many={options.many}",
        "machine": to_json(describe([])),
        "data": metadata["made_from"]["data"],
        "figures": results,
        "latency_ms_by_round": rounds,
        "files": metadata["files"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run_dir", default="runs/sample")
    parser.add_argument("--output", type=Path, default=RESULTS / "export.json")
    parser.add_argument("--repeats", type=int, default=7, help="rounds in which the files take turns")
    parser.add_argument("--many", type=int, default=20_000, help="images in the folder for memory")
    parser.add_argument("--image", help="image to predict on; default: the run's first validation image")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(options, Path(scratch))
    write_json(options.output, result)
    for line in result["figures"]:
        print(
            f"{line['figure']:<42} {line['value']:10.4f}   target {line['target']:<6} {'yes' if line['holds'] else 'NO'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
