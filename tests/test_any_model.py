"""Any model in float32, whatever it was made under."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hh_fast.any_model import load_model, require_classifier, with_policy
from hh_fast.data.images import Images
from hh_fast.data.load import Examples
from hh_fast.data.pixels import ImageForm
from hh_fast.data.rows import DecodedRows
from hh_fast.errors import DataError, UsageError
from hh_fast.export.trained_model import TrainedModel
from hh_fast.model import build_model
from hh_fast.predict.opening import load_classifier

L = keras.layers
SIZE = (8, 8, 3)


def nested(policy: str) -> keras.Model:
    """A functional model around a sequential one around another, with layers shared and without."""
    layers = keras.layers
    inner = keras.Sequential([layers.Dense(4, dtype=policy), layers.BatchNormalization(dtype=policy)], name="inner")
    middle = keras.Sequential([keras.Input((6,)), inner, layers.Dense(4, dtype=policy)], name="middle")
    numbers = keras.Input((1,), dtype="int32")
    pixels = keras.Input((6,), dtype="float32")
    embedded = layers.Flatten()(layers.Embedding(3, 4, dtype=policy)(numbers))
    both = layers.Add(dtype=policy)([middle(pixels), embedded])
    return keras.Model([pixels, numbers], layers.Dense(2, dtype="float32")(both))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float32"])
def test_models_nested_in_a_model_are_in_float32_too(policy: str) -> None:
    model = nested(policy)
    inputs = [np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32), np.array([[0], [1], [2]], np.int32)]
    copy = with_policy(model, "float32")
    flat = copy._flatten_layers()
    assert {layer.compute_dtype for layer in flat if layer.weights} == {"float32"}
    assert [tensor.dtype for tensor in copy.inputs] == ["float32", "int32"]
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    exact = with_policy(nested("float32"), "float32")
    exact.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(inputs), exact(inputs))


def test_the_recipe_keeps_its_layers_and_its_weights() -> None:
    model = build_model((96, 96), num_classes=2, head="sigmoid", dtype="mixed_bfloat16")
    copy = with_policy(model, "float32")
    exact = build_model((96, 96), num_classes=2, head="sigmoid")
    assert copy.get_config() == exact.get_config()
    for mine, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def pictures(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE), np.uint8)


def classifier(*layers: Any) -> keras.Model:
    image = keras.Input(SIZE)
    x: Any = image
    for layer in layers:
        x = layer(x)
    return keras.Model(image, L.Dense(2, activation="softmax")(L.Flatten()(x)), name="mine")


def adapted() -> keras.layers.Layer:
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(1).normal(127, 40, (64, *SIZE)).astype(np.float32))
    return layer


@pytest.mark.filterwarnings("ignore:.* names no classes")
def test_an_adapted_normalization_keeps_its_statistics(tmp_path: Path) -> None:
    """Keras puts them into effect when it loads them by its own protocol, and not where weights are set."""
    model = classifier(adapted())
    model.save(tmp_path / "mine.keras")
    expected = model.predict(pictures().astype(np.float32), verbose=0)
    assert np.ptp(expected[:, 0]) > 0.1
    for copy in (with_policy(model, "float32"), load_model(tmp_path / "mine.keras")):
        np.testing.assert_allclose(copy.predict(pictures().astype(np.float32), verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(load_classifier(tmp_path / "mine.keras").score(pictures()), expected, atol=1e-6)
    fresh = with_policy(model, "float32", seed=1, reset_weights=True)
    np.testing.assert_array_equal(fresh.layers[1].mean, model.layers[1].mean)
    np.testing.assert_array_equal(fresh.layers[1].variance, model.layers[1].variance)
    assert not np.array_equal(fresh.get_weights()[-2], model.get_weights()[-2])


@keras.saving.register_keras_serializable("test_any_model")
class Gain(keras.Model):
    """A container with a weight of its own."""

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(shape=(1,), initializer="ones", name="gain")
        if not self.inner.built:
            self.inner.build(input_shape)

    def call(self, x: Any) -> Any:
        return self.gain * self.inner(x)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Gain":
        return cls(**config | {"inner": keras.saving.deserialize_keras_object(config["inner"])})


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_containers_shared_and_quantized_layers_give_what_keras_predicts(policy: str, tmp_path: Path) -> None:
    gain = Gain(L.Conv2D(3, 3, padding="same"))
    shared = L.Dense(3, activation="tanh")
    dense = L.Dense(8)
    model = classifier(
        L.Rescaling(1 / 255), gain, shared, keras.Sequential([L.Dense(3), L.BatchNormalization()]), shared, dense
    )
    gain.gain.assign([2.0])
    dense.quantize("int8")
    images = pictures().astype(np.float32)
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected[:, 0]) > 0.01
    copy = with_policy(model, policy)
    np.testing.assert_allclose(copy.predict(images, verbose=0), expected, atol=1e-6 if policy == "float32" else 0.02)


NAMES = ["_bn1", "a b:1", "\u00e9%\\b"]


def exported(model: keras.Model) -> keras.Model:
    held = Images(Path("pictures"), ("a", "b"), (), np.zeros(0, np.int32), np.zeros(0, np.int64))
    examples = Examples(held, DecodedRows((), ImageForm(SIZE[:2])))
    return TrainedModel(model, "m", "m.keras", "", 255.0, examples, examples, "pictures", "").exported()


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_of_any_name_is_exported(name: str, tmp_path: Path) -> None:
    from hh_fast.export import saved_model, tflite

    made = classifier(L.Rescaling(1 / 255), L.BatchNormalization(name=name), L.Dense(3, name=f"{name}2"))
    made.save(tmp_path / "mine.keras")
    model = load_model(tmp_path / "mine.keras")
    expected = model(pictures().astype(np.float32), training=False)  # TensorFlow cannot trace all of them
    np.testing.assert_allclose(load_classifier(tmp_path / "mine.keras").score(pictures()), expected, atol=1e-6)
    saved_model.save(exported(model), ("a", "b"), tmp_path / "saved")
    np.testing.assert_allclose(load_classifier(tmp_path / "saved").score(pictures()), expected, atol=1e-6)
    (tmp_path / "m.tflite").write_bytes(tflite.convert(tflite.open_converter(exported(model)), "float32"))
    np.testing.assert_allclose(load_classifier(tmp_path / "m.tflite").score(pictures()), expected, atol=1e-5)


def test_scores_in_a_dict_are_refused_in_words() -> None:
    image = keras.Input(SIZE)
    model = keras.Model(image, {"scores": L.Dense(2, activation="softmax")(L.Flatten()(image))})
    with pytest.raises(DataError) as caught:
        require_classifier(model, "mine.keras")
    assert str(caught.value) == ("mine.keras returns a dict: give keras.Model(model.inputs, model.outputs[0])")
    require_classifier(keras.Model(model.inputs, model.outputs[0]), "mine.keras")


@pytest.fixture(params=[("floatx", "float64", "float32"), ("image_data_format", "channels_first", "channels_last")])
def setting(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, str]]:
    name, other, needed = request.param
    change: Callable[[str], None] = getattr(keras.config, f"set_{name}")
    change(other)
    yield request.param
    change(needed)


def test_other_settings_of_keras_are_refused_and_the_recipe_does_not_follow_them(setting: tuple[str, str, str]) -> None:
    import hh_fast

    name, other, needed = setting
    model = build_model((96, 96))
    assert model.count_params() == 131233
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    with pytest.raises(UsageError) as caught:
        hh_fast.train(model=model)
    assert str(caught.value) == (
        f"`keras.config.{name}()` must be {needed} when the model is created and used. Received: {other}"
    )
