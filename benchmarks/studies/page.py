"""The page's figures: bytes loaded, start, and milliseconds an image in Chromium, beside LiteRT on the desktop.

    .venv/bin/python -m benchmarks.studies.page --export_dir=exports/mine
    .venv/bin/python -m benchmarks.studies.page --export_dir=exports/mine --photo=horse.png --picture=examples/phone.png

Needs Chromium and npm. The first measures each format in turn, each time in a fresh browser context with an empty cache. The
second takes the README's picture, of the page on a phone-sized screen with the class of that photo.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.harness import Row, finish_study, run_in_turn, study
from hh_fast.config import default_cache_dir
from hh_fast.export.latency import measure_latency
from hh_fast.serve import site
from hh_fast.serve.runtime import read_runtime
from hh_fast.serve.server import SiteServer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from browsers import Chromium

FORMATS = ("int8", "float32")
CAMERA = (640, 480)
PHONE = (390, 844)

READY = "!document.querySelector('#camera').disabled"
START = """
const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
const bytes = entries.reduce((sum, entry) => sum + entry.encodedBodySize, 0);
return [performance.getEntriesByName("ready")[0].startTime, bytes];
"""
# In a document of the site's other than the page, which would be using the runtime itself.
TIMES = """
const { openClassifier } = await import("./classifier.js");
const { readPixels } = await import("./pixels.js");
const { model, classify } = await openClassifier();
const frame = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
frame.getContext("2d").fillRect(0, 0, WIDTH / 2, HEIGHT);
const [pixels, run] = [[], []];
for (let i = 0; i < RUNS; i++) {
  const start = performance.now();
  const made = readPixels(frame, WIDTH, HEIGHT, model);
  const middle = performance.now();
  await classify(made);
  pixels.push(middle - start);
  run.push(performance.now() - middle);
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
return [median(pixels), median(run)];
"""


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[str]:
    with SiteServer("127.0.0.1", 0, files) as server, server.running():
        yield f"http://localhost:{server.port}/"


def files_of(export_dir: Path, variant: str) -> dict[str, bytes]:
    runtime = read_runtime(None, Path(default_cache_dir()) / "serve")
    return site.build(site.read_bundle(export_dir, (variant,)), runtime)


def measure(export_dir: Path, variant: str, runs: int) -> Row:
    """Bytes loaded, milliseconds until the page is ready, and medians of `runs` frames: to pixels, and through the model."""
    model = export_dir / f"model_{variant}.tflite"
    with serving(files_of(export_dir, variant)) as address, tempfile.TemporaryDirectory() as profile:
        chromium = Chromium(Path(profile))
        try:
            page = chromium.new_page()
            page.open(address).until(READY)
            start_ms, num_bytes = page.run(START)
            page.open(f"{address}model.json").until("location.pathname === '/model.json' && document.body !== null")
            width, height = CAMERA
            code = TIMES.replace("WIDTH", str(width)).replace("HEIGHT", str(height)).replace("RUNS", str(runs))
            pixels_ms, model_ms = page.run(code)
        finally:
            chromium.close()
    desktop_ms = measure_latency({variant: model})[variant][0].median_ms
    page_figures = {"loaded_bytes": num_bytes, "start_ms": start_ms, "pixels_ms": pixels_ms, "model_ms": model_ms}
    return {**page_figures, "desktop_model_ms": desktop_ms}


def take_picture(export_dir: Path, photo: Path, picture: Path) -> None:
    with serving(files_of(export_dir, "int8")) as address, tempfile.TemporaryDirectory() as profile:
        chromium = Chromium(Path(profile))
        try:
            page = chromium.new_page()
            page.screen(*PHONE, phone=True)
            page.open(address).until(READY)
            page.until("document.querySelector('#offline.ready') !== null")
            page.choose(photo)
            page.until("document.querySelector('#name').textContent !== ''")
            time.sleep(0.5)  # the bars come to rest
            page.screenshot(picture)
        finally:
            chromium.close()


def main() -> None:
    parser = study("page", __doc__ or "", repeats=5)
    parser.add_argument("--export_dir", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100, help="frames timed in each repeat")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if arguments.picture is not None:
        take_picture(arguments.export_dir, arguments.photo.resolve(), arguments.picture)
        return
    arms = {
        f"`model_{name}.tflite`": lambda _, name=name: measure(arguments.export_dir, name, arguments.runs)
        for name in FORMATS
    }
    finish_study("page", arguments, *run_in_turn(arms, repeats=arguments.repeats))


if __name__ == "__main__":
    main()
