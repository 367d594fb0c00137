"""Any model in float32, whatever it was made under."""

import keras
import numpy as np
import pytest

from hh_fast.any_model import with_policy
from hh_fast.model import build_model


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
