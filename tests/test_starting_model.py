"""Training any Keras model: the contract, what is kept, and several kinds from start to export."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_run import Run

from hh_fast.any_model import with_policy
from hh_fast.cli.train import main
from hh_fast.config import ExportConfig, TrainConfig
from hh_fast.errors import DataError, UsageError
from hh_fast.export.bundle import export
from hh_fast.export.trained_model import load_trained_model
from hh_fast.predict.opening import load_classifier
from hh_fast.training.loop import Loop
from hh_fast.training.starting_model import read_starting_model, take_starting_model
from hh_fast.training.step import Trainer, forward, make_optimizer
from hh_fast.training.train import train

pytest_plugins = ["small_run"]
L = keras.layers
MakeImages = Callable[..., Path]
SIZE = (32, 32)


def with_statistics(units: int = 1, activation: str | None = "sigmoid", size: tuple[int, int] = SIZE) -> keras.Model:
    """With batch normalisation and dropout; it begins as the recipe does."""
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            L.Rescaling(1 / 255),
            L.Conv2D(4, 3, activation="relu"),
            L.MaxPooling2D(2),
            L.BatchNormalization(),
            L.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(units, activation=activation),
        ],
        name="with_statistics",
    )


def residual() -> keras.Model:
    image = keras.Input((*SIZE, 3))
    x = L.Conv2D(8, 3, strides=4, activation="relu", kernel_regularizer="l2")(L.Rescaling(1 / 127.5, offset=-1)(image))
    x = L.Add()([x, L.Conv2D(8, 3, padding="same", activation="relu")(x)])
    return keras.Model(image, L.Dense(2, activation="softmax")(L.GlobalAveragePooling2D()(x)), name="residual")


def pretrained() -> keras.Model:
    """A frozen backbone, with whatever weights, under a new head."""
    backbone = keras.applications.MobileNetV3Small(
        (*SIZE, 3), include_top=False, weights=None, include_preprocessing=True, pooling="avg"
    )
    backbone.trainable = False
    image = keras.Input((*SIZE, 3))
    return keras.Model(image, L.Dense(1, activation="sigmoid")(backbone(image)), name="pretrained")


def batch(seed: int = 0, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE, 3), np.uint8), rng.integers(0, 2, count).astype(np.int32)


@pytest.fixture
def settings(make_images: MakeImages, tmp_path: Path) -> dict[str, Any]:
    """Two epochs of three steps."""
    return {
        "train_dir": str(make_images("train", {"horses": 13, "humans": 13}, size=SIZE)),
        "validation_dir": str(make_images("validation", {"horses": 10, "humans": 10}, size=SIZE, seed=1)),
        "cache_dir": str(tmp_path / "cache"),
        "run_dir": str(tmp_path / "run"),
        "batch_size": 8,
        "epochs": 2,
    }


def output(*layers: keras.Layer, inputs: Any = (*SIZE, 3)) -> keras.Model:
    return keras.Sequential([keras.Input(inputs), L.Flatten(), *layers], name="mine")


@pytest.mark.parametrize(
    ("model", "head", "message"),
    [
        (
            lambda: output(L.Dense(1, name="logit")),
            "auto",
            "the outputs of the model mine, of its layer `logit`, are not probabilities: end it with"
            ' keras.layers.Activation("sigmoid")',
        ),
        (lambda: output(L.Dense(3)), "auto", 'end it with keras.layers.Activation("softmax")'),
        (lambda: output(L.Dense(2, activation="sigmoid")), "auto", 'end it with keras.layers.Activation("softmax")'),
        (
            lambda: output(L.Dense(1, activation="sigmoid")),
            "softmax",
            "`head` must be the model's own, sigmoid, or left out. Received: softmax",
        ),
        (
            lambda: output(L.Dense(1, activation="sigmoid"), inputs=(*SIZE, 1)),
            "auto",
            "the model mine does not map RGB images (batch, height, width, 3) to scores (batch, classes): it maps"
            " [(None, 32, 32, 1)] to [(None, 1)]; give an image classifier",
        ),
        (
            lambda: output(L.Lambda(lambda x: x), L.Dense(1, activation="sigmoid")),
            "auto",
            "the model mine has a Lambda layer, which cannot be loaded from a saved model: use a Keras layer instead",
        ),
        (
            lambda: output(L.BatchNormalization(name="a b"), L.Dense(1, activation="sigmoid")),
            "auto",
            "the model mine has a layer name that is invalid in a TensorFlow graph, so it cannot be trained",
        ),
        (
            lambda: keras.Sequential([L.Dense(1)], name="unbuilt"),
            "auto",
            "the model unbuilt was created without keras.Input, so its image size is unknown",
        ),
    ],
)
def test_what_is_no_classifier_to_train(model: Callable[[], keras.Model], head: str, message: str) -> None:
    with pytest.raises((DataError, UsageError)) as caught:
        take_starting_model(model(), head)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_frozen_whole_is_refused() -> None:
    model = with_statistics()
    model.trainable = False
    with pytest.raises(DataError, match="all layers of the model with_statistics are frozen"):
        take_starting_model(model, "auto").whole(TrainConfig(), 0)


class Unregistered(keras.layers.Layer):
    pass


@pytest.mark.parametrize("layer", [lambda: L.Lambda(lambda x: x), Unregistered], ids=["Lambda", "unregistered"])
def test_a_file_brings_no_code(layer: Callable[[], keras.Layer], tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    output(layer(), L.Dense(1, activation="sigmoid")).save(path)
    with pytest.raises(DataError, match=f"Keras cannot load {path}: "):
        read_starting_model(path, "auto")


def test_what_contradicts_the_model(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine.keras").mkdir()  # a folder, and no run
    (tmp_path / "x.tflite").write_bytes(b"TFL3")
    for changed, message in [
        ({"image_size": (300, 300)}, "`image_size` must be the model's own, 32,32, or left out. Received: 300,300"),
        (
            {"model": with_statistics(3, "softmax")},
            "the model with_statistics has 3 classes, but the images have",
        ),
        ({"run_dir": str(tmp_path), "model": str(tmp_path / "a.keras")}, "`run_dir` must not be the folder of --model"),
        ({"model": tmp_path / "x.tflite"}, f"{tmp_path / 'x.tflite'} is not a .keras file, or it is truncated"),
        ({"model": tmp_path / "mine.keras"}, f"{tmp_path / 'mine.keras'} is not a .keras file"),
    ]:
        with pytest.raises((DataError, UsageError), match=message):
            train(**(settings | {"model": with_statistics()} | changed))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="`reset_weights` must be given with --model"):
        TrainConfig(reset_weights=True)


@pytest.mark.parametrize(
    "change", [{}, {"strides": 2}, {"padding": "same"}, {"activation": "tanh"}, {"use_bias": False}]
)
@pytest.mark.parametrize("pooling", [{}, {"strides": 1}, {"padding": "same"}])
def test_the_fast_order_gives_what_the_layers_give(change: dict[str, Any], pooling: dict[str, Any]) -> None:
    conv = {"activation": "relu", **change}
    layers = [L.Rescaling(1 / 255), L.Conv2D(4, 3, **conv), L.MaxPooling2D(2, **pooling), L.Flatten()]
    model = keras.Sequential([keras.Input((9, 9, 3)), *layers])
    images = batch()[0][:, :9, :9]
    expected = model(images.astype(np.float32), training=True)
    np.testing.assert_allclose(forward(model, tf.constant(images), training=True), expected, rtol=0, atol=1e-6)


def test_only_the_recipes_blocks_take_the_fast_order() -> None:
    images = batch()[0]
    for model in (with_statistics(), residual()):
        expected = model(images.astype(np.float32), training=False)
        np.testing.assert_allclose(forward(model, tf.constant(images), training=False), expected, rtol=0, atol=1e-6)
        mixed = with_policy(model, "mixed_bfloat16", seed=1)
        assert {layer.compute_dtype for layer in mixed.layers if isinstance(layer, L.Conv2D)} == {"bfloat16"}
        result = forward(mixed, tf.constant(images), training=False)
        assert result.dtype == tf.float32
        np.testing.assert_allclose(result, expected, rtol=0, atol=0.02)


def test_a_step_is_that_of_fit() -> None:
    """With regularization, batch normalisation and frozen layers: a loss and an update as Keras' own."""
    images, labels = batch()
    for model in (residual(), with_statistics()):
        if model.name == "with_statistics":
            model.layers[1].trainable = False
            model.layers[-2].rate = 0.0  # Keras draws other numbers
        ours = with_policy(model, "float32", seed=0)
        trainer = Trainer(
            ours, make_optimizer(TrainConfig(optimizer="sgd"), "float32"), batch_size=8, jit_compile=False
        )
        losses = [trainer.train_step(tf.constant(images), tf.constant(labels)) for _ in range(3)]
        loss = "binary_crossentropy" if model.name == "with_statistics" else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.SGD(0.001), loss)
        theirs = [model.train_on_batch(images.astype(np.float32), labels[:, None]) for _ in range(3)]
        np.testing.assert_allclose(losses, np.array(theirs, np.float64).ravel(), atol=1e-4)
        for a, b in zip(ours.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_seeds_left_open_come_from_the_run_and_weights_are_kept_unless_reset() -> None:
    model = with_statistics()
    images = tf.constant(batch()[0])
    one, same, other = (with_policy(model, "float32", seed=seed) for seed in (1, 1, 2))
    outputs = [forward(copy, images, training=True).numpy() for copy in (one, same, other)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
    np.testing.assert_array_equal(one.get_weights()[0], model.get_weights()[0])
    fresh = [with_policy(model, "float32", seed=3, reset_weights=True).get_weights()[0] for _ in range(2)]
    np.testing.assert_array_equal(*fresh)
    assert not np.array_equal(fresh[0], model.get_weights()[0])


def test_frozen_layers_stay_frozen_in_models_nested_in_models() -> None:
    backbone = with_statistics(4, "relu")
    backbone.layers[1].trainable = False
    image = keras.Input((*SIZE, 3))
    model = keras.Model(image, L.Dense(1, activation="sigmoid")(backbone(image)))
    copy = with_policy(model, "mixed_bfloat16")
    assert len(copy.trainable_variables) == len(model.trainable_variables) == 8
    assert [layer.trainable for layer in copy._flatten_layers()] == [
        layer.trainable for layer in model._flatten_layers()
    ]


def test_the_same_model_made_again_is_the_same_starting_model() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(take_starting_model(residual(), "auto").sha256)
    assert digests[0] == digests[1] != digests[2]


def test_weights_behind_stop_gradient_stay_under_loss_scaling() -> None:
    image = keras.Input((*SIZE, 3))
    frozen = keras.ops.stop_gradient(L.Dense(3, name="front")(L.Flatten()(image)))
    model = keras.Model(image, L.Dense(2, activation="softmax")(frozen))
    ours = with_policy(model, "mixed_float16")
    trainer = Trainer(ours, make_optimizer(TrainConfig(), "mixed_float16"), batch_size=8, jit_compile=False)
    images, labels = batch()
    trainer.train_step(tf.constant(images), tf.constant(labels))
    changed = [not np.array_equal(a, b) for a, b in zip(ours.get_weights(), model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


def test_a_model_without_convolutions_is_described() -> None:
    model = output(L.Dense(1, activation="sigmoid"))
    trainer = Trainer(model, make_optimizer(TrainConfig(), "float32"), batch_size=4, jit_compile=False)
    assert trainer.describe_step() == "no convolutions, no XLA"


class Interrupt(Exception):
    pass


@pytest.mark.slow
def test_batch_norm_and_dropout_resume_exactly_and_the_run_is_exported(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.keras"
    with_statistics().save(path)
    settings |= {"model": path, "precision": "mixed_bfloat16"}
    whole = train(**(settings | {"run_dir": str(tmp_path / "whole")}))
    real, done = Loop._run_step, iter(range(100))

    def cut_off(self: Loop, *args: Any) -> None:
        if next(done) == 4:
            raise Interrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_run_step", cut_off)
        with pytest.raises(Interrupt):
            train(**settings, checkpoint_every_steps=1)
    run = train(**settings, checkpoint_every_steps=1)
    for name in ("model.keras", "last.keras"):
        mine, theirs = (keras.models.load_model(folder / name) for folder in (run.run_dir, whole.run_dir))
        for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert run.history[1]["loss"] == whole.history[1]["loss"]
    moving = run.model.layers[3].moving_mean.numpy()
    assert np.abs(moving - keras.models.load_model(path).layers[3].moving_mean.numpy()).max() > 0

    config = ExportConfig(run_dir=str(run.run_dir), export_dir=str(tmp_path / "bundle"), formats=("float32",))
    bundle = export(config, load_trained_model(config, {}))
    classifier = load_classifier(bundle / "model_float32.tflite")
    images = batch()[0]
    p = run.model(images.astype(np.float32)).numpy()[:, 0]
    np.testing.assert_allclose(classifier.score(images)[:, 1], p, atol=1e-4)


@pytest.mark.slow
def test_an_object_is_trained_and_stays_as_it_is(settings: dict[str, Any], tmp_path: Path) -> None:
    model = residual()
    before = model.get_weights()
    run = train(**settings, model=model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.loads((run.run_dir / "config.json").read_text())
    assert (config["train"]["model"], config["head"]) == ("<keras.Model residual>", "softmax")
    assert len(config["starting_model"]) == 64
    assert config["starting_model"][:16] in (run.run_dir / "README.md").read_text()
    assert config["data"]["image_size"] == [32, 32]
    assert train(**settings, model=model).run_dir == run.run_dir
    model.layers[-1].bias.assign([1.0, 0.0])
    with pytest.raises(UsageError, match="holds a run with other settings: the starting model was "):
        train(**settings, model=model)


@pytest.mark.slow
def test_a_frozen_backbone_under_a_new_head(settings: dict[str, Any]) -> None:
    model = pretrained()
    run = train(**(settings | {"epochs": 1}), model=model)
    frozen = {id(weights) for weights in model.layers[1].weights}
    for before, after in zip(model.weights, run.model.weights, strict=True):
        assert np.array_equal(before.numpy(), after.numpy()) == (id(before) in frozen), before.path


@pytest.mark.slow
def test_an_earlier_run_is_fine_tuned(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--model={run.run_dir}", f"--validation_dir={run.validation_dir}", f"--run_dir={tmp_path / 'tuned'}"]
    more = ["--epochs=1", "--learning_rate=1e-6", "--batch_size=16", f"--cache_dir={tmp_path / 'cache'}"]
    assert main([f"--train_dir={run.train_dir}", *flags, *more]) == 0
    before, after = (
        keras.models.load_model(path).get_weights() for path in (run.model, tmp_path / "tuned" / "model.keras")
    )
    differences = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert 0 < max(differences) < 1e-4
    assert main([f"--train_dir={run.train_dir}", f"--model={run.run_dir}", *flags[1:], *more, "--overwrite"]) == 0
    config = tmp_path / "other" / "config.json"
    config.parent.mkdir()
    text = (run.run_dir / "config.json").read_text()
    config.write_text(text.replace('"horses", "humans"', '"humans", "horses"'))
    (config.parent / "model.keras").write_bytes(run.model.read_bytes())
    flags[0] = f"--model={config.parent / 'model.keras'}"
    assert main([f"--train_dir={run.train_dir}", *flags, *more, "--overwrite"]) == 2
    assert (
        "has its classes in the order humans, horses, but the images in the order horses, humans"
        in capsys.readouterr().err
    )
