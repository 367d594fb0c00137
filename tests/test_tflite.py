"""The `.tflite` files: tensors, operators and what they say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import Run

from hh_fast.errors import CheckError, DataError

pytest_plugins = ["small_run"]

LITE_FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")


def interpreter_of(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    return interpreter


# format, dtype of input and output, scale and zero point of the input, of the output, bytes relative to float32
FORMS = [
    ("float32", np.float32, (0, 0), (0, 0), 1),
    ("float16", np.float32, (0, 0), (0, 0), 0.53),
    ("dynamic", np.float32, (0, 0), (0, 0), 0.3),
    ("int8", np.uint8, (1, 0), (1 / 256, 0), 0.32),
    ("int16x8", np.float32, (0, 0), (0, 0), 0.34),
]


@pytest.mark.parametrize(("name", "dtype", "input_scale", "output_scale", "share"), FORMS)
def test_tensors_and_size(
    name: str, dtype: type, input_scale: tuple[float, int], output_scale: tuple[float, int], share: float, bundle: Path
) -> None:
    path = bundle / f"model_{name}.tflite"
    interpreter = interpreter_of(path)
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["dtype"], scores["dtype"]) == (dtype, dtype)
    assert image["shape_signature"].tolist() == [1, 96, 96, 3]
    assert scores["shape"].tolist() == [1, 2]
    assert image["quantization"] == pytest.approx(input_scale)
    assert scores["quantization"] == pytest.approx(output_scale)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["scores"]}}
    assert path.stat().st_size <= share * (bundle / "model_float32.tflite").stat().st_size


@pytest.mark.parametrize("name", LITE_FORMATS)
def test_built_in_operators_only(name: str, bundle: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((bundle / f"model_{name}.tflite").read_bytes()))
    assert all(code.customCode is None for code in model.operatorCodes)
    assert schema.BuiltinOperator.CUSTOM not in {code.builtinCode for code in model.operatorCodes}


@pytest.mark.parametrize("name", LITE_FORMATS)
def test_scores_are_those_of_keras(name: str, bundle: Path, images: np.ndarray, scores: np.ndarray) -> None:
    from hh_fast.predict.opening import load_classifier

    made = load_classifier(str(bundle / f"model_{name}.tflite")).score(images)
    assert made.dtype == np.float32
    tolerance = {"float32": 1e-5, "float16": 5e-3}.get(name, 0.03)
    np.testing.assert_allclose(made, scores, atol=tolerance)


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_dynamic_batch(name: str, run: Run, images: np.ndarray, scores: np.ndarray, tmp_path: Path) -> None:
    from hh_fast.any_model import load_model
    from hh_fast.export import saved_model, tflite
    from hh_fast.export.quantization import quantize
    from hh_fast.predict.tflite import open_tflite

    model = saved_model.score_per_class_model(load_model(run.model), "m.keras")
    path = tmp_path / "model.tflite"
    content = tflite.convert(tflite.open_converter(model, dynamic_batch=True), "float32")
    path.write_bytes(quantize(content, images) if name == "int8" else content)
    assert interpreter_of(path).get_input_details()[0]["shape_signature"].tolist() == [-1, 96, 96, 3]
    classifier = open_tflite(path, num_threads=1)
    for count in (5, 1, 24):
        np.testing.assert_allclose(classifier.score(images[:count]), scores[:count], atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_weights_of_mixed_precision(policy: str, run: Run, images: np.ndarray, tmp_path: Path) -> None:
    import keras

    from hh_fast.any_model import load_model, with_policy
    from hh_fast.export import saved_model, tflite
    from hh_fast.model import build_model
    from hh_fast.predict.opening import load_classifier

    mixed = build_model((96, 96), num_classes=2, head="sigmoid", dtype=policy)
    mixed.set_weights(keras.models.load_model(run.model).get_weights())
    mixed.save(tmp_path / "mixed.keras")
    model = with_policy(load_model(tmp_path / "mixed.keras"), "float32")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    scores = saved_model.score_per_class_model(model, "m.keras")
    (tmp_path / "m.tflite").write_bytes(tflite.convert(tflite.open_converter(scores), "float32"))
    one, other = load_classifier(str(tmp_path / "m.tflite")), load_classifier(str(run.run_dir))
    np.testing.assert_allclose(one.score(images), other.score(images), atol=1e-5)


def test_the_conversion_without_a_built_in_operator(tmp_path: Path) -> None:
    import tensorflow as tf

    from hh_fast.export import tflite

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
        def score(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": tf.math.bessel_i0(tf.reduce_mean(image, axis=[1, 2]))}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.score})
    with pytest.raises(
        CheckError, match="^the model cannot be converted to float32 with built-in operators: .*BesselI0"
    ):
        tflite.convert(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")), "float32")


def test_metadata_says_what_it_was_made_from(bundle: Path) -> None:
    from hh_fast.predict.tflite_metadata import read_metadata

    described = json.loads((bundle / "metadata.json").read_text())
    found = read_metadata(bundle / "model_int8.tflite")
    assert found.labels == ("horses", "humans")
    assert (found.name, found.author, found.license, found.version) == (
        "horse_or_human",
        "A. Author",
        "apache-2.0",
        "1",
    )
    assert (found.mean, found.std, found.input_min, found.input_max) == ((0.0,), (1.0,), (0.0,), (255.0,))
    assert described["made_from"]["model_sha256"] in found.description
    assert described["made_from"]["data_fingerprint"] in found.description


def test_a_foreign_graph_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    from hh_fast.export import tflite
    from hh_fast.predict.tflite import open_tflite

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 5), tf.float32, name="image")])
        def score(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": image * 2}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.score})
    path = tmp_path / "other.tflite"
    path.write_bytes(tflite.convert(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")), "float32"))
    with pytest.raises(DataError) as caught:
        open_tflite(path)
    assert str(caught.value) == (
        f"{path} does not map one RGB image (1, height, width, 3) to one row of scores: its tensors are (1, 5); (1, 5)"
    )
