"""One training step: forward, loss, gradients, their sum over the replicas, update.

The model keeps Keras' stock layers, but the step runs convolution blocks like the built-in CNN's as Conv, MaxPool, ReLU: ReLU is
monotone and a bias is constant over a pooling window, so both commute with max pooling and then process a quarter of the values.
In float32 the bias is also added after pooling; in bfloat16 adding it before was measured to be faster (benchmarks/README.md).

Keras' `fit` cannot train on several machines (Keras 3.15), so `tf.distribute` runs the step, and the optimizer, applied in each
replica, sums the gradients. The loss is the mean over the global batch, so this sum is the gradient of a single device. A single
device is the one replica of the default strategy.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.distributed.inputs import EvaluationRounds
from hh_fast.distributed.replicas import Replicas
from hh_fast.io import signals

Batch: TypeAlias = tuple[Any, Any]
CONVOLUTIONS = ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")
SUM = tf.distribute.ReduceOp.SUM


def _is_block(layers: Sequence[keras.layers.Layer]) -> bool:
    """Whether `layers` are a 3 x 3 convolution with ReLU, stride 1 and no padding, and 2 x 2 pooling."""
    if [type(layer) for layer in layers] != [keras.layers.Conv2D, keras.layers.MaxPooling2D]:
        return False
    conv, pool = layers
    facts = (conv.kernel_size, conv.strides, conv.dilation_rate, conv.padding, conv.groups, conv.data_format)
    pooling = (pool.pool_size, pool.strides, pool.padding, pool.data_format)
    return (
        facts == ((3, 3), (1, 1), (1, 1), "valid", 1, "channels_last")
        and pooling == ((2, 2), (2, 2), "valid", "channels_last")
        and conv.activation is keras.activations.relu
        and conv.use_bias
        and conv.activity_regularizer is None
    )


def _conv_block(x: tf.Tensor, conv: keras.layers.Conv2D) -> tf.Tensor:
    dtype = tf.as_dtype(conv.compute_dtype)
    bias = tf.cast(conv.bias.value, dtype)
    x = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(conv.kernel.value, dtype), strides=1, padding="VALID")
    if dtype == tf.float32:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.max_pool2d(x, 2, 2, "VALID"), bias))
    return tf.nn.relu(tf.nn.max_pool2d(tf.nn.bias_add(x, bias), 2, 2, "VALID"))


def forward(model: keras.Model, images: tf.Tensor, *, training: bool) -> tf.Tensor:
    """`model(images, training=training)`, bit-identical in float32, and faster for a sequential model with such blocks.

    Args:
        images: (batch, height, width, 3), uint8 or float, values 0 to 255.

    Returns:
        float32 (batch, 1) or (batch, num_classes), probabilities.
    """
    x = tf.cast(images, tf.float32)
    layers = list(model.layers) if type(model) is keras.Sequential else [model]
    while layers:
        if _is_block(layers[:2]):
            x, layers = _conv_block(x, layers[0]), layers[2:]
        else:
            x, layers = layers[0](x, training=training), layers[1:]
    return x


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` over `warmup_steps`; with `num_steps` then decays along half a cosine to 0 at that step."""

    def __init__(self, peak: float, warmup_steps: int, num_steps: int | None) -> None:
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.num_steps = num_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate of the step with this number, from 0."""
        step = tf.cast(step, tf.float32)
        rate = self.peak * tf.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        if self.num_steps is not None:
            done = tf.maximum(0.0, step - self.warmup_steps) / (self.num_steps - self.warmup_steps)
            rate *= 0.5 * (1 + tf.cos(np.pi * tf.minimum(1.0, done)))
        return rate


def make_optimizer(config: TrainConfig, precision: str, num_steps: int | None = None) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names, with dynamic loss scaling if gradients are float16.

    `num_steps`: of the whole run, for the cosine schedule.

    Raises:
        UsageError: warmup would last for all of them.
    """
    kinds = {"rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    if num_steps is not None:
        config.require("warmup_steps", config.warmup_steps < num_steps, f"fewer than the steps of the run, {num_steps}")
    rate: Any = config.learning_rate
    is_cosine = config.learning_rate_schedule == "cosine"
    if is_cosine or config.warmup_steps:
        rate = Schedule(rate, config.warmup_steps, num_steps if is_cosine else None)
    optimizer = kinds[config.optimizer](learning_rate=rate)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def balanced_weights(counts: np.ndarray) -> tuple[float, ...]:
    """Class weights inversely proportional to the number of images of each class; their mean over the images is 1."""
    return tuple((counts.sum() / (len(counts) * np.maximum(counts, 1))).tolist())


@dataclasses.dataclass(frozen=True)
class Result:
    """Means over images: `loss` (nats per image) and `accuracy` (0 to 1)."""

    loss: float
    accuracy: float


def _all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors])


