"""hh_fast.export_model: of a run, and of a model trained by fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_run import Run

import hh_fast
from hh_fast.any_model import with_policy
from hh_fast.errors import DataError, UsageError

pytest_plugins = ["small_run"]
L = keras.layers


def small_model(**last: Any) -> keras.Model:
    """Ends with an activation of its own, and has a model nested in it."""
    image = keras.Input((24, 24, 3))
    features = keras.Sequential(
        [keras.Input((24, 24, 3)), L.Rescaling(1 / 255), L.Conv2D(4, 3), L.BatchNormalization()]
    )
    x = L.Dense(1)(L.GlobalAveragePooling2D()(features(image)))
    return keras.Model(image, L.Activation(last.get("activation", "sigmoid"))(x), name="mine")


@pytest.fixture
def sides(make_images: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    folders = {
        "train": make_images("train", {"horses": 9, "humans": 9}),
        "validation": make_images("validation", {"horses": 5, "humans": 5}, seed=1),
    }
    options = {"image_size": (24, 24), "label_mode": "binary", "cache_dir": str(tmp_path / "cache"), "verbose": False}
    return {name: hh_fast.image_dataset_from_directory(folder, **options) for name, folder in folders.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so of every tf.data.Dataset
def test_a_model_trained_by_fit_becomes_a_checked_bundle(
    sides: dict[str, Any], tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    model = small_model()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(sides["train"], validation_data=sides["validation"], verbose=0)
    bundle = hh_fast.export_model(
        model, tmp_path / "bundle", **sides, formats=("saved_model", "float32"), author="A. Author"
    )
    assert sorted(bundle.files) == ["float32", "saved_model"]
    paths = sides["validation"].file_paths
    images = np.stack([np.asarray(keras.utils.load_img(path), np.float32) for path in paths])
    p = model.predict(images, verbose=0)[:, 0]
    for path in bundle.files.values():
        found = hh_fast.load_classifier(path).classify(paths)
        scores = [item.score if item.class_name == "humans" else 1 - item.score for item in found]
        np.testing.assert_allclose(scores, p, atol=1e-4)
    card = (bundle.export_dir / "README.md").read_text()
    accuracy = model.evaluate(sides["validation"], verbose=0)[1]
    assert f"accuracy {accuracy:.4f}" in card
    assert "A. Author" in card
    assert str(tmp_path) not in card + (bundle.export_dir / "metadata.json").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the model mine has no layer that scales pixels")
def test_what_a_model_of_all_kinds_of_state_predicts_is_what_its_files_say(
    sides: dict[str, Any], tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(100, 60, (64, 24, 24, 3)).astype(np.float32)
    normalize = L.Normalization(name="_norm")
    normalize.adapt(rows)
    image = keras.Input((24, 24, 3))
    x = L.RandomFlip(seed=1)(normalize(image))
    x = L.SpectralNormalization(L.Conv2D(4, 3, strides=2))(x)
    x = L.GroupNormalization(2)(L.BatchNormalization(name="bn 1")(x))
    x = L.Reshape((11, 44))(L.EinsumDense("abcd,de->abce", output_shape=(11, 11, 4))(x))
    x = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(x, x))
    x = L.Dropout(0.5)(L.Flatten()(x))
    model = keras.Model(image, L.Dense(2, activation="softmax")(x), name="mine")
    for weights in model.weights:
        if weights.trainable or "moving" in weights.name:
            weights.assign(np.random.default_rng(1).uniform(0.05, 0.3, weights.shape))
    bundle = hh_fast.export_model(model, tmp_path / "bundle", **sides, formats=("saved_model", "float32"))
    model.layers[4].name = "bn_1"  # with the space Keras itself predicts nothing
    paths = sides["validation"].file_paths
    images = np.stack([np.asarray(keras.utils.load_img(path), np.float32) for path in paths])
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected[:, 0]) > 2e-3
    for path in bundle.files.values():
        np.testing.assert_allclose(hh_fast.load_classifier(path).score(images.astype(np.uint8)), expected, atol=1e-4)


@pytest.mark.slow
def test_a_model_in_mixed_precision_is_its_own_reference(sides: dict[str, Any], tmp_path: Path) -> None:
    model = with_policy(small_model(), "mixed_bfloat16")
    bundle = hh_fast.export_model(model, tmp_path / "bundle", **sides, formats=("float32",))
    check = json.loads((bundle.export_dir / "metadata.json").read_text())["files"]["float32"]["check"]
    assert 0 < check["largest_difference"] < 0.02


@pytest.mark.parametrize("labels", [[0, 2] * 5, [0.0, 0.5] * 5])
def test_labels_that_are_no_positions(
    labels: list[Any], sides: dict[str, Any], tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    folder = make_images("other", {"horses": 5, "humans": 5})
    options = {"image_size": (24, 24), "label_mode": "int", "cache_dir": str(tmp_path / "cache"), "verbose": False}
    other = hh_fast.image_dataset_from_directory(folder, labels=labels, **options)
    with pytest.raises(UsageError, match="`train` must be labelled with class numbers, 0 to 1. Received: 0"):
        hh_fast.export_model(small_model(), tmp_path / "bundle", train=other, validation=other, formats=("float32",))


@pytest.mark.slow
def test_a_run_or_its_folder(run: Run, tmp_path: Path) -> None:
    bundle = hh_fast.export_model(run.run_dir, tmp_path / "bundle", formats=("float32",), calibration_images=8)
    assert list(bundle.files.values()) == [tmp_path / "bundle" / "model_float32.tflite"]
    with pytest.raises(UsageError, match="`train` and `validation` must be left out for a run"):
        hh_fast.export_model(str(run.run_dir), tmp_path / "other", train=1)


def test_what_cannot_be_exported(sides: dict[str, Any], tmp_path: Path) -> None:
    mapped = sides["train"].map(lambda images, labels: (images / 255, labels))
    for model, changed, message in [
        (
            small_model(),
            {"train": mapped},
            "`train` must be a labelled data set as hh_fast.image_dataset_from_directory",
        ),
        (small_model(), {"validation": None}, "`validation` must be a labelled data set as"),
        (small_model(), {"format": "int8"}, "unknown setting `format`; choose from"),
        (small_model(), {"train_dir": "pictures"}, "unknown setting `train_dir`; choose from"),
        (small_model(activation="linear"), {}, "neither one sigmoid unit nor a softmax"),
        (keras.Sequential([L.Dense(1)]), {}, "was created without keras.Input"),
    ]:
        with pytest.raises((DataError, UsageError), match=message):
            hh_fast.export_model(model, tmp_path / "bundle", **(sides | {"formats": ("float32",)} | changed))
    assert not (tmp_path / "bundle").exists()
