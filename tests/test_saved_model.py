"""The SavedModel that users get, and the graph with one score a class."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import CLASS_NAMES, IMAGE_SIZE, Run

from hh_fast.errors import DataError

pytest_plugins = ["small_run"]


def test_pixels_signature_equals_keras(bundle: Path, images: np.ndarray, scores: np.ndarray) -> None:
    import tensorflow as tf

    serve = tf.saved_model.load(str(bundle / "saved_model")).signatures["serving_default"]
    assert serve.structured_input_signature[1]["image"] == tf.TensorSpec((None, 96, 96, 3), tf.float32, name="image")
    made = serve(image=tf.constant(images, tf.float32))
    assert set(made) == {"scores", "classes"}
    np.testing.assert_allclose(made["scores"], scores, atol=1e-6)
    assert made["classes"].numpy().tolist() == [[b"horses", b"humans"]] * len(images)


def test_bytes_signature_decodes_as_training_does(bundle: Path, run: Run) -> None:
    import keras
    import tensorflow as tf

    png = next((run.validation_dir / "humans").iterdir()).read_bytes()
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").resize((201, 77)).save(jpeg, "JPEG")
    files = [png, jpeg.getvalue()]
    arrays = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    pixels = np.stack([np.rint(tf.image.resize(array, IMAGE_SIZE)) for array in arrays])
    p = np.asarray(keras.models.load_model(run.model)(pixels))
    serve = tf.saved_model.load(str(bundle / "saved_model")).signatures["serving_bytes"]
    made = serve(image_bytes=tf.constant(files))
    np.testing.assert_allclose(made["scores"], np.concatenate([1 - p, p], axis=1), atol=1e-6)
    assert made["classes"].numpy()[0].tolist() == [name.encode() for name in CLASS_NAMES]


@pytest.mark.slow
def test_loads_without_keras(bundle: Path) -> None:
    code = f"""
import sys
import tensorflow as tf
before = set(sys.modules)
signature = tf.saved_model.load({str(bundle / "saved_model")!r}).signatures["serving_default"]
signature(image=tf.zeros((2, 96, 96, 3)))
sys.exit(any(name.startswith(("keras", "hh_fast")) for name in set(sys.modules) - before))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_softmax_of_three_classes_stays_as_it_is() -> None:
    from hh_fast.export.saved_model import score_per_class_model
    from hh_fast.model import build_model

    model = build_model(IMAGE_SIZE, num_classes=3, head="softmax")
    assert score_per_class_model(model, "m.keras") is model


def test_sigmoid_becomes_two_scores_with_the_same_weights(images: np.ndarray) -> None:
    from hh_fast.export.saved_model import score_per_class_model
    from hh_fast.model import build_model

    model = build_model(IMAGE_SIZE, num_classes=2, head="sigmoid")
    model.set_weights([weights + 0.01 for weights in model.get_weights()])
    p = np.asarray(model(images.astype(np.float32)))
    both = np.asarray(score_per_class_model(model, "m.keras")(images.astype(np.float32)))
    np.testing.assert_allclose(both, np.concatenate([1 - p, p], axis=1), atol=1e-6)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_outputs_that_are_no_probabilities_are_refused(activation: str) -> None:
    import keras

    from hh_fast.export.saved_model import score_per_class_model

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1, activation=activation)]
    )
    with pytest.raises(DataError) as caught:
        score_per_class_model(model, "m.keras")
    assert str(caught.value) == (
        "the last layer of m.keras is neither one sigmoid unit nor a softmax, so its outputs are not class probabilities:"
        " add such a layer, or export a run of bin/train"
    )


def test_pixels_for_a_model_of_scaled_images(images: np.ndarray) -> None:
    import keras

    from hh_fast.export.saved_model import of_pixels, score_per_class_model

    model = keras.Sequential(
        [keras.Input((*IMAGE_SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    exported = of_pixels(score_per_class_model(model, "m.keras"), 1.0)
    pixels = images.astype(np.float32)
    np.testing.assert_allclose(np.asarray(exported(pixels)), np.asarray(model(pixels / 255)), atol=1e-6)
