"""The exported files in clients that are not ours: each must name the class that Keras names, on the same images."""

import json
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsers import Chromium, static_host
from PIL import Image
from small_run import CLASS_NAMES, Run

pytestmark = pytest.mark.slow

pytest_plugins = ["small_run"]

LITE_FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")
WEB = Path(__file__).parent / "web"


def largest_difference(variant: str) -> float:
    """What a client's score may differ from Keras' by: the file's own rounding."""
    return {"float32": 1e-4, "float16": 5e-3}.get(variant, 0.03)


@pytest.mark.parametrize("variant", LITE_FORMATS)
def test_mediapipe_names_the_classes(variant: str, bundle: Path, images: np.ndarray, scores: np.ndarray) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(bundle / f"model_{variant}.tflite"))
    )
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, expected in zip(images, scores, strict=True):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            named = classifier.classify(picture).classifications[0].categories
            assert {category.category_name for category in named} == set(CLASS_NAMES)
            assert named[0].category_name == CLASS_NAMES[expected.argmax()]
            assert abs(named[0].score - expected.max()) < largest_difference(variant)


NO_TENSORFLOW = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize("variant", LITE_FORMATS)
def test_litert_in_a_process_without_tensorflow(
    variant: str, bundle: Path, images: np.ndarray, scores: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images[:, None])
    code = f"""{NO_TENSORFLOW}
import json
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter({str(bundle / f"model_{variant}.tflite")!r})
scale = interpreter.get_output_details()[0]["quantization"][0] or 1.0
dtype = interpreter.get_input_details()[0]["dtype"]
classify = interpreter.get_signature_runner()
images = np.load({str(tmp_path / "images.npy")!r})
print(json.dumps([(classify(image=image.astype(dtype))["scores"][0] * scale).tolist() for image in images]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made = np.array(json.loads(done.stdout))
    np.testing.assert_array_equal(made.argmax(axis=1), scores.argmax(axis=1))
    assert np.abs(made - scores).max() < largest_difference(variant)


def test_our_prediction_runs_without_tensorflow(bundle: Path, run: Run, scores: np.ndarray) -> None:
    code = f"""{NO_TENSORFLOW}
from hh_fast.cli.predict import main
sys.exit(main(["--model={bundle / "model_float32.tflite"}", "--json", {str(run.validation_dir)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert [row["class"] for row in rows] == [CLASS_NAMES[i] for i in scores.argmax(axis=1)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if shutil.which("chromium") is None or not (WEB / "node_modules" / "@mediapipe" / "tasks-vision").is_dir():
        pytest.skip("needs Debian's chromium, and `npm ci` in tests/web")
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic", "int8"])
def test_a_page_in_chromium_names_the_classes(
    variant: str, chromium: Chromium, bundle: Path, images: np.ndarray, scores: np.ndarray, tmp_path: Path
) -> None:
    chosen = [0, 5, 12, 20]
    for i in chosen:
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    query = [("model", f"/bundle/model_{variant}.tflite"), *(("image", f"/images/{i}.png") for i in chosen)]
    with static_host(web=WEB, bundle=bundle, images=tmp_path) as host:
        page = chromium.new_page().open(f"{host}web/index.html?{urllib.parse.urlencode(query)}")
        named = page.until("globalThis.named")
        page.close()
    assert "error" not in named, named
    for i in chosen:
        class_name, score = named[f"/images/{i}.png"]
        assert class_name == CLASS_NAMES[scores[i].argmax()]
        assert abs(score - scores[i].max()) < largest_difference(variant)