class Trainer:
    """A model with its optimizer, running metrics, and the compiled functions that use them.

    All replicas take each step together, each on its part of the batch. Model and optimizer were created in the scope of
    `replicas.strategy`; the default is one device. `class_weights` weigh each image's training loss by its class.

    A batch is the model's input, (n, *row.shape), by default images, uint8 (n, height, width, 3), values 0 to 255; and labels,
    int32 (n,).
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        replicas: Replicas | None = None,
        *,
        batch_size: int,
        jit_compile: bool,
        row: tf.TensorSpec | None = None,
        class_weights: Sequence[float] = (),
    ) -> None:
        self.model = model
        self._class_weights = class_weights
        self.optimizer = optimizer
        self.replicas = replicas = replicas or Replicas()
        self._batch_size = batch_size
        row = row or tf.TensorSpec(model.inputs[0].shape[1:], tf.uint8)
        binary = model.output_shape[-1] == 1
        self._losses = keras.losses.binary_crossentropy if binary else keras.losses.sparse_categorical_crossentropy
        self._hits = keras.metrics.binary_accuracy if binary else keras.metrics.sparse_categorical_accuracy
        layers = [layer for layer in model._flatten_layers() if layer.trainable and not layer._layers]
        self._statistics = [variable for layer in layers for variable in layer.non_trainable_weights]
        self._scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        with replicas.strategy.scope():
            optimizer.build(model.trainable_variables)
            # Number of steps since the last reset, and the sums of their losses and accuracies.
            self._running = keras.Variable(np.zeros(3, np.float32), trainable=False, name="running_metrics")
        self._gradients: Callable[..., Any] = self._loss_and_gradients
        if jit_compile:
            self._gradients = tf.function(self._loss_and_gradients, autograph=False, jit_compile=True)
        self._step = tf.function(self._step_of_all, autograph=False).get_concrete_function(
            *self._batch_spec(row), tf.TensorSpec((len(signals.STOPS),), tf.float32)
        )
        self._predict = tf.function(self._predict_by_all, autograph=False)

    def _batch_spec(self, row: tf.TensorSpec) -> Any:
        size = self.replicas.share.part_size(self._batch_size)
        zeros = tf.data.Dataset.range(1).map(
            lambda _: (tf.zeros((size, *row.shape), row.dtype), tf.zeros((size,), tf.int32))
        )
        return self.replicas.strategy.distribute_datasets_from_function(lambda _: zeros.repeat()).element_spec

    def _loss_and_gradients(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        targets = labels[:, tf.newaxis]
        with tf.GradientTape() as tape:
            probabilities = forward(self.model, images, training=True)
            # Summed here, since Keras' mean is divided by the number of replicas or not, depending on where it is called.
            losses = self._losses(targets, probabilities)
            if self._class_weights:
                losses *= tf.gather(tf.constant(self._class_weights, tf.float32), labels)
            loss = tf.reduce_sum(losses) / self._batch_size
            if penalties := self.model.losses:  # of regularizers; every replica computes all of them
                loss += tf.add_n([tf.cast(penalty, tf.float32) for penalty in penalties]) / self.replicas.num_replicas
            scaled = self.optimizer.scale_loss(loss)
        weights = [variable.value for variable in self.model.trainable_variables]
        accuracy = tf.reduce_sum(self._hits(targets, probabilities)) / self._batch_size
        return loss, accuracy, tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _replica_step(self, images: tf.Tensor, labels: tf.Tensor, pending_signals: tf.Tensor) -> tf.Tensor:
        loss, accuracy, gradients = self._gradients(images, labels)
        overflows = tf.cast(tf.logical_not(_all_finite(gradients)), tf.float32) if self._scales_loss else 0.0
        # Signals take the same trip, so that all workers stop after the same step.
        own = tf.concat([[loss, accuracy, overflows], pending_signals], 0)
        sums = tf.distribute.get_replica_context().all_reduce(SUM, own)
        if self._scales_loss:
            # Keras skips the update where it finds an overflow, and it looks at one replica's gradients alone: show it there.
            gradients = [*gradients[:-1], tf.where(sums[2] > 0, float("nan"), gradients[-1])]
        self.optimizer.apply(gradients, self.model.trainable_variables)
        self._average_statistics()
        return sums

    def _average_statistics(self) -> None:
        """Gives all replicas the mean of the moving statistics that each took from its own rows."""
        if self.replicas.num_replicas > 1:
            context = tf.distribute.get_replica_context()
            for variable in self._statistics:
                # Of a copy: TensorFlow's strategies ask a tensor, and no variable has one in a cluster, for its device.
                own = tf.identity(variable.value)
                variable.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, own))

    def _step_of_all(self, images: Any, labels: Any, pending_signals: tf.Tensor) -> tf.Tensor:
        strategy = self.replicas.strategy
        sums = strategy.run(self._replica_step, args=(images, labels, pending_signals))
        totals = strategy.experimental_local_results(sums)[0]
        self._running.assign_add(tf.stack([1.0, totals[0], totals[1]]))
        return tf.concat([totals[:1], totals[3:]], 0)

    def start_step(self, images: Any, labels: Any, pending_signals: Sequence[int] = ()) -> tf.Tensor:
        """Starts a training step on one batch without waiting for the device; returns the argument of `finish_step`.

        `pending_signals` are the signals received by this process.
        """
        return self._step(images, labels, tf.constant([float(number in pending_signals) for number in signals.STOPS]))

    def finish_step(self, started: tf.Tensor) -> tuple[float, int]:
        """Waits for a step; returns the batch's loss before the update, and a signal that any worker received, or 0."""
        loss, *counts = started.numpy().tolist()
        return loss, next((number for number, count in zip(signals.STOPS, counts, strict=True) if count), 0)

    def train_step(self, images: Any, labels: Any) -> float:
        """Takes a step and returns its loss."""
        return self.finish_step(self.start_step(images, labels))[0]

    @property
    def num_steps(self) -> int:
        """Training steps since the last reset."""
        return int(self._running.numpy()[0])

    def train_result(self) -> Result:
        """The mean loss and accuracy of the training steps since the last reset."""
        number, loss, accuracy = self._running.numpy().tolist()
        return Result(loss / number, accuracy / number)

    def reset_train_result(self) -> None:
        self._running.assign(np.zeros(3, np.float32))

    def _replica_predict(self, images: tf.Tensor, num_pending: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        own = forward(self.model, images, training=False)
        return context.all_gather(tf.identity(own), axis=0), context.all_reduce(SUM, tf.identity(num_pending))

    def _predict_by_all(self, images: Any, num_pending: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        strategy = self.replicas.strategy
        probabilities, pending = strategy.run(self._replica_predict, args=(images, num_pending))
        return strategy.experimental_local_results(probabilities)[0], strategy.experimental_local_results(pending)[0]

    def evaluate(
        self, rounds: EvaluationRounds, pending_signals: Sequence[int] = ()
    ) -> tuple[Result, np.ndarray] | None:
        """The result over all images of `rounds`, and their probabilities, float32 (n, 1) or (n, num_classes), in order.

        Each replica predicts its part of every round, and every worker gets all probabilities. Returns None if any worker has a
        pending signal: the run then stops, and validates again when resumed.
        """
        parts = []
        for images, _ in rounds:
            part, num_pending = self._predict(images, tf.constant(float(len(pending_signals))))
            if num_pending > 0:
                return None
            parts.append(part)
        probabilities = np.concatenate(parts)[: len(rounds.split)]
        targets = rounds.split.labels[:, np.newaxis]
        losses, hits = self._losses(targets, probabilities), self._hits(targets, probabilities)
        return Result(*(float(np.mean(values, dtype=np.float64)) for values in (losses, hits))), probabilities

    def variables(self) -> list[keras.Variable]:
        """All variables of a training step: weights, optimizer state, running metrics."""
        return [*self.model.variables, *self.optimizer.variables, self._running]

    def describe_step(self) -> str:
        """The dtype of the convolutions in the compiled training step, and whether XLA compiles them."""
        graph = self._step.graph.as_graph_def()
        functions = graph.library.function
        nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
        dtypes = sorted({tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in CONVOLUTIONS})
        by_xla = any(function.attr["_XlaMustCompile"].b for function in functions)
        kind = f"convolutions in {' and '.join(dtypes)}" if dtypes else "no convolutions"
        return f"{kind}, {'compiled by XLA' if by_xla else 'no XLA'}"
