"""The frozen front of a model: where it ends, and that front and rest are the model."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from hh_fast.any_model import with_policy
from hh_fast.backbone.efficientnet_lite import efficientnet_lite0
from hh_fast.backbone.frozen import split, unfreeze
from hh_fast.model import add_head

layers = keras.layers


def frozen(layer: keras.Layer) -> keras.Layer:
    layer.trainable = False
    return layer


def backbone(*, trainable: bool = False) -> keras.Model:
    """A nested network with a residual connection and batch normalisation."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="inner_conv")(layers.Rescaling(1 / 255, name="inner_scale")(image))
    x = layers.Add(name="inner_add")([x, layers.BatchNormalization(name="inner_norm")(x)])
    x = layers.Conv2D(5, 3, name="inner_last")(layers.ReLU(name="inner_relu")(x))
    model = keras.Model(image, x, name="backbone")
    model.trainable = trainable
    return model


def functional() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Dropout(0.5, name="drop")(layers.GlobalAveragePooling2D(name="pool")(backbone()(image)))
    return keras.Model(image, layers.Dense(2, activation="softmax", name="head")(x))


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            backbone(),
            layers.Flatten(name="flat"),
            layers.Dense(1, activation="sigmoid", name="head"),
        ]
    )


def unfrozen_from_within() -> keras.Model:
    model = functional()
    model.get_layer("backbone").trainable = True
    for name in ("inner_conv", "inner_norm"):
        model.get_layer("backbone").get_layer(name).trainable = False
    return model


def unfrozen_amid_a_residual() -> keras.Model:
    model = functional()
    model.get_layer("backbone").trainable = True
    model.get_layer("backbone").get_layer("inner_conv").trainable = False
    return model


def frozen_on_two_paths() -> keras.Model:
    """Its last single tensor is before the paths part, though both are frozen."""
    image = keras.Input((8, 8, 3))
    x = frozen(layers.Conv2D(4, 3, name="conv"))(image)
    left = frozen(layers.Conv2D(2, 1, name="left"))(x)
    right = layers.Conv2D(2, 1, name="right")(x)
    both = layers.Flatten(name="flat")(layers.Add(name="add")([left, right]))
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="head")(both))


def with_operations_between() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = frozen(layers.Conv2D(4, 3, name="conv"))(keras.ops.multiply(image, 1 / 255))
    x = keras.ops.mean(keras.ops.relu(x), axis=(1, 2))
    return keras.Model(image, layers.Dense(2, activation="softmax", name="head")(x))


def called_twice() -> keras.Model:
    """One layer at two places, of which the second is behind a layer that trains."""
    image, shared = keras.Input((8, 8, 3)), frozen(layers.Conv2D(3, 1, name="shared"))
    x = layers.Conv2D(3, 1, name="between")(shared(image))
    return keras.Model(
        image, layers.Dense(1, activation="sigmoid", name="head")(layers.Flatten(name="flat")(shared(x)))
    )


@pytest.mark.parametrize(
    ("make", "first_of_rest"),
    [
        (functional, "drop"),
        (sequential, "head"),
        (unfrozen_from_within, "inner_last"),
        (unfrozen_amid_a_residual, "inner_norm"),
        (frozen_on_two_paths, "left"),
        (with_operations_between, "head"),
        (called_twice, "between"),
    ],
)
def test_front_and_rest_are_the_model(make: Callable[[], keras.Model], first_of_rest: str) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    images = np.random.default_rng(0).uniform(0, 1, (3, 8, 8, 3)).astype(np.float32)
    expected = model(images, training=False)
    parts = split(model)
    assert parts is not None
    front, rest = parts
    assert front.trainable_variables == []
    assert first_of_rest in [layer.name for layer in rest.layers[1:3]]
    assert {id(v) for v in rest.trainable_variables} == {id(v) for v in model.trainable_variables}
    np.testing.assert_array_equal(rest(front(images, training=True), training=False), expected)
    # The rest is trained as a copy of another precision, whose weights then go back into the model.
    copy = with_policy(rest, "mixed_bfloat16")
    for variable in copy.trainable_variables:
        variable.assign(1.1 * variable + np.linspace(0, 0.01, variable.shape[-1]))
    rest.set_weights(copy.get_weights())
    np.testing.assert_array_equal(rest(front(images, training=False), training=False), model(images, training=False))
    assert not np.array_equal(model(images, training=False), expected)


def trains_from_the_start() -> keras.Model:
    model = functional()
    model.get_layer("backbone").trainable = True
    return model


def random_from_the_start() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(backbone()(layers.RandomFlip()(image)))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def of_layers_without_weights() -> keras.Model:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Flatten()(layers.Rescaling(1 / 255)(image))))


def with_moving_statistics() -> keras.Model:
    """Batch normalisation without weights that train, whose statistics move all the same."""
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.BatchNormalization(center=False, scale=False)(image))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


@pytest.mark.parametrize(
    "make", [trains_from_the_start, random_from_the_start, of_layers_without_weights, with_moving_statistics]
)
def test_no_front(make: Callable[[], keras.Model]) -> None:
    assert split(make()) is None


def trained_layers(model: keras.Model) -> list[str]:
    return [variable.path.split("/")[-2] for variable in model.trainable_variables if "bias" not in variable.name]


def test_unfreezing_blocks_leaves_the_front_before_them() -> None:
    base = efficientnet_lite0((32, 32))
    base.trainable = False
    model = add_head(base, num_classes=3, head="auto", dropout=0.2)
    assert trained_layers(model) == ["probabilities"]
    unfreeze(model, 2)
    of_blocks = [f"block{i}_{part}_conv" for i in (14, 15) for part in ("expand", "depthwise", "project")]
    assert trained_layers(model) == [*of_blocks, "top_conv", "probabilities"]
    parts = split(model)
    assert parts is not None
    assert parts[0].output.shape == (None, 1, 1, 192)  # what block 13 gives
    assert parts[1].layers[1].name == "block14_expand_conv"
    unfreeze(model, "all")
    assert trained_layers(model)[:2] == ["stem_conv", "block0_depthwise_conv"]
    assert split(model) is None
    assert not any("bn" in name for name in trained_layers(model))


def test_unfreezing_layers_of_a_model_without_blocks_reaches_into_models_nested_in_it() -> None:
    model = functional()
    unfreeze(model, 2)
    assert trained_layers(model) == ["inner_last", "head"]
    assert {id(v) for v in model.trainable_variables} == {
        id(v) for name in ("inner_last",) for v in model.get_layer("backbone").get_layer(name).variables
    } | {id(v) for v in model.get_layer("head").variables}
    parts = split(model)
    assert parts is not None
    assert parts[1].layers[1].name == "inner_last"
    unfreeze(model, 99)
    assert trained_layers(model) == ["inner_conv", "inner_last", "head"]
