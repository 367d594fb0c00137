"""The step means what Keras' stock layers mean; only the order of operations is another."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_data import examples_of

from hh_fast.config import TrainConfig
from hh_fast.distributed.inputs import EvaluationRounds
from hh_fast.errors import UsageError
from hh_fast.model import FILTERS, build_model
from hh_fast.training.step import Trainer, balanced_weights, forward, make_optimizer

SIZE = (96, 96)


def stock_model(size: tuple[int, int], units: int = 1) -> keras.Sequential:
    """The recipe as the notebooks write it, on images already scaled to [0, 1]."""
    layers = keras.layers
    blocks = [(layers.Conv2D(f, (3, 3), activation="relu"), layers.MaxPooling2D(2, 2)) for f in FILTERS]
    head = layers.Dense(1, activation="sigmoid") if units == 1 else layers.Dense(units, activation="softmax")
    stack = [*itertools.chain(*blocks), layers.Flatten(), layers.Dense(512, activation="relu"), head]
    return keras.Sequential([keras.Input((*size, 3)), *stack])


def batch(seed: int, count: int = 16, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Images with a trace of their label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int32)
    images = rng.integers(0, 200, (count, *SIZE, 3), np.uint8) + (20 * labels).astype(np.uint8)[:, None, None, None]
    return images, labels


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) * np.float32(1 / 255)


def same_weights(units: int = 1) -> tuple[keras.Sequential, keras.Sequential]:
    ours = build_model(SIZE, num_classes=max(units, 2), head="sigmoid" if units == 1 else "softmax", seed=3)
    stock = stock_model(SIZE, units)
    stock.set_weights(ours.get_weights())
    return ours, stock


def test_the_recipe_has_its_parameters() -> None:
    assert build_model((300, 300), num_classes=2, head="sigmoid").count_params() == 1_704_097


@pytest.mark.parametrize("units", [1, 3])
def test_float32_outputs_equal_the_stock_layers_to_the_bit(units: int) -> None:
    ours, stock = same_weights(units)
    images, _ = batch(0)
    mine = tf.function(lambda x: forward(ours, x, training=True))(images)
    theirs = tf.function(lambda x: stock(x, training=True))(scaled(images))
    np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(tf.function(lambda x: ours(x, training=False))(images), theirs)


def test_float32_gradients_equal_the_stock_layers() -> None:
    ours, stock = same_weights()
    images, labels = batch(1)
    loss = keras.losses.BinaryCrossentropy()

    @tf.function
    def gradients(mine: bool) -> list[tf.Tensor]:
        model = ours if mine else stock
        with tf.GradientTape() as tape:
            value = loss(labels[:, None], forward(ours, images, training=True) if mine else stock(scaled(images)))
        return tape.gradient(value, [variable.value for variable in model.trainable_variables])

    for mine, theirs in zip(gradients(True), gradients(False), strict=True):
        difference = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
        assert difference < 1e-5


def test_sixteen_steps_of_sgd_give_the_losses_of_fit() -> None:
    ours, stock = same_weights()
    batches = [batch(i) for i in range(16)]
    trainer = Trainer(
        ours,
        make_optimizer(TrainConfig(optimizer="sgd", learning_rate=0.01), "float32"),
        batch_size=16,
        jit_compile=False,
    )
    mine = [trainer.train_step(tf.constant(images), tf.constant(labels)) for images, labels in batches]
    stock.compile(optimizer=keras.optimizers.SGD(0.01), loss="binary_crossentropy")
    theirs = [
        stock.fit(scaled(images), labels, batch_size=16, shuffle=False, verbose=0).history["loss"][0]
        for images, labels in batches
    ]
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4)
    assert max(mine) - min(mine) > 1e-3  # something was learned, so the losses say something


@pytest.mark.parametrize(("precision", "atol"), [("mixed_bfloat16", 0.02), ("mixed_float16", 0.004)])
def test_mixed_precision_stays_near_float32(precision: str, atol: float) -> None:
    exact = build_model(SIZE, num_classes=2, head="sigmoid", seed=3)
    mixed = build_model(SIZE, num_classes=2, head="sigmoid", seed=3, dtype=precision)
    images, _ = batch(2)
    ours = forward(mixed, tf.constant(images), training=False)
    assert ours.dtype == tf.float32
    np.testing.assert_allclose(ours, forward(exact, tf.constant(images), training=False), rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("precision", "jit", "described"),
    [
        ("float32", False, "convolutions in float32, no XLA"),
        ("mixed_bfloat16", False, "convolutions in bfloat16, no XLA"),
        ("mixed_float16", False, "convolutions in float16, no XLA"),
        ("float32", True, "convolutions in float32, compiled by XLA"),
    ],
)
def test_the_description_is_read_off_the_graph(precision: str, jit: bool, described: str) -> None:
    model = build_model(SIZE, num_classes=2, head="sigmoid", dtype=precision)
    trainer = Trainer(model, make_optimizer(TrainConfig(), precision), batch_size=4, jit_compile=jit)
    assert trainer.describe_step() == described


def test_float16_runs_under_loss_scaling() -> None:
    model = build_model(SIZE, num_classes=2, head="sigmoid", dtype="mixed_float16")
    trainer = Trainer(model, make_optimizer(TrainConfig(), "mixed_float16"), batch_size=16, jit_compile=False)
    images, labels = batch(0)
    losses = [trainer.train_step(tf.constant(images), tf.constant(labels)) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_results_are_means_over_images() -> None:
    model = build_model(SIZE, num_classes=2, head="sigmoid")
    trainer = Trainer(model, make_optimizer(TrainConfig(), "float32"), batch_size=16, jit_compile=False)
    images, labels = batch(4, count=21)
    rounds = EvaluationRounds(trainer.replicas, examples_of(images, labels), 16)
    evaluated = trainer.evaluate(rounds)
    assert evaluated is not None
    result, probabilities = evaluated
    assert probabilities.shape == (21, 1)
    p = np.where(labels == 1, probabilities[:, 0], 1 - probabilities[:, 0]).astype(np.float64)
    assert result.loss == pytest.approx(-np.log(p).mean(), abs=1e-5)
    assert result.accuracy == pytest.approx(((probabilities[:, 0] > 0.5) == labels).mean())
    # Each pass begins at its first round, also behind one that a signal stopped.
    for signals in ((), (15,), (), ()):
        again = trainer.evaluate(rounds, signals)
        assert again is None if signals else np.array_equal(again[1], probabilities)


@pytest.mark.parametrize(
    ("schedule", "warmup_steps", "expected"),
    [
        ("constant", 4, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("cosine", 0, [0.5 + 0.5 * np.cos(np.pi * i / 8) for i in range(8)]),
        ("cosine", 4, [0.25, 0.5, 0.75, 1.0, *(0.5 + 0.5 * np.cos(np.pi * i / 4) for i in range(4))]),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_learning_rate_of_each_step(
    schedule: str, warmup_steps: int, expected: list[float], precision: str
) -> None:
    """Seen in what SGD subtracts for gradients of 1."""
    config = TrainConfig(optimizer="sgd", learning_rate=0.5, learning_rate_schedule=schedule, warmup_steps=warmup_steps)
    optimizer = make_optimizer(config, precision, 8)
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    steps = []
    for _ in range(8):
        before = float(weight.numpy())
        optimizer.apply([optimizer.scale_loss(tf.constant(1.0))], [weight])
        steps.append(before - float(weight.numpy()))
    np.testing.assert_allclose(steps, 0.5 * np.array(expected), atol=1e-6)


def test_a_warmup_as_long_as_the_run_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        make_optimizer(TrainConfig(warmup_steps=8), "float32", 8)
    assert str(caught.value) == "`warmup_steps` must be fewer than the steps of the run, 8. Received: 8"


@pytest.mark.parametrize("units", [1, 2])
def test_class_weights_are_those_of_fit(units: int) -> None:
    ours, stock = same_weights(units)
    images, labels = batch(0)
    labels[:] = [0] * 12 + [1] * 4
    weights = balanced_weights(np.bincount(labels))
    assert weights == (16 / 24, 2.0)
    trainer = Trainer(
        ours,
        make_optimizer(TrainConfig(optimizer="sgd"), "float32"),
        batch_size=16,
        jit_compile=False,
        class_weights=weights,
    )
    loss = trainer.train_step(tf.constant(images), tf.constant(labels))
    stock.compile(
        keras.optimizers.SGD(0.001), "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
    )
    theirs = stock.train_on_batch(scaled(images), labels[:, None], class_weight=dict(enumerate(weights)))
    assert loss == pytest.approx(float(np.ravel(theirs)[0]), abs=1e-5)
    for a, b in zip(ours.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_rows_of_features_are_trained_on_as_fit_does() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(8, 5)).astype(np.float32), rng.integers(0, 3, 8).astype(np.int32)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
    stock = keras.models.clone_model(model)
    stock.set_weights(model.get_weights())
    stock.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    row = tf.TensorSpec((5,), tf.float32)
    trainer = Trainer(model, keras.optimizers.SGD(0.1), batch_size=8, jit_compile=False, row=row)
    assert trainer.train_step(rows, labels) == pytest.approx(float(stock.train_on_batch(rows, labels)), rel=1e-5)
    for mine, theirs in zip(model.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
