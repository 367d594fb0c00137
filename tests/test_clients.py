"""The exported files in clients that are not ours: each must name the class that Keras names, on the same images."""

import http.server
import json
import queue
import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_run import CLASS_NAMES, Run

pytest_plugins = ["small_run"]

LITE_FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")
WEB = Path(__file__).parent / "web"
# As root in a container without a GPU or a way out; the rest keeps Chromium from calling home.
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def largest_difference(number_format: str) -> float:
    """What a client's score may differ from Keras' by: the file's own rounding."""
    return {"float32": 1e-4, "float16": 5e-3}.get(number_format, 0.03)


@pytest.mark.parametrize("number_format", LITE_FORMATS)
def test_mediapipe_names_the_classes(number_format: str, bundle: Path, images: np.ndarray, scores: np.ndarray) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(bundle / f"model_{number_format}.tflite"))
    )
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, expected in zip(images, scores, strict=True):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            named = classifier.classify(picture).classifications[0].categories
            assert {category.category_name for category in named} == set(CLASS_NAMES)
            assert named[0].category_name == CLASS_NAMES[expected.argmax()]
            assert abs(named[0].score - expected.max()) < largest_difference(number_format)


NO_TENSORFLOW = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize("number_format", LITE_FORMATS)
def test_litert_in_a_process_without_tensorflow(
    number_format: str, bundle: Path, images: np.ndarray, scores: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images[:, None])
    code = f"""{NO_TENSORFLOW}
import json
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter({str(bundle / f"model_{number_format}.tflite")!r})
scale = interpreter.get_output_details()[0]["quantization"][0] or 1.0
dtype = interpreter.get_input_details()[0]["dtype"]
classify = interpreter.get_signature_runner()
images = np.load({str(tmp_path / "images.npy")!r})
print(json.dumps([(classify(image=image.astype(dtype))["scores"][0] * scale).tolist() for image in images]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made = np.array(json.loads(done.stdout))
    np.testing.assert_array_equal(made.argmax(axis=1), scores.argmax(axis=1))
    assert np.abs(made - scores).max() < largest_difference(number_format)


def test_our_prediction_runs_without_tensorflow(bundle: Path, run: Run, scores: np.ndarray) -> None:
    code = f"""{NO_TENSORFLOW}
from hh_fast.cli.predict import main
sys.exit(main(["--model={bundle / "model_float32.tflite"}", "--json", {str(run.validation_dir)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert [row["class"] for row in rows] == [CLASS_NAMES[i] for i in scores.argmax(axis=1)]


class _Site:
    """Serves folders under names on loopback, and collects what is posted to /result."""

    def __init__(self, folders: dict[str, Path]):
        self.results: queue.Queue[dict[str, list[object]]] = queue.Queue()
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def translate_path(self, path: str) -> str:
                name, _, rest = urllib.parse.unquote(path.partition("?")[0]).lstrip("/").partition("/")
                return str(folders[name] / rest) if name in folders else str(folders[""] / name / rest)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                site.results.put(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> "_Site":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site(bundle: Path, tmp_path: Path) -> Iterator[_Site]:
    with _Site({"": WEB, "bundle": bundle, "images": tmp_path}) as served:
        yield served


def classify_in_chromium(chromium: str, site: _Site, query: list[tuple[str, str]], profile: Path) -> dict:
    address = f"{site.address}/index.html?{urllib.parse.urlencode(query)}"
    process = subprocess.Popen(
        [chromium, *CHROMIUM_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return site.results.get(timeout=120)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize("number_format", ["float32", "float16", "dynamic", "int8"])
def test_a_page_in_chromium_names_the_classes(
    number_format: str,
    site: _Site,
    images: np.ndarray,
    scores: np.ndarray,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from PIL import Image

    chromium = shutil.which("chromium")
    if chromium is None or not (WEB / "node_modules" / "@mediapipe" / "tasks-vision").is_dir():
        pytest.skip("needs Debian's chromium, and `npm ci` in tests/web")
    chosen = [0, 5, 12, 20]
    for i in chosen:
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    query = [("model", f"/bundle/model_{number_format}.tflite"), *(("image", f"/images/{i}.png") for i in chosen)]
    named = classify_in_chromium(chromium, site, query, tmp_path_factory.mktemp("profile"))
    assert "error" not in named, named
    for i in chosen:
        class_name, score = named[f"/images/{i}.png"]
        assert class_name == CLASS_NAMES[scores[i].argmax()]
        assert abs(score - scores[i].max()) < largest_difference(number_format)
