"""The step of `hh_fast.training.step`, taken by several replicas at once: each on its share of the batch, gradients summed.

Keras' `fit` cannot do this across machines (Keras 3.15), so the step is run by the strategy and the optimizer is applied in
each replica, which sums the gradients. The loss is the global batch's mean, so that the sum is the single device's gradient.
"""

import dataclasses
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.data.load import Split
from hh_fast.data.pipeline import Share, batches_at, train_batches
from hh_fast.distributed.data_service import service_batches
from hh_fast.distributed.strategy import Replicas
from hh_fast.training.step import CONVOLUTIONS, Batch, Result, Trainer, forward

SUM = tf.distribute.ReduceOp.SUM
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclasses.dataclass(frozen=True)
class EvalInput:
    """One pass over `split` in rounds of `rows` (num_rounds, num_replicas, size): positions, the last one repeated."""

    split: Split
    rows: np.ndarray


def _all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors])


class ReplicaTrainer(Trainer):
    """A `Trainer` whose steps all `replicas` take together. Model and optimizer were made in the strategy's scope.

    `shards`: `split` of `train_input` is this worker's own shard, and its batches the worker's part of the global ones;
    `shard_steps`, the steps that the smallest shard fills, is then when all begin a new pass.
    """

    def __init__(
        self,
        model: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        replicas: Replicas,
        *,
        batch_size: int,
        jit_compile: bool,
        shard_steps: int | None = None,
    ) -> None:
        self.replicas = replicas
        self._shard_steps = shard_steps
        self._batch_size = batch_size
        self._scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        with replicas.strategy.scope():
            optimizer.build(model.trainable_variables)
        super().__init__(model, optimizer, batch_size=batch_size, jit_compile=jit_compile)

    def _compile(self, batch_size: int) -> None:
        binary = self.model.output_shape[-1] == 1
        losses = keras.losses.binary_crossentropy if binary else keras.losses.sparse_categorical_crossentropy
        self._losses = losses  # of each image, as `_hits`, 1 or 0
        self._hits = keras.metrics.binary_accuracy if binary else keras.metrics.sparse_categorical_accuracy
        # Metrics of sums that are the same in all replicas already: plain variables, updated once a process.
        self._train_metrics = (keras.metrics.Mean(name="loss"), keras.metrics.Mean(name="accuracy"))
        size = self.replicas.share.part_size(batch_size)
        height, width, channels = self.model.input_shape[1:]
        self._gradients = (
            tf.function(self._loss_and_gradients, autograph=False, jit_compile=True) if self.jit_compile else None
        )
        zeros = tf.data.Dataset.range(1).map(
            lambda _: (tf.zeros((size, height, width, channels), tf.uint8), tf.zeros((size,), tf.int32))
        )
        spec = self.replicas.strategy.distribute_datasets_from_function(lambda _: zeros.repeat()).element_spec
        self.train_step = tf.function(self._step_of_all, autograph=False).get_concrete_function(
            *spec, tf.TensorSpec((len(SIGNALS),), tf.float32)
        )
        self.eval_step = tf.function(self._eval_step, autograph=False)

    def _loss_and_gradients(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        targets = labels[:, tf.newaxis]
        with tf.GradientTape() as tape:
            probabilities = forward(self.model, images, training=True)
            # Summed here: Keras' own mean is divided by the number of replicas, or not, by the place it is called from.
            loss = tf.reduce_sum(self._losses(targets, probabilities)) / self._batch_size
            scaled = self.optimizer.scale_loss(loss)
        weights = [variable.value for variable in self.model.trainable_variables]
        right = tf.reduce_sum(self._hits(targets, probabilities))
        return loss, right, tape.gradient(scaled, weights)

    def _replica_step(self, images: tf.Tensor, labels: tf.Tensor, pending_signals: tf.Tensor) -> tf.Tensor:
        loss, right, gradients = (self._gradients or self._loss_and_gradients)(images, labels)
        overflows = tf.cast(tf.logical_not(_all_finite(gradients)), tf.float32) if self._scales_loss else 0.0
        # Signals take the same trip, so that all workers stop after the same step.
        own = tf.concat([[loss, right, overflows], pending_signals], 0)
        sums = tf.distribute.get_replica_context().all_reduce(SUM, own)
        if self._scales_loss:
            # Keras skips the update where it finds an overflow, and it looks at one replica's gradients alone: show it there.
            gradients = [*gradients[:-1], tf.where(sums[2] > 0, float("nan"), gradients[-1])]
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return sums

    def _step_of_all(self, images: Any, labels: Any, pending_signals: tf.Tensor) -> tf.Tensor:
        sums = self.replicas.strategy.run(self._replica_step, args=(images, labels, pending_signals))
        totals = self.replicas.strategy.experimental_local_results(sums)[0]
        mean, accuracy = self._train_metrics
        mean.update_state(totals[0], sample_weight=float(self._batch_size))
        accuracy.update_state(totals[1] / self._batch_size, sample_weight=float(self._batch_size))
        return tf.concat([totals[:1], totals[3:]], 0)

    def start_step(self, images: Any, labels: Any, pending_signals: Sequence[int]) -> tf.Tensor:
        return self.train_step(images, labels, tf.constant([float(number in pending_signals) for number in SIGNALS]))

    def finish_step(self, started: tf.Tensor, pending_signals: Sequence[int]) -> tuple[float, int]:  # noqa: ARG002
        loss, *counts = started.numpy().tolist()
        return loss, next((number for number, count in zip(SIGNALS, counts, strict=True) if count), 0)

    def share_figures(self, *figures: float) -> np.ndarray:
        return self.replicas.gather_figures(figures)

    def train_input(self, split: Split, *, batch_size: int, **plan: Any) -> Iterator[Batch]:
        share, plan = self.replicas.share, {**plan, "steps_per_pass": self._shard_steps}
        if self._shard_steps:
            share, batch_size = Share(0, 1, share.num_parts), batch_size // share.num_workers

        def of_worker(_: tf.distribute.InputContext) -> tf.data.Dataset:
            # Repeated, though never read so far, because tf.distribute asks all workers at each step whether an input ends.
            return train_batches(split, batch_size=batch_size, share=share, **plan).repeat()

        return iter(self.replicas.strategy.distribute_datasets_from_function(of_worker))

    def served_input(
        self, split: Split, *, address: str, timeout_s: float, batch_size: int, **plan: Any
    ) -> Iterator[Batch]:
        share = self.replicas.share
        for images, labels in service_batches(
            split, address=address, timeout_s=timeout_s, share=share, batch_size=batch_size, **plan
        ):
            if share.num_parts == 1:
                yield images, labels
            else:
                yield self._split(images), self._split(labels)

    def _split(self, rows: tf.Tensor) -> Any:
        parts = tf.split(rows, self.replicas.share.num_parts)
        return self.replicas.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group % len(parts)]
        )

    def eval_input(self, split: Split, *, batch_size: int) -> EvalInput:
        num_replicas = self.replicas.num_replicas
        size = -(-batch_size // num_replicas)
        num_rounds = -(-split.num_images // (size * num_replicas))
        rows = np.minimum(np.arange(num_rounds * num_replicas * size, dtype=np.int32), split.num_images - 1)
        return EvalInput(split, rows.reshape(num_rounds, num_replicas, size))

    def _eval_step(self, images: Any, labels: Any) -> Any:  # noqa: ARG002
        return self.replicas.strategy.run(lambda own: forward(self.model, own, training=False), args=(images,))

    def evaluate(self, batches: EvalInput, pending_signals: Sequence[int] = ()) -> tuple[Result, np.ndarray]:  # noqa: ARG002
        """As `Trainer.evaluate`, but to the end, as all must; each replica predicts its own rows, and all get all."""
        num_rounds, num_replicas, size = batches.rows.shape
        parts = self.replicas.share.num_parts
        own = slice(self.replicas.worker * parts, (self.replicas.worker + 1) * parts)
        strategy = self.replicas.strategy
        rounds = iter(
            strategy.distribute_datasets_from_function(
                lambda _: batches_at(batches.split, batches.rows[:, own].reshape(-1, size)).repeat()
            )
        )
        table = np.zeros((num_rounds, num_replicas, size, self.model.output_shape[-1]), np.float32)
        for i in range(num_rounds):
            results = strategy.experimental_local_results(self.eval_step(*next(rounds)))
            table[i, own] = [result.numpy() for result in results]
        probabilities = self.replicas.merge(table).reshape(-1, table.shape[-1])[: batches.split.num_images]
        for metric in self._eval_metrics:
            metric.reset_state()
        targets = tf.constant(batches.split.labels[:, np.newaxis])
        self._update(self._eval_metrics, self._loss(targets, probabilities), targets, tf.constant(probabilities))
        return self._result(self._eval_metrics), probabilities

    def describe_step(self) -> str:
        graph = self.train_step.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        dtypes = sorted({tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in CONVOLUTIONS})
        return (
            f"convolutions in {' and '.join(dtypes)}, {'gradients compiled by XLA' if self.jit_compile else 'no XLA'}"
        )
