"""Any artifact becomes a classifier with the Keras model's scores, or one clear line."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import CLASS_NAMES, IMAGE_SIZE, Run

from hh_fast.errors import DataError, UsageError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.predict.classifier import name_classes
from hh_fast.predict.files import ImageFile
from hh_fast.predict.opening import load_classifier
from hh_fast.predict.stream import predict_bytes
from hh_fast.predict.tflite_metadata import Metadata, embed

pytest_plugins = ["small_run"]

LIMIT = 1_000_000
MODELS = (
    "run",
    "run/model.keras",
    "saved_model",
    "model_float32.tflite",
    "model_float16.tflite",
    "model_dynamic.tflite",
    "model_int8.tflite",
    "model_int16x8.tflite",
)


def model_path(name: str, run: Run, bundle: Path) -> Path:
    return run.run_dir / name.partition("/")[2] if name.startswith("run") else bundle / name


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_gives_keras_scores(
    name: str, run: Run, bundle: Path, images: np.ndarray, scores: np.ndarray
) -> None:
    classifier = load_classifier(str(model_path(name, run, bundle)))
    assert classifier.class_names == CLASS_NAMES
    assert classifier.image_size == IMAGE_SIZE
    made = classifier.score(images)
    assert (made.dtype, made.shape) == (np.float32, (24, 2))
    exact = "dynamic" not in name and "int" not in name
    np.testing.assert_allclose(made, scores, atol=5e-3 if exact else 0.03)
    np.testing.assert_allclose(made.sum(axis=1), 1, atol=0.01)
    for i in (0, 23):  # an image's scores do not hang on the others of its batch
        np.testing.assert_allclose(classifier.score(images[i : i + 1])[0], made[i], atol=1e-5)


def test_classify_takes_paths_pillow_images_and_arrays(run: Run, bundle: Path, scores: np.ndarray) -> None:
    classifier = load_classifier(bundle / "model_float32.tflite")
    paths = sorted((run.validation_dir / "horses").iterdir()) + sorted((run.validation_dir / "humans").iterdir())
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    turned = Image.fromarray(arrays[0][::-1, ::-1])
    turned.getexif()[0x0112] = 3  # upside down, by EXIF
    made = classifier.classify([*paths, *map(str, paths), *pictures, *arrays, turned])
    assert [one.class_name for one in made] == [CLASS_NAMES[label] for label in scores.argmax(1)] * 4 + [made[0][0]]
    np.testing.assert_allclose([one.score for one in made], [*np.tile(scores.max(1), 4), scores[0].max()], atol=1e-5)
    assert classifier.classify([]) == []
    for one in (paths[0], str(paths[0]), pictures[0], arrays[0]):
        assert classifier.classify(one) == made[:1]


def test_classify_refuses_what_is_no_image(bundle: Path, tmp_path: Path) -> None:
    classifier = load_classifier(bundle / "model_float32.tflite")
    for image, received in [
        (np.zeros((9, 9, 3), np.float32), r"float32 \(9, 9, 3\)"),
        (np.zeros((9, 9), np.uint8), "uint8"),
        (7, "int"),
    ]:
        with pytest.raises(
            UsageError, match=f"`images` must be paths, Pillow images, or arrays, .* Received: {received}"
        ):
            classifier.classify([image])
    (tmp_path / "a.png").write_bytes(b"")
    for images in ([tmp_path / "a.png"], tmp_path / "a.png"):
        with pytest.raises(DataError, match="a.png: empty file"):
            classifier.classify(images)


@pytest.mark.parametrize("threads", [1, 3])
def test_cores_share_a_batch_in_order(threads: int, bundle: Path, images: np.ndarray, scores: np.ndarray) -> None:
    classifier = load_classifier(str(bundle / "model_float32.tflite"), num_threads=threads)
    np.testing.assert_allclose(classifier.score(images[:7]), scores[:7], atol=1e-5)
    np.testing.assert_allclose(classifier.score(images[:2]), scores[:2], atol=1e-5)


def test_a_sigmoids_one_output_is_two_scores() -> None:
    np.testing.assert_allclose(class_probabilities(np.array([[0.3], [1.0]])), [[0.7, 0.3], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(class_probabilities(np.array([[0.3, 0.7]])), [[0.3, 0.7]])


def with_metadata(bundle: Path, to: Path, **fields: object) -> Path:
    content = (bundle / "model_float32.tflite").read_bytes()
    to.write_bytes(embed(content[: content.rindex(b"PK\x03\x04")], Metadata(**fields), IMAGE_SIZE))
    return to


def test_a_foreign_files_normalization_is_heeded(
    bundle: Path, images: np.ndarray, scores: np.ndarray, tmp_path: Path
) -> None:
    path = with_metadata(bundle, tmp_path / "m.tflite", mean=(127.5,), std=(0.5,), labels=CLASS_NAMES)
    scaled = load_classifier(str(path)).score(images)
    np.testing.assert_allclose(scaled, open_at((images - 127.5) / 0.5, bundle), atol=1e-5)
    assert np.abs(scaled - scores).max() > 0.05


@pytest.mark.parametrize("metadata", [Metadata(mean=(127.5,), std=(127.5,)), Metadata()])
def test_a_quantized_input_gets_normalized_pixels(metadata: Metadata, tmp_path: Path) -> None:
    """Calibrated on values from -1 to 1, as MobileNet's are: quantizing the pixels themselves would give 0, 1, 1, 1."""
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
        def score(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": tf.reduce_mean(image, axis=[1, 2])}

    module = Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.score.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 8, 8, 3), value, np.float32)] for value in (-1, 1))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    (tmp_path / "m.tflite").write_bytes(embed(converter.convert(), metadata, (8, 8)))
    images = np.broadcast_to(np.array([0, 1, 2, 255], np.uint8)[:, None, None, None], (4, 8, 8, 3))
    scores = load_classifier(str(tmp_path / "m.tflite")).score(images)
    np.testing.assert_allclose(scores, [[-1] * 3, [-0.992] * 3, [-0.984] * 3, [1] * 3], atol=0.006)


