"""One step: forward, loss, gradients, update, in the order of operations that is fastest and means the same.

The model keeps Keras' stock layers. Here its convolution blocks run as Conv, MaxPool, ReLU: a bias is constant over a
pooling window and ReLU is monotone, so both commute with max pooling, and both then touch a quarter of the values. In
float32 the bias moves behind the pooling too; in bfloat16 it was measured faster before it (benchmarks/README.md).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.data.load import Split
from hh_fast.data.pipeline import Share, eval_batches, train_batches
from hh_fast.distributed.data_service import service_batches

Batch: TypeAlias = tuple[tf.Tensor, tf.Tensor]
CONVOLUTIONS = ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")


def _pairs(layers: Sequence[keras.layers.Layer]) -> Iterator[tuple[keras.layers.Layer, keras.layers.Layer | None]]:
    """Each layer alone, or a 3 x 3 convolution with ReLU together with the 2 x 2 pooling that follows it."""
    i = 0
    while i < len(layers):
        layer, following = layers[i], layers[i + 1] if i + 1 < len(layers) else None
        pooled = (
            isinstance(layer, keras.layers.Conv2D)
            and isinstance(following, keras.layers.MaxPooling2D)
            and layer.activation is keras.activations.relu
        )
        yield layer, following if pooled else None
        i += 2 if pooled else 1


def _conv_block(x: tf.Tensor, conv: keras.layers.Conv2D, kernel: tf.Tensor) -> tf.Tensor:
    dtype = tf.as_dtype(conv.compute_dtype)
    bias = tf.cast(conv.bias.value, dtype)
    x = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(kernel, dtype), strides=1, padding="VALID")
    if dtype == tf.float32:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.max_pool2d(x, 2, 2, "VALID"), bias))
    return tf.nn.relu(tf.nn.max_pool2d(tf.nn.bias_add(x, bias), 2, 2, "VALID"))


def forward(model: keras.Sequential, images: tf.Tensor, *, training: bool) -> tf.Tensor:
    """`model(images, training=training)` for models of `build_model`, faster.

    Equal to the bit in float32. In bfloat16 the factor 1/255 goes into the first kernel instead of over the images, whose
    values 0 to 255 bfloat16 holds exactly.

    Args:
        images: (batch, height, width, 3), uint8 or float, values 0 to 255.

    Returns:
        float32 (batch, 1) or (batch, num_classes), probabilities.
    """
    layers = list(model.layers)
    x = images
    scale_in_kernel = (
        isinstance(layers[0], keras.layers.Rescaling)
        and isinstance(layers[1], keras.layers.Conv2D)
        and layers[1].compute_dtype == "bfloat16"
    )
    factor = layers[0].scale if scale_in_kernel else None
    for layer, pool in _pairs(layers[1:] if scale_in_kernel else layers):
        if pool is None:
            x = layer(x, training=training)
            continue
        kernel = layer.kernel.value
        if factor is not None:
            kernel, factor = kernel * factor, None
        x = _conv_block(x, layer, kernel)
    return x


def make_optimizer(config: TrainConfig, precision: str) -> keras.optimizers.Optimizer:
    """The optimizer that `config` names, under dynamic loss scaling where gradients are float16."""
    kinds = {"rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    optimizer = kinds[config.optimizer](learning_rate=config.learning_rate)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


@dataclasses.dataclass(frozen=True)
class Result:
    """Means over the images seen: `loss` (nats an image) and `accuracy` (0 to 1)."""

    loss: float
    accuracy: float


class Trainer:
    """A model with its optimizer, metrics, and the two compiled functions that use them.

    `train_step(images, labels)` updates the weights on one batch and returns its loss, a float32 scalar, that of the
    batch before the update. `eval_step(images, labels)` returns probabilities float32 (batch, 1) or
    (batch, num_classes). Images are uint8 (batch, height, width, 3) with values 0 to 255, labels int32 (batch,).
    """

    def __init__(
        self, model: keras.Sequential, optimizer: keras.optimizers.Optimizer, *, batch_size: int, jit_compile: bool
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.jit_compile = jit_compile
        binary = model.output_shape[-1] == 1
        loss = keras.losses.BinaryCrossentropy if binary else keras.losses.SparseCategoricalCrossentropy
        accuracy = keras.metrics.BinaryAccuracy if binary else keras.metrics.SparseCategoricalAccuracy
        self._loss = loss()
        self._train_metrics = (keras.metrics.Mean(name="loss"), accuracy(name="accuracy"))
        self._eval_metrics = (keras.metrics.Mean(name="loss"), accuracy(name="accuracy"))
        optimizer.build(model.trainable_variables)
        self._compile(batch_size)

    def _compile(self, batch_size: int) -> None:
        image_shape = self.model.input_shape[1:]
        train_spec = tf.TensorSpec((batch_size, *image_shape), tf.uint8), tf.TensorSpec((batch_size,), tf.int32)
        eval_spec = tf.TensorSpec((None, *image_shape), tf.uint8), tf.TensorSpec((None,), tf.int32)
        self.train_step = tf.function(
            self._train_step, autograph=False, jit_compile=self.jit_compile or None
        ).get_concrete_function(*train_spec)
        self.eval_step = tf.function(self._eval_step, autograph=False).get_concrete_function(*eval_spec)

    def _train_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        targets = labels[:, tf.newaxis]
        with tf.GradientTape() as tape:
            probabilities = forward(self.model, images, training=True)
            loss = self._loss(targets, probabilities)
            scaled = self.optimizer.scale_loss(loss)
        weights = [variable.value for variable in self.model.trainable_variables]
        self.optimizer.apply(tape.gradient(scaled, weights), self.model.trainable_variables)
        self._update(self._train_metrics, loss, targets, probabilities)
        return loss

    def _eval_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        targets = labels[:, tf.newaxis]
        probabilities = forward(self.model, images, training=False)
        self._update(self._eval_metrics, self._loss(targets, probabilities), targets, probabilities)
        return probabilities

    @staticmethod
    def _update(
        metrics: Sequence[keras.metrics.Metric], loss: tf.Tensor, targets: tf.Tensor, probabilities: tf.Tensor
    ) -> None:
        mean, accuracy = metrics
        mean.update_state(loss, sample_weight=tf.cast(tf.shape(targets)[0], tf.float32))
        accuracy.update_state(targets, probabilities)

    @staticmethod
    def _result(metrics: Sequence[keras.metrics.Metric]) -> Result:
        return Result(*(float(metric.result()) for metric in metrics))

    def train_input(self, split: Split, *, batch_size: int, **plan: Any) -> Iterator[Batch]:
        """The batches for `run_step`: those of `train_batches(split, batch_size=batch_size, **plan)`."""
        return iter(train_batches(split, batch_size=batch_size, **plan))

    def served_input(
        self, split: Split, *, address: str, timeout_s: float, batch_size: int, **plan: Any
    ) -> Iterator[Batch]:
        """As `train_input`, with images that the tf.data service at `address` decodes."""
        return service_batches(
            split, address=address, timeout_s=timeout_s, share=Share(0, 1), batch_size=batch_size, **plan
        )

    def eval_input(self, split: Split, *, batch_size: int) -> Any:
        """What `evaluate` takes, reusable: one ordered pass over `split`."""
        return eval_batches(split, batch_size=batch_size)

    def start_step(self, images: tf.Tensor, labels: tf.Tensor, pending_signals: Sequence[int]) -> tf.Tensor:  # noqa: ARG002
        """Starts `train_step` and returns what `finish_step` takes, without waiting for the device.

        `pending_signals` are the signals that this process has got.
        """
        return self.train_step(images, labels)

    def finish_step(self, started: tf.Tensor, pending_signals: Sequence[int]) -> tuple[float, int]:
        """The step's loss, and the signal that the run must stop for, the same in all processes; 0 for none."""
        return float(started), pending_signals[0] if pending_signals else 0

    def share_figures(self, *figures: float) -> np.ndarray:
        """These figures of each process that trains together, float64 (num_workers, n)."""
        return np.asarray([figures], np.float64)

    def train_result(self) -> Result:
        """Of the training steps since the last reset."""
        return self._result(self._train_metrics)

    def reset_train_result(self) -> None:
        for metric in self._train_metrics:
            metric.reset_state()

    def evaluate(self, batches: tf.data.Dataset, pending_signals: Sequence[int] = ()) -> tuple[Result, np.ndarray]:
        """The result over all images of `batches`, and their probabilities, float32 (n, 1) or (n, num_classes).

        Over a part of them once a signal is pending: the run then stops, and validates again when it goes on.
        """
        for metric in self._eval_metrics:
            metric.reset_state()
        parts = []
        for images, labels in batches:
            parts.append(self.eval_step(images, labels))
            if pending_signals:
                break
        return self._result(self._eval_metrics), np.concatenate([part.numpy() for part in parts])

    def variables(self) -> list[keras.Variable]:
        """All that a training step reads and changes: weights, augmentation's seeds, optimizer, running metrics."""
        metrics = [variable for metric in self._train_metrics for variable in metric.variables]
        return [*self.model.variables, *self.optimizer.variables, *metrics]

    def describe_step(self) -> str:
        """What the compiled training step really holds: the dtype of its convolutions, and whether XLA compiles it."""
        ops = self.train_step.graph.get_operations()
        dtypes = sorted({op.get_attr("T").name for op in ops if op.type in CONVOLUTIONS})
        by_xla = self.train_step.function_def.attr["_XlaMustCompile"].b
        return f"convolutions in {' and '.join(dtypes)}, {'compiled by XLA' if by_xla else 'no XLA'}"
