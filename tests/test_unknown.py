"""The output `unknown`: what it keeps, what it turns away, and that the file of such a model holds it."""

from pathlib import Path

import keras
import numpy as np
import pytest

from hh_fast.errors import UsageError
from hh_fast.model import build_model
from hh_fast.unknown import (
    CENTRES,
    MOST_CENTRES,
    UNKNOWN,
    add_unknown,
    feature_model,
    find_centres,
    find_threshold,
    has_unknown,
    margins,
    without_unknown,
)

NUM_FEATURES = 12


def classifier(num_classes: int, *, nested: bool = False) -> keras.Model:
    """Pooled channels of an image of 8 x 8, then a dense layer: a sigmoid for two classes."""
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    maps = layers.Conv2D(NUM_FEATURES, 1, kernel_initializer=keras.initializers.RandomNormal(seed=1))(
        layers.Rescaling(1 / 127.5, offset=-1)(image)
    )
    pooled = layers.GlobalAveragePooling2D()(layers.ReLU()(maps))
    front = keras.Model(image, pooled)
    features = front(image) if nested else pooled
    units, activation = (1, "sigmoid") if num_classes == 2 else (num_classes, "softmax")
    head = layers.Dense(units, activation=activation, kernel_initializer=keras.initializers.GlorotUniform(seed=2))
    return keras.Model(image, head(layers.Dropout(0.5)(features)))


def images_of(colours: list[tuple[int, int, int]], count: int, seed: int) -> np.ndarray:
    """float32 (len(colours) * count, 8, 8, 3) of nearly one colour each."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.normal(rng.normal(colour, 25, (count, 1, 1, 3)), 8, (count, 8, 8, 3)) for colour in colours]
    ).astype(np.float32)


COLOURS = [(220, 20, 20), (20, 220, 20), (20, 20, 220)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_what_resembles_no_training_image_is_unknown(num_classes: int, nested: bool, tmp_path: Path) -> None:
    model = classifier(num_classes, nested=nested)
    features = feature_model(model)
    assert features.outputs[0].shape == (None, NUM_FEATURES)
    train, held = (images_of(COLOURS[:num_classes], 40, seed) for seed in (0, 1))
    labels = np.repeat(np.arange(num_classes), 40)
    centres = find_centres(np.asarray(features(train)), labels, seed=0)
    before = np.asarray(model(held))
    chances = np.concatenate([1 - before, before], axis=1) if num_classes == 2 else before
    unit = np.asarray(features(held))
    similarity = (unit / np.linalg.norm(unit, axis=1, keepdims=True) @ centres.T).max(axis=1)
    threshold = find_threshold(margins(similarity, chances), 0.95, np.ones(1))

    whole = add_unknown(model, features, centres, threshold)
    whole.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    scores = np.asarray(loaded(held))
    assert scores.shape == (len(held), num_classes + 1)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    kept = scores.argmax(axis=1) != num_classes
    assert kept.mean() >= 0.95
    np.testing.assert_array_equal(scores[kept].argmax(axis=1), chances[kept].argmax(axis=1))
    known = scores[:, :-1] / (1 - scores[:, -1:])
    np.testing.assert_allclose(known[kept], chances[kept], atol=1e-4)

    foreign = images_of([(200, 200, 20), (130, 130, 130)], 40, seed=2)
    assert (np.asarray(loaded(foreign)).argmax(axis=1) == num_classes).mean() > 0.9

    assert has_unknown(loaded) and not has_unknown(model)
    np.testing.assert_array_equal(np.asarray(without_unknown(loaded)(held)), before)
    assert without_unknown(model) is model


def test_the_recipes_cnn_is_refused() -> None:
    with pytest.raises(
        UsageError, match="ends in pooled features, such as that of --backbone. Received: .*begins after `flatten`"
    ):
        feature_model(build_model((96, 96)))


@pytest.mark.parametrize(
    ("num_classes", "count", "expected"),
    [(2, 100, 2 * CENTRES), (2, 10, 20), (200, 20, 200 * (MOST_CENTRES // 200)), (2000, 2, 2000)],
)
def test_centres_are_fewer_where_images_are_few_or_classes_many(num_classes: int, count: int, expected: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), count)
    features = rng.normal(size=(len(labels), NUM_FEATURES))
    centres = find_centres(features, labels, seed=3)
    assert centres.shape == (expected, NUM_FEATURES)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(centres, find_centres(features, labels, seed=3))


def test_the_threshold_is_halfway_to_other_pictures_where_there_is_room() -> None:
    held = np.linspace(0.7, 0.9, 41)
    among = find_threshold(held, 0.9, np.linspace(0.5, 0.8, 41))
    assert (held > among).mean() == pytest.approx(37 / 41)
    far = find_threshold(held, 0.9, np.linspace(0.1, 0.3, 41))
    assert far == pytest.approx((among + 0.28) / 2)


@pytest.mark.parametrize(
    ("count", "keep", "num_lost"),
    [(5, 0.95, 0), (12, 0.95, 1), (12, 1.0, 0), (50, 0.95, 2), (100, 0.95, 5), (40, 0.9, 4)],
)
def test_as_many_keep_their_class_as_were_asked_for(count: int, keep: float, num_lost: int) -> None:
    held = np.linspace(0.5, 0.9, count)
    held[0] = 0.1
    assert (held < find_threshold(held, keep, np.ones(1))).sum() == num_lost


def test_a_class_keeps_its_name_as_long_as_it_stays_ahead() -> None:
    """A chance of 0.5 needs k above 2/3, where 1 - k is as large."""
    (threshold,) = margins(np.array([0.8]), np.array([[0.5, 0.3, 0.2]]))
    k = 1 / (1 + np.exp(-40.0 * (0.8 - threshold)))
    assert 0.5 * k == pytest.approx(1 - k)
    assert UNKNOWN == "unknown"
