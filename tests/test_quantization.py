"""int8 files: nearer to the model than what TensorFlow's converter makes of it."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hh_fast.errors import CheckError
from hh_fast.export import tflite
from hh_fast.export.quantization import quantize
from hh_fast.predict.tflite import new_interpreter, open_tflite

L = keras.layers
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected"),
]


def smooth_images(count: int, seed: int) -> np.ndarray:
    """uint8 (count, 32, 32, 3), bright blots on a dark ground."""
    small = np.random.default_rng(seed).uniform(0, 255, (count, 6, 6, 3)).astype(np.float32)
    return keras.ops.convert_to_numpy(keras.ops.image.resize(small, (32, 32))).astype(np.uint8)


def network() -> keras.Model:
    """The kinds of layers that phones run, one of them used twice, with weights of unequal size."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = L.Rescaling(1 / 128, offset=-1)(image)
    x = L.ReLU(6)(L.Conv2D(16, 3, strides=2, padding="same", kernel_initializer="he_normal")(x))
    x = L.ReLU(6)(L.DepthwiseConv2D(3, padding="same", depthwise_initializer="he_normal")(x))
    twice = L.Conv2D(16, 1)
    x = L.Add()([twice(x), twice(L.ReLU()(x))])
    x = L.ReLU(6)(L.Conv2D(16, 3, groups=2, padding="same")(x))
    x = L.ReLU(6)(L.DepthwiseConv2D(5, padding="same", use_bias=False)(x))
    x = L.Conv2D(64, 1, activation="relu6")(x)
    return keras.Model(
        image,
        L.Dense(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(0, 30))(
            L.GlobalAveragePooling2D()(x)
        ),
    )


def of_tensorflow(model: keras.Model, images: np.ndarray) -> bytes:
    converter = tflite.open_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


@pytest.mark.slow
def test_scores_stray_less_than_those_of_tensorflows_own_int8(tmp_path: Path) -> None:
    model, calibration, images = network(), smooth_images(40, seed=0), smooth_images(200, seed=1)
    calibration[0, 0, 0], calibration[0, -1, -1] = 0, 255  # TensorFlow's gets the pixels as they are, too
    expected = model.predict(images.astype(np.float32), verbose=0)
    float32 = tflite.convert(tflite.open_converter(model), "float32")
    errors = {}
    for name, content in (
        ("ours", quantize(float32, calibration)),
        ("theirs", of_tensorflow(model, calibration)),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        image, scores = (
            new_interpreter(path, 1).get_input_details()[0],
            new_interpreter(path, 1).get_output_details()[0],
        )
        assert (image["quantization"], scores["quantization"]) == ((1.0, 0), (1 / 256, 0))
        errors[name] = np.abs(open_tflite(path).score(images) - expected).mean()
    assert np.ptp(expected) > 0.5
    assert errors["ours"] < 0.9 * errors["theirs"], errors


def test_a_loop_is_refused_in_words() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, L.Dense(2, activation="softmax")(L.SimpleRNN(4)(L.Reshape((8, 24))(image))))
    float32 = tflite.convert(tflite.open_converter(model), "float32")
    with pytest.raises(CheckError, match="^the model has loops, which cannot be quantized to int8: use dynamic$"):
        quantize(float32, np.zeros((2, 8, 8, 3), np.uint8))