def open_at(values: np.ndarray, bundle: Path) -> np.ndarray:
    """Scores of float images fed as they are."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(bundle / "model_float32.tflite")).get_signature_runner()
    return np.concatenate([run(image=value[None].astype(np.float32))["scores"] for value in values])


def test_class_names_where_the_model_has_none(bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = with_metadata(bundle, tmp_path / "m.tflite", name="bare")
    assert load_classifier(str(path)).class_names == ("class_0", "class_1")
    assert caplog.messages == [f"{path} has no class names: using class_0 to class_1"]
    (tmp_path / "labels.txt").write_text("cats\ndogs\n\n")
    assert load_classifier(str(path)).class_names == ("cats", "dogs")
    (tmp_path / "labels.txt").write_text("cats\n")
    with pytest.raises(DataError) as caught:
        load_classifier(str(path))
    assert str(caught.value) == f"{path} gives 2 scores, but there are 1 class names for it: cats"


def test_damaged_names_beside(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=f"^cannot read the class names in {tmp_path / 'config.json'}: "):
        name_classes(tmp_path / "model.keras", 1)


def test_an_unfinished_run_predicts_with_a_warning(
    run: Run, images: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run.run_dir, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    assert load_classifier(str(tmp_path / "run")).class_names == CLASS_NAMES
    assert f"{tmp_path / 'run'} has not finished training: using its best model so far" in caplog.messages


def bad_model(kind: str, tmp_path: Path, bundle: Path) -> Path:
    path = tmp_path / "model"
    if kind == "text":
        path.write_text("hello, this is no model")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", "y")
    elif kind == "cut .keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", "")
    elif kind == "cut .tflite":
        path.write_bytes((bundle / "model_int8.tflite").read_bytes()[:20_000])
    elif kind == "cut SavedModel":
        shutil.copytree(bundle / "saved_model", path)
        (path / "saved_model.pb").write_bytes((path / "saved_model.pb").read_bytes()[:1000])
    elif kind == "SavedModel without variables":
        shutil.copytree(bundle / "saved_model", path)
        shutil.rmtree(path / "variables")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("absent", "no model {path}: check the path"),
        ("text", "{path} is not a .tflite, .keras or SavedModel, or it is truncated: export or copy it again"),
        ("empty", "{path} is not a .tflite, .keras or SavedModel, or it is truncated: export or copy it again"),
        ("a zip", "{path} is not a .keras file, or it is truncated: give the Keras model, or copy it again"),
        ("cut .keras", "Keras cannot load {path}: "),
        (
            "cut .tflite",
            "{path} is truncated or damaged (",
        ),
        ("cut SavedModel", "TensorFlow cannot load {path}: Cannot parse file "),
        ("SavedModel without variables", "TensorFlow cannot load {path}: "),
        (
            "folder",
            "{path} is neither a run folder with a model.keras nor a SavedModel: give a model file, or such a folder",
        ),
    ],
)
def test_what_is_no_model_is_one_clear_line(kind: str, text: str, tmp_path: Path, bundle: Path) -> None:
    path = bad_model(kind, tmp_path, bundle)
    with pytest.raises(DataError) as caught:
        load_classifier(str(path))
    assert str(caught.value).startswith(text.format(path=path))
    assert "\n" not in str(caught.value)


def test_a_bundle_is_not_a_model(bundle: Path) -> None:
    with pytest.raises(DataError, match="give one of the files in it: model_dynamic.tflite, model_float16.tflite, "):
        load_classifier(str(bundle))


def save_keras(tmp_path: Path, *layers: object) -> Path:
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_code_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    import keras

    mark = str(tmp_path / "it ran")

    code = lambda x, mark=mark: (__import__("pathlib").Path(mark).touch(), x)[1]  # noqa: E731
    path = save_keras(tmp_path, keras.layers.Lambda(code, output_shape=(8, 8, 3)), keras.layers.Flatten())
    Path(mark).unlink(missing_ok=True)
    with pytest.raises(DataError) as caught:
        load_classifier(str(path))
    assert str(caught.value) == (
        f"Keras cannot load {path}: it has a Lambda layer, whose code is not run; rebuild it"
        " from Keras' own layers, or copy it again"
    )
    assert not Path(mark).exists()


def test_pixels_that_nothing_scales_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import keras

    path = save_keras(tmp_path, keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid"))
    assert load_classifier(str(path)).image_size == (8, 8)
    assert f"{path} has no layer that scales pixels: its input is unscaled, 0 to 255" in caplog.messages


def test_a_keras_model_of_something_else(tmp_path: Path) -> None:
    import keras

    path = save_keras(tmp_path, keras.layers.Conv2D(2, 3))
    with pytest.raises(DataError) as caught:
        load_classifier(str(path))
    assert str(caught.value) == (
        f"{path} does not map RGB images (batch, height, width, 3) to scores (batch, classes): it maps"
        " [(None, 8, 8, 3)] to [(None, 6, 6, 2)]; give an image classifier"
    )


def test_a_saved_model_of_someone_else(tmp_path: Path) -> None:
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"p": tf.reduce_mean(tf.cast(x, tf.float32), axis=[1, 2, 3], keepdims=True)[:, 0, 0] / 255}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    classifier = load_classifier(str(tmp_path / "saved"))
    scores = classifier.score(np.full((2, 8, 8, 3), 51, np.uint8))
    np.testing.assert_allclose(scores, [[0.8, 0.2]] * 2, atol=1e-6)
    with pytest.raises(DataError, match="takes no encoded images: leave out --signature=bytes"):
        next(predict_bytes(classifier, [ImageFile("x")], max_image_pixels=LIMIT))


def test_tflite_starts_fast_and_without_tensorflow(bundle: Path, run: Run) -> None:
    image = run.validation_dir / "humans" / "000.png"
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from hh_fast.cli.predict import main\n"
        f"code = main(['--model={bundle / 'model_int8.tflite'}', {str(image)!r}])\n"
        "loaded = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "print(code, loaded, time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, loaded, seconds = done.stderr.split()
    assert (status, loaded) == ("0", "set()")
    assert float(seconds) < 1.5  # processor time, which a busy machine does not stretch
    assert done.stdout.startswith(f"{image}: humans ")


def test_says_where_tensorflow_would_be_needed(run: Run) -> None:
    code = f"""
import sys
sys.modules["tensorflow"] = None
from hh_fast.cli.predict import main
sys.exit(main(["--model={run.run_dir}", "x.png"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "predict: `model` must be a .tflite if TensorFlow is not installed: install tensorflow, or export the model with"
        f" bin/export. Received: {run.run_dir}"
    )
